"""Offer and answer of one dialog (RFC 3264): which streams run, in which codec, which way, under which keys.

Sits between the dialog, which carries descriptions in requests and responses, and the RTP endpoints, which get
what was agreed. Media lines keep their place for the whole dialog: a stream that goes leaves a line with port 0, which
a later one may take over. A refused offer leaves everything as it was (RFC 3261, section 14.2).
"""

import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from connectors.errors import ConnectorError, LocalProtocolError
from connectors.sdp.answer import MediaWarning, Negotiated, accept_line, answer_line, offer_line, rejected
from connectors.sdp.capabilities import SECURE_PROTOCOLS, Capabilities, SrtpPolicy
from connectors.sdp.description import Origin, SessionDescription
from connectors.sdp.media_lines import AudioMedia, MediaLine

__all__ = ["Capabilities", "MediaWarning", "Negotiated", "NegotiationSession", "NoCommonCodec", "SrtpPolicy"]

_TEXTS = {
    MediaWarning.ADDRESS_FORMAT: "Incompatible network address formats",
    MediaWarning.TRANSPORT: "Incompatible transport protocol",
    MediaWarning.MEDIA_TYPE: "Media type not available",
    MediaWarning.MEDIA_FORMAT: "Incompatible media format",
}


class NoCommonCodec(ConnectorError):
    """No line of the peer's description can be used: 488 with this warning, or BYE where it was an answer."""

    def __init__(self, warning: MediaWarning) -> None:
        super().__init__(_TEXTS[warning])
        self.warning = warning


@dataclass(frozen=True, slots=True)
class _Slot:
    """A media line of ours. `stream` is None where the line is rejected, gone, or not answered yet."""

    local: MediaLine
    stream: Negotiated | None = None


class NegotiationSession:
    """The media of one dialog. `local_address`: the IP address that the peer sends to.

    `allocate_port` gives an even port; what it raises passes through and changes nothing. `release_port` gets the port
    of a stream that is gone or was never agreed.
    """

    def __init__(
        self,
        local_address: str,
        capabilities: Capabilities,
        allocate_port: Callable[[], int],
        *,
        release_port: Callable[[int], None] | None = None,
        session_id: int | None = None,
    ) -> None:
        self._address = local_address
        self._capabilities = capabilities
        self._allocate = allocate_port
        self._release = release_port or (lambda _: None)
        self._session_id = str(session_id if session_id is not None else secrets.randbits(62))
        self._slots: list[_Slot] = []
        self._pending: list[_Slot] | None = None
        self._sent: SessionDescription | None = None
        self._sent_before: SessionDescription | None = None

    @property
    def streams(self) -> list[Negotiated]:
        """What runs now, in the order of the media lines."""
        return [slot.stream for slot in self._slots if slot.stream is not None]

    @property
    def offering(self) -> bool:
        """An own offer waits for its answer: an offer that comes now is answered with 491 (RFC 3261, section 14.2)."""
        return self._pending is not None

    def answer(self, offer: SessionDescription) -> tuple[SessionDescription, list[Negotiated]]:
        """Our answer to the peer's offer, and all streams that run from now on.

        An offer that has no line in use is answered with none. Raises `NoCommonCodec` where lines are in use and none
        is acceptable, `LocalProtocolError` where an own offer waits for its answer.
        """
        if self._pending is not None:
            raise LocalProtocolError("an own offer waits for its answer")
        fresh: list[int] = []

        def allocate() -> int:
            fresh.append(self._allocate())
            return fresh[-1]

        try:
            slots = self._answer_lines(offer.media, allocate)
        except BaseException:
            self._release_all(fresh)
            raise
        self._replace(slots)
        self._sent_before = self._sent
        return self._describe(slots), self.streams

    def refuse(self, indexes: Collection[int]) -> SessionDescription:
        """The last answer anew, before it is sent, without the lines of these places: there is no capacity for them
        after all. Their ports are released."""
        slots = [
            _Slot(rejected(slot.local, self._address)) if index in indexes else slot
            for index, slot in enumerate(self._slots)
        ]
        self._replace(slots)
        self._sent = self._sent_before
        return self._describe(slots)

    def offer(self, streams: int = 1) -> SessionDescription:
        """Our offer, where the peer's request had none (RFC 3264, section 4; RFC 3261, section 13.3.1.4).

        The first one has `streams` audio lines. A later one repeats all lines in their places, with all that we can do:
        what the peer has put on hold is offered for a resume. Raises `LocalProtocolError` while an offer is open.
        """
        if self._pending is not None:
            raise LocalProtocolError("an own offer waits for its answer")
        mine, pending = self._capabilities, []
        for slot in self._slots:
            if slot.stream is None:
                pending.append(slot)
            else:
                pending.append(_Slot(offer_line(mine, self._address, slot.stream, slot.stream.local.port)))
        try:
            for _ in range(0 if self._slots else streams):
                pending.append(_Slot(offer_line(mine, self._address, None, self._allocate())))
        except BaseException:
            self._release_all(_ports(pending) - _ports(self._slots))
            raise
        self._pending = pending
        return self._describe(pending)

    def accept(self, answer: SessionDescription) -> list[Negotiated]:
        """The peer's answer to our offer; all streams that run from now on.

        Lines that the answer leaves out are rejected, those it adds are ignored. Raises `NoCommonCodec` where it keeps
        lines and none can be used, and then everything is as it was before the offer; `LocalProtocolError` without an
        offer.
        """
        if self._pending is None:
            raise LocalProtocolError("there is no own offer to answer")
        slots: list[_Slot] = []
        warnings: list[MediaWarning] = []
        for index, slot in enumerate(self._pending):
            line, local = answer.media[index] if index < len(answer.media) else None, slot.local
            outcome: Negotiated | MediaWarning | None = None
            if isinstance(line, AudioMedia) and isinstance(local, AudioMedia) and line.port and local.port:
                outcome = accept_line(self._capabilities, index, line, local)
            if isinstance(outcome, Negotiated):
                slots.append(_Slot(local, outcome))
                continue
            slots.append(_Slot(rejected(local, self._address)))
            if outcome is not None:
                warnings.append(outcome)
        if warnings and not any(slot.stream for slot in slots):
            self.withdraw()
            raise NoCommonCodec(max(warnings))
        self._slots, self._pending = self._pending, None
        self._replace(slots)
        return self.streams

    def withdraw(self) -> None:
        """Our offer was refused or never answered: everything is as before it."""
        if self._pending is not None:
            self._release_all(_ports(self._pending) - _ports(self._slots))
            self._pending = None

    def close(self) -> None:
        """The dialog is over: all ports are released, and who gave them is let go."""
        self.withdraw()
        self._replace([])
        self._allocate, self._release = _no_port, lambda _: None

    def _answer_lines(self, lines: Sequence[MediaLine], allocate: Callable[[], int]) -> list[_Slot]:
        mine = self._capabilities
        secure = any(self._is_secure_choice(line) for line in lines)
        slots: list[_Slot] = []
        warnings: list[MediaWarning] = []
        accepted = 0
        for index, line in enumerate(lines):
            before = self._slots[index].stream if index < len(self._slots) else None
            outcome: Negotiated | MediaWarning = MediaWarning.MEDIA_TYPE
            if secure and _is_plain_choice(line):
                outcome = MediaWarning.TRANSPORT
            elif isinstance(line, AudioMedia) and line.port and accepted < mine.max_streams:
                outcome = answer_line(mine, self._address, index, line, before, allocate)
            if isinstance(outcome, Negotiated):
                slots.append(_Slot(outcome.local, outcome))
                accepted += 1
                continue
            slots.append(_Slot(rejected(line, self._address)))
            if line.port:
                warnings.append(outcome)
        if warnings and not accepted:
            raise NoCommonCodec(max(warnings))
        return slots

    def _is_secure_choice(self, line: MediaLine) -> bool:
        """An unlabelled SRTP line that we can take: where the offer has an unlabelled plain line too, the two are one
        stream offered both ways, and the plain one is not taken."""
        mine = self._capabilities
        return (
            isinstance(line, AudioMedia)
            and bool(line.port)
            and line.label is None
            and line.protocol in SECURE_PROTOCOLS
            and mine.takes_protocol(line)
            and mine.choose_crypto(line.crypto) is not None
            and bool(mine.common(line.codecs))
        )

    def _describe(self, slots: Sequence[_Slot]) -> SessionDescription:
        """The version goes up by one when what is sent differs from what was sent last (RFC 3264, section 8)."""
        media = tuple(slot.local for slot in slots)
        if self._sent is None or self._sent.media != media:
            version = 1 if self._sent is None else self._sent.origin.version + 1
            origin = Origin("-", self._session_id, version, self._address)
            self._sent = SessionDescription(origin, self._address, media, name="trunkline")
        return self._sent

    def _replace(self, slots: list[_Slot]) -> None:
        gone = _ports(self._slots) - _ports(slots)
        self._slots = slots
        self._release_all(gone)

    def _release_all(self, ports: Iterable[int]) -> None:
        for port in sorted(ports):
            self._release(port)


def _ports(slots: Iterable[_Slot]) -> set[int]:
    return {slot.local.port for slot in slots if slot.local.port}


def _is_plain_choice(line: MediaLine) -> bool:
    return isinstance(line, AudioMedia) and line.label is None and line.protocol not in SECURE_PROTOCOLS


def _no_port() -> int:
    raise LocalProtocolError("the negotiation is closed")
