"""What a record costs on its way to a file and to a webhook: `python -m benchmarks.destinations`.

CPU time of this process, in microseconds a record. The receiver is a process of its own that answers after 5 ms; its
records are of 100 calls. The last line is JSON.
"""

import asyncio
import json
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from aiohttp import web

from sinks.config import JsonlConfig
from sinks.jsonl_file import JsonlFile
from sinks.record import AnyRecord, SpeakerRole, TranscriptRecord, Word, encode, event_id
from sinks.webhooks.config import WebhookConfig, WebhooksConfig
from sinks.webhooks.sink import WebhookSink

CALLS, RECORDS, ANSWER_S = 100, 3_000, 0.005
BATCHES = ((1, 20_000), (50, 2_000))
SECRET = "whsec_" + "A" * 32


def final(number: int) -> TranscriptRecord:
    """Ten words, as a sentence has them."""
    call_id = f"call-{number % CALLS}"
    words = tuple(
        Word(word="word", punctuated_word="Word", start=k * 0.4, end=k * 0.4 + 0.3, confidence=0.9, language="en-US")
        for k in range(10)
    )
    return TranscriptRecord(
        event_id=event_id(call_id, "0123456789ab", "caller", "transcript", number),
        call_id=call_id,
        leg="caller",
        seq=number,
        at="2026-11-30T12:00:00.000Z",
        segment_id=f"caller-{number}",
        revision=1,
        is_final=True,
        speech_final=True,
        speaker_role=SpeakerRole.CUSTOMER,
        channel_index=0,
        start=1.0,
        duration=4.0,
        transcript="Word " * 10,
        confidence=0.9,
        stability=1.0,
        language="en-US",
        languages=("en-US",),
        language_source="detected",
        words=words,
        latency_ms=80.0,
    )


def append(folder: Path, per_batch: int, batches: int, **settings: Any) -> float:
    """Microseconds of CPU time a batch."""
    file = JsonlFile(JsonlConfig(path=str(folder / "records.jsonl"), **settings))
    file.open()
    lines = b"".join(encode(final(number)) + b"\n" for number in range(per_batch))
    began = time.process_time()
    for _ in range(batches):
        file.append(lines)
    spent = time.process_time() - began
    file.close()
    return 1e6 * spent / batches


def receive(parent: Connection) -> None:
    """The receiver's process."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(ANSWER_S)
        return web.Response(status=204)

    async def serve() -> None:
        application = web.Application()
        application.router.add_post("/", answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        parent.send(runner.addresses[0][1])
        await asyncio.get_running_loop().run_in_executor(None, parent.recv)
        await runner.cleanup()

    asyncio.run(serve())


async def post(folder: Path, port: int, records: Sequence[AnyRecord], at_once: int) -> tuple[float, float]:
    """Microseconds of CPU time a record, and records a second."""
    endpoint = WebhookConfig(name="a", url=f"http://127.0.0.1:{port}/", secret=SECRET, at_once=at_once)
    sink = WebhookSink(WebhooksConfig(endpoints=(endpoint,), spool=str(folder / f"spool-{at_once}")))
    await sink.start()
    began, cpu = time.monotonic(), time.process_time()
    for first in range(0, len(records), 50):
        await sink.write(records[first : first + 50])
    while sink.delivery().delivered < len(records):  # noqa: ASYNC110 - a counter has no event
        await asyncio.sleep(0.05)
    spent, took = time.process_time() - cpu, time.monotonic() - began
    await sink.close()
    return 1e6 * spent / len(records), len(records) / took


def main() -> None:
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for per_batch, batches in BATCHES:
            found[f"jsonl_us_a_batch_of_{per_batch}"] = append(folder, per_batch, batches)
            rotated = append(folder, per_batch, batches, rotate_bytes=1 << 22, rotate_daily=True, keep=1)
            found[f"jsonl_rotated_us_a_batch_of_{per_batch}"] = rotated
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=receive, args=(there,))
        process.start()
        port = here.recv()
        records = [final(number) for number in range(RECORDS)]
        for at_once in (1, 8, 32):
            cost, rate = asyncio.run(post(folder, port, records, at_once))
            found[f"webhook_us_a_record_{at_once}_at_once"] = cost
            found[f"webhook_records_a_second_{at_once}_at_once"] = rate
        here.send(None)
        process.join()
    print(json.dumps({key: round(value, 1) for key, value in found.items()}))


if __name__ == "__main__":
    main()
