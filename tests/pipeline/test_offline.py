"""Many files through a real engine with the demo model: each as if it were alone."""

import threading
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from engine.api import Session, SessionOptions, StepEvents
from engine.checkpoint.find import load_checkpoint
from engine.checkpoint.weights import Checkpoint
from engine.engine import Engine
from engine.errors import EngineError
from pipeline.errors import AudioFileError, AudioFileNotFound, NotAudio, TooManyChannels
from pipeline.offline import BLOCK_S, OfflineTranscription
from sinks.record import TranscriptRecord

CALL = Path(__file__).parents[2] / "trunkline" / "demo" / "call.wav"
OPTIONS = SessionOptions(1_120)


@pytest.fixture(scope="module")
def demo() -> Checkpoint:
    return load_checkpoint()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Stereo and mono, 8 and 48 kHz, 3 to 20 seconds, and one without a sample."""
    samples, rate = soundfile.read(CALL)
    soundfile.write(tmp_path / "a.wav", samples[: 20 * rate], rate)
    soundfile.write(tmp_path / "b.flac", np.repeat(samples[: 9 * rate, 0], 6), 6 * rate)
    soundfile.write(tmp_path / "c.wav", samples[: 3 * rate, 1], rate, subtype="ULAW")
    soundfile.write(tmp_path / "d.wav", samples[:0], rate)
    return [tmp_path / name for name in ("a.wav", "b.flac", "c.wav", "d.wav")]


class Transcription:
    """What came of a run, by file."""

    def __init__(self, engine: Engine, paths: list[Path], at_once: int) -> None:
        self.records: dict[int, list[TranscriptRecord]] = defaultdict(list)
        self.errors: dict[int, AudioFileError] = {}
        self.ended: list[int] = []
        self.seconds: dict[int, float] = defaultdict(float)
        with engine:
            for update in OfflineTranscription(engine, OPTIONS, at_once=at_once).run(paths):
                assert update.file not in self.ended, "update after the end"
                self.records[update.file] += update.records
                self.seconds[update.file] += update.consumed_s
                if update.error is not None:
                    self.errors[update.file] = update.error
                if update.ended:
                    self.ended.append(update.file)

    def said(self, file: int) -> list[tuple[str, float, str, str | None]]:
        return [(one.leg, one.start, one.transcript, one.language) for one in self.records[file]]


def test_files_side_by_side_come_out_as_each_alone(demo: Checkpoint, files: list[Path]) -> None:
    together = Transcription(Engine(demo, max_sessions=8), files, 8)
    assert sorted(together.ended) == [0, 1, 2, 3]
    for number, path in enumerate(files):
        alone = Transcription(Engine(demo, max_sessions=2), [path], 2)
        assert together.said(number) == alone.said(0)
    assert {leg for leg, *_ in together.said(0)} == {"channel-0", "channel-1"}
    assert [start for _, start, *_ in together.said(0)] == sorted(start for _, start, *_ in together.said(0))
    assert [together.seconds[number] for number in range(4)] == pytest.approx([40, 9, 3, 0], abs=0.01)
    assert together.records[3] == []


def test_no_more_channels_are_under_way_than_asked_for(demo: Checkpoint, files: list[Path]) -> None:
    engine = Engine(demo, max_sessions=8)
    most = 0

    def count(_: StepEvents) -> None:
        nonlocal most
        most = max(most, engine.open_sessions)

    engine.subscribe(count)
    heard = Transcription(engine, files * 2, 3)
    assert sorted(heard.ended) == list(range(8))
    assert most == 3


def test_a_file_is_read_a_bounded_time_ahead(demo: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples, rate = soundfile.read(CALL)
    soundfile.write(tmp_path / "long.wav", np.tile(samples, (3, 1)), rate, subtype="ULAW")
    pushed: dict[Session, float] = defaultdict(float)
    ahead: list[float] = []
    engine, push = Engine(demo, max_sessions=2), Engine.push

    def counting(self: Engine, session: Session, pcm: NDArray[np.float32]) -> None:
        pushed[session] += len(pcm) / 16_000
        push(self, session, pcm)

    def measure(events: StepEvents) -> None:
        ahead.extend(pushed[session] - heard_s for session, heard_s in events.progress.items())

    monkeypatch.setattr(Engine, "push", counting)
    engine.subscribe(measure)
    heard = Transcription(engine, [tmp_path / "long.wav"], 2)
    assert sum(pushed.values()) == pytest.approx(heard.seconds[0], abs=0.01)
    assert sum(pushed.values()) > 300
    assert 1.12 < max(ahead) <= 2 * BLOCK_S + 1.12
    assert engine.stats.skipped_samples == 0


def test_a_bad_file_ends_with_its_error_and_the_others_go_on(
    demo: Checkpoint, files: list[Path], tmp_path: Path
) -> None:
    samples, rate = soundfile.read(CALL)
    broken = tmp_path / "broken.flac"
    soundfile.write(broken, samples[: 30 * rate], rate)
    data = bytearray(broken.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    broken.write_bytes(data)
    (tmp_path / "text.wav").write_text("not audio")
    soundfile.write(tmp_path / "many.wav", np.zeros((800, 5)), 8_000)
    paths = [tmp_path / "gone.wav", broken, files[1], tmp_path / "text.wav", tmp_path / "many.wav", files[2]]
    heard = Transcription(Engine(demo, max_sessions=4), paths, 4)
    assert sorted(heard.ended) == list(range(6))
    kinds = {number: type(error) for number, error in heard.errors.items()}
    assert kinds == {0: AudioFileNotFound, 1: NotAudio, 3: NotAudio, 4: TooManyChannels}
    assert "many.wav has 5 channels" in str(heard.errors[4])
    assert len(heard.records[1]) > 2, "what was heard before the damage"
    assert heard.said(2)
    assert heard.said(5)


def test_giving_up_leaves_no_session_behind(demo: Checkpoint, files: list[Path]) -> None:
    engine = Engine(demo, max_sessions=4)
    with engine:
        update = OfflineTranscription(engine, OPTIONS, at_once=4).run(files)
        next(update)
        opened, gone = engine.open_sessions, threading.Semaphore(0)
        assert opened
        engine.subscribe(lambda events: gone.release(len(events.closed)) if events.closed else None)
        update.close()
        assert all(gone.acquire(timeout=20) for _ in range(opened))
        again = [one for one in OfflineTranscription(engine, OPTIONS, at_once=4).run(files[2:3]) if one.records]
    assert again[0].records[0].transcript
    assert not engine.open_sessions


def test_an_engine_that_fails_ends_the_run(
    demo: Checkpoint, files: list[Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Engine(demo, max_sessions=4)

    def fails(*_: object) -> None:
        raise RuntimeError("no more")

    monkeypatch.setattr(engine._executor, "step", fails)
    with pytest.raises(EngineError, match=r"see its log|has failed|engine failed"):
        Transcription(engine, files, 4)
    assert "no more" in caplog.text
