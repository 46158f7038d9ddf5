"""Where the records of a real call go beside Kafka and Redis, and what is said where they cannot."""

import sqlite3
from pathlib import Path

import aiohttp
import msgspec
import pytest

from sinks.config import SinkPlugin, SinksConfig
from sinks.errors import SinkMisconfigured
from sinks.record import TranscriptRecord, is_partial
from sinks.webhooks.config import WebhookConfig, WebhooksConfig
from tests.sinks.webhooks.receiver import SECRET, Receiver
from tests.trunkline.conftest import Serve
from trunkline import engines
from trunkline.cli import main
from trunkline.config import Config
from trunkline.demo import run
from trunkline.demo.script import load_audio

EXAMPLES = Path(__file__).parents[2] / "examples" / "sinks"


async def test_a_call_goes_to_a_webhook_and_to_a_sink_of_the_users_own(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    plugin = SinkPlugin(class_="sqlite_table:SqliteTable", options={"path": str(tmp_path / "calls.db")})
    async with Receiver().running() as receiver:
        webhooks = WebhooksConfig(
            endpoints=(WebhookConfig(name="crm", url=receiver.url),), secret=SECRET, spool=str(tmp_path / "spool")
        )
        config = msgspec.structs.replace(Config(), webhooks=webhooks, sinks=SinksConfig(plugins=(plugin,)))
        async with serve(config) as running, aiohttp.ClientSession() as session:
            await running.play(load_audio()[0][:80_000], call_sid="CA1")
            async with session.get(running.url + "/metrics") as response:
                metrics = await response.text()
    assert 'trunkline_sink_endpoint_connected{endpoint="crm",sink="webhooks"} 1.0' in metrics
    for sink in ("webhooks", "sqlite", "live", "recorder"):
        assert f'trunkline_sink_spooled{{sink="{sink}"}}' in metrics
    durable = [one for one in running.recorder.records if not is_partial(one)]
    assert receiver.ids() == [one.event_id for one in durable]
    database = sqlite3.connect(tmp_path / "calls.db")
    found = [event_id for (event_id,) in database.execute("SELECT event_id FROM finals ORDER BY rowid")]
    database.close()
    assert found == [one.event_id for one in durable if isinstance(one, TranscriptRecord)]
    assert found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[sinks.plugins]]\nclass = 'not_there:Sink'\n", "[sinks] plugins: not_there:Sink: cannot be imported"),
        ("[[sinks.plugins]]\nclass = 'sinks:LiveView'\n", "two sinks share a name"),
        ("[kafka]\nbootstrap_servers = 'a:1'\nspool = 'none/spool'\n", "spool none/spool: No such file"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "demo"])
def test_a_destination_that_cannot_be_is_told_before_the_engine_is_loaded(
    command: str,
    text: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(engines, "find_engine", load)
    monkeypatch.setattr(run, "load_engine", load)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text(text)
    assert main([command, "--config", "own.toml"]) == 2
    assert said in capsys.readouterr().err


async def test_a_destination_that_cannot_be_ends_the_start(serve: Serve) -> None:
    config = msgspec.structs.replace(Config(), sinks=SinksConfig(plugins=(SinkPlugin(class_="not_there:Sink"),)))
    with pytest.raises(
        SinkMisconfigured, match=r"^\[sinks\] plugins: not_there:Sink: cannot be imported: Module.* PYTHON"
    ):
        async with serve(config):
            pass
    twice = SinksConfig(plugins=(SinkPlugin(class_="sinks:LiveView"),))
    with pytest.raises(SinkMisconfigured, match="two sinks share a name: live, live, recorder: rename one"):
        async with serve(msgspec.structs.replace(Config(), sinks=twice)):
            pass
