"""Recordings with the faults that real ones have, made from sound ones."""

import struct
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from pipeline.audio_file import AudioFile
from pipeline.errors import AudioFileError

RATE_HZ = 8000
SECONDS = 12


def speech() -> NDArray[np.float32]:
    """float32 (T,): 12 s of noise whose loudness changes, so that no second is like another."""
    rng = np.random.default_rng(0)
    loudness = np.repeat(rng.uniform(0.05, 0.4, SECONDS), RATE_HZ)
    return (np.clip(rng.standard_normal(SECONDS * RATE_HZ), -2, 2) * loudness).astype(np.float32)


def encoded(folder: Path, container: str, subtype: str) -> bytearray:
    path = folder / "sound"
    soundfile.write(path, speech(), RATE_HZ, format=container, subtype=subtype)
    data = bytearray(path.read_bytes())
    path.unlink()
    return data


def with_size(data: bytearray, chunk: bytes, size: int, layout: str = "<I", skip: int = 4) -> bytearray:
    """`data` with another size in the header of its chunk."""
    changed = bytearray(data)
    at = data.index(chunk) + skip
    changed[at : at + struct.calcsize(layout)] = struct.pack(layout, size)
    return changed


class Outcome:
    """All of a file: `seconds` at 16 kHz, `pcm` (channels, T), its faults and its error."""

    def __init__(self, path: Path) -> None:
        self.pcm = np.zeros((1, 0), np.float32)
        self.faults: list[str] = []
        self.error = ""
        try:
            with AudioFile(path) as file:
                blocks = []
                try:
                    for block in file.blocks():
                        blocks.append(block)
                finally:
                    self.faults = file.faults
                    if blocks:
                        self.pcm = np.concatenate(blocks, axis=1)
        except AudioFileError as error:
            self.error = str(error)

    @property
    def seconds(self) -> float:
        return self.pcm.shape[1] / 16_000


def outcome(path: Path, data: bytes | bytearray) -> Outcome:
    path.write_bytes(data)
    return Outcome(path)
