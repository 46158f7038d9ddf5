"""The fields every layer asks a message for, read once when it comes in."""

from dataclasses import dataclass

from connectors.sip.message.headers import Via
from connectors.sip.message.leniency import first_via
from connectors.sip.message.message import Headers, SipRequest, SipResponse


@dataclass(frozen=True, slots=True)
class Envelope:
    """`via`: the topmost, as the peer wrote it. `cseq`: the number."""

    via: Via
    call_id: str
    from_tag: str | None
    to_tag: str | None
    cseq: int
    cseq_method: str

    @classmethod
    def of(cls, message: SipRequest | SipResponse) -> "Envelope":
        """Raises `SipParseError`, which the parser has done before for what came from the network."""
        cseq = message.cseq
        return cls(message.via, message.call_id, message.from_.tag, message.to.tag, cseq.number, cseq.method)


def mark_source(request: SipRequest, envelope: Envelope, remote: tuple[str, int]) -> None:
    """Write into the topmost Via where the request came from (RFC 3261, 18.2.1; RFC 3581, 4)."""
    marked = envelope.via.received_from(*remote)
    if marked == envelope.via:
        return
    headers = Headers(charset=request.headers.charset)
    topmost = True
    for name, value in request.headers:
        if name != "Via" or not topmost or not value:
            headers.add(name, value)
            continue
        topmost = False
        for via in (str(marked), *first_via([value])[1]):
            headers.add(name, via)
    request.headers = headers
