"""A leg that keeps what it is given."""

from pipeline.call import LegStats
from pipeline.frames import AudioFrame
from pipeline.intake import Intake


class FakeLeg:
    intake: Intake | None = None

    def __init__(self) -> None:
        self.stats = LegStats()
        self.frames: list[AudioFrame] = []

    def push(self, frame: AudioFrame) -> None:
        self.frames.append(frame)

    def fail(self, error: Exception) -> None:
        raise error
