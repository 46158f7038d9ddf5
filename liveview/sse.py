"""Server-sent events, the wire form (WHATWG HTML, section 9.2 "Server-sent events")."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

_encoder = msgspec.json.Encoder()


def event(kind: str, data: Mapping[str, Any], event_id: str | None = None) -> bytes:
    """One event. JSON escapes every line break, so `data` is always a single line."""
    head = f"event: {kind}\n" if event_id is None else f"id: {event_id}\nevent: {kind}\n"
    return b"%bdata: %b\n\n" % (head.encode(), _encoder.encode(data))


def position(record: Mapping[str, Any]) -> str:
    """The event id of a record: when it was emitted and which it is. A view that holds records can resume from it."""
    return f"{record['at']}/{record['event_id']}"


def parse_position(event_id: str) -> tuple[str, str] | None:
    """(`at`, `event_id`) of a `Last-Event-ID`, or None if it is not one of ours."""
    at, slash, record_id = event_id.partition("/")
    return (at, record_id) if slash and at and record_id else None


def now() -> str:
    """RFC 3339, UTC, as records have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
