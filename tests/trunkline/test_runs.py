"""Servers that take the same call, at one time and after one another: a consumer that drops doubles drops no word."""

import asyncio
import itertools
import signal
from pathlib import Path

import pytest

from connectors.errors import StreamClosed
from connectors.media_ws import TwilioPlayer
from sinks.record import AnyRecord, CallAction, CallRecord, TranscriptRecord, decode, encode
from tests.trunkline.conftest import Serve
from tests.trunkline.processes import serving
from trunkline.demo.script import load_audio

SECOND = 8_000
FIRST_FINAL_S, CALL_S = 6, 14
"""The caller of the demo has its first final before the one, and another one before the other."""


def records(folder: Path) -> list[AnyRecord]:
    file = folder / "trunkline.jsonl"
    return [decode(line) for line in file.read_bytes().splitlines()] if file.exists() else []


def has_final(found: list[AnyRecord]) -> bool:
    return any(isinstance(one, TranscriptRecord) and one.is_final for one in found)


def ends(found: list[AnyRecord]) -> bool:
    last = found[-1] if found else None
    return isinstance(last, CallRecord) and last.action is CallAction.END


async def play(url: str, first_s: int) -> None:
    """The call, from this second on: as it is for who takes it up then."""
    audio = load_audio()[0][first_s * SECOND : CALL_S * SECOND]
    await TwilioPlayer(url, audio, None, call_sid="CA1", pace=4.0).play()


async def test_two_servers_with_one_call_and_one_that_died_in_it_give_no_id_twice(serve: Serve, tmp_path: Path) -> None:
    async with serve() as other:
        elsewhere = asyncio.create_task(play(other.twilio, 2))
        async with serving(tmp_path) as (server, url):
            here = asyncio.create_task(play(url.replace("http", "ws") + "/twilio", 0))
            async with asyncio.timeout(60):
                while not has_final(records(tmp_path)):  # noqa: ASYNC110 - the file of another process has no event
                    await asyncio.sleep(0.02)
            server.send_signal(signal.SIGKILL)
            with pytest.raises(StreamClosed):
                await here
            await server.wait()
        died = records(tmp_path)
        async with serving(tmp_path) as (_, url):
            await play(url.replace("http", "ws") + "/twilio", FIRST_FINAL_S)
            async with asyncio.timeout(60):
                while not ends(records(tmp_path)):  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.02)
        await elsewhere
    runs = [died, records(tmp_path)[len(died) :], other.recorder.of("CA1")]
    assert [[item.action for item in run if isinstance(item, CallRecord)] for run in runs] == [
        [CallAction.START],
        [CallAction.START, CallAction.END],
        [CallAction.START, CallAction.END],
    ]
    assert all(has_final(run) for run in runs)
    content: dict[str, bytes] = {}
    for item in itertools.chain.from_iterable(runs):
        assert content.setdefault(item.event_id, encode(item)) == encode(item)
    segments = [{item.segment_id for item in run if isinstance(item, TranscriptRecord)} for run in runs]
    assert len(set.union(*segments)) == sum(map(len, segments))
    assert [len({item.run for item in run}) for run in runs] == [1, 1, 1]
    assert len({run[0].run for run in runs}) == 3
