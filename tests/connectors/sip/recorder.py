"""A recorder that calls a stage."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from connectors.sdp.description import SessionDescription, parse
from connectors.sip.message.message import SipResponse
from connectors.siprec.body import METADATA_TYPES
from sinks.record import CallAction
from tests.connectors.sip.peers import Caller
from tests.connectors.sip.stage import LOOPBACK, Phone, Stage
from trunkline.loadtest.bodies import Body, Participant, offer, recording

START, UPDATE, HOLD, RESUME, TRANSFER, END = (
    CallAction.START,
    CallAction.UPDATE,
    CallAction.HOLD,
    CallAction.RESUME,
    CallAction.TRANSFER,
    CallAction.END,
)


CARLA, ALEX, SAM = (
    Participant("Carla", "sip:+15550100@example.com"),
    Participant("Alex", "sip:4711@agents.example"),
    Participant("Sam", "sip:4720@agents.example"),
)


def said(*speakers: tuple[str, Participant], session: str = "cs-1") -> bytes:
    """Complete metadata in which each participant sends the stream of a label."""
    lines = ['<recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>complete</datamode>']
    lines += [f'<group group_id="g"/><session session_id="{session}"><group-ref>g</group-ref></session>']
    for label, who in speakers:
        lines.append(
            f'<participant participant_id="{who.name}"><nameID aor="{who.aor}"><name>{who.name}</name></nameID>'
            f'</participant><stream stream_id="s{label}" session_id="{session}"><label>{label}</label></stream>'
            f'<participantstreamassoc participant_id="{who.name}"><send>s{label}</send></participantstreamassoc>'
        )
    return "".join([*lines, "</recording>"]).encode()


@dataclass
class Recorder:
    """A recording client with one dialog. `ports`: of the server, by label."""

    phone: Phone
    caller: Caller
    ports: dict[str, int] = field(default_factory=dict)
    sequences: Counter[str] = field(default_factory=Counter)

    def sdp(self, *labels: str, direction: str = "sendonly") -> Body:
        body = offer(LOOPBACK, [self.phone.rtp_port] * len(labels), labels=labels)
        return replace(body, content=body.content.replace(b"a=sendonly", f"a={direction}".encode()))

    async def invite(self, sdp: Body, document: bytes | None = None, **fields: Any) -> SipResponse:
        """INVITE or re-INVITE, acknowledged where it is accepted."""
        body = sdp if document is None else recording(sdp, document, "parts")
        fields["Require"] = "siprec"
        request = self.caller.request("INVITE", body.content, content_type=body.content_type, **fields)
        answer = await self.phone.ask(request)
        if answer.status == 200:
            self.caller.learn(answer)
            self.phone.put(self.caller.ack(request))
            self.ports = {line.label or "": line.port for _, line in self.described(answer).audio}
        return answer

    async def update(self, document: bytes, content_type: str = METADATA_TYPES[0]) -> SipResponse:
        return await self.phone.ask(self.caller.request("UPDATE", document, content_type=content_type))

    async def talk(self, *labels: str, seconds: float) -> None:
        """Silence on these streams, faster than real time by a little."""
        for _ in range(round(seconds * 50)):
            for label in labels:
                self.phone.sequence = self.sequences[label]
                self.phone.say(self.ports[label], b"\xff" * 160)
                self.sequences[label] += 1
            await asyncio.sleep(0.015)

    async def hang_up(self) -> None:
        assert (await self.phone.ask(self.caller.request("BYE"))).status == 200

    @staticmethod
    def described(answer: SipResponse) -> SessionDescription:
        return parse(answer.body)


@asynccontextmanager
async def recorder_at(server: Stage) -> AsyncIterator[Recorder]:
    phone = await Phone.open(server.address)
    try:
        yield Recorder(phone, phone.caller())
    finally:
        phone.close()


def parts(sdp: Body, document: bytes, *headers: str) -> Body:
    """A multipart of a description and metadata with these header lines."""
    head = "".join(f"{line}\r\n" for line in headers).encode()
    first = b"--b42\r\nContent-Type: application/sdp\r\n\r\n" + sdp.content
    return Body(
        "multipart/mixed;boundary=b42", first + b"\r\n--b42\r\n" + head + b"\r\n" + document + b"\r\n--b42--\r\n"
    )
