"""Files, folders, pipes and descriptors as the user names them: taken, or told."""

import io
import os
import shutil
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.errors import AudioFileError, AudioFileNotFound, AudioFileUnreadable, NotAudio
from pipeline.raw_format import parse_raw_format
from trunkline.inputs import SUFFIXES, Folders, Inputs
from trunkline.transcribe import durations

NOBODY = 65_534
SOUND = (0.2 * np.sin(np.arange(8000) * 0.3)).astype(np.float32)


def sound(path: Path, seconds: int = 1, **options: str) -> Path:
    soundfile.write(path, np.tile(SOUND, seconds), 8000, **options)
    return path


class Found:
    """What `Folders` makes of these arguments."""

    def __init__(self, *arguments: Path) -> None:
        errors: list[AudioFileError] = []
        folders = Folders(errors.append)
        self.files = folders.files(arguments)
        self.left_out = folders.left_out
        self.errors = [str(error) for error in errors]

    def names(self, folder: Path) -> list[str]:
        return [path.relative_to(folder).as_posix() for path in self.files]


@contextmanager
def without_rights() -> Iterator[None]:
    """As a user for whom permissions count."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_folder_gives_every_format_that_libsndfile_writes(tmp_path: Path) -> None:
    others = {"AIFF": ".aifc", "MPC2K": ".mpc", "SVX": ".iff", "IRCAM": ".sf", "MAT4": ".mat", "NIST": ".sph"}
    written = []
    for name in sorted(
        soundfile.available_formats().keys() - {"RAW", "SD2"}
    ):  # the one has no header, the other two files
        for suffix in {f".{name.lower()}", others.get(name, f".{name.lower()}")}:
            written.append(f"{name}{suffix}")
            sound(tmp_path / written[-1], format=name, subtype=soundfile.default_subtype(name))
    found = Found(tmp_path)
    assert (found.names(tmp_path), found.errors, found.left_out) == (sorted(written), [], 0)
    readable, errors = durations(found.files)
    assert (len(readable), errors) == (len(written), [])


def test_names_of_formats_that_need_ffmpeg_or_a_description_are_taken_so_that_they_are_told() -> None:
    assert {
        ".m4a",
        ".mp4",
        ".webm",
        ".amr",
        ".wma",
        ".raw",
        ".ulaw",
        ".gsm",
        ".sln",
        ".g722",
        ".aifc",
        ".voc",
    } <= SUFFIXES


def test_audio_of_any_name_is_known_by_its_first_bytes_and_the_rest_is_counted(tmp_path: Path) -> None:
    sound(tmp_path / "msg0001", format="WAV")
    sound(tmp_path / "call.recording", format="FLAC")
    sound(tmp_path / "a.wav")
    (tmp_path / "a.txt").write_text("notes")
    (tmp_path / "picture.webp").write_bytes(b"RIFF\x10\0\0\0WEBPVP8 ")
    (tmp_path / "._a.wav").write_bytes(b"\x00\x05\x16\x07" + bytes(99))
    found = Found(tmp_path)
    assert found.names(tmp_path) == ["a.wav", "call.recording", "msg0001"]
    assert (found.errors, found.left_out) == ([], 3)


def test_links_to_files_and_folders_are_followed_each_folder_once(tmp_path: Path) -> None:
    calls, elsewhere = tmp_path / "calls", tmp_path / "elsewhere"
    calls.mkdir()
    elsewhere.mkdir()
    sound(elsewhere / "far.wav")
    sound(tmp_path / "alone.wav")
    (calls / "linked.wav").symlink_to(tmp_path / "alone.wav")
    (calls / "monday").symlink_to(elsewhere)
    (calls / "again").symlink_to(calls)
    (elsewhere / "back").symlink_to(calls)
    found = Found(calls)
    assert found.names(calls) == ["linked.wav", "monday/far.wav"]
    assert found.errors == []


def test_links_that_lead_nowhere_or_in_a_circle_are_told_and_cost_only_themselves(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav")
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "circle.wav").symlink_to(tmp_path / "circle.wav")
    found = Found(tmp_path)
    assert found.names(tmp_path) == ["a.wav"]
    assert [line.partition(" (")[0] for line in found.errors] == [
        f"{tmp_path}/circle.wav is a link that leads nowhere",
        f"{tmp_path}/gone.wav is a link that leads nowhere",
    ]
    with pytest.raises(AudioFileError, match=r"circle\.wav cannot be opened \(Too many levels"), Inputs() as inputs:
        inputs.open(tmp_path / "circle.wav")


def test_a_locked_folder_is_told_and_the_others_are_read(shared: Path) -> None:
    for name in ("locked", "open"):
        (shared / name).mkdir()
        sound(shared / name / "a.wav")
    (shared / "locked").chmod(0)
    with without_rights():
        found, alone = Found(shared), Found(shared / "locked")
    (shared / "locked").chmod(0o755)
    assert found.names(shared) == ["open/a.wav"]
    line = f"{shared}/locked cannot be listed (Permission denied): nothing in it was read"
    assert found.errors == alone.errors == [line]


def test_a_file_that_may_not_be_read_is_told(shared: Path) -> None:
    sound(shared / "a.wav").chmod(0)
    sound(shared / "b.wav").chmod(0o644)
    (shared / "locked").mkdir(0)
    with without_rights():
        found = Found(shared / "a.wav", shared / "b.wav", shared / "locked" / "c.wav")
        readable, errors = durations(found.files)
    assert list(readable) == [shared / "b.wav"]
    assert [str(error) for error in errors] == [
        f"{shared}/a.wav cannot be opened (Permission denied)",
        f"{shared}/locked/c.wav cannot be opened (Permission denied)",
    ]


def test_a_folder_that_vanishes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        sound(tmp_path / name / "call.wav")
    list_folder = os.scandir

    def scandir(path: Path) -> "os.ScandirIterator[str]":  # type: ignore[name-defined]
        if path == tmp_path / "a":
            shutil.rmtree(path)
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = Found(tmp_path)
    assert found.names(tmp_path) == ["b/call.wav"]
    assert found.errors == [f"{tmp_path}/a cannot be listed (No such file or directory): nothing in it was read"]


def test_pipes_and_sockets_in_a_folder_are_told_and_never_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.wav")
        sound(tmp_path / "a.wav")
        found = Found(tmp_path)
        with pytest.raises(AudioFileUnreadable, match=r"socket\.wav cannot be opened"), Inputs() as inputs:
            inputs.open(Path("socket.wav"))
    assert found.names(tmp_path) == ["a.wav"]
    assert [line.partition(" is not")[0] for line in found.errors] == [f"{tmp_path}/pipe.wav", f"{tmp_path}/socket.wav"]


def test_an_empty_folder_costs_only_itself(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    sound(tmp_path / "a.wav")
    found = Found(tmp_path / "empty", tmp_path / "a.wav")
    assert found.files == [tmp_path / "a.wav"]
    assert "empty is a folder without audio files" in found.errors[0]


def test_a_file_that_is_named_in_two_ways_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound(tmp_path / "a.wav")
    monkeypatch.chdir(tmp_path)
    assert Found(Path("a.wav"), tmp_path / "a.wav", Path("../") / tmp_path.name / "a.wav").files == [Path("a.wav")]


def fed(path: Path, data: bytes) -> threading.Thread:
    """Something that writes into a named pipe."""
    thread = threading.Thread(target=path.write_bytes, args=[data])
    thread.start()
    return thread


def test_a_named_pipe_is_read_as_a_file_and_as_often_as_it_is_needed(tmp_path: Path) -> None:
    data = sound(tmp_path / "a.wav", 3).read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = fed(pipe, data)
    with Inputs() as inputs:
        for _ in range(2):
            with inputs.open(pipe) as file:
                assert (file.duration_s, file.faults) == (3.0, [])
                assert sum(block.shape[1] for block in file.blocks()) == pytest.approx(48_000, abs=2)
                call_id = file.call_id
    writer.join()
    assert call_id.startswith("pipe-")


def test_what_breaks_off_in_a_pipe_is_told(tmp_path: Path) -> None:
    data = sound(tmp_path / "a.wav", 3).read_bytes()
    os.mkfifo(tmp_path / "pipe")
    writer = fed(tmp_path / "pipe", data[: len(data) // 2])
    with Inputs() as inputs, inputs.open(tmp_path / "pipe") as file:
        list(file.blocks())
        assert "pipe is cut short: it holds 1.5 s of the 3.0 s" in file.faults[0]
    writer.join()


@pytest.mark.parametrize("folder", ["/dev/fd", "/proc/self/fd"])
def test_a_descriptor_is_read_whether_it_is_a_pipe_or_a_file(tmp_path: Path, folder: str) -> None:
    data = sound(tmp_path / "a.wav").read_bytes()
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as out:
        out.write(data)
    with (tmp_path / "a.wav").open("rb") as opened, Inputs() as inputs:
        durations_s, ids = [], set()
        for number in (reading, opened.fileno()):
            with inputs.open(Path(f"{folder}/{number}")) as file:
                durations_s.append(file.duration_s)
                ids.add(file.call_id)
    os.close(reading)
    assert durations_s == [1.0, 1.0]
    assert len(ids) == 1, "the same content has the same id, whatever its descriptor"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/dev/fd/987", r"/dev/fd/987 cannot be opened \(Bad file descriptor\)"),
        ("/dev/fd/99999999999999999999", "cannot be opened"),
        ("/dev/null", "is a device, not an audio file"),
        ("/dev/zero", "is a device, not an audio file"),
        ("/proc/self/mem", "cannot be read"),
    ],
)
def test_descriptors_and_devices_that_hold_no_audio_are_told(path: str, why: str) -> None:
    with Inputs() as inputs, pytest.raises(AudioFileError, match=why):
        inputs.open(Path(path))


def test_a_pipe_that_does_not_fit_into_the_temporary_folder_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: io.FileIO("/dev/full", "r+"))
    writer = fed(tmp_path / "pipe", bytes(100))
    with Inputs() as inputs, pytest.raises(AudioFileUnreadable, match=r"No space left on device.*TMPDIR"):
        inputs.open(tmp_path / "pipe")
    writer.join()


def test_a_pipe_that_says_nothing_is_told_while_it_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr("trunkline.inputs._PATIENCE_S", 0.01)
    told: list[str] = []
    said = threading.Event()

    def say(line: str) -> None:
        told.append(line)
        said.set()

    def write() -> None:
        with (tmp_path / "pipe").open("wb") as out:
            assert said.wait(20)
            out.write(b"")

    writer = threading.Thread(target=write)
    writer.start()
    with Inputs(say=say) as inputs, pytest.raises(NotAudio, match="it is empty"):
        inputs.open(tmp_path / "pipe")
    writer.join()
    assert told == [f"waiting for {tmp_path}/pipe: nothing has come yet"]


def test_the_description_of_raw_audio_counts_for_what_has_no_header(tmp_path: Path) -> None:
    (tmp_path / "call.raw").write_bytes(bytes(range(256)) * 125)
    sound(tmp_path / "call.wav", 2)
    with Inputs(parse_raw_format("ulaw:8000:2")) as inputs:
        found, errors = durations([tmp_path / "call.raw", tmp_path / "call.wav"], inputs.open)
    assert (list(found.values()), errors) == ([4.0, 2.0], [])


def test_files_with_too_many_channels_are_told_before_anything_is_loaded(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "many.wav", np.zeros((800, 5)), 8000)
    sound(tmp_path / "one.wav")
    found, errors = durations([tmp_path / "many.wav", tmp_path / "one.wav"], at_once=4)
    assert list(found) == [tmp_path / "one.wav"]
    assert str(errors[0]) == (
        f"{tmp_path}/many.wav has 5 channels, but only 4 are transcribed at once: say --at-once 5 or split it"
    )


def test_a_file_that_is_gone_when_its_turn_comes_costs_only_itself(tmp_path: Path) -> None:
    with Inputs() as inputs, pytest.raises(AudioFileNotFound, match="does not exist"):
        inputs.open(tmp_path / "gone.wav")
    assert not stat.S_ISREG(tmp_path.stat().st_mode)
