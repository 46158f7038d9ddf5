from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from pipeline.audio_file import AudioFile
from pipeline.errors import AudioFileNotFound, NotAudio


def tone(rate: int, seconds: float, frequency_hz: float = 440.0) -> NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def read(path: Path, block_s: float = 0.5) -> NDArray[np.float32]:
    with AudioFile(path) as file:
        return np.concatenate(list(file.blocks(block_s)), axis=1)


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("a.wav", "PCM_16"),
        ("a.wav", "ULAW"),
        ("a.wav", "ALAW"),
        ("a.wav", "FLOAT"),
        ("a.flac", "PCM_16"),
        ("a.ogg", "VORBIS"),
    ],
)
@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_any_format_and_rate_comes_out_at_16_khz(tmp_path: Path, name: str, subtype: str, rate: int) -> None:
    path, sent = tmp_path / name, tone(rate, 1.3)
    soundfile.write(path, sent, rate, subtype=subtype)
    out = read(path)
    assert out.dtype == np.float32
    assert out.shape[0] == 1
    assert abs(out.shape[1] - 16_000 * 1.3) <= 1
    expected = soxr.resample(sent, rate, 16_000)
    middle = slice(2000, 18_000)
    assert np.abs(out[0, middle] - expected[middle]).max() < 0.03  # the codecs' own noise


def test_channels_stay_apart(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    left, right = tone(8000, 2.0, 300), tone(8000, 2.0, 900)
    soundfile.write(path, np.stack([left, right], axis=1), 8000, subtype="FLOAT")
    with AudioFile(path) as file:
        assert (file.channels, file.sample_rate_hz, file.duration_s) == (2, 8000, 2.0)
        out = np.concatenate(list(file.blocks()), axis=1)
    assert out.shape == (2, 32_000)
    for channel, frequency_hz in enumerate((300, 900)):
        assert np.argmax(np.abs(np.fft.rfft(out[channel]))) == frequency_hz * 2


def test_blocks_are_bounded_and_their_size_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(8000, 3.0), 8000, subtype="FLOAT")
    with AudioFile(path) as file:
        assert max(block.shape[1] for block in file.blocks(0.1)) < 16_000 * 0.3
    assert np.abs(read(path, 0.1) - read(path, 10.0)).max() < 1e-5


def test_samples_beyond_full_scale_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "loud.wav"
    soundfile.write(path, 4 * tone(16_000, 0.5), 16_000, subtype="FLOAT")
    assert np.abs(read(path)).max() == 1.0


def test_an_empty_file_has_no_blocks(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    soundfile.write(path, np.zeros(0, np.float32), 8000)
    with AudioFile(path) as file:
        assert file.duration_s == 0.0
        assert list(file.blocks()) == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AudioFileNotFound, match=r"nowhere\.wav does not exist"):
        AudioFile(tmp_path / "nowhere.wav")
    with pytest.raises(AudioFileNotFound, match="is a folder"):
        AudioFile(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello\n" * 100, b"RIFF\x00\x00\x00\x00WAVE"])
def test_what_is_not_audio_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.wav"
    path.write_bytes(content)
    with pytest.raises(NotAudio, match=r"notes\.wav cannot be read as audio \(.+\)") as refused:
        AudioFile(path)
    assert "\n" not in str(refused.value)


def test_a_file_that_cannot_be_opened_is_not_audio(tmp_path: Path) -> None:
    path = tmp_path / "unnamed"
    path.write_bytes(bytes(range(256)) * 10)
    with pytest.raises(NotAudio):
        AudioFile(path)


def test_a_damaged_file_is_told_from_one_that_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 64_000).astype(np.float32), 16_000)
    path.write_bytes(path.read_bytes()[:100_000])
    with AudioFile(path) as file, pytest.raises(NotAudio, match=r"a\.flac is damaged \(flac decoder lost sync\)"):
        list(file.blocks())
