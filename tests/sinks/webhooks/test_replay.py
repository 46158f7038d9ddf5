"""Dead letters of webhooks, sent again to real receivers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sinks.dead_letters import Letter, Replayed, decode_letter, write_letters
from sinks.message import Message
from sinks.record import AnyRecord, encode
from sinks.spool_file import letters_of
from sinks.webhooks import replay as webhook_replay
from sinks.webhooks.config import WebhookConfig, WebhooksConfig
from sinks.webhooks.replay import WebhookReplay
from testing.services.ports import free_ports
from tests.sinks.records import end, start, transcript
from tests.sinks.webhooks.receiver import SECRET, Receiver


@pytest.fixture(autouse=True)
def _soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_replay, "PAUSE_S", 0.001)
    monkeypatch.setattr(webhook_replay, "RETRY_AFTER_MAX_S", 0.001)


def config(folder: Path, **urls: str) -> WebhooksConfig:
    endpoints = tuple(WebhookConfig(name=name, url=url) for name, url in urls.items())
    return WebhooksConfig(endpoints=endpoints, secret=SECRET, spool=str(folder / "spool"))


def of_calls(*call_ids: str) -> list[AnyRecord]:
    rows = [
        [start(one), *(transcript(f"f{k}", k, final=True, call_id=one) for k in range(3)), end(one)] for one in call_ids
    ]
    return [record for several in zip(*rows, strict=True) for record in several]


def bury(folder: Path, name: str, records: Sequence[AnyRecord]) -> None:
    letters = []
    for one in records:
        headers = (("event_id", one.event_id.encode()),)
        letters.append(Letter("old", Message(name, one.call_id.encode(), encode(one), headers), 1.0))
    write_letters(letters_of(folder / "spool"), letters)


def left(folder: Path) -> list[Letter]:
    file = letters_of(folder / "spool")
    return [decode_letter(line) for line in file.read_bytes().splitlines()] if file.exists() else []


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def event_id(letter: Letter) -> str:
    return dict(letter.message.headers)["event_id"].decode()


async def test_letters_are_sent_signed_and_each_call_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_replay, "_LOOK_AHEAD", 4)
    records = of_calls("a", "b", "c")
    bury(tmp_path, "crm", records)
    async with Receiver().running() as receiver:
        assert await WebhookReplay(config(tmp_path, crm=receiver.url)).run() == Replayed(sent=len(records))
        assert await WebhookReplay(config(tmp_path, crm=receiver.url)).run() == Replayed()
    assert len(receiver.seen) == len(records)
    for call_id in "abc":
        assert receiver.ids(call_id) == [one.event_id for one in records if one.call_id == call_id]
    assert files(tmp_path) == []


async def test_what_is_refused_again_is_a_letter_again_and_its_call_goes_on(tmp_path: Path) -> None:
    records = of_calls("a")
    bury(tmp_path, "crm", records)
    receiver = Receiver(lambda record: 410 if record.get("transcript") == "f1" else 204)
    async with receiver.running():
        assert await WebhookReplay(config(tmp_path, crm=receiver.url)).run() == Replayed(sent=4, refused=1)
    (letter,) = left(tmp_path)
    assert (letter.reason, event_id(letter), letter.at) == ("refused: HTTP 410", records[2].event_id, 1.0)


async def test_a_receiver_that_does_not_answer_keeps_its_letters_and_holds_up_no_other(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    records = of_calls(*(f"call-{k}" for k in range(40)))
    bury(tmp_path, "gone", records)
    bury(tmp_path, "crm", records)
    bury(tmp_path, "former", records[:1])
    async with Receiver().running() as receiver:
        replay = WebhookReplay(config(tmp_path, crm=receiver.url, gone=f"http://localhost:{port}/SECRET"))
        assert await replay.run() == Replayed(sent=len(records), kept=len(records) + 1)
    assert replay.kept_why["former"] == "it is not among the endpoints"
    assert "Cannot connect" in replay.kept_why["gone"]
    assert "SECRET" not in replay.kept_why["gone"]
    assert {one.reason for one in left(tmp_path)} == {"old"}
    kept = [one for one in left(tmp_path) if one.message.topic == "gone"]
    for number in range(40):
        call = [event_id(one) for one in kept if one.message.key == f"call-{number}".encode()]
        assert call == [one.event_id for one in records if one.call_id == f"call-{number}"]


async def test_a_letter_that_fails_is_tried_again_and_then_keeps_its_call_alone(tmp_path: Path) -> None:
    records = of_calls("bad", "good", "shaky")
    bury(tmp_path, "crm", records)
    tries: dict[str, int] = {}

    def answer(record: dict[str, Any]) -> int:
        tries[record["event_id"]] = tries.get(record["event_id"], 0) + 1
        is_bad = record["call_id"] == "bad" and record.get("transcript") == "f1"
        is_shaky = record["call_id"] == "shaky" and tries[record["event_id"]] < webhook_replay.ATTEMPTS
        return 503 if is_bad or is_shaky else 200

    async with Receiver(answer).running() as receiver:
        done = await WebhookReplay(config(tmp_path, crm=receiver.url)).run()
    assert done == Replayed(sent=12, kept=3)
    bad = [one.event_id for one in records if one.call_id == "bad"]
    assert receiver.ids("bad") == bad[:2]
    assert [event_id(one) for one in left(tmp_path)] == bad[2:]
    assert tries[bad[2]] == webhook_replay.ATTEMPTS


async def test_what_is_no_letter_is_put_aside(tmp_path: Path) -> None:
    (record,) = of_calls("a")[:1]
    file = letters_of(tmp_path / "spool")
    file.write_bytes(b"no letter\n")
    for headers in ((), (("event_id", b"a\r\nX: y"),)):
        write_letters(file, [Letter("old", Message("crm", b"a", encode(record), headers), 1.0)])
    bury(tmp_path, "crm", [record])
    async with Receiver().running() as receiver:
        assert await WebhookReplay(config(tmp_path, crm=receiver.url)).run() == Replayed(sent=1, unreadable=3)
    (aside,) = files(tmp_path)
    assert len(aside.read_bytes().splitlines()) == 3
    assert aside.name.endswith(".dead-letters.jsonl.unreadable")
