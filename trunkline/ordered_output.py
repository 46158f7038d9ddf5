"""Lines of several files that are written in turns, brought into the order of the files."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import BinaryIO, cast

_KEPT = 1 << 16
"""Bytes of a waiting file that are kept in memory; more go to the disk."""


@dataclass(slots=True)
class _Held:
    """Lines of a file whose turn has not come: (offset, length) of those on disk, then those in memory."""

    on_disk: list[tuple[int, int]] = field(default_factory=list)
    kept: bytearray = field(default_factory=bytearray)
    complete: bool = False


class OrderedOutput:
    """Passes the lines of the first file that is not complete straight on and holds those of the files after it.

    Memory is bounded by the number of files under way: what is held goes to a temporary file. Where there is no room
    for one, it stays in memory. A context manager.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._turn = 0
        self._held: dict[int, _Held] = {}
        self._disk: BinaryIO | None = None
        self._no_disk = False

    def write(self, file: int, line: bytes) -> None:
        """Whole lines of the file with this number."""
        if file == self._turn:
            self._write(line)
            return
        held = self._held.setdefault(file, _Held())
        held.kept += line
        if len(held.kept) > _KEPT:
            self._store(held)

    def complete(self, file: int) -> None:
        """Nothing more will come of this file."""
        if file != self._turn:
            held = self._held.setdefault(file, _Held())
            held.complete = True
            if held.kept:
                self._store(held)
            return
        self._turn += 1
        while self._turn in self._held:
            following = self._held.pop(self._turn)
            self._pass_on(following)
            if not following.complete:
                return
            self._turn += 1

    def give_up(self) -> None:
        """The rest is not coming: pass on the files that are complete, leave out those that are not."""
        for file in sorted(self._held):
            held = self._held.pop(file)
            if held.complete:
                self._pass_on(held)

    def __enter__(self) -> "OrderedOutput":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._disk is not None:
            self._disk.close()

    def _store(self, held: _Held) -> None:
        if self._no_disk:
            return
        try:
            if self._disk is None:
                self._disk = cast(BinaryIO, tempfile.TemporaryFile(buffering=0))  # noqa: SIM115 - see `__exit__`
            offset, written = self._disk.seek(0, 2), 0
            while written < len(held.kept):
                written += self._disk.write(bytes(held.kept[written:]))
        except OSError:
            self._no_disk = True
            return
        held.on_disk.append((offset, len(held.kept)))
        held.kept = bytearray()

    def _pass_on(self, held: _Held) -> None:
        for offset, length in held.on_disk:
            assert self._disk is not None
            self._disk.seek(offset)
            missing = length
            while missing:
                piece = self._disk.read(missing)
                missing -= len(piece)
                self._write(piece)
        if held.kept:
            self._write(bytes(held.kept))
            held.kept = bytearray()
