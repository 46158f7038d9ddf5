"""Many calls at once through the whole server, in real time: does anything get lost, late or mixed up?

`python -m benchmarks.concurrent_calls [--calls 20] [--seconds 120] [--chunk-ms 160]`

A `trunkline serve` of its own takes the bundled two-leg call N times over, on loopback, played by Twilio's protocol at
real-time pace for the given time. Every call's records are checked: complete, and every leg's words those of its own
script. Prints a table of memory and CPU over time; the last line is JSON.
"""

import argparse
import asyncio
import json
import platform
import socket
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import aiohttp
import psutil

from connectors.media_ws import TwilioPlayer
from sinks.record import AnyRecord, TranscriptRecord, decode
from trunkline.demo.report import finals, report
from trunkline.demo.script import load_audio, load_script
from trunkline.wer import word_errors

SAMPLE_S = 5.0
MIXED_WER = 0.5
"""A leg that is this far from its own script, or nearer to the other leg's, is counted as mixed up."""


async def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        records_file = Path(folder) / "records.jsonl"
        port = _free_port()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "import sys; from trunkline.cli import main; sys.exit(main())"),
            *("serve", "--port", str(port), "--chunk-ms", str(options.chunk_ms)),
            env=_environment(records_file),
        )
        try:
            await _until_ready(port)
            samples, behind_s = await _play(options, port, psutil.Process(process.pid))
        finally:
            process.terminate()
            await process.wait()
        calls = _by_call(records_file)
    _print_result(options, calls, samples, behind_s)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--chunk-ms", type=int, default=160)
    return parser.parse_args()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _environment(records_file: Path) -> dict[str, str]:
    import os  # noqa: PLC0415

    return {
        **os.environ,
        "TRUNKLINE_JSONL_PATH": str(records_file),
        "TRUNKLINE_SERVER_LOG_LEVEL": "WARNING",
        "TRUNKLINE_ENGINE_MAX_SESSIONS": "256",
    }


async def _until_ready(port: int) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/readyz") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)


async def _play(
    options: argparse.Namespace, port: int, server: psutil.Process
) -> tuple[list[tuple[float, float, float]], float]:
    """Play until the time is up; returns (seconds, resident MB, CPU %) samples and the player's worst lateness."""
    inbound, outbound = load_audio()
    began = time.monotonic()
    behind = [0.0]

    async def caller(number: int) -> None:
        await asyncio.sleep(number * 0.1)
        while time.monotonic() - began < options.seconds:
            player = TwilioPlayer(f"ws://127.0.0.1:{port}/twilio", inbound, outbound)
            played = await player.play()
            behind.append(played.behind_s)

    samples: list[tuple[float, float, float]] = []

    async def watch() -> None:
        server.cpu_percent()
        while True:
            await asyncio.sleep(SAMPLE_S)
            row = time.monotonic() - began, server.memory_info().rss / 1e6, server.cpu_percent()
            samples.append(row)
            print(f"{row[0]:6.0f} s  {row[1]:7.1f} MB  {row[2]:5.1f} % CPU", flush=True)

    watching = asyncio.create_task(watch())
    async with asyncio.TaskGroup() as group:
        for number in range(options.calls):
            group.create_task(caller(number))
    watching.cancel()
    return samples, max(behind)


def _by_call(records_file: Path) -> dict[str, list[AnyRecord]]:
    calls: dict[str, list[AnyRecord]] = defaultdict(list)
    for line in records_file.read_bytes().splitlines():
        record = decode(line)
        calls[record.call_id].append(record)
    return calls


def _is_mixed(transcripts: list[TranscriptRecord], leg: str) -> bool:
    script = load_script()
    heard = " ".join(final.transcript for final in finals(transcripts, leg))
    own = word_errors(" ".join(line.text for line in script if line.leg == leg), heard).rate
    other = word_errors(" ".join(line.text for line in script if line.leg != leg), heard).rate
    return own > MIXED_WER or other < own


def _print_result(
    options: argparse.Namespace,
    calls: dict[str, list[AnyRecord]],
    samples: list[tuple[float, float, float]],
    behind_s: float,
) -> None:
    incomplete = mixed = 0
    rates, latencies = [], []
    for records in calls.values():
        result = report(records, load_script())
        incomplete += bool(result.faults)
        rates.append(result.errors.rate)
        transcripts = [record for record in records if isinstance(record, TranscriptRecord)]
        mixed += sum(_is_mixed(transcripts, leg) for leg in ("inbound", "outbound"))
        latencies += [record.latency_ms for record in transcripts]
    cuts = statistics.quantiles(latencies, n=100)
    settled = [row for row in samples if row[0] > options.seconds / 3] or samples
    print(
        json.dumps(
            {
                "calls": len(calls),
                "concurrent_calls": options.calls,
                "legs": 2 * options.calls,
                "chunk_ms": options.chunk_ms,
                "incomplete_calls": incomplete,
                "mixed_legs": mixed,
                "wer_percent": round(100 * statistics.mean(rates), 2),
                "p50_latency_ms": round(cuts[49], 1),
                "p95_latency_ms": round(cuts[94], 1),
                "p99_latency_ms": round(cuts[98], 1),
                "cpu_percent": round(statistics.mean(row[2] for row in settled), 1),
                "rss_mb_first_third": round(settled[0][1], 1),
                "rss_mb_end": round(samples[-1][1], 1),
                "player_behind_ms": round(1000 * behind_s, 1),
                "machine": platform.machine(),
                "cores": psutil.cpu_count(),
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main())
