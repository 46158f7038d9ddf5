"""Where the records of a real call go beside Kafka and Redis, and what is said where they cannot."""

import sqlite3
from pathlib import Path

import aiohttp
import msgspec
import pytest

from sinks.config import SinkPlugin, SinksConfig
from sinks.record import TranscriptRecord, is_partial
from sinks.webhook_config import WebhookConfig, WebhooksConfig
from tests.sinks.receiver import SECRET, Receiver
from tests.trunkline.command import trunkline, without_compiling
from tests.trunkline.conftest import Serve
from trunkline.config import Config
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
    for sink in ("webhooks", "sqlite", "live", "recorder"):
        assert f'trunkline_sink_spooled{{sink="{sink}"}}' in metrics
    durable = [one for one in running.recorder.records if not is_partial(one)]
    assert receiver.ids() == [one.event_id for one in durable]
    database = sqlite3.connect(tmp_path / "calls.db")
    found = [event_id for (event_id,) in database.execute("SELECT event_id FROM finals ORDER BY rowid")]
    database.close()
    assert found == [one.event_id for one in durable if isinstance(one, TranscriptRecord)]
    assert found


WEBHOOK = f"""
[webhooks]
secret = "{SECRET}"
[[webhooks.endpoints]]
name = "crm"
url = "htp://example.com/SECRET"
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[[sinks.plugins]]\nclass = "not_there:Sink"\n',
            "[sinks] plugins: not_there:Sink: cannot be imported: ModuleNotFoundError: No module named 'not_there': "
            "install it, or name its folder in PYTHONPATH",
        ),
        (
            WEBHOOK,
            "trunkline.toml: [webhooks] crm: url is no address of a receiver: write https://host/path - at "
            "'$.endpoints[0]'",
        ),
    ],
    ids=["plugin", "url"],
)
def test_a_destination_that_cannot_be_ends_the_start_with_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "trunkline.toml").write_text(f"[server]\nport = 0\n{text}")
    done = trunkline("serve", cwd=tmp_path)
    assert (done.returncode, without_compiling(done.stderr)[-1]) == (2, f"trunkline: {said}")
    assert "SECRET" not in done.stderr
