"""`trunkline transcribe` on many files, as its own process."""

import json
import os
import pty
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.errors import AudioFileNotFound
from tests.trunkline.command import CALL, COMMAND, ENVIRONMENT, trunkline
from trunkline.transcribe import audio_files, durations


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """A folder of calls, one of them damaged, and what is no audio."""
    folder = tmp_path / "calls"
    (folder / "monday").mkdir(parents=True)
    samples, rate = soundfile.read(CALL)
    soundfile.write(folder / "b.wav", samples[: 16 * rate], rate, subtype="ULAW")
    soundfile.write(folder / "monday" / "a.FLAC", samples[: 8 * rate, 1], rate, format="FLAC")
    soundfile.write(folder / "c.wav", samples[: 4 * rate, 1], rate)
    (folder / "broken.wav").write_bytes(b"RIFF")
    (folder / "notes.txt").write_text("no audio")
    return folder


def test_a_folder_stands_for_the_audio_files_in_and_below_it(calls: Path) -> None:
    names = [path.relative_to(calls).as_posix() for path in audio_files([calls / "c.wav", calls])]
    assert names == ["c.wav", "b.wav", "broken.wav", "monday/a.FLAC"]
    empty = calls / "empty"
    empty.mkdir()
    with pytest.raises(AudioFileNotFound, match="empty is a folder without audio files"):
        audio_files([empty])


def test_durations_count_every_channel_and_leave_the_bad_ones_out(calls: Path) -> None:
    found, errors = durations([calls / "b.wav", calls / "broken.wav", calls / "c.wav"])
    assert list(found.values()) == pytest.approx([32, 4])
    assert ["broken.wav" in str(error) for error in errors] == [True]


def test_output_has_the_order_of_the_files_and_one_bad_file_costs_only_itself(calls: Path, tmp_path: Path) -> None:
    done = trunkline("transcribe", "--json", calls, cwd=tmp_path)
    assert done.returncode == 1
    records = [json.loads(line) for line in done.stdout.splitlines()]
    order = list(dict.fromkeys(record["call_id"] for record in records))
    assert order == [str(calls / name) for name in ("b.wav", "c.wav", "monday/a.FLAC")]
    assert [record["call_id"] for record in records] == sorted((r["call_id"] for r in records), key=order.index)
    error, speed = done.stderr.splitlines()
    assert error.startswith(f"trunkline: {calls / 'broken.wav'} cannot be read as audio")
    assert speed.startswith("0.01 hours of audio (all channels of 3 files) in ")
    assert speed.endswith(" hours a minute")


def test_one_channel_at_a_time_says_the_same(calls: Path, tmp_path: Path) -> None:
    files = [calls / "c.wav", calls / "monday" / "a.FLAC"]
    said = [trunkline("transcribe", *files, *more, cwd=tmp_path).stdout for more in ([], ["--at-once", "1"])]
    assert said[0] == said[1]
    assert said[0].splitlines()[0].startswith(f"{files[0]}  0:00.9  channel-0  en-US  How can I help you today?")


@pytest.fixture
def hour(tmp_path: Path) -> Path:
    """A call that takes long enough for something to happen meanwhile."""
    samples, rate = soundfile.read(CALL)
    soundfile.write(tmp_path / "long.wav", np.tile(samples, (60, 1)), rate, subtype="ULAW")
    return tmp_path / "long.wav"


def test_ctrl_c_leaves_whole_lines_and_says_how_far_it_came(tmp_path: Path, hour: Path) -> None:
    shutil.copy(CALL, tmp_path / "short.wav")
    running = subprocess.Popen(
        [*COMMAND, "--json", hour, "short.wav"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    first = running.stdout.readline()
    running.send_signal(signal.SIGINT)
    out, errors = running.communicate(timeout=120)
    assert running.returncode == 130
    for line in (first + out).splitlines():
        assert json.loads(line)["type"] == "transcript"
    assert errors.splitlines()[0].startswith("trunkline: interrupted: ")
    assert "Traceback" not in errors


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path, hour: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, hour], cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert "Traceback" not in running.stderr.read()
    assert running.returncode == 1


def test_the_bar_is_drawn_on_a_terminal_and_the_words_go_to_the_file(tmp_path: Path) -> None:
    terminal, theirs = pty.openpty()
    with (tmp_path / "out.txt").open("wb") as out:
        running = subprocess.Popen(
            [*COMMAND, CALL], cwd=tmp_path, env=ENVIRONMENT | {"TERM": "xterm"}, stdout=out, stderr=theirs
        )
    os.close(theirs)
    shown = b""
    while True:
        try:
            data = os.read(terminal, 4_096)
        except OSError:  # the other end was closed
            break
        if not data:
            break
        shown += data
    os.close(terminal)
    assert running.wait(timeout=120) == 0
    assert b"0 of 1 files" in shown
    assert b"hours a minute" in shown
    assert b"How can I help you" not in shown
    assert "How can I help you today?" in (tmp_path / "out.txt").read_text("utf-8")
