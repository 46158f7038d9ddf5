"""What an INVITE says about its call: the numbers, and the header fields that go into the call's metadata."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from connectors.sip.message import SipRequest
from connectors.sip.uri import OtherUri, Uri

MAX_FIELDS = 64
MAX_CHARS = 1_024


def number_of(uri: Uri) -> str:
    """The user part, or the whole address where there is none."""
    return str(uri) if isinstance(uri, OtherUri) or not uri.user else uri.user


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
