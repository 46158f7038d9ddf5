"""`trunkline demo --bot`, as a newcomer starts it."""

import json
import socket
from pathlib import Path

import pytest

from tests.services.missing import missing
from tests.trunkline.command import trunkline
from trunkline.cli import main
from trunkline.demo import bot
from trunkline_bot.voice import has_espeak


def test_bot_demo_once_shows_both_and_exits_0(tmp_path: Path) -> None:
    if not has_espeak():
        missing("espeak-ng is not installed: apt-get install espeak-ng")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    done = trunkline("demo", "--bot", "--once", "--port", port, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split(maxsplit=3) for line in done.stdout.splitlines()]
    shown = {(line[1], line[2]) for line in lines if line[1:2] in (["agent"], ["customer"])}
    assert {("agent", "en-US"), ("customer", "en-US"), ("customer", "es-US"), ("agent", "es-US")} <= shown
    records = [json.loads(line) for line in (tmp_path / "trunkline-demo.jsonl").read_text("utf-8").splitlines()]
    legs = {(leg["leg"], leg["speaker_role"]) for leg in records[-1]["legs"]}
    assert legs == {("inbound", "customer"), ("bot", "agent")}
    assert records[-1]["reason"] == "the bot hung up"


def test_bot_demo_without_a_voice_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bot, "has_espeak", lambda: False)
    assert main(["demo", "--bot"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("espeak-ng is not installed: apt-get install espeak-ng")


@pytest.mark.parametrize("command", [["serve"], ["demo"]])
def test_a_bot_that_cannot_be_made_is_told_before_the_engine_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    (tmp_path / "trunkline.toml").write_text(
        "[engine]\ncheckpoint = '/none/such.nemo'\n[[bots.plugins]]\nclass = 'none_such:Bot'\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--port", "0"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("trunkline: [bots] plugins: none_such:Bot: cannot be imported: ")
