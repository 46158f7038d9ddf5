"""The command as a user runs it: its own process, exit codes, one-line errors."""

import itertools
import json
import socket
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile

from engine.checkpoint.find import DEMO_MODEL
from tests.trunkline.command import CALL, ENVIRONMENT, trunkline, without_compiling
from trunkline.cli import main
from trunkline.config import Config
from trunkline.demo import run
from trunkline.demo.script import load_script
from trunkline.version import __version__
from trunkline.wer import word_errors


def test_version(tmp_path: Path) -> None:
    assert trunkline("--version", cwd=tmp_path).stdout == f"trunkline {__version__}\n"


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    path = tmp_path / "damaged.nemo"
    path.write_bytes(DEMO_MODEL.read_bytes()[:100_000])
    return path


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["transcribe", "nowhere.wav"], {}, "nowhere.wav does not exist"),
        (["transcribe", "text.wav"], {}, "text.wav cannot be read as audio"),
        (["transcribe", "call.wav", "--language", "xx-XX"], {}, "unknown language 'xx-XX': this checkpoint has auto"),
        (["transcribe", "call.wav"], {"TRUNKLINE_ENGINE_CHECKPOINT": "gone.nemo"}, "no checkpoint at gone.nemo"),
        (["transcribe", "call.wav"], {"TRUNKLINE_ENGINE_CHECKPOINT": "damaged.nemo"}, "damaged.nemo"),
        (
            ["transcribe", "call.wav"],
            {"TRUNKLINE_ENGINE_CHECKPOINT": "nobody/model"},
            "nobody/model is not in the cache",
        ),
        (["transcribe", "call.wav"], {"TRUNKLINE_ENGINE_DEVICE": "cuda:7"}, "no CUDA device"),
        (["serve", "--config", "gone.toml"], {}, "gone.toml: no such configuration file"),
        (["serve"], {"TRUNKLINE_PIPELINE_LANGUAGE": "xx"}, "language = 'xx'"),
        (["serve"], {"TRUNKLINE_LIVEVIEW_TOKEN": ""}, "[liveview] token is empty"),
        (["serve"], {"TRUNKLINE_SERVER_HOST": "0.0.0.0", "TRUNKLINE_LIVEVIEW_TOKEN": ""}, "[liveview] token is empty"),
        (["serve"], {"TRUNKLINE_SERVER_STRICT": "1", "TRUNKLINE_SIP_UDP": "0.0.0.0"}, "anybody may call [sip] udp"),
        (
            ["engine", "--listen", "tcp:0.0.0.0:9"],
            {"TRUNKLINE_SERVER_STRICT": "1"},
            "anybody who reaches tcp:0.0.0.0:9",
        ),
        (["transcribe", "line\nbreak\x1b[0m.wav"], {}, r"line\nbreak\x1b[0m.wav does not exist"),
        (["serve"], {"TRUNKLINE_REDIS_URL": "http://cache"}, "[redis] url: begin it with one of"),
        (["serve"], {"TRUNKLINE_ENGINE_NONE": "1"}, "TRUNKLINE_ENGINE_NONE is no setting"),
        (["twiml", "http://example.com"], {}, "wss://"),
        (["twiml", "wss://example.com/twilio", "--parameter", "queue"], {}, "NAME=VALUE"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    tmp_path: Path, damaged: Path, arguments: list[str], environment: dict[str, str], message: str
) -> None:
    (tmp_path / "text.wav").write_text("not audio")
    soundfile.write(tmp_path / "call.wav", np.zeros(800, np.float32), 8000)
    done = trunkline(*arguments, cwd=tmp_path, **environment)
    assert done.returncode == 2
    assert done.stdout == ""
    *logged, line = without_compiling(done.stderr)
    assert line.startswith("trunkline: ")
    assert message in line
    assert all(" INFO " in other for other in logged)


def test_taken_port_is_one_line_and_exit_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = trunkline("serve", "--port", port, cwd=tmp_path)
    assert done.returncode == 2
    assert f"port {port} on 127.0.0.1 is taken" in done.stderr.splitlines()[-1]


def test_doors_that_stand_open_are_told_at_the_start(tmp_path: Path) -> None:
    environment = {
        "TRUNKLINE_SERVER_HOST": "0.0.0.0",
        "TRUNKLINE_LIVEVIEW_TOKEN": "secret",
        "TRUNKLINE_WEBRTC_PATH": "/whip",
        "TRUNKLINE_SIP_UDP": "0.0.0.0:0",
        "TRUNKLINE_SIP_TCP": "0.0.0.0:0",
        "TRUNKLINE_ENGINE_PROCESS": "in-process",
    }
    serving = subprocess.Popen(
        [sys.executable, "-c", "import sys; from trunkline.cli import main; sys.exit(main())", "serve", "--port", "0"],
        cwd=tmp_path,
        env=ENVIRONMENT | environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert serving.stderr is not None
        told = list(itertools.takewhile(lambda line: "demo model" not in line, serving.stderr))
    finally:
        serving.terminate()
        serving.communicate(timeout=60)
    warned = [
        line.rstrip().partition(" trunkline.doors: ")[2]
        for line in told
        if " WARNING " in line and " trunkline.doors: " in line
    ]
    assert warned == [
        "anybody may stream to /twilio: set [twilio] auth_token",
        "anybody may send audio to /whip: set [webrtc] token",
        "anybody may call [sip] udp = '0.0.0.0:0', tcp = '0.0.0.0:0', as there are neither allow nor credentials: "
        "set one",
    ]


def test_transcribe_prints_channels_as_legs_with_their_languages(tmp_path: Path) -> None:
    done = trunkline("transcribe", CALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [line.split("  ", 3) for line in done.stdout.splitlines()]
    for leg, channel in (("inbound", "channel-0"), ("outbound", "channel-1")):
        spoken = " ".join(line.text for line in load_script() if line.leg == leg)
        heard = " ".join(row[3] for row in rows if row[1] == channel)
        assert word_errors(spoken, heard).rate <= 0.15
    assert {row[2] for row in rows if row[1] == "channel-0"} == {"es-US", "en-US"}


def test_transcribe_reads_other_rates_and_prints_json_records(tmp_path: Path) -> None:
    samples, rate = soundfile.read(CALL, frames=160_000)
    path = tmp_path / "call.flac"
    soundfile.write(path, np.repeat(samples[:, 1], 6), 6 * rate)
    done = trunkline("transcribe", "--json", "--chunk-ms", "160", path, CALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert {record["call_id"] for record in records} == {str(path), str(CALL)}
    assert all(record["type"] == "transcript" and record["is_final"] for record in records)


def test_twiml_is_printed(tmp_path: Path) -> None:
    done = trunkline("twiml", "wss://calls.example.com/twilio", "--parameter", "queue=sales & support", cwd=tmp_path)
    assert done.returncode == 0
    assert '<Stream url="wss://calls.example.com/twilio" track="both_tracks">' in done.stdout
    assert 'value="sales &amp; support"' in done.stdout
    numbered = trunkline("twiml", "wss://calls.example.com/twilio", "--numbers", cwd=tmp_path).stdout
    assert '<Parameter name="from" value="{{From}}"/>' in numbered


@pytest.mark.parametrize(
    "arguments",
    [
        ["--dial", "alice"],
        ["--dial", ""],
        ["--dial", "mailto:a@example.com"],
        ["--dial", "client:al\x08ice"],
        ["--parameter", "note=a\x0bb"],
        ["--parameter", "no\x1fte=a"],
        ["--parameter", "note=\udcff"],
        ["--parameter", "=a"],
        ["--parameter", f"note={'x' * 500}"],
        ["--parameter", "note=a", "--parameter", "note=b"],
        ["--bot", "--dial", "+15550001"],
        ["--bot", "--track", "both_tracks"],
    ],
)
def test_twiml_that_twilio_would_not_take_is_one_line_and_exit_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["twiml", "wss://calls.example.com/twilio", *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.splitlines()
    assert line.startswith("trunkline: ")
    assert line.isprintable()


def test_twiml_names_what_is_dialled_and_prints_in_any_encoding(tmp_path: Path) -> None:
    arguments = ("wss://calls.example.com/twilio", "--dial", "client:alice", "--parameter", "name=Zo\u00eb")
    done = trunkline("twiml", *arguments, cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    response = ElementTree.fromstring(done.stdout)
    assert response.findtext("Dial/Client") == "alice"
    assert response.find("Start/Stream/Parameter").attrib == {"name": "name", "value": "Zo\u00eb"}  # type: ignore[union-attr]


def test_demo_once_shows_the_call_and_exits_0(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    done = trunkline("demo", "--once", "--port", port, "--chunk-ms", "80", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "knows only its small synthetic world" in " ".join(done.stdout.split())
    assert f"http://127.0.0.1:{port}/#call=CA" in done.stdout
    assert "es-US" in done.stdout
    assert "word error rate" in done.stdout
    types = [json.loads(line)["type"] for line in (tmp_path / "trunkline-demo.jsonl").read_text("utf-8").splitlines()]
    assert types[0] == types[-1] == "call"


@pytest.mark.parametrize(
    ("arguments", "text", "path"),
    [
        ([], "", "trunkline-demo.jsonl"),
        ([], "[jsonl]\npath = 'own.jsonl'\n", "own.jsonl"),
        ([], "[jsonl]\npath = ''\n", ""),
        (["--records", "other.jsonl"], "[jsonl]\npath = 'own.jsonl'\n", "other.jsonl"),
    ],
)
def test_demo_writes_where_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], text: str, path: str
) -> None:
    seen: list[str] = []

    async def run_demo(config: Config, *, once: bool) -> int:
        seen.append(config.jsonl.path)
        return int(once)

    monkeypatch.setattr(run, "run_demo", run_demo)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text(text)
    assert main(["demo", "--config", "own.toml", *arguments]) == 0
    assert seen == [path]
