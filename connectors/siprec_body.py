"""The body of a recording client's request: its description and its metadata, found among the parts.

Sits between the SIP message and `connectors.siprec`.
"""

from dataclasses import dataclass, replace

from connectors.multipart import Part, split_multipart
from connectors.recording import RsMetadata
from connectors.rs_metadata import parse_metadata
from connectors.safe_xml import XmlError
from connectors.sdp import SdpError, SessionDescription, parse

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
    others: tuple[Part, ...] = ()


def read_body(content_type: str, body: bytes) -> RecordingBody:
    """Take a body apart: the first description and the first metadata, in whatever order and however deep.

    A description that cannot be read is passed over where another one can be. Raises `MultipartError` and `SdpError`.
    """
    found, unreadable = RecordingBody(), None
    for part in split_multipart(content_type, body) if body.strip() else []:
        if part.content_type == "application/sdp" and found.sdp is None:
            try:
                found = replace(found, sdp=parse(part.body))
            except SdpError as error:
                unreadable = unreadable or error
        elif part.content_type in METADATA_TYPES and found.metadata is None and found.metadata_error is None:
            try:
                found = replace(found, metadata=parse_metadata(part.body))
            except XmlError as error:
                found = replace(found, metadata_error=str(error))
        else:
            found = replace(found, others=(*found.others, part))
    if found.sdp is None and unreadable is not None:
        raise unreadable
    return found
