"""A record as a broker takes it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """One record, ready for the wire. `topic`: where it goes; `key`: records of one key keep their order there."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
