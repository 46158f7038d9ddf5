"""How many calls a second the SIP server sets up, how fast, and how many it holds with media.

`python -m benchmarks.sip [--rate 200] [--set-ups 3000] [--calls 400] [--hold 20]`

Server and callers on this machine, on loopback. Set-ups: sipp (Debian's `sip-tester`) with its own scenario, INVITE to
200 as sipp measures it, by a clock that ticks every few ms. Held calls: the callers of `trunkline loadtest`, each
sending PCMU by RTP in real time, what they sent set against what the server counted. The recogniser is a null
recogniser. The last line is JSON.
"""

import argparse
import asyncio
import contextlib
import json
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from connectors.sip.message.uri import SipUri
from trunkline.loadtest.plan import Plan
from trunkline.loadtest.report import LoadReport, Thresholds, percentile
from trunkline.loadtest.run import LoadTest
from trunkline.loadtest.script import bundled
from trunkline.loadtest.sip_caller import SipCaller
from trunkline.loadtest.sources import FileSource
from trunkline.loadtest.tally import RecordTally

HOST = "127.0.0.1"
ROOT = Path(__file__).parent.parent
SCENARIO = Path(__file__).parent / "sipp" / "setup.xml"
CALL_MS = 500
"""How long a set-up call stays up."""

GOAL_RATE, GOAL_P95_MS, GOAL_CALLS = 150, 20, 400


@dataclass(slots=True)
class Running:
    """A server; `figures` are there once it has stopped."""

    port: int
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SetUps:
    """`placed` calls in `seconds`; `failed` by sipp's count; times in ms."""

    placed: int
    failed: int
    retransmissions: int
    seconds: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None

    @property
    def rate(self) -> float:
        return (self.placed - self.failed) / self.seconds


def main() -> None:
    options = _options()
    if shutil.which("sipp") is None:
        sys.exit("sipp is not installed: on Debian it is in the package sip-tester")
    asyncio.run(_run(options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=200, help="set-ups a second that sipp tries")
    parser.add_argument("--set-ups", type=int, default=3000)
    parser.add_argument("--calls", type=int, default=GOAL_CALLS, help="held at once, with media")
    parser.add_argument("--ramp", type=float, default=40.0, help="of those, new ones a second")
    parser.add_argument("--hold", type=float, default=20.0, help="seconds they are held")
    return parser.parse_args()


async def _run(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with _server(None) as server:
            set_ups = await _set_up(server.port, options.rate, options.set_ups, folder)
        _print_set_ups(set_ups, options.rate, server.figures)
        async with _server(folder / "records.jsonl") as holding:
            report = await _hold(holding.port, options, folder / "records.jsonl")
        _print_held(report, holding.figures)
    incomplete = report.placed - report.completed + report.answered - report.ended
    errors = incomplete + max(report.sent - report.counted, 0) + report.lost
    print(
        json.dumps(
            {
                "calls_per_s": round(set_ups.rate, 1),
                "p95_invite_ms": None if set_ups.p95_ms is None else round(set_ups.p95_ms, 2),
                "failed_set_ups": set_ups.failed,
                "concurrent_calls": report.most_at_once if not errors else 0,
                "tried_calls": options.calls,
                "errors": errors,
                "rtp_sent": report.sent,
                "rtp_counted": report.counted,
                "recognizer": "null",
                "machine": platform.machine(),
                "cores": psutil.cpu_count(),
            }
        )
    )


@contextlib.asynccontextmanager
async def _server(records: Path | None) -> AsyncIterator[Running]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.load.sip_server", *(() if records is None else (str(records),))),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    running = Running(int(await process.stdout.readline()), {})
    try:
        yield running
    finally:
        process.stdin.close()
        running.figures = json.loads(await process.stdout.readline() or b"{}")
        await process.wait()


async def _set_up(port: int, rate: int, calls: int, folder: Path) -> SetUps:
    """sipp's own figures: its response-time trace, and its statistics for what failed."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *("sipp", f"{HOST}:{port}", "-sf", str(SCENARIO), "-i", HOST, "-s", "bench", "-nostdin"),
        *("-r", str(rate), "-m", str(calls), "-l", str(10 * rate), "-d", str(CALL_MS), "-timer_resol", "1"),
        *("-trace_rtt", "-rtt_freq", "1", "-trace_stat", "-fd", "1", "-timeout", "120s"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
    )
    _, stderr = await process.communicate()
    seconds = time.monotonic() - began - CALL_MS / 1000
    if process.returncode not in (0, 1):
        sys.exit(f"sipp ended with {process.returncode}: {stderr.decode(errors='replace').strip()[-300:]}")
    times, statistics = _traces(folder)
    return SetUps(
        placed=int(statistics["TotalCallCreated"]),
        failed=int(statistics["FailedCall(C)"]),
        retransmissions=int(statistics["Retransmissions(C)"]),
        seconds=seconds,
        p50_ms=percentile(times, 50),
        p95_ms=percentile(times, 95),
        p99_ms=percentile(times, 99),
    )


def _traces(folder: Path) -> tuple[list[float], dict[str, str]]:
    """Set-up times in ms, sorted, and the last line of the statistics by column."""
    rows = [line for file in folder.glob("*_rtt.csv") for line in file.read_text().splitlines()[1:]]
    lines = next(folder.glob("setup_*_.csv")).read_text().splitlines()
    statistics = dict(zip(lines[0].split(";"), lines[-1].split(";"), strict=False))
    return sorted(float(row.split(";")[1]) for row in rows), statistics


async def _hold(port: int, options: argparse.Namespace, records: Path) -> LoadReport:
    script = bundled().only("inbound")
    tally = RecordTally(script)
    caller = SipCaller(SipUri.to(HOST, "bench", port), script)
    plan = Plan(options.calls, options.ramp, options.hold, script.duration_s)
    return await LoadTest(plan, caller, tally, FileSource(records, tally)).run(Thresholds())


def _print_set_ups(set_ups: SetUps, rate: int, server: dict[str, Any]) -> None:
    times = [set_ups.p50_ms, set_ups.p95_ms, set_ups.p99_ms]
    shown = [f"{value:.1f}" if value is not None else "unknown" for value in times]
    print(
        f"set-up by sipp, {rate} calls/s tried, null recogniser: {set_ups.placed} calls in {set_ups.seconds:.1f} s, "
        f"{set_ups.failed} failed, {set_ups.retransmissions} retransmissions\n"
        f"  {set_ups.rate:.1f} calls/s (goal {GOAL_RATE}), INVITE to 200 p50 {shown[0]} ms, p95 {shown[1]} ms "
        f"(goal {GOAL_P95_MS}), p99 {shown[2]} ms\n  server: {server}",
        flush=True,
    )


def _print_held(report: LoadReport, server: dict[str, Any]) -> None:
    print(
        f"held with RTP, null recogniser: {report.most_at_once} calls at once (goal {GOAL_CALLS}), {report.placed} "
        f"placed, {report.completed} played to the end, refused {report.refusals}, broken {report.broken}\n"
        f"  {report.sent} packets sent, {report.counted} counted by the server, {report.lost} lost, {report.late} "
        f"late; set-up p95 {report.setup_p95_ms or 0:.1f} ms; callers late by up to "
        f"{report.caller_behind_ms:.1f} ms\n"
        f"  server: {server}",
        flush=True,
    )


if __name__ == "__main__":
    main()
