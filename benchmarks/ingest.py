"""What one packet of audio costs this server before the recogniser, with a thousand calls at once.

`python -m benchmarks.ingest [--legs 1000] [--seconds 10] [--peer-python PYTHON]`

One process takes PCMU legs over RTP, then as many over Twilio's WebSocket messages, from a sender in another process
on loopback, 20 ms a packet in real time. The connector, the queue, decoding and resampling are real; the recogniser is
a null recogniser. CPU is that of the receiving process, kernel time included, per packet. Beside them, in the same
run, Pipecat's pipeline with its Twilio serializer and aiortc's receiver, a leg each; `--peer-python` names an
interpreter that has `pipecat-ai[websocket]` and `aiortc` (default: this one; what is missing is skipped). The last
line is JSON.
"""

import argparse
import asyncio
import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from aiohttp import web

from benchmarks.load.null_recognizer import NullRecognizer
from benchmarks.load.sender import INTERVAL_S
from benchmarks.load.window import TickClock, Window, measure
from connectors.media_ws import MediaLimits, TwilioConfig, twilio
from connectors.rtp.endpoint import RtpEndpoint
from connectors.rtp.ports import PortPool
from connectors.sdp import description as sdp
from connectors.sdp.capabilities import Capabilities
from connectors.sdp.offer_answer import Negotiated, NegotiationSession
from engine.api import SAMPLE_RATE_HZ
from pipeline.call import CallInfo, LegOptions
from pipeline.calls import Calls
from pipeline.config import PipelineConfig
from sinks.record import SpeakerRole
from trunkline import loop
from trunkline.loadtest.bodies import offer

WARM_UP_S = 2.0
SETTLE_S = 0.5
PEER_S = 60.0
"""How much longer than its measurement another project's process may take."""

SAMPLES_A_PACKET = 320
"""20 ms at 16 kHz, as the recogniser gets it."""

HOST = "127.0.0.1"
FIRST_PORT, LAST_PORT = 20_000, 29_999
SATURATED_PERCENT = 95
FELL_BEHIND = "FELL BEHIND: this is no figure for calls in real time; fewer legs, or a machine with less to do"
GOALS_US = {"rtp": (12, 20), "twilio": (15, 25)}
"""Goal and hard limit a packet."""


@dataclass(frozen=True, slots=True)
class Sent:
    packets: int
    late_p50_ms: float
    late_max_ms: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """`received` of `sent` packets; `heard_s`: audio that reached the recogniser, seconds. `legs`: that sent."""

    legs: int
    window: Window
    sent: Sent
    received: int
    heard_s: float

    @property
    def kept_up(self) -> bool:
        """Everything came through, as fast as it was sent, with some of the core to spare. A server without reads in
        bulk: its cost a packet looks better than it is, and says nothing about calls in real time."""
        window, expected = self.window, self.legs * self.window.seconds / INTERVAL_S
        through = self.sent.packets == self.received and window.packets >= 0.98 * expected
        return through and window.cpu_percent < SATURATED_PERCENT


def main() -> None:
    options = _options()
    results: dict[str, Outcome] = {}
    for kind, run in (("rtp", _rtp), ("twilio", _twilio)):
        if kind not in options.skip:
            results[kind] = loop.run(run(options.legs, options.seconds))
            _print_outcome(kind, options.legs, results[kind])
    peers = {name: _peer(name, options) for name in ("pipecat", "aiortc") if name not in options.skip}
    _print_json(options, results, peers)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--legs", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--peer-legs", type=int, default=20)
    parser.add_argument("--peer-python", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--skip", action="append", default=[], choices=("rtp", "twilio", "pipecat", "aiortc"))
    return parser.parse_args()


async def _rtp(legs: int, seconds: float) -> Outcome:
    recognizer = NullRecognizer()
    calls = Calls(recognizer, lambda _records: None, PipelineConfig())
    ticking = asyncio.create_task(calls.run())
    ports = PortPool(FIRST_PORT, LAST_PORT)
    endpoints, running = [], []
    for number in range(legs):
        call = calls.start(CallInfo(f"call-{number}", "rtp"))
        endpoint = await RtpEndpoint.open(HOST, ports)
        endpoint.attach(call.add_leg(LegOptions("caller", SpeakerRole.CUSTOMER, 0)))
        endpoint.update(_agreed(endpoint.port))
        endpoints.append(endpoint)
        running.append(call)
    order = {"kind": "rtp", "ports": [endpoint.port for endpoint in endpoints]}
    window, sent = await _receive(calls, recognizer, order, seconds)
    received = sum(endpoint.stats.received for endpoint in endpoints)
    for endpoint in endpoints:
        await endpoint.close()
    await asyncio.gather(*(call.end("over") for call in running))
    ticking.cancel()
    return Outcome(legs, window, sent, received, recognizer.samples / SAMPLE_RATE_HZ)


def _agreed(port: int) -> Negotiated:
    """PCMU on this port, with a peer whose port will show when it sends."""
    session = NegotiationSession(HOST, Capabilities(), lambda: port)
    _, streams = session.answer(sdp.parse(offer(HOST, [9]).content))
    return streams[0]


async def _twilio(legs: int, seconds: float) -> Outcome:
    recognizer = NullRecognizer()
    calls = Calls(recognizer, lambda _records: None, PipelineConfig())
    socket = twilio(calls, TwilioConfig(limits=MediaLimits(max_pending=legs)))
    application = web.Application()
    application.add_routes(socket.routes())
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0, backlog=legs)
    await site.start()
    port = runner.addresses[0][1]
    ticking = asyncio.create_task(calls.run())
    order = {"kind": "twilio", "port": port, "path": "/twilio", "legs": legs}
    window, sent = await _receive(calls, recognizer, order, seconds)
    await socket.close()
    await runner.cleanup()
    ticking.cancel()
    return Outcome(legs, window, sent, socket.stats.packets, recognizer.samples / SAMPLE_RATE_HZ)


async def _receive(
    calls: Calls, recognizer: NullRecognizer, order: Mapping[str, Any], seconds: float
) -> tuple[Window, Sent]:
    """Let a sender carry out the order and measure in the middle of it. Returns when all that was sent is through."""
    ticks = TickClock(calls)
    sender = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.load.sender"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
    )
    assert sender.stdin is not None
    assert sender.stdout is not None
    sender.stdin.write(json.dumps(dict(order) | {"seconds": WARM_UP_S + seconds + 1.0}).encode() + b"\n")
    if await sender.stdout.readline() != b"ready\n":
        raise RuntimeError("the sender did not start: see its message above")
    await asyncio.sleep(WARM_UP_S)
    window = await measure(calls, ticks, lambda: recognizer.samples // SAMPLES_A_PACKET, seconds)
    sent = json.loads(await sender.stdout.readline())
    await asyncio.sleep(SETTLE_S)
    sender.stdin.close()
    await sender.wait()
    await asyncio.sleep(SETTLE_S)
    return window, Sent(sent["sent"], sent["late_p50_ms"], sent["late_max_ms"])


def _peer(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Microseconds a packet of another project, by its own process; {"skipped": why} where it cannot be had."""
    command = [options.peer_python, "-m", f"benchmarks.load.{name}_peer", str(options.peer_legs), str(options.seconds)]
    try:
        done = subprocess.run(
            command,
            cwd=Path(__file__).parent.parent,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            timeout=options.seconds + PEER_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"skipped": f"{name} did not run: {error}"}
    if done.returncode:
        return {"skipped": f"{name} did not run: see its message above"}
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _print_outcome(kind: str, legs: int, outcome: Outcome) -> None:
    goal, limit = GOALS_US[kind]
    window, sent = outcome.window, outcome.sent
    print(
        f"{kind}: {legs} PCMU legs, null recogniser, {window.seconds:.1f} s\n"
        f"  {window.us_per_packet:.1f} us a packet, decoding and resampling included (goal {goal}, limit {limit}); "
        f"{window.packets / window.seconds:.0f} packets/s on {window.cpu_percent:.0f} % of a core\n"
        f"  sent {sent.packets}, received {outcome.received}, lost {sent.packets - outcome.received}; "
        f"{outcome.heard_s:.0f} s of audio reached the recogniser\n"
        f"  tick lag p99 {window.tick_lag_p99_ms:.1f} ms, max {window.tick_lag_max_ms:.1f} ms, "
        f"{window.skipped_ticks} ticks left out; {_starved(window)}; sender late by p50 {sent.late_p50_ms:.2f} ms, max "
        f"{sent.late_max_ms:.1f} ms"
        f"{'' if outcome.kept_up else chr(10) + '  ' + FELL_BEHIND}",
        flush=True,
    )


def _starved(window: Window) -> str:
    if window.starved_percent is None:
        return "how often others had the cores is not known"
    return f"without a core {window.starved_percent:.0f} % of the time"


def _print_json(options: argparse.Namespace, results: Mapping[str, Outcome], peers: Mapping[str, Any]) -> None:
    data: dict[str, Any] = {"legs": options.legs}
    for kind, key in (("rtp", "us_per_rtp_packet"), ("twilio", "us_per_twilio_message")):
        outcome = results.get(kind)
        data[key] = None if outcome is None else round(outcome.window.us_per_packet, 2)
        if outcome is not None:
            data[f"{kind}_lost"] = outcome.sent.packets - outcome.received
            data[f"{kind}_tick_lag_p99_ms"] = round(outcome.window.tick_lag_p99_ms, 2)
            data[f"{kind}_kept_up"] = outcome.kept_up
            starved = outcome.window.starved_percent
            data[f"{kind}_starved_percent"] = None if starved is None else round(starved, 1)
    for name, kind in (("pipecat", "twilio"), ("aiortc", "rtp")):
        peer = peers.get(name, {"skipped": "not asked for"})
        ours = results.get(kind)
        if "skipped" in peer or ours is None:
            print(f"{name}: skipped: {peer.get('skipped', f'no {kind} figure of ours to set beside it')}")
            data[f"ratio_{name}"] = None
            continue
        slow = [who for who, kept in ((name, peer["kept_up"]), ("ours", ours.kept_up)) if not kept]
        behind = "".join(f"; {who} fell behind, which flatters it" for who in slow)
        data[f"ratio_{name}"] = round(peer["us_per_packet"] / ours.window.us_per_packet, 1)
        print(
            f"{name} {peer['version']}: {peer['what']}, {peer['legs']} legs: {peer['us_per_packet']:.1f} us a packet, "
            f"{data[f'ratio_{name}']} times ours (at least 10 wanted){behind}"
        )
    data["machine"], data["cores"] = platform.machine(), psutil.cpu_count()
    print(json.dumps(data))


if __name__ == "__main__":
    main()
