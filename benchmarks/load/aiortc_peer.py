"""aiortc's cost of one PCMU packet: its receiver with its jitter buffer and decoder thread, a receiver a leg, the
track read as an application reads it.

`python -m benchmarks.load.aiortc_peer LEGS SECONDS`, run by an interpreter that has `aiortc`. The packets come from the
same sender as those for our own server, by plain UDP: DTLS and ICE cost nothing here. Resampling to 16 kHz is PyAV's.
The last line is JSON.
"""

import asyncio
import contextlib
import importlib
import importlib.util
import sys
import time
from types import SimpleNamespace
from typing import Any

from benchmarks.load.peer import WARM_UP_S, attribute, figures, leave, start_sender

HOST = "127.0.0.1"
RATE_HZ = 16_000


class Counters:
    packets = 0
    samples = 0


class Leg(asyncio.DatagramProtocol):
    """Datagrams to a receiver."""

    def __init__(self, receiver: Any, parse: Any) -> None:
        self._receiver, self._parse = receiver, parse

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:  # noqa: ARG002
        Counters.packets += 1
        coroutine = self._receiver._handle_rtp_packet(self._parse(data), arrival_time_ms=int(time.time() * 1000))
        with contextlib.suppress(StopIteration):  # it waits for nothing where there is no loss
            coroutine.send(None)


async def main() -> None:
    legs, seconds = int(sys.argv[1]), float(sys.argv[2])
    loop = asyncio.get_running_loop()
    parse = attribute("aiortc.rtp.RtpPacket").parse
    ports, listening = [], []
    for number in range(legs):
        receiver = await _receiver(number)
        listening.append(asyncio.create_task(_listen(receiver.track)))
        transport, _ = await loop.create_datagram_endpoint(lambda r=receiver: Leg(r, parse), local_addr=(HOST, 0))  # type: ignore[misc]
        ports.append(transport.get_extra_info("sockname")[1])
    sender = await start_sender({"kind": "rtp", "ports": ports}, seconds)
    await asyncio.sleep(WARM_UP_S)
    before, began, cpu = (Counters.packets, Counters.samples), time.monotonic(), time.process_time()
    await asyncio.sleep(seconds)
    cpu, took = time.process_time() - cpu, time.monotonic() - began
    handled, samples = Counters.packets - before[0], Counters.samples - before[1]
    what = "receiver with jitter buffer and decoder thread, PyAV resampler, no DTLS"
    print(figures("aiortc", what, legs, handled, cpu, kept_up=samples >= 0.95 * legs * took * RATE_HZ), flush=True)
    sender.kill()
    leave()


async def _receiver(number: int) -> Any:
    parameters = importlib.import_module("aiortc.rtcrtpparameters")
    module = importlib.import_module("aiortc.rtcrtpreceiver")
    transport = SimpleNamespace(
        state="connected",
        _register_rtp_receiver=lambda _receiver, _parameters: None,
        _unregister_rtp_receiver=lambda _receiver: None,
    )
    receiver = module.RTCRtpReceiver("audio", transport)
    receiver._track = module.RemoteStreamTrack("audio", str(number))
    codec = parameters.RTCRtpCodecParameters(mimeType="audio/PCMU", clockRate=8000, channels=1, payloadType=0)
    await receiver.receive(parameters.RTCRtpReceiveParameters(codecs=[codec]))
    return receiver


async def _listen(track: Any) -> None:
    """What an application that recognises does with the track."""
    resampler = importlib.import_module("av").AudioResampler("s16", "mono", RATE_HZ)
    while True:
        frame = await track.recv()
        for part in resampler.resample(frame):
            Counters.samples += part.to_ndarray().size


if __name__ == "__main__":
    if importlib.util.find_spec("aiortc") is None:
        sys.exit(f"aiortc is not installed for {sys.executable}")
    with contextlib.suppress(ImportError):
        importlib.import_module("uvloop").install()
    asyncio.run(main())
