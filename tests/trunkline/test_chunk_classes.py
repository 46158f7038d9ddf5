"""A chunk size is chosen among those of the checkpoint: in the configuration, on the command line, by default."""

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile

from engine.checkpoint.find import DEMO_MODEL, load_checkpoint
from engine.engine import Engine
from engine.errors import UnknownChunk
from pipeline.config import PipelineConfig
from testing.damage import edited_nemo
from trunkline.cli import main
from trunkline.config import Config
from trunkline.config_file import load_config
from trunkline.errors import ConfigError
from trunkline.server import Server


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with chunks of 240 and 400 ms only."""
    path = tmp_path_factory.mktemp("other") / "other.nemo"
    return edited_nemo(DEMO_MODEL, path, {"encoder": {"att_context_size": [[60, 2], [60, 4]]}})


@pytest.mark.parametrize("chunk_ms", [80, 240, 400, 640, 1_120, 2_240])
def test_any_whole_number_of_frames_may_be_configured(tmp_path: Path, chunk_ms: int) -> None:
    path = tmp_path / "trunkline.toml"
    path.write_text(f"[pipeline]\nchunk_ms = {chunk_ms}\n")
    assert load_config(path).pipeline.chunk_ms == chunk_ms
    assert load_config(path, {"TRUNKLINE_PIPELINE_CHUNK_MS": "480"}).pipeline.chunk_ms == 480


@pytest.mark.parametrize("value", ["100", "0", "-80", "80.5", '"fast"', "80000"])
def test_what_is_no_whole_number_of_frames_is_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "trunkline.toml"
    path.write_text(f"[pipeline]\nchunk_ms = {value}\n")
    with pytest.raises(ConfigError, match="chunk_ms"):
        load_config(path)


async def test_a_server_takes_a_class_that_only_this_checkpoint_has(other: Path) -> None:
    server = Server(Config(pipeline=PipelineConfig(chunk_ms=400)), Engine(load_checkpoint(other), max_sessions=1))
    assert server.calls.config.chunk_ms == 400


async def test_the_default_class_gives_way_to_the_nearest_and_is_said_to(
    other: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        server = Server(Config(), Engine(load_checkpoint(other), max_sessions=1))
    assert server.calls.config.chunk_ms == 240
    assert "no chunks of 160 ms" in caplog.text
    assert "240 ms" in caplog.text


async def test_a_chosen_class_that_the_checkpoint_does_not_have_is_refused_with_those_it_has(other: Path) -> None:
    with pytest.raises(UnknownChunk, match=r"320.*240, 400"):
        Server(Config(pipeline=PipelineConfig(chunk_ms=320)), Engine(load_checkpoint(other), max_sessions=1))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "call.wav"
    soundfile.write(path, np.random.default_rng(1).standard_normal(8_000) * 0.01, 8_000)
    return path


@pytest.mark.parametrize("chosen", [[], ["--chunk-ms", "240"]])
def test_a_file_is_transcribed_in_the_classes_of_the_checkpoint(
    other: Path, recording: Path, monkeypatch: pytest.MonkeyPatch, chosen: list[str]
) -> None:
    monkeypatch.chdir(recording.parent)
    monkeypatch.setenv("TRUNKLINE_ENGINE_CHECKPOINT", str(other))
    assert main(["transcribe", *chosen, str(recording)]) == 0


def test_a_file_in_a_class_that_the_checkpoint_does_not_have_is_one_line(
    other: Path, recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(recording.parent)
    monkeypatch.setenv("TRUNKLINE_ENGINE_CHECKPOINT", str(other))
    assert main(["transcribe", "--chunk-ms", "160", str(recording)]) == 2
    message = capsys.readouterr().err
    assert message.startswith("trunkline: ")
    assert "240, 400" in message


@pytest.mark.parametrize("value", ["100", "0", "-80", "fast", "8080"])
def test_a_chunk_size_on_the_command_line_is_a_whole_number_of_frames(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve", f"--chunk-ms={value}"])
    assert caught.value.code == 2
    assert "--chunk-ms" in capsys.readouterr().err
