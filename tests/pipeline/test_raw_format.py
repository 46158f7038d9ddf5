"""Audio without a header, read as the user says."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from G722 import G722

from pipeline.audio_file import AudioFile
from pipeline.errors import NotAudio, UnknownRawFormat
from pipeline.g711 import encode_alaw, encode_mulaw
from pipeline.raw_format import RawFormat, parse_raw_format

TONE = (9000 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 8000)).astype(np.int16)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ulaw:8000", RawFormat("ULAW", "FILE", 8000, 1)),
        ("PCMU", RawFormat("ULAW", "FILE", 8000, 1)),
        ("alaw:8000:2", RawFormat("ALAW", "FILE", 8000, 2)),
        ("s16le:16000", RawFormat("PCM_16", "LITTLE", 16_000, 1)),
        ("l16:44100:2", RawFormat("PCM_16", "BIG", 44_100, 2)),
        ("slin:8000", RawFormat("PCM_16", "LITTLE", 8000, 1)),
        ("g722", RawFormat("G722", "FILE", 16_000, 1)),
        ("g722:8000", RawFormat("G722", "FILE", 16_000, 1)),
        ("gsm", RawFormat("GSM610", "FILE", 8000, 1)),
        ("f32le:48000", RawFormat("FLOAT", "LITTLE", 48_000, 1)),
    ],
)
def test_a_description_is_name_rate_and_channels(text: str, expected: RawFormat) -> None:
    assert parse_raw_format(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there are ulaw, alaw"),
        ("mp3", "there are ulaw, alaw"),
        ("s16le", "the rate is missing"),
        ("ulaw:8k", "NAME:RATE"),
        ("ulaw:-8000", "NAME:RATE"),
        ("ulaw:8000:2:1", "NAME:RATE"),
        ("ulaw:1", "no sampling rate of speech"),
        ("ulaw:8000:0", "channels"),
        ("ulaw:8000:65", "channels"),
        ("g722:16000:2", "one channel"),
        ("g722:44100", "g722 has 16000 Hz"),
        ("ulaw:٨٠٠٠", "NAME:RATE"),
    ],
)
def test_a_description_that_makes_no_sense_says_how_to_write_it(text: str, why: str) -> None:
    with pytest.raises(UnknownRawFormat, match=why):
        parse_raw_format(text)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("ulaw:8000", encode_mulaw(TONE).tobytes()),
        ("alaw", encode_alaw(TONE).tobytes()),
        ("s16le:8000", TONE.astype("<i2").tobytes()),
        ("l16:8000", TONE.astype(">i2").tobytes()),
        ("g722", bytes(G722(16_000, 64_000).encode(np.repeat(TONE, 2)))),
    ],
)
def test_audio_without_a_header_is_what_the_user_says(tmp_path: Path, text: str, data: bytes) -> None:
    path = tmp_path / "call.raw"
    path.write_bytes(data)
    with AudioFile(path, raw=parse_raw_format(text)) as file:
        pcm = np.concatenate(list(file.blocks()), axis=1)
        assert (file.duration_s, file.faults) == (2.0, [])
    assert pcm.shape == (1, pytest.approx(32_000, abs=2))
    assert np.argmax(np.abs(np.fft.rfft(pcm[0]))) == pytest.approx(880, abs=1)


def test_channels_of_raw_audio_stay_apart(tmp_path: Path) -> None:
    path = tmp_path / "call.ulaw"
    path.write_bytes(encode_mulaw(np.stack([TONE, np.zeros_like(TONE)], axis=1)).tobytes())
    with AudioFile(path, raw=parse_raw_format("ulaw:8000:2")) as file:
        loudest = np.abs(np.concatenate(list(file.blocks()), axis=1)).max(axis=1)
    assert loudest[0] > 0.2
    assert loudest[1] < 0.01


def test_a_file_with_a_header_keeps_it_whatever_is_said_of_others(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    soundfile.write(path, TONE, 8000)
    with AudioFile(path, raw=parse_raw_format("alaw:16000")) as file:
        assert (file.sample_rate_hz, file.duration_s) == (8000, 2.0)


@pytest.mark.parametrize("text", ["s16le:8000", "ulaw:8000:2"])
def test_a_piece_of_a_sample_at_the_end_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "call.raw"
    path.write_bytes(bytes(16_001))
    with AudioFile(path, raw=parse_raw_format(text)) as file:
        list(file.blocks())
        assert "call.raw ends in the middle of a sample: 1 bytes too many for --format" in file.faults[0]


def test_gsm_as_asterisk_writes_it_is_known_by_its_frames_and_nothing_else_by_its_name(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "sound", TONE, 8000, format="RAW", subtype="GSM610")
    data = (tmp_path / "sound").read_bytes()
    (tmp_path / "call.gsm").write_bytes(data)
    with AudioFile(tmp_path / "call.gsm") as file:
        assert file.duration_s == pytest.approx(2.0, abs=0.1)
    for name, content in (("text.gsm", b"hello world" * 99), ("x.vox", data), ("x.ulaw", data), ("x.au", b"hi" * 99)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(NotAudio, match=r"--format [a-z]+:\d+"):
            AudioFile(tmp_path / name)
