"""Files as recorders, browsers and telephone systems really wrote them, from bug reports of other programs: everything
in them is heard, and what was mended or guessed is told in one line."""

import base64
import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.audio_file import AudioFile
from pipeline.errors import NotAudio
from pipeline.raw_format import parse_raw_format
from tests.pipeline.damaged import RATE_HZ, SECONDS, encoded, outcome, speech, with_size

WHOLE = pytest.approx(SECONDS, abs=0.15)
PCM = (speech() * 32767).astype("<i2").tobytes()
FORMAT = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if size is None else size) + body


def riff(*chunks: bytes) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return chunk(b"RIFF", body)


def float_wav(samples: np.ndarray[tuple[int], np.dtype[np.float32]]) -> bytes:
    """With the format chunk of 16 bytes that MATLAB writes."""
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 1, RATE_HZ, 4 * RATE_HZ, 4, 32)
    return riff(head, chunk(b"data", samples.astype("<f4").tobytes()))


# WAV ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        riff(FORMAT, chunk(b"LIST", bytes(393_164)), chunk(b"data", PCM)),
        riff(chunk(b"JUNK", bytes(28)), FORMAT, chunk(b"data", PCM)),
        riff(chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, RATE_HZ, 0, 0, 16)), chunk(b"data", PCM)),
        riff(chunk(b"data", PCM), FORMAT),
        riff(FORMAT, chunk(b"data", b""), chunk(b"data", PCM)),
        float_wav(speech()),
    ],
    ids=["zero list", "junk first", "no block", "format last", "empty data first", "float of 16 bytes"],
)
def test_unusual_headers_of_recorders_are_no_fault(tmp_path: Path, data: bytes) -> None:
    found = outcome(tmp_path / "call.wav", data)
    assert (found.faults, found.error) == ([], "")
    assert found.seconds == WHOLE


@pytest.mark.parametrize("pieces", [2, 5])
def test_every_chunk_of_audio_of_a_file_is_heard(tmp_path: Path, pieces: int) -> None:
    size = len(PCM) // pieces // 2 * 2
    chunks = [chunk(b"data", PCM[start : start + size]) for start in range(0, size * pieces, size)]
    found = outcome(tmp_path / "call.wav", riff(FORMAT, *chunks, chunk(b"LIST", b"INFO")))
    assert (found.faults, found.error) == ([], "")
    whole = outcome(tmp_path / "whole.wav", riff(FORMAT, chunk(b"data", PCM[: size * pieces])))
    assert found.pcm.shape[1] == pytest.approx(whole.pcm.shape[1], abs=pieces)


@pytest.mark.parametrize(
    ("before", "at"),
    [
        (chunk(b"smpl", bytes(36), 32), 88),
        (chunk(b"LIST", b"INFOx"), 57),
        (chunk(b"LIST", b"INFO", 5000), 56),
        (chunk(b"\0\0\0\0", bytes(7)), 59),
    ],
    ids=["too small", "no pad byte", "too large", "no name"],
)
def test_audio_behind_a_chunk_of_another_size_than_it_says_is_heard_and_told(
    tmp_path: Path, before: bytes, at: int
) -> None:
    found = outcome(tmp_path / "call.wav", riff(FORMAT, before, chunk(b"data", PCM)))
    assert found.faults == [
        f"{tmp_path}/call.wav has a damaged header: what was taken for its audio begins at byte {at}"
    ]
    assert not found.error
    assert found.seconds == WHOLE
    plain = outcome(tmp_path / "plain.wav", riff(FORMAT, chunk(b"data", PCM)))
    assert np.array_equal(found.pcm, plain.pcm)


def test_a_header_without_any_audio_behind_it_stays_an_error(tmp_path: Path) -> None:
    assert "cannot be read as audio" in outcome(tmp_path / "a.wav", riff(FORMAT, chunk(b"LIST", b"INFOx"))).error


@pytest.mark.parametrize("more", [22, 44], ids=["some samples", "its own header"])
def test_a_few_missing_bytes_are_told_as_bytes(tmp_path: Path, more: int) -> None:
    found = outcome(tmp_path / "call.wav", with_size(encoded(tmp_path, "WAV", "PCM_16"), b"data", len(PCM) + more))
    (fault,) = found.faults
    assert f"it holds {len(PCM):,} bytes of the {len(PCM) + more:,} bytes that its header declares" in fault
    assert found.seconds == WHOLE


def test_samples_that_are_no_numbers_become_silence_and_are_told(tmp_path: Path) -> None:
    samples = speech()
    samples[8000:8100] = np.nan
    samples[9000] = np.inf
    found = outcome(tmp_path / "call.wav", float_wav(samples))
    assert np.isfinite(found.pcm).all()
    assert found.faults == [
        f"{tmp_path}/call.wav has 101 samples that are no numbers (NaN or infinite): they became silence"
    ]
    samples[8000:8100], samples[9000] = 0, 0
    assert np.array_equal(found.pcm, outcome(tmp_path / "silent.wav", float_wav(samples)).pcm)


@pytest.mark.parametrize("kind", ["wav", "raw"])
def test_values_of_integers_in_a_float_file_are_told(tmp_path: Path, kind: str) -> None:
    samples = (speech() * 32767).astype(np.float32)
    path = tmp_path / f"call.{kind}"
    path.write_bytes(float_wav(samples) if kind == "wav" else samples.astype("<f4").tobytes())
    with AudioFile(path, raw=parse_raw_format("f32le:8000")) as file:
        assert all(np.abs(block).max() <= 1.0 for block in file.blocks())
    (fault,) = file.faults
    assert "samples beyond full scale, up to 24,7" in fault


def test_one_sample_of_damage_does_not_spoil_its_neighbours(tmp_path: Path) -> None:
    samples = speech()
    samples[5000] = 1e29
    found = outcome(tmp_path / "call.wav", float_wav(samples))
    samples[5000] = 1.0
    assert np.array_equal(found.pcm, outcome(tmp_path / "clipped.wav", float_wav(samples)).pcm)
    assert "has 1 samples beyond full scale" in found.faults[0]


def test_a_little_overshoot_is_no_fault(tmp_path: Path) -> None:
    assert not outcome(tmp_path / "call.wav", float_wav(speech() * np.float32(1.9))).faults


# MPEG -----------------------------------------------------------------------------------------------------------------


def tag(size: int, body: bytes | None = None) -> bytes:
    """ID3v2 with this size in its header, seven bits a byte."""
    raw = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\x04\0\0" + raw + (bytes(size) if body is None else body)


JUNK = np.random.default_rng(3).integers(1, 255, 208, dtype=np.uint8).tobytes()
LATE: dict[str, tuple[Callable[[bytes], bytes], int]] = {
    "bytes between tag and frame": (lambda mp3: tag(23) + JUNK + mp3, 208),
    "size of 8 bits a byte": (lambda mp3: b"ID3\x03\0\0\0\0\x01\xa5" + bytes(0x1A5) + mp3, 431),
    "tag larger than the file": (lambda mp3: tag(50_000_000, b"") + mp3, 10),
    "second piece of a split file": (lambda mp3: mp3[1000:], 8),
}


@pytest.mark.parametrize("case", LATE)
def test_an_mp3_file_that_does_not_begin_with_a_frame_is_heard_and_told(tmp_path: Path, case: str) -> None:
    make, skipped = LATE[case]
    found = outcome(tmp_path / "call.mp3", make(bytes(encoded(tmp_path, "MP3", "MPEG_LAYER_III"))))
    assert found.faults == [
        f"{tmp_path}/call.mp3 begins with {skipped} bytes that are no MPEG audio: they were skipped"
    ]
    assert not found.error
    assert found.seconds == pytest.approx(SECONDS, abs=0.3)


def test_a_tag_without_audio_is_refused(tmp_path: Path) -> None:
    assert "cannot be read as audio" in outcome(tmp_path / "call.mp3", tag(300)).error


# FLAC -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("total", [1, 8000, 80_000])
def test_a_flac_file_that_declares_fewer_samples_than_it_has_is_heard_to_its_end(tmp_path: Path, total: int) -> None:
    data = encoded(tmp_path, "FLAC", "PCM_16")
    whole = outcome(tmp_path / "whole.flac", data)
    assert not whole.faults
    data[21] &= 0xF0
    data[22:26] = struct.pack(">I", total)
    found = outcome(tmp_path / "call.flac", data)
    (fault,) = found.faults
    assert "has a header that declares only" in fault
    assert np.array_equal(found.pcm, whole.pcm)


def test_a_tag_behind_a_flac_file_is_no_audio(tmp_path: Path) -> None:
    found = outcome(tmp_path / "call.flac", encoded(tmp_path, "FLAC", "PCM_16") + b"TAG" + bytes(125))
    assert (found.faults, found.error) == ([], "")
    assert found.seconds == WHOLE


# Ogg ------------------------------------------------------------------------------------------------------------------


def pages(data: bytes | bytearray) -> list[bytearray]:
    found, position = [], 0
    while position < len(data):
        segments = data[position + 26]
        end = position + 27 + segments + sum(data[position + 27 : position + 27 + segments])
        found.append(bytearray(data[position:end]))
        position = end
    return found


def granule(page: bytearray) -> int:
    return int.from_bytes(page[6:14], "little")


def checked(page: bytearray) -> bytes:
    """With the check sum of RFC 3533."""
    page[22:26] = bytes(4)
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = value << 1 ^ (0x104C11DB7 if value & 0x80000000 else 0)
    page[22:26] = struct.pack("<I", value)
    return bytes(page)


@pytest.mark.parametrize("subtype", ["OPUS", "VORBIS"])
@pytest.mark.parametrize("change", ["ends", "begins anew", "both"])
def test_an_ogg_recording_that_was_paused_is_heard_on_both_sides(tmp_path: Path, subtype: str, change: str) -> None:
    found = pages(encoded(tmp_path, "OGG", subtype))
    middle = len(found) // 2
    base = granule(found[middle])
    if change != "begins anew":
        found[middle][5] |= 4
    if change != "ends":
        for page in found[middle + 1 :]:
            page[6:14] = (granule(page) - base).to_bytes(8, "little")
    heard = outcome(tmp_path / "voice.ogg", b"".join(map(checked, found)))
    assert heard.faults == [
        f"{tmp_path}/voice.ogg ends or begins anew in its middle: both sides of that were heard, one after the other"
    ]
    assert not heard.error
    assert heard.seconds == WHOLE


def test_an_ogg_file_whose_end_is_not_marked_is_heard_to_its_end(tmp_path: Path) -> None:
    found = pages(encoded(tmp_path, "OGG", "OPUS"))
    found[-1][5] &= ~4
    heard = outcome(tmp_path / "voice.ogg", b"".join(map(checked, found)))
    (fault,) = heard.faults
    assert "its last page is missing" in fault
    assert not heard.error
    assert heard.seconds == pytest.approx(SECONDS, abs=0.05)


@pytest.mark.parametrize("late", [False, True])
def test_other_positions_in_ogg_pages_cost_no_sound(tmp_path: Path, late: bool) -> None:
    found = pages(encoded(tmp_path, "OGG", "OPUS"))
    for page in found[2:] if late else found[-1:]:
        page[6:14] = (granule(page) + (48_000_000 if late else 1_920)).to_bytes(8, "little")
    heard = outcome(tmp_path / "voice.ogg", b"".join(map(checked, found)))
    assert (heard.faults, heard.error) == ([], "")
    assert heard.seconds == WHOLE


def test_ogg_pages_without_positions_are_told(tmp_path: Path) -> None:
    found = pages(encoded(tmp_path, "OGG", "OPUS"))
    for page in found[2:]:
        page[6:14] = bytes(8)
    heard = outcome(tmp_path / "voice.ogg", b"".join(map(checked, found)))
    assert heard.faults == [f"{tmp_path}/voice.ogg has no positions in its pages: its end may not have been heard"]


# WebM, MP4 and codecs in WAV ------------------------------------------------------------------------------------------


def made(container: str, codec: str, **options: str) -> bytes:
    """12 s of speech-like noise, 48 kHz, by FFmpeg."""
    av = pytest.importorskip("av")
    out = io.BytesIO()
    with av.open(out, "w", format=container, options=options) as file:
        stream = file.add_stream(codec, rate=48_000, layout="mono")
        samples = np.interp(np.arange(SECONDS * 48_000) / 6, np.arange(SECONDS * RATE_HZ), speech()).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = 48_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    return out.getvalue()


def test_a_recording_of_a_browser_has_no_sizes_and_is_whole(tmp_path: Path) -> None:
    found = outcome(tmp_path / "call.webm", made("webm", "libopus", live="1"))
    assert (found.faults, found.error) == ([], "")
    assert found.seconds == WHOLE


def test_audio_under_the_name_of_another_format_is_known_by_its_bytes(tmp_path: Path) -> None:
    for name, data in {
        "mp4.mp3": made("ipod", "aac"),
        "adts.mp3": made("adts", "aac"),
        "ac3.wav": made("wav", "ac3"),
        "mp3.wav": bytes(encoded(tmp_path, "MP3", "MPEG_LAYER_III")),
        "wav.mp3": bytes(encoded(tmp_path, "WAV", "PCM_16")),
    }.items():
        found = outcome(tmp_path / name, data)
        assert (found.faults, found.error) == ([], ""), name
        assert found.seconds == WHOLE, name


@pytest.mark.parametrize("flags", ["frag_keyframe+empty_moov", "disable_chpl"])
def test_mp4_files_that_were_put_together_are_heard_one_after_the_other(tmp_path: Path, flags: str) -> None:
    data = made("mp4", "aac", movflags=flags)
    found = outcome(tmp_path / "call.mp4", data + data)
    assert (found.faults, found.error) == ([], "")
    assert found.seconds == pytest.approx(2 * outcome(tmp_path / "one.mp4", data).seconds, abs=0.01)


def test_pieces_of_a_recording_say_what_they_are(tmp_path: Path) -> None:
    webm = made("webm", "libopus", live="1")
    cluster = b"\x1f\x43\xb6\x75"
    piece = outcome(tmp_path / "2.webm", webm[webm.index(cluster, webm.index(cluster) + 4) :]).error
    assert "2.webm cannot be read as audio (it is a piece of a WebM or Matroska file" in piece
    late = outcome(tmp_path / "late.webm", webm[5000:9000] + webm).error
    assert "it begins with 4,000 bytes that are no audio format, and then with a WebM or Matroska file" in late
    mp4 = made("mp4", "aac", movflags="frag_keyframe+empty_moov", frag_duration="1000000")
    assert "it is a piece of an MP4 file" in outcome(tmp_path / "2.mp4", mp4[mp4.index(b"moof") - 4 :]).error


# What is no audio -----------------------------------------------------------------------------------------------------

WAV = riff(FORMAT, chunk(b"data", PCM))
NO_AUDIO = {
    "error of a telephone service": (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<TwilioResponse><RestException><Code>20404</Code></RestException>',
        "it is a web page or a message, not audio: it begins with '<?xml version=",
    ),
    "page to sign in": (b"\n<!DOCTYPE html><html><body>Sign in", "it is a web page or a message, not audio"),
    "message of an api": (b'{"error": "Unauthorized", "code": 401}', "it is JSON, not audio"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "run `git lfs pull`"),
    "zip": (b"PK\x03\x04" + bytes(300), "it is a zip archive"),
    "gzip": (b"\x1f\x8b\x08\0" + bytes(300), "it is compressed with gzip"),
    "base64": (base64.b64encode(WAV), "base64 -d"),
    "address of data": (b"data:audio/wav;base64," + base64.b64encode(WAV), "base64 -d"),
    "reply with its header": (b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\n\r\n" + WAV, "(tail -c +45)"),
    "form": (b'------b\r\nContent-Disposition: form-data; name="f"\r\n\r\n' + WAV, "and then with a WAV file"),
    "byte order mark": (b"\xef\xbb\xbf" + WAV, "it begins with 3 bytes that are no audio format"),
    "refusal in words": (b"Authentication Error - invalid username", "it is text: it begins with 'Authentication"),
}


@pytest.mark.parametrize("case", NO_AUDIO)
@pytest.mark.parametrize("raw", [None, "ulaw:8000"])
def test_what_is_no_audio_is_named_and_never_heard_as_noise(tmp_path: Path, case: str, raw: str | None) -> None:
    data, words = NO_AUDIO[case]
    path = tmp_path / "call.wav"
    path.write_bytes(data)
    with pytest.raises(NotAudio) as refused:
        AudioFile(path, raw=None if raw is None else parse_raw_format(raw))
    message = str(refused.value)
    assert message.startswith(f"{path} cannot be read as audio (")
    assert words in message
    assert "\n" not in message


def test_audio_without_a_header_is_not_taken_for_text(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for name, content in {
        "noise": rng.bytes(16_000),
        "quiet": bytes([0xFF, 0x7F]) * 8000,
        "silence in A-law": bytes([0x55]) * 16_000,
        "quiet in A-law": bytes([0x55, 0x54, 0x57, 0x56, 0x51, 0x50]) * 2667 + b"..",
        "loud": rng.integers(0x10, 0x7F, 16_000, dtype=np.uint8).tobytes(),
    }.items():
        path = tmp_path / f"{name}.ulaw"
        path.write_bytes(content)
        with AudioFile(path, raw=parse_raw_format("ulaw:8000")) as file:
            assert sum(block.shape[1] for block in file.blocks()) == pytest.approx(32_000, abs=20), name
