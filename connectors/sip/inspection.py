"""What a UAS refuses in a well-formed request before it looks at its state (RFC 3261, section 8.2; RFC 6086)."""

import re
from dataclasses import dataclass

from connectors.sip.dtmf_info import DTMF_TYPES
from connectors.sip.message.leniency import known_tokens
from connectors.sip.message.message import METHODS, SipRequest
from connectors.siprec.body import METADATA_TYPES

_METHODS = ("INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "INFO", "UPDATE", "PRACK")
_EXTENSIONS = ("100rel", "timer", "replaces", "siprec")
_SDP = "application/sdp"
_BODIES = (_SDP, "multipart/mixed", *METADATA_TYPES)
_INFO_BODIES = (*DTMF_TYPES, "text/plain", "multipart/mixed")
_OPTIONAL = re.compile(r";[ \t]*handling[ \t]*=[ \t]*\"?optional\"?[ \t]*(?:;|$)", re.IGNORECASE)
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
    """Whether a call may be described by a body of this type, in lower case. Any multipart is looked into: one of a
    kind that is not known is read as mixed (RFC 2046, section 5.1.3)."""
    return content_type in _BODIES or content_type.startswith("multipart/")


def _takes_key(content_type: str) -> bool:
    return content_type in _INFO_BODIES or content_type.startswith("multipart/")


def _method(request: SipRequest, refer_status: int) -> Refusal | None:
    if request.method == "REFER":
        return Refusal(refer_status, (("Allow", ALLOW),))
    if request.method not in _METHODS:
        return Refusal(405 if request.method in METHODS else 501, (("Allow", ALLOW),))
    is_known = (
        request.uri.scheme in _SCHEMES or request.to.tag is not None
    )  # within a dialog its tags say whom it is for
    return None if is_known else Refusal(416)


def _extensions(request: SipRequest) -> Refusal | None:
    if request.method in {"ACK", "CANCEL"}:
        return None
    tags = known_tokens(request.headers.get_all("Require"))
    missing = [tag for tag in tags if tag.lower() not in _EXTENSIONS]
    return Refusal(420, (("Unsupported", ", ".join(missing)),)) if missing else None


def _content(request: SipRequest) -> Refusal | None:
    headers = request.headers
    if request.method == "INFO" and "Info-Package" in headers:
        return Refusal(469, (("Recv-Info", ""),))
    if request.body and request.method != "BYE" and not _is_optional(request):
        kind = request.content_type
        is_taken = takes_body if request.method != "INFO" else _takes_key
        if kind is None or not is_taken(kind.essence):
            taken = _BODIES if request.method != "INFO" else _INFO_BODIES
            return Refusal(415, (("Accept", ", ".join(taken)),))
        if any(coding.lower() != "identity" for coding in known_tokens(headers.get_all("Content-Encoding"))):
            return Refusal(415, (("Accept-Encoding", "identity"),))
    ranges = request.accept if request.method == "INVITE" else None
    if ranges is not None and not any(media.matches(_SDP) for media in ranges):
        return Refusal(406)
    return None


def _is_optional(request: SipRequest) -> bool:
    """`Content-Disposition: ...;handling=optional` (RFC 3261, section 20.11)."""
    values = request.headers.get_all("Content-Disposition")
    return any(_OPTIONAL.search(value) for value in values)
