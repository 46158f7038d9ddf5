"""A record as a broker takes it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """One record, ready for the wire. `topic`: where it goes; `key`: records of one key keep their order there."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]

    @property
    def named(self) -> str:
        """Which record it is, for the log."""
        event = dict(self.headers).get("event_id", b"?").decode("utf-8", "replace")
        return f"call {self.key.decode('utf-8', 'replace')}, event {event}"
