"""How many bots talk at once without a stall, and what it costs.

`python -m benchmarks.bots [--bots 200] [--seconds 120]`

Every call has the example bot (`examples/bot`) with a null voice, and a telephone in another process on loopback that
talks all the time. Connector, pipeline, playback and bots are real; the recogniser is one that hears the same caller on
every leg (`benchmarks.load.talking_recognizer`): four turns in 16 s, two of which interrupt. Reported: how late the
event loop was (a timer of 10 ms), stalls (more than 100 ms), how late packets were against their RTP timestamps when
the kernel had them, packets missing, and CPU of the serving process a bot. The last line is JSON.
"""

import argparse
import asyncio
import json
import platform
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.load.talking_recognizer import TalkingRecognizer
from benchmarks.load.telephones_process import start_telephones
from benchmarks.load.window import TickClock, Window, measure
from connectors.rtp.endpoint import RtpEndpoint
from connectors.rtp.ports import PortPool
from connectors.sdp import description as sdp
from connectors.sdp.capabilities import Capabilities
from connectors.sdp.offer_answer import NegotiationSession
from pipeline.call import CallInfo, LegOptions
from pipeline.calls import Calls
from pipeline.playback import PlaybackStats
from sinks.record import SpeakerRole
from trunkline import loop
from trunkline.loadtest.bodies import offer
from trunkline_bot import OrderBot

HOST = "127.0.0.1"
WARM_UP_S = 3.0
SETTLE_S = 0.5
FIRST_PORT, LAST_PORT = 20_000, 29_999
CLOCK_HZ = 8_000
PROBE_S = 0.01
STALL_S = 0.1
_BETWEEN_S = 0.005


@dataclass(frozen=True, slots=True)
class Outcome:
    """`lags_s`: of the event loop, sorted. `streams`: as the telephones report them."""

    window: Window
    lags_s: list[float]
    streams: list[dict[str, Any]]
    playback: PlaybackStats
    passed_over_s: float
    attended: int
    faults: int
    records: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bots", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120.0)
    options = parser.parse_args()
    _print(options.bots, loop.run(_run(options.bots, options.seconds)))


async def _run(bots: int, seconds: float) -> Outcome:
    recognizer, published = TalkingRecognizer(), [0]

    def publish(records: Any) -> None:
        published[0] += len(records)

    calls = Calls(recognizer, publish, bots=[OrderBot(voice="null", transcribe=False)])
    telephones, orders, reports, port = await start_telephones()
    ports = PortPool(FIRST_PORT, LAST_PORT)
    lags: list[float] = []
    working = [asyncio.create_task(one) for one in (calls.run(), recognizer.run(calls.config.chunk_ms), _probe(lags))]
    endpoints, running = [], []
    for number in range(bots):
        call = calls.start(CallInfo(f"call-{number}", "rtp"), announce=False)
        leg = call.add_leg(LegOptions("caller", SpeakerRole.CUSTOMER, 0))
        endpoint = await RtpEndpoint.open(HOST, ports)
        endpoint.attach(leg)
        session = NegotiationSession(HOST, Capabilities(), lambda port=endpoint.port: port)  # type: ignore[misc]
        endpoint.update(session.answer(sdp.parse(offer(HOST, [port]).content))[1][0])
        leg.connect_outlet(endpoint.outlet)
        call.announce()
        endpoints.append(endpoint)
        running.append(call)
        await asyncio.sleep(_BETWEEN_S)
    order = {
        "ports": [endpoint.port for endpoint in endpoints],
        "seconds": WARM_UP_S + seconds + 1,
        "clock_hz": CLOCK_HZ,
    }
    orders.write(json.dumps(order).encode() + b"\n")
    ticks, playback = TickClock(calls), calls.stats.playback
    await asyncio.sleep(WARM_UP_S)
    lags.clear()
    before, passed_over_s = playback.seconds, playback.late_s
    window = await measure(calls, ticks, lambda: round((playback.seconds - before) * 50), seconds)
    measured, passed_over_s = sorted(lags), playback.late_s - passed_over_s
    await asyncio.sleep(1 + SETTLE_S)
    orders.write(b"\n")
    streams = json.loads(await reports.readline())
    stats = calls.bots.stats
    active = stats.active
    for endpoint in endpoints:
        await endpoint.close()
    await asyncio.gather(*(call.end("over") for call in running))
    await calls.bots.close()
    for task in working:
        task.cancel()
    await telephones.wait()
    return Outcome(window, measured, streams, playback, passed_over_s, active, stats.faults, published[0])


async def _probe(lags: list[float]) -> None:
    while True:
        due = time.monotonic() + PROBE_S
        await asyncio.sleep(PROBE_S)
        lags.append(max(time.monotonic() - due, 0.0))


def _print(bots: int, outcome: Outcome) -> None:
    window, streams, lags = outcome.window, outcome.streams, outcome.lags_s
    late = sorted(one for stream in streams for one in stream["late_ms"])
    figures = {
        "benchmark": "bots",
        "machine": platform.processor() or platform.machine(),
        "bots": bots,
        "talking_at_the_end": outcome.attended,
        "seconds": round(window.seconds, 1),
        "loop_lag_p50_ms": round(1e3 * lags[len(lags) // 2], 1),
        "loop_lag_p99_ms": round(1e3 * lags[len(lags) * 99 // 100], 1),
        "loop_lag_max_ms": round(1e3 * lags[-1], 1),
        "stalls": sum(lag > STALL_S for lag in lags),
        "tick_lag_p99_ms": round(window.tick_lag_p99_ms, 1),
        "skipped_ticks": window.skipped_ticks,
        "packets": sum(stream["packets"] for stream in streams),
        "missing": sum(stream["missing"] for stream in streams),
        "late_p99_ms": late[len(late) * 99 // 100],
        "late_max_ms": late[-1],
        "passed_over_s": round(outcome.passed_over_s, 3),
        "replies": outcome.playback.utterances,
        "interrupted": outcome.playback.stops,
        "underruns": outcome.playback.underruns,
        "faults": outcome.faults,
        "records": outcome.records,
        "core_pct": round(window.cpu_percent, 1),
        "core_pct_per_bot": round(window.cpu_percent / bots, 3),
        "starved_pct": window.starved_percent and round(window.starved_percent, 1),
    }
    print(f"{bots} bots, {window.seconds:.0f} s: {figures['replies']} replies, {figures['interrupted']} interrupted")
    print(f"event loop late: p99 {figures['loop_lag_p99_ms']} ms, at most {figures['loop_lag_max_ms']} ms")
    print(f"packets missing: {figures['missing']} of {figures['packets']}; late p99 {figures['late_p99_ms']} ms")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
