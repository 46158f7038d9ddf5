"""The file of dead letters: what will not be delivered, a JSON object a line, and why.

Who writes appends under a lock and syncs before the entry leaves the spool. Who takes the letters away to send them
again renames the file under the same lock, so that none is written into a file that nobody reads any more.
"""

import base64
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from sinks.message import Message


@dataclass(frozen=True, slots=True)
class Letter:
    """`reason`: a word, and after a colon what is to be read beside it. `at`: when the message was taken over, seconds
    since the epoch."""

    reason: str
    message: Message
    at: float


def write_letters(path: Path, letters: Sequence[Letter]) -> None:
    """Append, synced. Raises `OSError`."""
    with _appending(path) as file:
        if file.tell() and file.seek(-1, os.SEEK_END) >= 0 and file.read() != b"\n":
            file.write(b"\n")  # a full disk or a power failure cut the last line
        file.write(b"".join(encode_letter(letter) + b"\n" for letter in letters))
        file.flush()
        os.fsync(file.fileno())


def take_letters(path: Path, to: Path) -> None:
    """Rename the file; letters to come begin a new one. Raises `OSError`."""
    with _appending(path):
        path.rename(to)


def encode_letter(letter: Letter) -> bytes:
    """A line; key and value as text where they are UTF-8, else in base64."""
    message = letter.message
    fields: dict[str, object] = {"reason": letter.reason, "topic": message.topic, "at": letter.at}
    for name, data in (("key", message.key), ("value", message.value)):
        try:
            fields[name] = data.decode()
        except UnicodeDecodeError:
            fields[f"{name}_base64"] = base64.b64encode(data).decode()
    fields["headers"] = [[name, value.decode("utf-8", "replace")] for name, value in message.headers]
    return msgspec.json.encode(fields)


class _Line(msgspec.Struct):
    reason: str
    topic: str
    at: float
    headers: list[tuple[str, str]]
    key: str | None = None
    value: str | None = None
    key_base64: str | None = None
    value_base64: str | None = None


_LINES = msgspec.json.Decoder(_Line)


def decode_letter(line: bytes) -> Letter:
    """Raises `ValueError` for what is no letter."""
    one = _LINES.decode(line)
    data = []
    for text, coded in ((one.key, one.key_base64), (one.value, one.value_base64)):
        data.append(text.encode() if text is not None else base64.b64decode(coded or "", validate=True))
    headers = tuple((name, value.encode()) for name, value in one.headers)
    return Letter(one.reason, Message(one.topic, data[0], data[1], headers), one.at)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextmanager
def _appending(path: Path) -> Iterator[IO[bytes]]:
    while True:
        with open(path, "a+b", opener=_private) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                yield file
                return  # else it was taken away meanwhile
