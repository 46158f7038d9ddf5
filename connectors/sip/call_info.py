"""What an INVITE says about its call: the numbers, and the header fields that go into the call's metadata."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from connectors.sip.message.message import SipRequest
from connectors.sip.message.uri import OtherUri, SipUri, Uri
from connectors.telephone import is_dialled, plain_number

MAX_FIELDS = 64
MAX_CHARS = 1_024


def number_of(uri: Uri) -> str:
    """The user part, or the whole address where there is none; of a telephone number its digits alone, without visual
    separators and parameters such as `npdi`, `rn`, `isub`, `ext` and `phone-context` (RFC 3966, section 3; in a SIP URI
    RFC 3261, section 19.1.6)."""
    if isinstance(uri, OtherUri) or not uri.user:
        return str(uri)
    number = uri.user.partition(";")[0].strip()
    is_phone = not isinstance(uri, SipUri) or (uri.parameters.get("user") or "").lower() == "phone"
    if not number or not (is_phone or is_dialled(number)):
        return uri.user
    return plain_number(number, is_phone=is_phone)


def call_metadata(request: SipRequest, patterns: Sequence[str]) -> dict[str, str]:
    """`Call-ID`, and the fields whose name matches one of the patterns; `*` stands for anything. Names as written, the
    values of several of one name joined by commas. Too many are left out, too long ones cut."""
    wanted = [pattern.lower() for pattern in patterns]
    metadata: dict[str, str] = {"Call-ID": request.call_id[:MAX_CHARS]}
    for name, value in request.headers:
        if not any(fnmatchcase(name.lower(), pattern) for pattern in wanted):
            continue
        known = metadata.get(name)
        if known is None and len(metadata) >= MAX_FIELDS:
            continue
        metadata[name] = (value if known is None else f"{known}, {value}")[:MAX_CHARS]
    return metadata
