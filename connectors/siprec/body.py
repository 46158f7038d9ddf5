"""The body of a recording client's request: its description and its metadata, found among the parts.

Sits between the SIP message and `connectors.siprec.recording_session`.
"""

from dataclasses import dataclass, replace

from connectors.multipart import BodyPart, split_multipart
from connectors.sdp.body import SDP_TYPE, first_description
from connectors.sdp.description import SessionDescription
from connectors.siprec.metadata import RsMetadata
from connectors.siprec.metadata_xml import parse_metadata
from connectors.siprec.safe_xml import XmlError

METADATA_TYPES = ("application/rs-metadata+xml", "application/rs-metadata", "application/recording+xml")
"""The registered type (RFC 9806), that of RFC 7866, and one that some clients use."""

METADATA_REQUEST = "application/rs-metadata-request"
"""What a recording server asks its client with for all metadata anew."""


@dataclass(frozen=True, slots=True)
class RecordingBody:
    """What a request's body holds. `metadata_error`: one line, where there is metadata that cannot be read; the media
    are recorded all the same. `others`: parts that are neither."""

    sdp: SessionDescription | None = None
    metadata: RsMetadata | None = None
    metadata_error: str | None = None
    others: tuple[BodyPart, ...] = ()


def read_body(content_type: str, body: bytes) -> RecordingBody:
    """Take a body apart: the first description and the first metadata, in whatever order and however deep. Metadata
    under a type of their own go before those that are known by their content.

    A description that cannot be read is passed over where another one can be. Raises `MultipartError` and `SdpError`.
    """
    parts = split_multipart(content_type, body) if body.strip() else []
    descriptions = [part for part in parts if part.content_type == SDP_TYPE]
    document = next((part for part in parts if part.content_type in METADATA_TYPES), None) or next(
        (part for part in parts if part not in descriptions and _is_metadata(part)), None
    )
    described, sdp = first_description(descriptions)
    found = RecordingBody(
        sdp=sdp, others=tuple(part for part in parts if part not in described and part is not document)
    )
    if document is None:
        return found
    try:
        return replace(found, metadata=parse_metadata(document.body))
    except XmlError as error:
        return replace(found, metadata_error=str(error))


def _is_metadata(part: BodyPart) -> bool:
    """By what it is for (RFC 7866, section 9.1), or as XML of any type with a recording in it."""
    disposition = part.headers.get("content-disposition", "").partition(";")[0].strip().lower()
    if disposition == "recording-session":
        return part.content_type != SDP_TYPE
    if b"recording" not in part.body.replace(b"\0", b"").lower():
        return False
    try:
        return bool(parse_metadata(part.body))
    except XmlError:
        return False
