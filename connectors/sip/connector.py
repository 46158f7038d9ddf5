"""The SIP and SIPREC server: sockets, the `SipUas`, and a `DialogCall` for each dialog. The clock is read here.

Everything a peer sends is answered within the same turn of the event loop, but for an INVITE whose legs an engine in
another process has to take first; that, and the ends of calls, whose last words take time, run in tasks of their own. A
fault in one call ends that call.
"""

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from aiohttp import web

from connectors.calls import CallRegistry
from connectors.errors import ConnectorError
from connectors.rtp.endpoint import RtpEndpoint
from connectors.rtp.ports import PortPool
from connectors.rtp.reader import MediaReader
from connectors.sip.call import Acknowledged, Answer, Ended, IncomingCall, Info, Reoffer, SipCall, UasEvent
from connectors.sip.config import SipConfig, parse_listen
from connectors.sip.dialog_call import DialogCall, Shared, SipRefused, refusal_of
from connectors.sip.digest import DigestAuthenticator
from connectors.sip.media import DialogStream, MediaPlace
from connectors.sip.message.message import SipRequest, SipResponse
from connectors.sip.message.parser import MalformedMessage
from connectors.sip.oddity_log import OddityLog
from connectors.sip.options import UasOptions
from connectors.sip.recording_dialog import RecordedDialog, Recordings
from connectors.sip.session_timer import SessionTimerOptions
from connectors.sip.stats import SipStats
from connectors.sip.transaction import Flow, TimerValues
from connectors.sip.transport.peers import AllowList
from connectors.sip.transport.tcp import TcpTransport, tls_context
from connectors.sip.transport.udp import UdpTransport
from connectors.sip.uas import SipUas
from connectors.siprec.recording_session import RecordedCalls
from pipeline.errors import Draining
from supervision import Supervisor

logger = logging.getLogger(__name__)

SILENCE_CHECK_S = 1.0
"""How often calls are looked at for silence."""

GOODBYE_S = 1.0
"""How long the answers to our BYEs are waited for when the server closes."""


AFTER_FAULT_S = 0.1
"""How long timers pause after one of them has failed, so that one which fails for ever does not take all the time."""


class SipUnavailable(ConnectorError):
    """An address cannot be listened on, or the certificate not be used; the message says which and why."""


class SipConnector:
    """Made from its section of the configuration. `timers`: of the transactions, other than in RFC 3261 for tests."""

    def __init__(
        self,
        calls: CallRegistry,
        config: SipConfig,
        *,
        ports: PortPool | None = None,
        timers: TimerValues | None = None,
    ) -> None:
        self._config = config
        self._ports = ports or PortPool(config.rtp.first_port, config.rtp.last_port)
        authenticator = _authenticator(config)
        self.uas = SipUas(_options(config, timers), authenticator)
        recorded = RecordedCalls(config.recording_roles)
        self.stats = SipStats(
            requests=self.uas.stats, transactions=self.uas.transactions.stats, recording=recorded.stats
        )
        if authenticator is not None:
            self.stats.digest = authenticator.stats
        self._dialogs: dict[SipCall, DialogCall] = {}
        self._transports: dict[str, UdpTransport | TcpTransport] = {}
        self.supervisor = Supervisor()
        self.supervisor.include(MediaReader.supervisor)
        self._paused_until = 0.0
        self._shared = Shared(calls, config, self.stats, self._background)
        self._recordings = Recordings(recorded)
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for: float | None = None
        self._silence_check: asyncio.TimerHandle | None = None
        self._busy: dict[Flow, int] = {}
        self._answered: asyncio.Event | None = None
        self._odd = OddityLog()

    async def start(self) -> None:
        """Listen. Raises `SipUnavailable`; nothing listens then."""
        config, allow, stats = self._config, AllowList(self._config.allow), self.stats.transport
        try:
            for name in ("udp", "tcp", "tls"):
                listen = getattr(config, name)
                if listen is None:
                    continue
                transport: UdpTransport | TcpTransport
                if name == "udp":
                    transport = UdpTransport(self, allow, stats, config.advertised_address)
                else:
                    context = tls_context(config) if name == "tls" else None
                    transport = TcpTransport(self, allow, stats, config.limits, context, config.advertised_address)
                await transport.open(parse_listen(name, listen))
                self._transports[name.upper()] = transport
        except (OSError, ssl.SSLError) as error:
            await self._close_transports()
            raise SipUnavailable(f"[sip] {name} = {listen!r}: {error}") from error
        self._silence_check = asyncio.get_running_loop().call_later(SILENCE_CHECK_S, self._check_silence)
        where = ", ".join(f"{name} {host}:{port}" for name, (host, port) in self.addresses.items())
        logger.info("SIP: listening on %s", where)

    def routes(self) -> list[web.RouteDef]:
        """SIP has sockets of its own."""
        return []

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """Where it listens, by `UDP`, `TCP` and `TLS`."""
        return {name: transport.address for name, transport in self._transports.items()}

    def reload(self) -> list[str]:
        """Read the certificate anew: connections from now on get it. Returns what was done, or could not be."""
        transport, config = self._transports.get("TLS"), self._config
        if not isinstance(transport, TcpTransport):
            return []
        try:
            transport.reload(config)
        except (OSError, ssl.SSLError) as error:
            return [f"as before: {config.tls_cert} cannot be used: {error}"]
        return [f"{config.tls_cert} is read anew"]

    def drain(self) -> None:
        """Take no new calls, and say so to who asks by OPTIONS; those that run go on."""
        self.uas.available = False

    def endpoints(self, call_id: str) -> list[RtpEndpoint]:
        """The media of the dialogs of this Call-ID: what a bot speaks through."""
        dialogs = [one for one in self._dialogs.values() if one.call_id == call_id]
        return [stream.endpoint for dialog in dialogs for stream in dialog.media.streams.values()]

    async def close(self) -> None:
        """Hang up every call, wait for their last words and for the answers to our BYEs, stop listening."""
        self.drain()
        for sip in list(self._dialogs):
            self._hang_up(sip, "server shutting down")
        while jobs := self.supervisor.jobs:
            await asyncio.gather(*jobs, return_exceptions=True)
        self._answered = asyncio.Event()
        self._pump()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self._answered.wait()
        for timer in (self._timer, self._silence_check):
            if timer is not None:
                timer.cancel()
        await self._close_transports()

    async def _close_transports(self) -> None:
        for transport in self._transports.values():
            if isinstance(transport, TcpTransport):
                await transport.close()
            else:
                transport.close()

    # -- messages and time

    def received(self, message: SipRequest | SipResponse | MalformedMessage, flow: Flow) -> None:
        """A message from a driver. Raises nothing: a driver would take that for the end of its socket."""
        try:
            self._odd.log(message, flow)
            self.uas.receive(message, flow, time.monotonic())
        except Exception as error:  # noqa: BLE001 - of this message alone
            self.fault(error, "a message is let go")
        self._pump()

    def fault(self, error: Exception, what: str = "") -> None:
        """Of ours, in what a driver or a timer brought."""
        self.stats.failed += 1
        self.supervisor.fault("sip", error, what)

    def _background(self, job: Coroutine[Any, Any, object]) -> object:
        return self.supervisor.spawn(job, "sip call")

    def is_busy(self, flow: Flow) -> bool:
        """A call came over this connection."""
        return flow in self._busy

    def _pump(self) -> None:
        """Do what the core says until it says nothing more: events first, as their answers are to be sent, too."""
        while events := self.uas.events():
            for event in events:
                try:
                    self._handle(event)
                except Exception as error:  # noqa: BLE001 - of this call alone
                    self.fault(error, f"call {event.call.dialog.call_id} ends")
                    self._end(event.call, "internal error")
        for message, flow in self.uas.to_send():
            transport = self._transports.get(flow.transport)
            if transport is not None:
                try:
                    transport.send(message, flow)
                except Exception as error:  # noqa: BLE001 - of this message alone
                    self.fault(error, "a message is not sent")
        if self._answered is not None and not self.uas.transactions.is_waiting:
            self._answered.set()
        due = self.uas.next_timer()
        if due is not None and (self._armed_for is None or due < self._armed_for):
            if self._timer is not None:
                self._timer.cancel()
            self._armed_for = due
            delay = max(due, self._paused_until) - time.monotonic()
            self._timer = asyncio.get_running_loop().call_later(max(delay, 0.0), self._tick)

    def _tick(self) -> None:
        self._armed_for = None
        try:
            self.uas.handle_timer(time.monotonic())
        except Exception as error:  # noqa: BLE001 - the other timers are to come in time
            self._paused_until = time.monotonic() + AFTER_FAULT_S
            self.fault(error, "a timer is left out")
        self._pump()

    def _check_silence(self) -> None:
        self._silence_check = asyncio.get_running_loop().call_later(SILENCE_CHECK_S, self._check_silence)
        now = time.monotonic()
        for sip, dialog in list(self._dialogs.items()):
            try:
                if dialog.is_silent(now):
                    self._hang_up(sip, "no media")
            except Exception as error:  # noqa: BLE001 - of this call alone
                self.fault(error, f"call {dialog.call_id} ends")
                self._hang_up(sip, "internal error")
        self._pump()

    # -- events

    def _handle(self, event: UasEvent) -> None:
        now = time.monotonic()
        match event:
            case IncomingCall(call):
                self._answer(call, now)
            case Ended(call, reason):
                self._end(call, reason.value)
            case Reoffer(call) | Acknowledged(call) | Info(call) if call in self._dialogs:
                self._go_on(event, self._dialogs[call], now)

    def _answer(self, sip: SipCall, now: float) -> None:
        replaced = self._dialogs.get(sip.replaces) if sip.replaces is not None else None
        try:
            dialog = self._dialog_call(sip)
            answer = dialog.begin(replaced)
        except Exception as error:  # noqa: BLE001 - whatever it is, it refuses this call and no other
            self._refuse(sip, error, now)
            return
        self._dialogs[sip] = dialog
        self._busy[sip.flow] = self._busy.get(sip.flow, 0) + 1
        self.stats.calls = len(self._dialogs)
        if dialog.awaits_answer:
            self._background(self._accept_admitted(sip, dialog, answer))
        else:
            self._accept(sip, dialog, answer, now)

    def _accept(self, sip: SipCall, dialog: DialogCall, answer: Answer, now: float) -> None:
        assert dialog.call is not None
        self._background(self._await_end(sip, dialog.call.handle.wait_ended))
        if self._config.ring:
            self.uas.calls.ring(sip, now)
        self.uas.calls.accept(sip, answer, now)

    async def _accept_admitted(self, sip: SipCall, dialog: DialogCall, answer: Answer) -> None:
        """Answer an INVITE once the engine has said whether it takes the call's legs, unless it was cancelled by
        then."""
        error = None
        try:
            await dialog.admitted()
        except Exception as refusal:  # noqa: BLE001 - whatever it is, it refuses this call and no other
            error = refusal
        if self._dialogs.get(sip) is not dialog:
            return
        if error is None:
            self._accept(sip, dialog, answer, time.monotonic())
        else:
            self._end(sip, "refused")
            self._refuse(sip, error, time.monotonic())
        self._pump()

    async def _accept_settled(
        self, event: Reoffer, dialog: DialogCall, answer: Answer, added: Sequence[DialogStream]
    ) -> None:
        """Answer a re-INVITE or UPDATE once the engine has said which of the added legs it takes, unless the dialog is
        over or another answer was given by then. The call goes on in any case."""
        pending = event.call.pending
        answer = await dialog.settled(answer, added)
        if pending is not None and event.call.pending is pending and self._dialogs.get(event.call) is dialog:
            self.uas.calls.accept(event.call, answer, time.monotonic())
            self._pump()

    def _dialog_call(self, sip: SipCall) -> DialogCall:
        transport = self._transports[sip.flow.transport]
        place = MediaPlace(transport.address[0], sip.flow.local[0], self._ports, self._config.rtp, self.supervisor)
        if sip.is_recording:
            return RecordedDialog(sip, self._shared, place, self._recordings)
        return DialogCall(sip, self._shared, place)

    def _refuse(self, sip: SipCall, error: Exception, now: float) -> None:
        refused = refusal_of(error)
        if isinstance(error, Draining):
            self.drain()
        self._report(sip, refused, error)
        self.uas.calls.reject(sip, refused.status, now, headers=refused.headers)

    def _go_on(self, event: Reoffer | Acknowledged | Info, dialog: DialogCall, now: float) -> None:
        try:
            if isinstance(event, Info):
                dialog.receive_info(event)
            elif isinstance(event, Acknowledged):
                dialog.acknowledge(event.answer)
            elif event.call.pending is not None:
                answer = dialog.reoffer(event.call.pending.request)
                if added := dialog.media.unanswered:
                    self._background(self._accept_settled(event, dialog, answer, added))
                else:
                    self.uas.calls.accept(event.call, answer, now)
            if dialog.question is not None and event.call.unacked is None:
                question, dialog.question = dialog.question, None
                self.stats.recording.asked += self.uas.calls.ask_metadata(event.call, question, now)
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns this call and no other
            if isinstance(event, Reoffer) and event.call.pending is not None:
                self._refuse(event.call, error, now)
            elif isinstance(event, Acknowledged):
                refused = refusal_of(error)
                self._report(event.call, refused, error)
                self._hang_up(event.call, "no common codec" if refused.status == 488 else "refused")
            else:
                self._report(event.call, refusal_of(error), error)

    def _report(self, sip: SipCall, refused: SipRefused, error: Exception) -> None:
        if refused.status == 500:
            self.stats.failed += 1
            logger.error("call %s: failed", sip.dialog.call_id, exc_info=error)
        else:
            logger.info("call %s: %d: %s", sip.dialog.call_id, refused.status, refused)

    # -- ends

    def _hang_up(self, sip: SipCall, reason: str) -> None:
        """Our side ends the call."""
        self.uas.calls.hang_up(sip, time.monotonic())
        self._end(sip, reason)
        self._pump()

    def _end(self, sip: SipCall, reason: str) -> None:
        """The dialog is over; its call ends in a task of its own."""
        dialog = self._dialogs.pop(sip, None)
        if dialog is None:
            return
        self.stats.calls = len(self._dialogs)
        self._busy[sip.flow] -= 1
        if not self._busy[sip.flow]:
            del self._busy[sip.flow]
        self._background(dialog.end(reason))

    async def _await_end(self, sip: SipCall, wait_ended: Callable[[], Any]) -> None:
        """The pipeline may end a call by itself: its longest time is reached, or the server drains."""
        await wait_ended()
        dialog = self._dialogs.get(sip)
        if dialog is not None and dialog.call is not None and dialog.call.handle.ended:
            self._hang_up(sip, "ended")


def _options(config: SipConfig, timers: TimerValues | None) -> UasOptions:
    limits = config.limits
    return UasOptions(
        timers=timers or TimerValues(),
        session_timers=SessionTimerOptions(config.session_expires_s, config.min_se_s),
        refer_status=config.refer,
        retry_after_s=config.retry_after_s,
        server_name=config.server_name,
        max_calls=limits.max_calls,
        max_calls_per_peer=limits.max_calls_per_peer,
        max_transactions=limits.max_transactions,
        max_transactions_per_peer=limits.max_transactions_per_peer,
    )


def _authenticator(config: SipConfig) -> DigestAuthenticator | None:
    passwords = {one.username: one.password for one in config.credentials}
    if not passwords:
        return None
    return DigestAuthenticator(config.realm, passwords.get, algorithms=config.digest_algorithms)
