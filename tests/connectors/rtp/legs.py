"""A leg that keeps what it is given."""

from pipeline.call import LegStats
from pipeline.frames import AudioFrame


class FakeLeg:
    def __init__(self) -> None:
        self.stats = LegStats()
        self.frames: list[AudioFrame] = []

    def push(self, frame: AudioFrame) -> None:
        self.frames.append(frame)
