"""The sessions of WHIP and the calls that they speak in.

A session is one peer with its tracks, each of them a leg. Sessions that name the same call share it, as when agent and
customer each have a browser; the call ends with the last of them.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from connectors.calls import CallHandle, CallRegistry, LegHandle
from connectors.rtp.quality import RtpStats
from connectors.stats import ConnectorStats
from connectors.webrtc.config import WebRtcConfig
from connectors.webrtc.whip import IceFragment, Offer, SessionRequest, WhipRefused
from pipeline.call import CallInfo, LegOptions
from pipeline.errors import CallEnded, CallError, DuplicateCall, DuplicateLeg, EngineError, UnknownLocale
from pipeline.records import SpeakerRole
from supervision import Supervisor

logger = logging.getLogger(__name__)

CONNECTOR = "webrtc"
CHECK_S = 1.0


class MediaPeer(Protocol):
    """One peer connection. `lost`: why it is no more, None while it may still speak."""

    lost: str | None

    @property
    def arrived(self) -> float:
        """When its last audio came; 0 before the first."""
        ...

    async def take_offer(self, offer: Offer) -> None:
        """Raises `WhipRefused` (400) where it cannot be used."""
        ...

    async def answer(self, legs: Sequence[LegHandle]) -> str:
        """The answer with all our candidates; one leg for each audio line of the offer."""
        ...

    async def add_candidates(self, fragment: IceFragment) -> None: ...

    def report(self) -> None:
        """Send the peer receiver reports."""
        ...

    def finish(self) -> Sequence[RtpStats]:
        """Hand what waits to the legs; nothing comes after it. The counters of each track."""
        ...

    async def close(self) -> None:
        """Give everything back. Idempotent."""
        ...


@dataclass(slots=True)
class SharedCall:
    """A running call. `names`: of the legs that are open or being opened."""

    call: CallHandle
    sessions: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    channels: int = 0


@dataclass(slots=True)
class WhipSession:
    """`session_id` is in its URL and cannot be guessed; `etag` names its one ICE session."""

    session_id: str
    etag: str
    call_id: str
    shared: SharedCall
    peer: MediaPeer
    offer: Offer
    started: float
    legs: dict[str, LegHandle] = field(default_factory=dict)
    monitor: asyncio.Task[None] | None = None
    ending: asyncio.Task[None] | None = None


class WhipSessions:
    """Starts, supervises and ends sessions. `make_peer`: one for each."""

    def __init__(self, calls: CallRegistry, config: WebRtcConfig, make_peer: Callable[[], MediaPeer]) -> None:
        self.stats = ConnectorStats()
        self.supervisor = Supervisor()
        self._calls, self._config, self._make_peer = calls, config, make_peer
        self._shared: dict[str, SharedCall] = {}
        self._sessions: dict[str, WhipSession] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self._closed = False

    def get(self, session_id: str) -> WhipSession:
        """Raises `WhipRefused` (404)."""
        session = self._sessions.get(session_id)
        if session is None:
            raise WhipRefused(404, "no such session")
        return session

    async def start(self, request: SessionRequest, offer: Offer) -> tuple[WhipSession, str]:
        """A session and the answer to its offer. Raises `WhipRefused`; nothing is left over then."""
        stats, limits = self.stats, self._config.limits
        if self._closed or len(self._sessions) + stats.pending >= limits.max_sessions:
            stats.crowded += 1
            raise self._full("shutting down" if self._closed else "too many sessions")
        peer = self._make_peer()
        stats.pending += 1
        session: WhipSession | None = None
        answer = None
        try:
            await peer.take_offer(replace(offer, listens=request.listens))
            session = self._open(request, offer, peer)
            await self._announce(session)
            answer = await peer.answer(list(session.legs.values()))
        finally:
            stats.pending -= 1
            if answer is None:
                await peer.close()
                if session is not None and session.ending is None:
                    await asyncio.shield(self.end(session, "failed"))
        if session.ending is not None:  # the server began to stop meanwhile
            raise self._full("shutting down")
        session.monitor = self.supervisor.spawn(self._monitor(session), "whip session")
        return session, answer

    def end(self, session: WhipSession, reason: str) -> asyncio.Task[None]:
        """The session is over: what it said comes out, then its call ends if no other session is in it. Goes on by
        itself, whatever becomes of the caller."""
        if session.ending is None:
            self._sessions.pop(session.session_id, None)
            session.ending = self.supervisor.spawn(self._finish(session, reason), "end of a whip session")
            self._endings.add(session.ending)
            session.ending.add_done_callback(self._endings.discard)
        return session.ending

    async def close(self) -> None:
        """Take no more sessions, end all, and wait for their last words."""
        self._closed = True
        for session in list(self._sessions.values()):
            self.end(session, "shutdown")
        await asyncio.gather(*self._endings, return_exceptions=True)

    def _open(self, request: SessionRequest, offer: Offer, peer: MediaPeer) -> WhipSession:
        """Start or join the call, and add a leg for each track."""
        if self._closed:
            raise self._full("shutting down")
        call_id = request.call_id or f"WR{secrets.token_hex(16)}"
        shared = self._join(call_id, request)
        session_id, etag = secrets.token_urlsafe(24), secrets.token_hex(8)
        session = WhipSession(session_id, etag, call_id, shared, peer, offer, time.monotonic())
        shared.sessions.add(session.session_id)
        self._sessions[session.session_id] = session
        self.stats.started += 1
        self.stats.active += 1
        try:
            for index in range(offer.tracks):
                self._add_leg(session, request, index)
        except (CallError, EngineError) as error:
            self.end(session, "refused")
            raise self._refusal(error) from error
        except WhipRefused:
            self.end(session, "refused")
            raise
        return session

    async def _announce(self, session: WhipSession) -> None:
        """Once the engine takes all its legs. Raises `WhipRefused`; the session has ended then."""
        try:
            for leg in session.legs.values():
                await leg.admitted()
            session.shared.call.announce()
        except (CallError, EngineError) as error:
            self.end(session, "refused")
            raise self._refusal(error) from error

    def _join(self, call_id: str, request: SessionRequest) -> SharedCall:
        shared = self._shared.get(call_id)
        try:
            if shared is None:
                info = CallInfo(call_id, CONNECTOR, from_=request.from_, to=request.to, metadata=request.metadata)
                shared = self._shared[call_id] = SharedCall(self._calls.start(info, announce=False))
            elif request.metadata:
                shared.call.update(request.metadata)
        except (CallError, EngineError) as error:
            raise self._refusal(error) from error
        return shared

    def _add_leg(self, session: WhipSession, request: SessionRequest, index: int) -> None:
        shared = session.shared
        name, role = request.track(index, SpeakerRole(self._config.role))
        if name is None:
            name = _free_name("speaker" if role is SpeakerRole.UNKNOWN else str(role), shared.names)
        elif name in shared.names:
            raise DuplicateLeg(f"call {session.call_id} has a leg {name!r}")
        options = LegOptions(name, role, shared.channels, request.language)
        try:
            leg = shared.call.add_leg(options)
        except UnknownLocale:
            if request.language is None:
                raise
            self.stats.unknown_languages += 1
            logger.warning("call %s: the model lacks the language asked for", session.call_id)
            leg = shared.call.add_leg(LegOptions(name, role, shared.channels))
        shared.names.add(name)
        shared.channels += 1
        session.legs[name] = leg

    async def _monitor(self, session: WhipSession) -> None:
        try:
            await self._check(session)
        except Exception:
            self.end(session, "internal error")  # nobody else sees when the peer is gone
            raise

    async def _check(self, session: WhipSession) -> None:
        """Once a second: reports to the peer, and whether it is still there."""
        limits, peer = self._config.limits, session.peer
        while session.ending is None:
            await asyncio.sleep(CHECK_S)
            peer.report()
            now = time.monotonic()
            if peer.lost is not None:
                self.end(session, peer.lost)
            elif session.shared.call.ended:
                self.end(session, "ended")
            elif not peer.arrived and now - session.started > limits.setup_timeout_s:
                self.end(session, "no audio")
            elif peer.arrived and now - peer.arrived > limits.idle_timeout_s:
                self.end(session, "audio stopped")

    async def _finish(self, session: WhipSession, reason: str) -> None:
        stats, shared, call_id = self.stats, session.shared, session.call_id
        if session.monitor is not None:
            session.monitor.cancel()
        try:
            self._count(session)
        except Exception as error:  # noqa: BLE001 - the session ends all the same
            self.supervisor.fault("whip session", error, f"call {call_id}: its last audio may be missing", always=True)
        closing = self.supervisor.spawn(self._close(session.peer), "close of a peer connection")
        stats.active -= 1
        stats.ended[reason] += 1
        shared.sessions.discard(session.session_id)
        try:
            if shared.sessions:
                await asyncio.gather(*(leg.close() for leg in session.legs.values()))
                shared.names -= set(session.legs)
            else:
                try:
                    await shared.call.end(reason)
                finally:
                    if self._shared.get(call_id) is shared:
                        del self._shared[call_id]
        finally:
            await asyncio.gather(closing, return_exceptions=True)  # what failed was counted

    @staticmethod
    async def _close(peer: MediaPeer) -> None:
        await peer.close()

    def _count(self, session: WhipSession) -> None:
        """What waits goes to the legs; then the counters stand."""
        stats = self.stats
        for name, counted in zip(session.legs, session.peer.finish(), strict=False):
            logger.debug("call %s: leg %s: %s", session.call_id, name, counted)
            stats.packets += counted.received
            stats.lost += counted.lost
            stats.late += counted.late
            stats.duplicates += counted.duplicate
            stats.malformed += counted.malformed

    def _refusal(self, error: CallError | EngineError) -> WhipRefused:
        if isinstance(error, DuplicateCall | DuplicateLeg):
            self.stats.refused += 1
            return WhipRefused(409, "the call or the leg is there already")
        if isinstance(error, CallEnded):  # its last words are coming; then it can begin anew
            self.stats.turned_away += 1
            return self._full("the call is ending")
        if error.retryable:
            self.stats.turned_away += 1
            return self._full("no room for this call")
        self.stats.refused += 1
        return WhipRefused(422, "the call is refused")

    def _full(self, reason: str) -> WhipRefused:
        return WhipRefused(503, reason, retry_after_s=self._config.limits.retry_after_s)


def _free_name(base: str, taken: set[str]) -> str:
    number = 1
    while (name := base if number == 1 else f"{base}-{number}") in taken:
        number += 1
    return name
