"""Calls by SIP, and recording sessions by SIPREC: signalling, media and their clock around the core in `uac`."""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from connectors.sdp import description as sdp
from connectors.sip.digest import DigestClient
from connectors.sip.message.message import SipMessage
from connectors.sip.message.uri import SipUri
from supervision import Supervisor
from trunkline.loadtest import bodies
from trunkline.loadtest.bodies import Body, Participant
from trunkline.loadtest.outcome import CallOutcome
from trunkline.loadtest.rtp_sender import SAMPLES, PacedRtpSender, PacedRtpStream, open_socket
from trunkline.loadtest.script import RATE_HZ, CallScript
from trunkline.loadtest.signalling import TcpSignalling, UdpSignalling
from trunkline.loadtest.uac import CallAnswered, CallOver, CallRefused, Identity, UacCall

MAX_QUIET_S = 40.0
"""Every wait for the server ends by then, as the timers of the core do (32 s)."""

LINGER_S = 5.0
"""A call that is over is remembered for so long."""

PARTICIPANTS = {
    "inbound": Participant("Load test customer", "sip:customer@loadtest.invalid"),
    "outbound": Participant("Load test agent", "sip:agent@loadtest.invalid"),
}


@dataclass(slots=True, eq=False)
class _Line:
    """A call under way. `answer`: what became of the INVITE; `over`: set when the call is."""

    core: UacCall
    answer: "asyncio.Future[CallAnswered | CallRefused]"
    over: asyncio.Event = field(default_factory=asyncio.Event)
    by_server: bool = False
    timer: asyncio.TimerHandle | None = None


class SipCaller:
    """Calls `target` from `user`, playing one track a call; with `recording`, every track of the script is a labelled
    stream of a recording session (RFC 7866).

    The INVITE's `X-Loadtest` header and Call-ID bear the key of the call. Media go where the server's answer says.
    """

    setup = "INVITE to 200"

    def __init__(
        self,
        target: SipUri,
        script: CallScript,
        *,
        recording: bool = False,
        user: str = "loadtest",
        credentials: tuple[str, str] | None = None,
        local_address: str | None = None,
    ) -> None:
        self.kind = "siprec" if recording else "sip"
        self.tracks = tuple(track.name for track in script.tracks)
        self._target, self._script, self._recording = target, script, recording
        self._user, self._credentials, self._local_address = user, credentials, local_address
        tcp = target.transport == "tcp"
        self._signalling = TcpSignalling(self._deliver) if tcp else UdpSignalling(self._deliver)
        self._local = ("", 0)
        self._sender = PacedRtpSender()
        self._sending: asyncio.Task[object] | None = None
        self.supervisor = Supervisor()
        self._lines: dict[str, _Line] = {}

    async def start(self) -> None:
        """Raises `ConfigError` where there is no way to the server."""
        self._local = await self._signalling.open(self._local_address, self._target.address)
        self._sending = self.supervisor.keep(self._sender.run(), "RTP of the load test")

    def new_key(self) -> str:
        return f"{secrets.token_hex(12)}@loadtest.invalid"

    async def close(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
        self._signalling.close()

    async def call(self, key: str, play_s: float) -> CallOutcome:
        outcome = CallOutcome(key)
        sockets = [open_socket(self._local[0]) for _ in self.tracks]
        streams: list[PacedRtpStream] = []
        line: _Line | None = None
        try:
            line = self._place(key, [sock.getsockname()[1] for sock in sockets])
            began = time.monotonic()
            answer = await asyncio.wait_for(line.answer, MAX_QUIET_S)
            if isinstance(answer, CallRefused):
                outcome.refused = answer.cause
                return outcome
            outcome.setup_ms = 1000 * (time.monotonic() - began)
            remotes = _remotes(answer.body, len(self.tracks))
            if remotes is None:
                outcome.broken = "the answer takes no PCMU"
            else:
                samples = int(play_s * RATE_HZ)
                streams = [
                    PacedRtpStream(sock, remote, track.codes[:samples])
                    for sock, remote, track in zip(sockets, remotes, self._script.tracks, strict=True)
                ]
                await self._play(line, streams)
            await self._hang_up(line, outcome)
        except TimeoutError:
            outcome.refused = f"no answer within {MAX_QUIET_S:g} s"
        except asyncio.CancelledError:
            if line is not None:
                line.core.hang_up(time.monotonic())
                self._pump(line)
            raise
        finally:
            for stream in streams:
                self._sender.remove(stream)
            for sock in sockets:
                sock.close()
            # A lost ACK or 200 brings the server's messages again.
            asyncio.get_running_loop().call_later(LINGER_S, self._forget, key)
        outcome.packets = sum(stream.sent for stream in streams)
        outcome.played_s = max((stream.sent for stream in streams), default=0) * SAMPLES / RATE_HZ
        outcome.behind_s = self._sender.behind_s
        return outcome

    async def _play(self, line: _Line, streams: Sequence[PacedRtpStream]) -> None:
        """Until everything is out or the server hangs up."""
        for stream in streams:
            self._sender.add(stream)
        tasks = [asyncio.create_task(self._played(streams)), asyncio.create_task(line.over.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    @staticmethod
    async def _played(streams: Sequence[PacedRtpStream]) -> bool:
        for stream in streams:
            await stream.done.wait()
        return True

    async def _hang_up(self, line: _Line, outcome: CallOutcome) -> None:
        line.core.hang_up(time.monotonic())
        self._pump(line)
        await asyncio.wait_for(line.over.wait(), MAX_QUIET_S)
        if line.by_server and outcome.broken is None:
            outcome.broken = "the server hung up"

    def _place(self, key: str, ports: Sequence[int]) -> _Line:
        labels = [str(index + 1) for index in range(len(ports))] if self._recording else []
        description = bodies.offer(self._local[0], ports, labels=labels)
        body, contact, extra = description, "", [("X-Loadtest", key)]
        if self._recording:
            body, contact = self._recording_body(key, description, labels), ";+sip.src"
            extra.append(("Require", "siprec"))
        identity = Identity(self._user, *self._local, self._signalling.transport_name, contact)
        core = UacCall(
            self._target,
            identity,
            body,
            description,
            call_id=key,
            new_token=_token,
            digest=None if self._credentials is None else DigestClient(*self._credentials),
            extra=tuple(extra),
        )
        line = self._lines[key] = _Line(core, asyncio.get_running_loop().create_future())
        core.start(time.monotonic())
        self._pump(line)
        return line

    def _recording_body(self, key: str, description: Body, labels: Sequence[str]) -> Body:
        at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        participants = [PARTICIPANTS[name] for name in self.tracks]
        return bodies.recording(description, bodies.metadata(key, participants, labels, at), f"rs-{_token()}")

    def _deliver(self, message: SipMessage) -> None:
        line = self._lines.get(message.headers.get("Call-ID") or "")
        if line is not None:
            line.core.receive(message, time.monotonic())
            self._pump(line)

    def _pump(self, line: _Line) -> None:
        """Carry out what the core wants, and set its timer."""
        for octets in line.core.take_outbox():
            self._signalling.send(octets)
        for event in line.core.take_events():
            match event:
                case CallAnswered() | CallRefused() if not line.answer.done():
                    line.answer.set_result(event)
                case CallOver(by_server):
                    line.by_server = by_server
                    line.over.set()
        due = line.core.next_timer()
        if line.timer is not None:
            line.timer.cancel()
        line.timer = None if due is None else _at(due, self._tick, line)

    def _tick(self, line: _Line) -> None:
        line.core.handle_timer(time.monotonic())
        self._pump(line)

    def _forget(self, key: str) -> None:
        line = self._lines.pop(key)
        if line.timer is not None:
            line.timer.cancel()


def _at(due: float, callback: Callable[[_Line], None], line: _Line) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(max(due - time.monotonic(), 0.0), callback, line)


def _token() -> str:
    return secrets.token_hex(8)


def _remotes(body: bytes, streams: int) -> list[tuple[str, int]] | None:
    """Where each stream's media go, by the answer's audio lines; None where one was refused."""
    try:
        lines = sdp.parse(body).audio
    except sdp.SdpError:
        return None
    remotes = [(media.address, media.port) for _, media in lines if media.address is not None]
    return [(host, port) for host, port in remotes[:streams]] if len(remotes) >= streams else None
