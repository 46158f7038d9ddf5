"""The file of dead letters: what will not be delivered, a JSON object a line, and why.

Who writes appends under a lock and syncs before the entry leaves the spool. Who takes the letters away to send them
again renames the file under the same lock, so that none is written into a file that nobody reads any more. The file
that was taken is deleted when each of its letters was sent, refused again or put back: what is cut short in between
sends some twice.
"""

import base64
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import msgspec

from sinks.errors import SinkUnavailable
from sinks.message import Message

_LONGEST = 16 << 20
"""Bytes of a line that are read to know its time."""


@dataclass(frozen=True, slots=True)
class Letter:
    """`reason`: a word, and after a colon what is to be read beside it. `at`: when the message was taken over, seconds
    since the epoch."""

    reason: str
    message: Message
    at: float


@dataclass(slots=True)
class Replayed:
    """What came of letters that were sent again. `refused`: dead letters again. `kept`: put back as they were.
    `unreadable`: what is no letter, kept in a file beside it."""

    sent: int = 0
    refused: int = 0
    kept: int = 0
    unreadable: int = 0


def write_letters(path: Path, letters: Sequence[Letter]) -> None:
    """Append, synced. Raises `OSError`."""
    with _locked(path) as file:
        _end_line(file)
        file.write(b"".join(encode_letter(letter) + b"\n" for letter in letters))
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def taken_letters(path: Path, unreadable: Callable[[bytes], None]) -> Iterator[Iterator[Letter]]:
    """The letters of the file, oldest first, with those that a run before this one did not finish; letters to come
    begin a new file. Leaving without an exception says that all were dealt with. `unreadable` is given every other
    line. Raises `OSError`, and `SinkUnavailable` while another process does the same."""
    taken = taken_from(path)
    if not taken.exists() and not path.exists():
        yield iter(())
        return
    with _locked(path):
        if not taken.exists():
            path.rename(taken)
    with _taken(taken) as file:
        if path.exists():
            _move(path, file)
        file.seek(0)
        yield _letters(file, unreadable)
        taken.unlink()


@dataclass(slots=True)
class _Counted:
    inode: int = 0
    size: int = 0
    letters: int = 0
    oldest_at: float | None = None


class LetterFile:
    """How many letters there are in the file now, those that are being sent again included. Each look reads what was
    appended since the one before it."""

    def __init__(self, path: Path) -> None:
        self._counted = {one: _Counted() for one in (path, taken_from(path))}
        self.warnings()

    def warnings(self) -> list[str]:
        """A line where there are some."""
        found = [self._look(path) for path in self._counted]
        letters = sum(one.letters for one in found)
        if not letters:
            return []
        times = [one.oldest_at for one in found if one.oldest_at is not None]
        age = f", the oldest of {datetime.fromtimestamp(min(times), UTC):%Y-%m-%d %H:%M} UTC" if times else ""
        return [f"{letters} dead letters in the file beside its spool{age}"]

    def _look(self, path: Path) -> _Counted:
        try:
            with path.open("rb") as file:
                return self._read(path, file)
        except FileNotFoundError:
            self._counted[path] = _Counted()
        except OSError:
            pass  # what is known of it stays
        return self._counted[path]

    def _read(self, path: Path, file: IO[bytes]) -> _Counted:
        now, counted = os.fstat(file.fileno()), self._counted[path]
        if (now.st_ino, now.st_size) == (counted.inode, counted.size):
            return counted
        if now.st_ino != counted.inode or now.st_size < counted.size:
            counted = _Counted(now.st_ino)
        if not counted.size:
            with suppress(ValueError, OverflowError):
                counted.oldest_at = decode_letter(file.readline(_LONGEST)).at
        file.seek(counted.size)
        while block := file.read(1 << 20):
            counted.letters += block.count(b"\n")
            counted.size += len(block)
        self._counted[path] = counted
        return counted


@contextmanager
def _taken(path: Path) -> Iterator[IO[bytes]]:
    with ExitStack() as stack:
        try:
            file = stack.enter_context(_locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise SinkUnavailable(f"{path} is being sent again by another process: wait for its end") from error
        yield file


def keep_unreadable(path: Path, line: bytes) -> None:
    """Put aside, beside the file of letters, what is none. Raises `OSError`."""
    with open(path.with_name(path.name + ".unreadable"), "ab", opener=_private) as file:
        file.write(line.rstrip(b"\n") + b"\n")


def taken_from(path: Path) -> Path:
    """Where the letters of a file are while they are sent again."""
    return path.with_name(path.name + ".replaying")


def _move(path: Path, taken: IO[bytes]) -> None:
    """All that is in the file to the end of the other one, synced."""
    with _locked(path) as file:
        _end_line(taken)
        file.seek(0)
        shutil.copyfileobj(file, taken)
        taken.flush()
        os.fsync(taken.fileno())
        path.unlink()


def _letters(file: IO[bytes], unreadable: Callable[[bytes], None]) -> Iterator[Letter]:
    for line in file:
        try:
            letter = decode_letter(line)
        except ValueError:
            unreadable(line)
        else:
            yield letter


def _end_line(file: IO[bytes]) -> None:
    """A full disk or a power failure cut the last line."""
    if file.seek(0, os.SEEK_END) and file.seek(-1, os.SEEK_END) >= 0 and file.read() != b"\n":
        file.write(b"\n")


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
def _locked(path: Path, how: int = fcntl.LOCK_EX) -> Iterator[IO[bytes]]:
    """The file of that name, which is made where there is none, open to append and under its lock."""
    while True:
        with open(path, "a+b", opener=_private) as file:
            fcntl.flock(file, how)
            if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                yield file
                return  # else it was taken away meanwhile
