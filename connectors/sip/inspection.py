"""What a UAS refuses in a well-formed request before it looks at its state (RFC 3261, section 8.2; RFC 6086)."""

from dataclasses import dataclass

from connectors.sip import headers as fields
from connectors.sip.grammar import header_parameters
from connectors.sip.message import METHODS, SipRequest
from connectors.siprec_body import METADATA_TYPES

_METHODS = ("INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "INFO", "UPDATE", "PRACK")
_EXTENSIONS = ("100rel", "timer", "replaces", "siprec")
_SDP = "application/sdp"
_BODIES = (_SDP, "multipart/mixed", *METADATA_TYPES)
_INFO_BODIES = ("application/dtmf-relay", "application/dtmf", "text/plain")
_SCHEMES = frozenset({"sip", "sips", "tel"})

ALLOW = ", ".join(_METHODS)
SUPPORTED = ", ".join(_EXTENSIONS)
ACCEPT = ", ".join(_BODIES)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A final response that refuses; the usual reason phrase unless `reason` says more."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    reason: str | None = None


def inspect(request: SipRequest, refer_status: int = 603) -> Refusal | None:
    """The refusal the request asks for, or None, in the order of the RFC. An ACK gets no answer, whatever this says.
    Raises `SipParseError` for `Accept` and `Content-Encoding` against the grammar.

    | | |
    |---|---|
    | 501, 405 | a method nobody knows, a method we do not do (section 8.2.1); REFER gets `refer_status` |
    | 416 | a scheme of the Request-URI (8.2.2.1; RFC 4475, sections 3.3.2 and 3.3.3) |
    | 420 | an extension in `Require`, not looked at in ACK and CANCEL (8.2.2.3) |
    | 415 | a body's type or coding, unless its handling is optional (8.2.3); a BYE ends its call whatever it bears |
    | 469 | an INFO of a package: we have announced none (RFC 6086, section 4.2.2) |
    | 406 | an INVITE whose sender takes no SDP (RFC 4475, section 3.3.15) |
    """
    return _method(request, refer_status) or _extensions(request) or _content(request)


def takes_body(content_type: str) -> bool:
    """Whether a call may be described by a body of this type, in lower case."""
    return content_type in _BODIES


def _method(request: SipRequest, refer_status: int) -> Refusal | None:
    if request.method == "REFER":
        return Refusal(refer_status, (("Allow", ALLOW),))
    if request.method not in _METHODS:
        return Refusal(405 if request.method in METHODS else 501, (("Allow", ALLOW),))
    return None if request.uri.scheme in _SCHEMES else Refusal(416)


def _extensions(request: SipRequest) -> Refusal | None:
    if request.method in {"ACK", "CANCEL"}:
        return None
    tags = fields.parse_tokens(request.headers.get_all("Require"), "Require")
    missing = [tag for tag in tags if tag.lower() not in _EXTENSIONS]
    return Refusal(420, (("Unsupported", ", ".join(missing)),)) if missing else None


def _content(request: SipRequest) -> Refusal | None:
    headers = request.headers
    if request.method == "INFO" and "Info-Package" in headers:
        return Refusal(469, (("Recv-Info", ""),))
    if request.body and request.method != "BYE" and not _is_optional(request):
        kind = request.content_type
        taken = _INFO_BODIES if request.method == "INFO" else _BODIES
        if kind is None or kind.essence not in taken:
            return Refusal(415, (("Accept", ", ".join(taken)),))
        if any(coding.lower() != "identity" for coding in headers.get_list("Content-Encoding")):
            return Refusal(415, (("Accept-Encoding", "identity"),))
    if request.method == "INVITE" and "Accept" in headers:
        ranges = fields.parse_accept(headers.get_all("Accept"))
        if not any(media.matches(_SDP) for media in ranges):
            return Refusal(406)
    return None


def _is_optional(request: SipRequest) -> bool:
    """`Content-Disposition: ...;handling=optional` (RFC 3261, section 20.11)."""
    values = request.headers.get_all("Content-Disposition")
    return any(
        header_parameters(";" + v.partition(";")[2], "Content-Disposition").get("handling") == "optional"
        for v in values
        if ";" in v
    )
