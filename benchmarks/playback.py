"""How evenly many legs are spoken to at once, and what it costs.

`python -m benchmarks.playback [--legs 200] [--seconds 20] [--codec PCMU]`

Every leg is a bot with a null voice: 16 kHz audio written in pieces of 100 ms to an open utterance, sent as RTP to
telephones in another process on loopback, which talk all the time too. Connector, pipeline and playback are real; the
recogniser is a null recogniser. Reported: how late packets are against their RTP timestamps when the kernel has them,
packets after `stop`, CPU of the serving process a leg, the lag of the pipeline's ticks. The last line is JSON.
"""

import argparse
import asyncio
import json
import platform
import time
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.load.null_recognizer import NullRecognizer
from benchmarks.load.null_voice import RATE_HZ, speak
from benchmarks.load.telephones_process import start_telephones
from benchmarks.load.window import TickClock, Window, measure
from connectors.rtp.endpoint import RtpEndpoint
from connectors.rtp.ports import PortPool
from connectors.sdp import description as sdp
from connectors.sdp.capabilities import Capabilities
from connectors.sdp.offer_answer import Negotiated, NegotiationSession
from connectors.sdp.rtp_codec import RtpCodec
from pipeline.call import Call, CallInfo, LegOptions
from pipeline.calls import Calls
from pipeline.config import PipelineConfig
from sinks.record import SpeakerRole
from trunkline import loop
from trunkline.loadtest.bodies import offer

HOST = "127.0.0.1"
WARM_UP_S = 2.0
SETTLE_S = 0.5
FIRST_PORT, LAST_PORT = 20_000, 29_999
CODECS = {
    "PCMU": RtpCodec(0, "PCMU", 8_000),
    "PCMA": RtpCodec(8, "PCMA", 8_000),
    "G722": RtpCodec(9, "G722", 8_000),
    "OPUS": RtpCodec(96, "OPUS", 48_000, 2),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """`stopped_at`: by `time.time`. `streams`: as the telephones report them."""

    window: Window
    stopped_at: float
    streams: list[dict[str, Any]]
    underruns: int
    late_s: float
    heard_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--legs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--codec", choices=CODECS, default="PCMU")
    options = parser.parse_args()
    outcome = loop.run(_run(options.legs, options.seconds, CODECS[options.codec]))
    _print(options, outcome)


async def _run(legs: int, seconds: float, codec: RtpCodec) -> Outcome:
    calls = Calls(NullRecognizer(), lambda _records: None, PipelineConfig())
    ticking = asyncio.create_task(calls.run())
    telephones, orders, reports, port = await start_telephones()
    ports = PortPool(FIRST_PORT, LAST_PORT)
    endpoints, running = [], []
    for number in range(legs):
        call = calls.start(CallInfo(f"call-{number}", "rtp"))
        leg = call.add_leg(LegOptions("caller", SpeakerRole.CUSTOMER, 0))
        endpoint = await RtpEndpoint.open(HOST, ports)
        endpoint.attach(leg)
        endpoint.update(_agreed(endpoint.port, port, codec))
        leg.connect_outlet(endpoint.outlet)
        endpoints.append(endpoint)
        running.append(call)
    order = {
        "ports": [endpoint.port for endpoint in endpoints],
        "seconds": WARM_UP_S + seconds + 1,
        "clock_hz": codec.clock_rate,
    }
    orders.write(json.dumps(order).encode() + b"\n")
    ticks = TickClock(calls)
    said = [call.speak("caller", RATE_HZ) for call in running]
    voices = [asyncio.create_task(speak(one)) for one in said]
    await asyncio.sleep(WARM_UP_S)
    before = calls.stats.playback.seconds
    window = await measure(calls, ticks, lambda: round((calls.stats.playback.seconds - before) * 50), seconds)
    stopped_at = _stop_all(running)
    await asyncio.gather(*voices)
    await asyncio.sleep(1 + SETTLE_S)
    orders.write(b"\n")
    streams = json.loads(await reports.readline())
    playback = calls.stats.playback
    for endpoint in endpoints:
        await endpoint.close()
    await asyncio.gather(*(call.end("over") for call in running))
    ticking.cancel()
    await telephones.wait()
    heard_s = sum(one.heard().seconds for one in said)
    return Outcome(window, stopped_at, streams, playback.underruns, playback.late_s, heard_s)


def _stop_all(running: list[Call]) -> float:
    for call in running:
        call.stop("caller")
    return time.time()


def _agreed(local_port: int, remote_port: int, codec: RtpCodec) -> Negotiated:
    """With the telephones' socket; what is sent has this codec, what comes is PCMU."""
    session = NegotiationSession(HOST, Capabilities(), lambda: local_port)
    _, streams = session.answer(sdp.parse(offer(HOST, [remote_port]).content))
    return replace(streams[0], codec=codec)


def _print(options: argparse.Namespace, outcome: Outcome) -> None:
    window, streams = outcome.window, outcome.streams
    late = sorted(one for stream in streams for one in stream["late_ms"])
    figures = {
        "benchmark": "playback",
        "machine": platform.processor() or platform.machine(),
        "codec": options.codec,
        "legs": options.legs,
        "streams": len(streams),
        "seconds": round(window.seconds, 1),
        "packets": sum(stream["packets"] for stream in streams),
        "missing": sum(stream["missing"] for stream in streams),
        "spurts": sum(stream["spurts"] for stream in streams),
        "late_p50_ms": late[len(late) // 2],
        "late_p99_ms": late[len(late) * 99 // 100],
        "late_max_ms": late[-1],
        "packets_after_stop": sum(stream["last"] > outcome.stopped_at + 1e-3 for stream in streams),
        "unheard_s": round(sum(stream["packets"] for stream in streams) / 50 - outcome.heard_s, 3),
        "underruns": outcome.underruns,
        "passed_over_s": round(outcome.late_s, 3),
        "core_pct": round(window.cpu_percent, 1),
        "core_pct_per_leg": round(window.cpu_percent / options.legs, 3),
        "us_per_packet": round(window.us_per_packet, 1),
        "tick_lag_p99_ms": round(window.tick_lag_p99_ms, 1),
        "tick_lag_max_ms": round(window.tick_lag_max_ms, 1),
        "starved_pct": window.starved_percent and round(window.starved_percent, 1),
    }
    print(f"{options.legs} legs, {window.seconds:.0f} s, {options.codec}: {figures['packets']} packets")
    print(f"late against their timestamps: p99 {figures['late_p99_ms']} ms, at most {figures['late_max_ms']} ms")
    print(f"a leg, spoken to and heard: {figures['core_pct_per_leg']} % of a core")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
