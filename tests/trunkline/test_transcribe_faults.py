"""`trunkline transcribe` as its own process on what real files, names, pipes and outputs do: each fault is one line and
counts in the exit code, and what the other files say is complete."""

import json
import os
import struct
import subprocess
from pathlib import Path
from subprocess import PIPE
from typing import BinaryIO

import numpy as np
import pytest
import soundfile

from tests.trunkline.command import CALL, COMMAND, ENVIRONMENT, trunkline, without_compiling

AGAIN = "copy it anew if there is more"
TO_THE_END = "up to the end of the file were taken for audio"
HEADERLESS = "nothing in it says a format; if it is audio without a header"
Stream = int | BinaryIO
SPOKEN = "How can I help you today?"


def speech(seconds: float = 4.0) -> bytes:
    """A WAV file of the demo call's agent."""
    samples, rate = soundfile.read(CALL, dtype="int16", always_2d=True)
    pcm: bytes = samples[: int(seconds * rate), 1].tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return b"RIFF" + struct.pack("<I", 36 + len(pcm)) + b"WAVE" + form + b"data" + struct.pack("<I", len(pcm)) + pcm


def sized(data: bytes, riff: int, size: int) -> bytes:
    return data[:4] + struct.pack("<I", riff) + data[8:40] + struct.pack("<I", size) + data[44:]


def run(
    *arguments: str | Path, cwd: Path, data: bytes = b"", stdout: Stream = PIPE, stderr: Stream = PIPE
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=ENVIRONMENT,
        input=data,
        stdout=stdout,
        stderr=stderr,
        timeout=240,
        check=False,
    )


def test_every_fault_is_one_line_and_the_other_files_are_complete(tmp_path: Path) -> None:
    good = speech()
    contents = {
        b"a.wav": good,
        b"caf\xe9.wav": good,
        b"half.wav": good[: len(good) // 2 + 22],
        b"two\nlines.wav": good,
        b"unfinished.wav": sized(good, 0, 0),
        b"x.raw": good[44:],
        b"zero.wav": sized(good[:44], 36, 0),
        b"silent.wav": good[:44] + bytes(len(good) - 44),
        b"notes.txt": b"nothing to hear",
    }
    folder = tmp_path / "calls"
    folder.mkdir()
    for name, data in contents.items():
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(data)
    (folder / "gone.wav").symlink_to("nowhere")
    done = run(folder, "-", cwd=tmp_path, data=good)
    assert done.returncode == 1
    texts = dict(line.split("  ", 1) for line in done.stdout.decode("utf-8").splitlines())
    heard = {name for name, text in texts.items() if SPOKEN in text}
    names = ("a.wav", "caf\\xe9.wav", "two\\nlines.wav", "unfinished.wav")
    assert heard == {f"{folder}/{name}" for name in names} | {"-"}

    def told(text: str) -> str:
        return f"trunkline: {folder}/{text}"

    *lines, speed = without_compiling(done.stderr.decode("utf-8"))
    assert sorted(lines) == [
        told("gone.wav is a link that leads nowhere (No such file or directory)"),
        told(f"half.wav is cut short: it holds 2.0 s of the 4.0 s that its header declares; {AGAIN}"),
        told("silent.wav: no speech was recognised in 4.0 s of audio"),
        told(f"unfinished.wav has a header that was never finished: all 4.0 s {TO_THE_END}"),
        told(f"x.raw cannot be read as audio ({HEADERLESS}, say which, e.g. --format ulaw:8000)"),
        told("zero.wav holds no audio: its length is 0"),
    ]
    assert "1 other files in the folders are no audio" in speed


def test_files_of_the_same_name_have_other_event_ids_and_a_repeat_has_the_same(tmp_path: Path) -> None:
    for name in ("d1", "d2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "call.wav").write_bytes(speech())
    records = []
    for folder, arguments in (("d1", ["call.wav"]), ("d2", ["call.wav", "../d1/call.wav"])):
        done = run("--json", *arguments, cwd=tmp_path / folder)
        assert done.returncode == 0, done.stderr
        records += [json.loads(line) for line in done.stdout.splitlines()]
    ids: dict[str, list[str]] = {str(tmp_path / "d1/call.wav"): [], str(tmp_path / "d2/call.wav"): []}
    for record in records:
        ids[record["call_id"]].append(record["event_id"])
    first, second = ids.values()
    half = len(first) // 2
    assert half
    assert first[:half] == first[half:], "a repeat is recognised"
    assert not set(first) & set(second)


def test_a_full_output_is_one_line_and_exit_1(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(speech())
    with Path("/dev/full").open("wb") as full:
        done = run("a.wav", cwd=tmp_path, stdout=full)
    assert done.returncode == 1
    (line,) = without_compiling(done.stderr.decode())
    assert line.startswith("trunkline: standard output cannot be written (No space left on device)")


def test_errors_that_cannot_be_printed_cost_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(speech())
    with Path("/dev/full").open("wb") as full:
        done = run("a.wav", "gone.wav", cwd=tmp_path, stderr=full)
    assert done.returncode == 1
    assert SPOKEN in done.stdout.decode()


def test_all_bad_files_are_told_before_the_model_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "call.raw").write_bytes(bytes(999))
    soundfile.write(tmp_path / "many.wav", np.zeros((800, 17)), 8000)
    names = ["gone.wav", "text.wav", "empty.wav", "call.raw", "many.wav"]
    done = trunkline("transcribe", *names, cwd=tmp_path, TRUNKLINE_ENGINE_CHECKPOINT="gone.nemo")
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert [line.removeprefix("trunkline: ").split()[0] for line in lines] == names
    assert "has 17 channels, but only 16 are transcribed at once: say --at-once 17" in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "ulaw:1", "a.wav"], "1 Hz is no sampling rate of speech"),
        (["--format", "mp3", "a.wav"], "there are ulaw, alaw"),
        ([""], "a file name is empty"),
    ],
)
def test_mistakes_in_the_arguments_are_told_before_anything_else(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = trunkline("transcribe", *arguments, cwd=tmp_path, TRUNKLINE_ENGINE_CHECKPOINT="gone.nemo")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("redirection", "message"),
    [
        ("- < /dev/null", "- (standard input) is a device, not audio"),
        ("- <&-", "- (standard input) cannot be opened"),
        ("a.wav >&-", "standard output is closed"),
        ("<(true)", "cannot be read as audio (it is empty, 0 bytes)"),
    ],
)
def test_descriptors_that_are_no_use_are_told(tmp_path: Path, redirection: str, message: str) -> None:
    (tmp_path / "a.wav").write_bytes(speech())
    done = subprocess.run(
        ["bash", "-c", f'"$@" {redirection}', "bash", *COMMAND],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    (line,) = done.stderr.decode().splitlines()
    assert message in line


def test_pipes_of_the_shell_and_raw_audio_are_read(tmp_path: Path) -> None:
    data = speech()
    (tmp_path / "a.wav").write_bytes(sized(data, 0xFFFFFFFF, 0xFFFFFFFF))
    (tmp_path / "a.raw").write_bytes(data[44:])
    rate, inputs = soundfile.info(CALL).samplerate, "- <(cat a.wav) a.raw 3< a.wav /dev/fd/3"
    done = subprocess.run(
        ["bash", "-c", f'cat a.raw | "$@" --format s16le:{rate} {inputs}', "bash", *COMMAND],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names = [line.split("  ")[0] for line in done.stdout.splitlines() if SPOKEN in line]
    assert names == ["-", names[1], "a.raw", "/dev/fd/3"]
    assert names[1].startswith("/dev/fd/")
    assert len(without_compiling(done.stderr)) == 1
