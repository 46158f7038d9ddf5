"""A `SipConnector` on loopback sockets with the real pipeline and a scripted recogniser, and a telephone to call it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from connectors.rtp.packet import RtpPacket
from connectors.rtp.rtcp import ReceiverReport, encode_compound
from connectors.sdp.description import SessionDescription, parse
from connectors.sip import SipConfig, SipConnector
from connectors.sip.message.message import SipRequest, SipResponse, encode
from connectors.sip.message.parser import parse_datagram
from connectors.sip.transaction import Flow, TimerValues
from pipeline.calls import Calls
from pipeline.config import PipelineConfig
from sinks.record import AnyRecord, CallAction, CallRecord, DtmfRecord, TranscriptRecord
from tests.connectors.sip.peers import Caller
from tests.pipeline.scripted import Cue, ScriptedRecognizer

LOOPBACK = "127.0.0.1"
CONFIG = SipConfig(udp=f"{LOOPBACK}:0", tcp=None)
START, HOLD, RESUME, END = CallAction.START, CallAction.HOLD, CallAction.RESUME, CallAction.END


@dataclass
class Stage:
    """`records`: everything published, in order."""

    calls: Calls
    connector: SipConnector
    recognizer: ScriptedRecognizer
    records: list[AnyRecord] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        return self.connector.addresses["UDP"]

    def call_records(self) -> list[CallRecord]:
        return [one for one in self.records if isinstance(one, CallRecord)]

    def actions(self) -> list[CallAction]:
        return [one.action for one in self.call_records()]

    def keys(self) -> list[str]:
        return [one.digit for one in self.records if isinstance(one, DtmfRecord)]

    def finals(self) -> list[TranscriptRecord]:
        return [one for one in self.records if isinstance(one, TranscriptRecord) and one.is_final]

    async def until(self, condition: Callable[[], object], timeout_s: float = 10.0) -> None:
        """Wait until it is true; fails after `timeout_s`."""
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - records come from many places, none of which has an event
                await asyncio.sleep(0.005)

    async def ended(self, count: int = 1) -> list[CallRecord]:
        """The END records, once there are so many."""
        await self.until(lambda: self.actions().count(CallAction.END) >= count)
        return [one for one in self.call_records() if one.action is CallAction.END]


@asynccontextmanager
async def stage(
    config: SipConfig = CONFIG,
    *scripts: list[Cue],
    max_sessions: int = 64,
    pipeline: PipelineConfig | None = None,
    timers: TimerValues | None = None,
    answers: bool = True,
) -> AsyncIterator[Stage]:
    """Runs until it is left; the server is closed then. `answers`: as those of the recogniser."""
    recognizer = ScriptedRecognizer(*scripts, max_sessions=max_sessions, answers=answers)
    records: list[AnyRecord] = []

    def publish(batch: Sequence[AnyRecord]) -> None:
        records.extend(batch)

    calls = Calls(recognizer, publish, pipeline or PipelineConfig(tick_ms=5))
    connector = SipConnector(calls, config, timers=timers)
    await connector.start()

    async def recognise() -> None:
        while True:
            recognizer.steps()
            await asyncio.sleep(0.002)

    working = [asyncio.create_task(calls.run()), asyncio.create_task(recognise())]
    try:
        try:
            yield Stage(calls, connector, recognizer, records)
        finally:
            await connector.close()
        assert len(connector.uas.calls) == 0
        assert connector.stats.failed == 0
        assert calls.active == 0
    finally:
        for task in working:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


class Phone(asyncio.DatagramProtocol):
    """A socket for SIP and one for RTP. As `line` it gives a `Caller` its flow."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[SipRequest | SipResponse] = asyncio.Queue()
        self.heard: list[bytes] = []
        self.flow = Flow("UDP", ("", 0), ("", 0))
        self.sequence = 0
        self._sip: asyncio.DatagramTransport
        self._rtp: asyncio.DatagramTransport

    @classmethod
    async def open(cls, server: tuple[str, int]) -> "Phone":
        phone, loop = cls(), asyncio.get_running_loop()
        phone._sip, _ = await loop.create_datagram_endpoint(lambda: phone, local_addr=(LOOPBACK, 0), remote_addr=server)
        phone._rtp, _ = await loop.create_datagram_endpoint(lambda: _Ear(phone.heard), local_addr=(LOOPBACK, 0))
        return phone

    @property
    def contact(self) -> str:
        host, port = self._sip.get_extra_info("sockname")
        return f"<sip:caller@{host}:{port}>"

    @property
    def rtp_port(self) -> int:
        return int(self._rtp.get_extra_info("sockname")[1])

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.messages.put_nowait(parse_datagram(data))

    def caller(self) -> Caller:
        host, port = self._sip.get_extra_info("sockname")
        caller = Caller(self, contact=self.contact, via=f"{host}:{port}")
        caller.call_id = f"{caller.call_id}-{port}"
        return caller

    def put(self, message: SipRequest | SipResponse) -> None:
        self._sip.sendto(encode(message))

    def send(self, data: bytes) -> None:
        """A datagram to the SIP port."""
        self._sip.sendto(data)

    async def answer(self) -> SipResponse:
        """The next answer that is no 100."""
        while True:
            message = await asyncio.wait_for(self.messages.get(), 10)
            if isinstance(message, SipResponse) and message.status > 100:
                return message

    async def ask(self, request: SipRequest) -> SipResponse:
        """The answer to this request: one to an earlier request may come again before it."""
        self.put(request)
        while True:
            answer = await self.answer()
            if answer.headers.get("CSeq") == request.headers.get("CSeq"):
                return answer

    async def hear_request(self, method: str) -> SipRequest:
        """The next request of this method, answered with 200."""
        while True:
            message = await asyncio.wait_for(self.messages.get(), 10)
            if isinstance(message, SipRequest) and message.method == method:
                self.put(message.response(200))
                return message

    async def call(self, caller: Caller, body: bytes | None = None, **fields: Any) -> SessionDescription:
        """INVITE, 200, ACK; the server's description. `body` None: an offer of PCMU."""
        invite = caller.request("INVITE", self.offer() if body is None else body, **fields)
        ok = await self.ask(invite)
        assert ok.status == 200, ok
        caller.learn(ok)
        self.put(caller.ack(invite))
        return parse(ok.body)

    def offer(self, direction: str = "sendrecv", address: str = LOOPBACK, codecs: str = "0 101") -> bytes:
        """One audio line on our RTP port."""
        lines = [
            "v=0",
            f"o=- 1 1 IN IP4 {LOOPBACK}",
            "s=-",
            f"c=IN IP4 {address}",
            "t=0 0",
            f"m=audio {self.rtp_port} RTP/AVP {codecs}",
            "a=rtpmap:101 telephone-event/8000",
            f"a={direction}",
        ]
        return "\r\n".join([*lines, ""]).encode()

    def say(self, port: int, payload: bytes, *, payload_type: int = 0, timestamp: int | None = None) -> None:
        """A packet of 20 ms."""
        packet = RtpPacket(
            payload_type=payload_type,
            sequence=self.sequence,
            timestamp=self.sequence * 160 if timestamp is None else timestamp,
            ssrc=1,
            payload=payload,
        )
        self.sequence += 1
        self._rtp.sendto(packet.encode(), (LOOPBACK, port))

    def send_rtp(self, data: bytes, port: int) -> None:
        """A datagram from the RTP port to one of the server's."""
        self._rtp.sendto(data, (LOOPBACK, port))

    def report(self, port: int) -> None:
        """A receiver report of a peer that sends nothing."""
        self._rtp.sendto(encode_compound([ReceiverReport(1)]), (LOOPBACK, port + 1))

    def noise(self, port: int) -> None:
        """What is no RTCP, to its port."""
        self._rtp.sendto(b"nothing", (LOOPBACK, port + 1))

    async def talk(self, port: int, seconds: float = 0.5) -> None:
        """Silence in PCMU, faster than real time by a little."""
        for _ in range(round(seconds * 50)):
            self.say(port, b"\xff" * 160)
            await asyncio.sleep(0.015)

    def close(self) -> None:
        self._sip.close()
        self._rtp.close()


@asynccontextmanager
async def phone_at(server: Stage) -> AsyncIterator[Phone]:
    """A telephone that calls this server, until it is left."""
    phone = await Phone.open(server.address)
    try:
        yield phone
    finally:
        phone.close()


async def hang_up(phone: Phone, caller: Caller) -> None:
    assert (await phone.ask(caller.request("BYE"))).status == 200


class _Ear(asyncio.DatagramProtocol):
    def __init__(self, heard: list[bytes]) -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._heard.append(data)


def changed(**values: object) -> SipConfig:
    """The test configuration with these values."""
    return msgspec.structs.replace(CONFIG, **values)
