"""A file through the engine as fast as it goes: the same segments and records as a live call, without clocks.

Chain: file -> 16 kHz blocks -> sessions, one a channel -> segmenters -> finals. The engine is stepped right here, so
audio is read no faster than it is heard and memory does not grow with the file.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from engine import Engine, SessionOptions, StepEvents
from engine.session import SAMPLE_RATE_HZ
from pipeline.audio_file import AudioFile
from pipeline.records import CallInfo, LegOptions, Numbering, RecordMaker
from pipeline.segments import Segment, Segmenter
from sinks.record import SpeakerRole, TranscriptRecord


class _Channel:
    """One channel of the file."""

    def __init__(self, engine: Engine, options: SessionOptions, leg: LegOptions) -> None:
        self.leg = leg
        self.session = engine.open(options)
        self.segmenter = Segmenter(leg.leg)

    def hear(self, events: StepEvents) -> list[Segment]:
        news = [hypothesis for hypothesis in events.hypotheses if hypothesis.session == self.session]
        return self.segmenter.update(news, events.progress.get(self.session, 0.0))


def transcribe_file(
    engine: Engine, path: Path, options: SessionOptions, on_progress: Callable[[float], None] | None = None
) -> Iterator[TranscriptRecord]:
    """Finals of every channel as they come; the engine must not be started. `on_progress`: seconds of the file heard.

    Raises `AudioFileError`, `UnknownLocale`, `UnknownChunk`, `EngineFull`.
    """
    news: list[StepEvents] = []
    with AudioFile(path) as file, _subscribed(engine, news.append):
        maker = RecordMaker(CallInfo(str(path), "file"), Numbering())
        legs = [LegOptions(f"channel-{index}", SpeakerRole.UNKNOWN, index) for index in range(file.channels)]
        channels: list[_Channel] = []
        try:
            channels += (_Channel(engine, options, leg) for leg in legs)
            heard_s = 0.0
            for block in file.blocks():
                for channel, pcm in zip(channels, block, strict=True):
                    engine.push(channel.session, pcm)
                yield from _finals(engine, channels, news, maker)
                heard_s += block.shape[1] / SAMPLE_RATE_HZ
                if on_progress is not None:
                    on_progress(heard_s)
        finally:
            for channel in channels:
                engine.close(channel.session)
            rest = list(_finals(engine, channels, news, maker))
        yield from rest
        for channel in channels:
            for segment in channel.segmenter.close(had_audio=heard_s > 0):
                yield maker.transcript(channel.leg, segment, _stamp(), 0.0)


@contextmanager
def _subscribed(engine: Engine, callback: Callable[[StepEvents], None]) -> Iterator[None]:
    engine.subscribe(callback)
    try:
        yield
    finally:
        engine.unsubscribe(callback)


def _finals(
    engine: Engine, channels: list[_Channel], news: list[StepEvents], maker: RecordMaker
) -> Iterator[TranscriptRecord]:
    """Step until nothing is ready; the finals of that."""
    while engine.step():
        pass
    for events in news:
        for channel in channels:
            for segment in channel.hear(events):
                if segment.is_final:
                    yield maker.transcript(channel.leg, segment, _stamp(), 0.0)
    news.clear()


def _stamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
