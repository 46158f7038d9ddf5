"""The bytes of an open file: looked at anywhere, and handed to decoders as a file of its own.

Everything reads by offset (`pread`), so several readers of one descriptor do not move each other's position.
"""

import io
import os
from collections.abc import Mapping
from typing import Any


class ByteSource:
    """A regular file by its descriptor, which it owns. `size`: its bytes at the time it was opened.

    Raises `OSError` where the file cannot be read.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._stamp = self._now()
        self.size = self._stamp[0]

    def at(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` on, fewer at the end of the file as it was when opened."""
        length = min(length, self.size - offset)
        parts = []
        while length > 0:
            part = os.pread(self._fd, length, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(parts)

    def find(self, pattern: bytes, start: int, end: int) -> int:
        """Offset of the first `pattern` that lies in [start, end), or -1. Memory is bounded."""
        step, overlap = 1 << 20, len(pattern) - 1
        for offset in range(start, end, step):
            found = self.at(offset, min(step + overlap, end - offset)).find(pattern)
            if found >= 0:
                return offset + found
        return -1

    def is_zero(self, start: int, end: int) -> bool:
        """Whether [start, end) holds nothing but zeros: space that was reserved and never written."""
        step = 1 << 20
        return not any(self.at(offset, min(step, end - offset)).strip(b"\0") for offset in range(start, end, step))

    @property
    def has_changed(self) -> bool:
        """Whether the file was written to since it was opened."""
        return self._now() != self._stamp

    @property
    def grew_by(self) -> int:
        """Bytes that came since it was opened; negative where it was shortened."""
        return self._now()[0] - self.size

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _now(self) -> tuple[int, int]:
        status = os.fstat(self._fd)
        return status.st_size, status.st_mtime_ns


class Window(io.RawIOBase):
    """A part of a source as a seekable file. `prefix`: bytes that come before it; `patches` (offset in the part ->
    bytes) stand in for what is there.

    A decoder in C would swallow an exception, so a read that fails is the end of the file, and `error` says why.
    """

    def __init__(
        self,
        source: ByteSource,
        start: int,
        length: int,
        patches: Mapping[int, bytes] | None = None,
        prefix: bytes = b"",
    ) -> None:
        super().__init__()
        self.error: OSError | None = None
        self._source = source
        self._start = start - len(prefix)
        self._length = length + len(prefix)
        self._patches = {len(prefix) + offset: patch for offset, patch in (patches or {}).items()}
        self._first = len(prefix)
        if prefix:
            self._patches[0] = prefix
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._length - self._position)
        if wanted <= 0:
            return 0
        before = min(max(self._first - self._position, 0), wanted)
        try:
            data = bytes(before) + self._source.at(self._start + self._position + before, wanted - before)
        except OSError as error:
            self.error = error
            return 0
        if self._patches:
            data = self._patched(data)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def _patched(self, data: bytes) -> bytes:
        end = self._position + len(data)
        for offset, patch in self._patches.items():
            first, last = max(offset, self._position), min(offset + len(patch), end)
            if first < last:
                here = first - self._position
                data = data[:here] + patch[first - offset : last - offset] + data[here + last - first :]
        return data
