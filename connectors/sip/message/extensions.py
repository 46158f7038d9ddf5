"""Header fields of extensions: `RAck` (RFC 3262) and `Replaces` (RFC 3891). `Session-Expires` is in `session_timer`."""

from dataclasses import dataclass

from connectors.sip.message.errors import SipParseError
from connectors.sip.message.grammar import header_parameters, is_token
from connectors.sip.message.headers import parse_integer


@dataclass(frozen=True, slots=True)
class RAck:
    """The provisional response a PRACK acknowledges: its `RSeq`, and CSeq number and method of the request."""

    rseq: int
    cseq: int
    method: str

    def __str__(self) -> str:
        return f"{self.rseq} {self.cseq} {self.method}"


@dataclass(frozen=True, slots=True)
class Replaces:
    """The dialog an INVITE takes over; the tags are as the receiver sees them. `early_only`: not a confirmed one."""

    call_id: str
    to_tag: str
    from_tag: str
    early_only: bool = False

    def __str__(self) -> str:
        return f"{self.call_id};to-tag={self.to_tag};from-tag={self.from_tag}" + (
            ";early-only" if self.early_only else ""
        )


def parse_rack(text: str) -> RAck:
    words = text.split()
    if len(words) != 3 or not is_token(words[2]):
        raise SipParseError("Malformed RAck")
    return RAck(parse_integer(words[0], "RAck"), parse_integer(words[1], "RAck"), words[2])


def parse_replaces(text: str) -> Replaces:
    call_id, _, rest = text.partition(";")
    parameters = header_parameters(f";{rest}", "Replaces")
    to_tag, from_tag = parameters.get("to-tag"), parameters.get("from-tag")
    call_id = call_id.strip()
    if not call_id or " " in call_id or not to_tag or not from_tag:
        raise SipParseError("Malformed Replaces")
    return Replaces(call_id, to_tag, from_tag, "early-only" in parameters)
