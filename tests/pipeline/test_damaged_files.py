"""What the header declares, what the file holds and what was heard are compared, and every difference is told."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.audio_file import AudioFile
from tests.pipeline.damaged import RATE_HZ, SECONDS, Outcome, encoded, outcome, speech, with_size

WHOLE = pytest.approx(SECONDS, abs=0.15)
ENCODINGS = [
    ("WAV", "PCM_16"),
    ("WAV", "ULAW"),
    ("WAV", "ALAW"),
    ("WAV", "IMA_ADPCM"),
    ("WAV", "MS_ADPCM"),
    ("WAV", "GSM610"),
    ("WAVEX", "PCM_16"),
    ("RF64", "PCM_16"),
    ("W64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("AU", "ULAW"),
    ("CAF", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
    ("VOC", "PCM_16"),
    ("NIST", "PCM_16"),
    ("AVR", "PCM_16"),
    ("SVX", "PCM_16"),
    ("WVE", "ALAW"),
]


@pytest.mark.parametrize(("container", "subtype"), ENCODINGS)
def test_a_sound_file_is_heard_to_its_end_without_a_fault(tmp_path: Path, container: str, subtype: str) -> None:
    found = outcome(tmp_path / "call", encoded(tmp_path, container, subtype))
    assert (found.faults, found.error) == ([], "")
    assert found.seconds == WHOLE


@pytest.mark.parametrize(("container", "subtype"), ENCODINGS)
def test_a_file_cut_in_half_gives_its_half_and_says_so(tmp_path: Path, container: str, subtype: str) -> None:
    data = encoded(tmp_path, container, subtype)
    found = outcome(tmp_path / "call", data[: len(data) * 6 // 10])
    told = [*found.faults, *([found.error] if found.error else [])]
    assert len(told) == 1
    assert str(tmp_path / "call") in told[0]
    assert any(word in told[0] for word in ("cut short", "damaged"))
    assert 3.5 < found.seconds < 8.5


UNFINISHED = {
    "riff": ("WAV", "PCM_16", [(b"RIFF", 0, "<I", 4), (b"data", 0, "<I", 4)]),
    "data only": ("WAV", "PCM_16", [(b"data", 0, "<I", 4)]),
    "mu-law": ("WAV", "ULAW", [(b"RIFF", 0, "<I", 4), (b"data", 0, "<I", 4)]),
    "gsm": ("WAV", "GSM610", [(b"RIFF", 0, "<I", 4), (b"data", 0, "<I", 4)]),
    "ima": ("WAV", "IMA_ADPCM", [(b"RIFF", 0, "<I", 4), (b"data", 0, "<I", 4)]),
    "extensible": ("WAVEX", "PCM_16", [(b"RIFF", 0, "<I", 4), (b"data", 0, "<I", 4)]),
    "rf64": ("RF64", "PCM_16", [(b"ds64", 0, "<Q", 16)]),
    "wave64": ("W64", "PCM_16", [(b"data", 0, "<Q", 16)]),
    "wave64 with its header": ("W64", "PCM_16", [(b"data", 24, "<Q", 16)]),
    "aiff": ("AIFF", "PCM_16", [(b"COMM", 0, ">I", 10), (b"SSND", 0, ">I", 4)]),
    "au": ("AU", "PCM_16", [(b".snd", 0, ">I", 8)]),
    "caf": ("CAF", "PCM_16", [(b"data", 0, ">q", 4)]),
}


@pytest.mark.parametrize("case", UNFINISHED)
def test_a_header_that_was_never_finished_is_heard_to_the_end_of_the_file_and_told(tmp_path: Path, case: str) -> None:
    container, subtype, sizes = UNFINISHED[case]
    whole = data = encoded(tmp_path, container, subtype)
    for chunk, size, layout, skip in sizes:
        data = with_size(data, chunk, size, layout, skip)
    found = outcome(tmp_path / "call.wav", data)
    (fault,) = found.faults
    assert "call.wav has a header that was never finished: all 12." in fault
    assert found.seconds == WHOLE
    assert np.array_equal(found.pcm, outcome(tmp_path / "whole.wav", whole).pcm[:, : found.pcm.shape[1]])


@pytest.mark.parametrize(
    ("container", "chunk", "size", "layout", "skip"),
    [
        ("WAV", b"data", 16_000, "<I", 4),
        ("RF64", b"ds64", 16_000, "<Q", 16),
        ("W64", b"data", 16_024, "<Q", 16),
        ("AIFF", b"SSND", 16_008, ">I", 4),
        ("AU", b".snd", 16_000, ">I", 8),
        ("CAF", b"data", 16_004, ">q", 4),
    ],
)
def test_audio_behind_the_declared_end_is_heard_and_told(
    tmp_path: Path, container: str, chunk: bytes, size: int, layout: str, skip: int
) -> None:
    data = with_size(encoded(tmp_path, container, "PCM_16"), chunk, size, layout, skip)
    found = outcome(tmp_path / "call", data)
    (fault,) = found.faults
    assert "declares only 1.0 s: all 12.0 s up to the end of the file" in fault
    assert found.seconds == WHOLE


@pytest.mark.parametrize(
    ("riff", "size"),
    [
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x7FFFF024, 0x7FFFF000),
        (0x80000024, 0x80000000),
        (0x7FFFFFFF, 0x7FFFFFDB),
        (0, 0xFFFFFFFF),
    ],
)
def test_placeholders_of_programs_that_write_into_pipes_mean_until_the_end(
    tmp_path: Path, riff: int, size: int
) -> None:
    data = with_size(with_size(encoded(tmp_path, "WAV", "PCM_16"), b"RIFF", riff), b"data", size)
    found = outcome(tmp_path / "call.wav", data)
    assert (found.faults, found.error) == ([], "")
    assert found.seconds == WHOLE


def test_until_the_end_in_other_containers_is_no_fault(tmp_path: Path) -> None:
    for container, chunk, size, layout, skip in (
        ("AU", b".snd", 0xFFFFFFFF, ">I", 8),
        ("CAF", b"data", -1, ">q", 4),
        ("RF64", b"ds64", 2**64 - 1, "<Q", 16),
    ):
        data = with_size(encoded(tmp_path, container, "PCM_16"), chunk, size, layout, skip)
        found = outcome(tmp_path / container, data)
        assert not found.faults, container
        assert found.seconds == WHOLE, container


@pytest.mark.parametrize(
    "tail", [b"LIST\x04\0\0\0INFO", b"TAG" + bytes(125), bytes(5000), b"\0", b"bext\x05\0\0\0hello\0LIST\x04\0\0\0INFO"]
)
def test_chunks_tags_and_reserved_space_behind_the_audio_are_no_audio(tmp_path: Path, tail: bytes) -> None:
    found = outcome(tmp_path / "call.wav", encoded(tmp_path, "WAV", "PCM_16") + tail)
    assert (found.faults, found.seconds) == ([], SECONDS)


def test_an_empty_data_chunk_before_other_chunks_is_no_unfinished_header(tmp_path: Path) -> None:
    head = encoded(tmp_path, "WAV", "PCM_16")[:44]
    found = outcome(tmp_path / "call.wav", with_size(head, b"data", 0) + b"LIST\x04\0\0\0INFO")
    assert (found.faults, found.error, found.seconds) == ([], "", 0.0)


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("W64", "PCM_16"),
        ("RF64", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("AU", "PCM_16"),
        ("CAF", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
    ],
)
def test_files_put_together_are_heard_one_after_the_other(tmp_path: Path, container: str, subtype: str) -> None:
    data = encoded(tmp_path, container, subtype)
    once, twice = outcome(tmp_path / "once", data), outcome(tmp_path / "twice", data + data)
    assert (twice.faults, twice.error) == ([], "")
    assert np.array_equal(twice.pcm, np.tile(once.pcm, 2))


def test_links_of_a_chain_may_have_other_rates_and_channels(tmp_path: Path) -> None:
    parts = []
    for rate, channels in ((8000, 1), (16_000, 2), (48_000, 1)):
        tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)
        soundfile.write(tmp_path / "part.ogg", np.tile(tone[:, None], channels), rate, subtype="VORBIS")
        parts.append((tmp_path / "part.ogg").read_bytes())
    found = outcome(tmp_path / "chain.ogg", b"".join(parts))
    assert found.faults == []
    assert len(found.pcm) == 2
    assert found.seconds == pytest.approx(6, abs=0.002)
    loud = np.abs(found.pcm).reshape(2, 6, -1).max(axis=2) > 0.2
    assert loud.tolist() == [[True] * 6, [False, False, True, True, False, False]]


def test_mp3_files_of_another_rate_behind_the_first_are_heard(tmp_path: Path) -> None:
    for rate in (8000, 44_100):
        soundfile.write(tmp_path / f"{rate}.mp3", np.tile(speech(), 2)[: 6 * rate], rate)
    found = outcome(tmp_path / "both.mp3", b"".join((tmp_path / f"{rate}.mp3").read_bytes() for rate in (8000, 44_100)))
    assert found.faults == []
    assert found.seconds == pytest.approx(6 + min(6, 24 * 8000 / 44_100), abs=0.1)


def frames(tmp_path: Path) -> tuple[bytearray, int]:
    """An MP3 file of varying bit rate, and the size of its first frame, which declares how many follow."""
    soundfile.write(tmp_path / "vbr.mp3", speech(), RATE_HZ, bitrate_mode="VARIABLE")
    data = bytearray((tmp_path / "vbr.mp3").read_bytes())
    (tmp_path / "vbr.mp3").unlink()
    return data, data.index(b"\xff", 100)


def test_an_mp3_file_that_declares_fewer_frames_than_it_has_is_heard_to_its_end(tmp_path: Path) -> None:
    data, _ = frames(tmp_path)
    found = outcome(tmp_path / "call.mp3", with_size(data, b"Xing", 20, ">I", 8))
    assert found.seconds == WHOLE


def test_an_mp3_file_without_a_declaration_is_heard_to_its_end(tmp_path: Path) -> None:
    data, first = frames(tmp_path)
    found = outcome(tmp_path / "call.mp3", data[first:])
    assert found.faults == []
    assert found.seconds == WHOLE


def test_damage_between_mp3_frames_is_counted_and_the_rest_is_heard(tmp_path: Path) -> None:
    data, _ = frames(tmp_path)
    half = len(data) // 2
    found = outcome(tmp_path / "call.mp3", data[:half] + b"garbage!" * 400 + data[half:])
    (fault,) = found.faults
    assert "bytes between its frames are no MPEG audio and were skipped" in fault
    assert found.seconds == pytest.approx(SECONDS, abs=0.4)


def test_tags_around_and_between_mp3_files_are_passed_over(tmp_path: Path) -> None:
    data, _ = frames(tmp_path)
    tagged = b"ID3\x03\0\0\0\0\x01\x00" + bytes(128) + data + b"TAG" + bytes(125)
    found = outcome(tmp_path / "call.mp3", tagged + tagged)
    assert (found.faults, found.error) == ([], "")
    assert found.seconds == pytest.approx(2 * SECONDS, abs=0.1)


def test_lost_pages_of_an_ogg_file_are_told(tmp_path: Path) -> None:
    data = encoded(tmp_path, "OGG", "OPUS")
    starts = [at for at in range(len(data)) if data[at : at + 4] == b"OggS"]
    found = outcome(tmp_path / "call.ogg", data[: starts[3]] + data[starts[4] :])
    assert "lacks 1 pages in the middle" in found.faults[0]


def test_a_flac_file_of_unknown_length_is_heard_to_its_end(tmp_path: Path) -> None:
    data = encoded(tmp_path, "FLAC", "PCM_16")
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    found = outcome(tmp_path / "call.flac", data)
    assert (found.faults, found.error, found.seconds) == ([], "", SECONDS)


@pytest.mark.parametrize("rate_hz", [1, 80, 1999, 10_000_000])
def test_a_rate_that_cannot_be_is_refused_with_what_to_do(tmp_path: Path, rate_hz: int) -> None:
    data = with_size(encoded(tmp_path, "WAV", "PCM_16"), b"fmt ", rate_hz, "<I", 12)
    found = outcome(tmp_path / "call.wav", data)
    assert f"its header says {rate_hz:,} Hz, which is no sampling rate of speech" in found.error
    assert "--format" in found.error


@pytest.mark.parametrize(
    "content",
    [
        np.random.default_rng(1).integers(-2, 3, 40_000).astype("<i2").tobytes(),
        b"\xff\xfb\x90\x64" + bytes(40_000),
        b"\xff\xf3\x18\xc4" + np.random.default_rng(2).integers(0, 256, 40_000).astype(np.uint8).tobytes(),
        bytes(40_000),
        b"\xff" * 40_000,
        b"\xff\xfe" * 20_000,
        b"\x00\x00\x03\xe8" + bytes(40_000),
        b"\x01\x04" * 20_000,
    ],
)
@pytest.mark.parametrize("name", ["call.raw", "call.bin", "call.mp3", "call.wav"])
def test_audio_without_a_header_is_taken_for_no_format(tmp_path: Path, content: bytes, name: str) -> None:
    found = outcome(tmp_path / name, content)
    assert f"{name} cannot be read as audio (nothing in it says a format" in found.error
    assert "--format ulaw:8000" in found.error


def test_a_file_that_grows_while_it_is_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    path.write_bytes(encoded(tmp_path, "WAV", "PCM_16"))
    with AudioFile(path) as file:
        blocks = file.blocks()
        next(blocks)
        with path.open("ab") as growing:
            growing.write(bytes(16_000))
        assert sum(block.shape[1] for block in blocks) / 16_000 == pytest.approx(11.5, abs=0.2)
        assert "call.wav grew by 16,000 bytes while it was read" in file.faults[0]


def test_a_file_that_is_cut_while_it_is_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    path.write_bytes(encoded(tmp_path, "WAV", "PCM_16"))
    with AudioFile(path) as file:
        blocks = file.blocks()
        next(blocks)
        with path.open("r+b") as cut:
            cut.truncate(60_000)
        list(blocks)
        assert any("lost 132,044 bytes while it was read" in fault for fault in file.faults)


def test_memory_does_not_hold_what_a_header_only_declares(tmp_path: Path) -> None:
    data = with_size(encoded(tmp_path, "WAV", "PCM_16"), b"data", 0x60000000)
    found = outcome(tmp_path / "call.wav", data)
    assert "holds 12.0 s of the 27:57:43 h" in found.faults[0].replace(",", "")
    assert found.seconds == SECONDS


@pytest.mark.parametrize("seed", range(60))
def test_no_damage_makes_another_error_than_those_for_people(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    container, subtype = ENCODINGS[seed % len(ENCODINGS)]
    data = np.frombuffer(bytes(encoded(tmp_path, container, subtype)[:30_000]), np.uint8).copy()
    for at in rng.integers(0, 200 if seed % 2 else len(data), 6):
        data[at] = rng.integers(256)
    found = Outcome.__new__(Outcome)
    (tmp_path / "call").write_bytes(data[: rng.integers(1, len(data))].tobytes())
    found.__init__(tmp_path / "call")  # type: ignore[misc]
    assert all("\n" not in line and str(tmp_path / "call") in line for line in (*found.faults, found.error) if line)


def test_the_same_file_has_one_digest_and_another_content_another(tmp_path: Path) -> None:
    for name, content in (("a", bytes(99)), ("b", bytes(99)), ("c", bytes(98) + b"\x01")):
        header = struct.pack("<4sI8sIHHIIHH4sI", b"RIFF", 135, b"WAVEfmt ", 16, 7, 1, 8000, 8000, 1, 8, b"data", 99)
        (tmp_path / name).write_bytes(header + content)
    digests = []
    for name in "abc":
        with AudioFile(tmp_path / name) as file:
            digests.append(file.digest)
    assert digests[0] == digests[1] != digests[2]
