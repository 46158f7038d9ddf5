"""Formats that libsndfile does not read, through PyAV."""

from pathlib import Path

import numpy as np
import pytest

import pipeline.audio_file
from pipeline.audio_file import AudioFile
from pipeline.errors import NotAudio
from tests.pipeline.damaged import Outcome, outcome

av = pytest.importorskip("av")

FORMATS = {
    "call.m4a": ("aac", "ipod", 16_000, 2),
    "call.mp4": ("aac", "mp4", 44_100, 1),
    "call.webm": ("libopus", "webm", 48_000, 2),
    "call.mkv": ("pcm_s16le", "matroska", 8000, 2),
    "call.amr": ("libopencore_amrnb", "amr", 8000, 1),
    "call.aac": ("aac", "adts", 16_000, 1),
    "call.3gp": ("aac", "3gp", 16_000, 1),
    "call.mov": ("alac", "mov", 16_000, 2),
    "g722.wav": ("g722", "wav", 16_000, 1),
    "g726.wav": ("g726", "wav", 8000, 1),
}


def write(path: Path, codec: str, container: str, rate: int, channels: int, tracks: int = 1) -> Path:
    """Six seconds of a tone in the first channel."""
    if codec not in av.codecs_available:
        pytest.skip(f"this build of FFmpeg has no {codec}")
    tone = (9000 * np.sin(2 * np.pi * 440 * np.arange(6 * rate) / rate)).astype(np.int16)
    layout = "stereo" if channels == 2 else "mono"
    with av.open(str(path), "w", format=container) as out:
        for _ in range(tracks):
            out.add_stream(codec, rate=rate, layout=layout)
        for stream in out.streams:
            pcm = np.zeros((len(tone), channels), np.int16)
            pcm[:, 0] = tone
            frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout=layout)
            frame.sample_rate, frame.pts = rate, 0
            context = stream.codec_context
            fifo = av.AudioFifo()
            for piece in av.AudioResampler(format=context.format or "s16", layout=layout, rate=rate).resample(frame):
                fifo.write(piece)
            while (piece := fifo.read(context.frame_size or 1024)) is not None:
                out.mux(stream.encode(piece))
            if (piece := fifo.read()) is not None:
                out.mux(stream.encode(piece))
            out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_what_only_ffmpeg_reads_is_read_with_its_channels(tmp_path: Path, name: str) -> None:
    channels = FORMATS[name][3]
    found = Outcome(write(tmp_path / name, *FORMATS[name]))
    assert (found.faults, found.error) == ([], "")
    assert found.pcm.shape[0] == channels
    assert found.pcm.shape[1] == pytest.approx(6 * 16_000, abs=2600)
    assert np.argmax(np.abs(np.fft.rfft(found.pcm[0, 8000:88_000]))) == pytest.approx(440 * 5, abs=3)
    if channels == 2:
        assert np.abs(found.pcm[1]).max() < 0.02


@pytest.mark.parametrize("name", ["call.webm", "call.mkv", "g726.wav"])
def test_what_is_cut_short_gives_its_beginning_and_says_so(tmp_path: Path, name: str) -> None:
    data = write(tmp_path / name, *FORMATS[name]).read_bytes()
    found = outcome(tmp_path / name, data[: len(data) // 2])
    assert "is cut short" in found.faults[0]
    assert found.seconds == pytest.approx(3, abs=0.4)


def test_an_mp4_file_whose_index_never_came_is_refused_with_the_reason(tmp_path: Path) -> None:
    data = write(tmp_path / "call.m4a", *FORMATS["call.m4a"]).read_bytes()
    found = outcome(tmp_path / "call.m4a", data[: len(data) // 2])
    assert "call.m4a cannot be read as audio" in found.error
    assert "is cut short" in found.error


def test_more_than_one_track_is_told(tmp_path: Path) -> None:
    found = Outcome(write(tmp_path / "call.mkv", "pcm_s16le", "matroska", 8000, 1, tracks=2))
    assert "has 2 audio tracks and only the first was heard" in found.faults[0]


def test_a_picture_and_a_film_without_sound_are_no_audio(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "film.mp4"), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        for _ in range(10):
            out.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        out.mux(stream.encode(None))
    assert "it has no audio track" in Outcome(tmp_path / "film.mp4").error
    heic = outcome(tmp_path / "a.heic", b"\0\0\0\x18ftypheic" + bytes(99))
    assert "nothing in it says a format" in heic.error


def test_a_play_list_is_never_followed(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret.mp4", *FORMATS["call.mp4"])
    for name, text in (
        ("a.m3u8", f"#EXTM3U\n#EXTINF:1,\n{secret}\n"),
        ("b.mp4", f"ffconcat version 1.0\nfile {secret}\n"),
    ):
        assert "cannot be read as audio" in outcome(tmp_path / name, text.encode()).error


def test_without_pyav_the_error_says_how_to_convert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "call.m4a", *FORMATS["call.m4a"])
    monkeypatch.setattr(pipeline.audio_file, "has_pyav", lambda: False)
    with pytest.raises(
        NotAudio, match=r"MP4 needs PyAV: pip install 'trunkline\[files\]', or convert it: ffmpeg -i FILE"
    ):
        AudioFile(path)
