"""`trunkline webhooks`, as it is called."""

import asyncio
from pathlib import Path

import pytest

from sinks.dead_letters import Letter, write_letters
from sinks.message import Message
from sinks.record import encode
from sinks.spool_file import letters_of
from testing.services.ports import free_ports
from tests.sinks.records import start
from tests.sinks.webhooks.receiver import SECRET, Receiver
from tests.trunkline.command import trunkline
from trunkline.cli import main


def configuration(folder: Path, url: str) -> Path:
    path = folder / "own.toml"
    path.write_text(
        f'[webhooks]\nsecret = "{SECRET}"\nspool = "{folder}/spool"\n[[webhooks.endpoints]]\nname = "crm"\n'
        f'url = "{url}"\n'
    )
    message = Message("crm", b"CA1", encode(start("CA1")), (("event_id", start("CA1").event_id.encode()),))
    write_letters(letters_of(folder / "spool"), [Letter("old", message, 1.0)])
    return path


async def test_dead_letters_are_sent_again(tmp_path: Path) -> None:
    async with Receiver().running() as receiver:
        line = ("webhooks", "replay-dead-letters", "--config", configuration(tmp_path, receiver.url))
        done = await asyncio.to_thread(trunkline, *line, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "1 sent, 0 refused again, 0 unreadable\n", "")
        assert receiver.ids() == [start("CA1").event_id]
        done = await asyncio.to_thread(trunkline, *line, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, "0 sent, 0 refused again, 0 unreadable\n")


def test_letters_that_stay_are_told_with_their_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (port,) = free_ports(1)
    path = configuration(tmp_path, f"http://localhost:{port}/SECRET")
    assert main(["webhooks", "replay-dead-letters", "--config", str(path)]) == 1
    told = capsys.readouterr().out
    assert told.startswith("0 sent, 0 refused again, 0 unreadable, 1 stay as they are (crm: Cannot connect to host ")
    assert "SECRET" not in told
    (tmp_path / "empty.toml").write_text("")
    assert main(["webhooks", "replay-dead-letters", "--config", "empty.toml"]) == 2
    assert capsys.readouterr().err == "trunkline: the configuration has no [webhooks] section\n"
