"""The SIP server with a null recogniser, in a process of its own.

`python -m benchmarks.load.sip_server [RECORDS]` listens on a free UDP port of 127.0.0.1 and prints it; records go to
the file. At the end of its input it stops and prints one line of JSON with its counters.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.load.null_recognizer import NullRecognizer
from connectors.rtp.config import RtpConfig
from connectors.sip.config import PeerLimits, SipConfig
from connectors.sip.connector import SipConnector
from pipeline.calls import Calls
from pipeline.config import PipelineConfig
from sinks.record import AnyRecord, encode
from trunkline import loop


async def serve(records: Path | None) -> None:
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(records.open("wb", buffering=0)) if records is not None else None

        def publish(published: Sequence[AnyRecord]) -> None:
            if file is not None:
                file.write(b"".join(encode(record) + b"\n" for record in published))

        calls = Calls(NullRecognizer(), publish, PipelineConfig())
        config = SipConfig(
            udp="127.0.0.1:0", tcp=None, rtp=RtpConfig(first_port=20_000, last_port=39_999), limits=PeerLimits()
        )
        connector = SipConnector(calls, config)
        await connector.start()
        ticking = asyncio.create_task(calls.run())
        print(connector.addresses["UDP"][1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
        cpu_s = time.process_time()
        await connector.close()
        ticking.cancel()
    stats = calls.stats
    figures = {"calls": stats.calls_started, "refused": stats.calls_refused, "ended": stats.calls_ended}
    figures |= {"failed": connector.stats.failed, "skipped_ticks": stats.skipped_ticks}
    print(json.dumps(figures | {"cpu_s": round(cpu_s, 2)}), flush=True)


if __name__ == "__main__":
    loop.run(serve(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
