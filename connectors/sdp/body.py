"""The session description in the body of a message, which may have several parts (RFC 5621)."""

from collections.abc import Sequence

from connectors.multipart import BodyPart, split_multipart
from connectors.sdp.description import SdpError, SessionDescription, parse

SDP_TYPE = "application/sdp"


def read_description(content_type: str, body: bytes) -> SessionDescription | None:
    """The first description that can be read, None where there is none. Raises `MultipartError`, `SdpError`."""
    parts = split_multipart(content_type, body) if body.strip() else []
    return first_description([part for part in parts if part.content_type == SDP_TYPE])[1]


def first_description(parts: Sequence[BodyPart]) -> tuple[Sequence[BodyPart], SessionDescription | None]:
    """The first of these descriptions that can be read, and the parts up to it. Raises `SdpError` where there are some
    and none can."""
    unreadable: SdpError | None = None
    for index, part in enumerate(parts):
        try:
            return parts[: index + 1], parse(part.body)
        except SdpError as error:
            unreadable = unreadable or error
    if unreadable is not None:
        raise unreadable
    return [], None
