"""The load test against real servers on loopback: Twilio by the whole server, SIP and SIPREC by their connector."""

import argparse
import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from connectors.sip import Credential
from connectors.sip.message.grammar import SipParameters
from connectors.sip.message.parser import parse_datagram
from connectors.sip.message.uri import SipUri
from sinks.record import CallRecord
from tests.connectors.sip.stage import LOOPBACK, Stage, changed, stage
from tests.pipeline.scripted import Cue, script, words
from tests.trunkline.conftest import Serve
from trunkline.demo.script import Line
from trunkline.errors import ConfigError
from trunkline.loadtest.command import add_arguments, run_loadtest
from trunkline.loadtest.plan import Plan
from trunkline.loadtest.report import LoadReport, Thresholds
from trunkline.loadtest.run import LoadTest
from trunkline.loadtest.script import CallScript, ScriptTrack
from trunkline.loadtest.sip_caller import SipCaller
from trunkline.loadtest.tally import RecordTally

SAID = {"inbound": "the last word is kept", "outbound": "so is this one"}


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


async def load(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the line of JSON, and everything before it."""
    code = await run_loadtest(options(*arguments, "--json"))
    shown, _, line = capsys.readouterr().out.rstrip("\n").rpartition("\n")
    return code, json.loads(line), shown


async def test_twilio_calls_are_counted_heard_and_judged(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    async with serve() as running:
        code, figures, shown = await load(
            capsys,
            *(running.twilio, "--calls", "2", "--rate", "10", "--hold", "3.5"),
            *("--min-success", "100", "--max-loss", "0", "--max-wer", "30"),
        )
    assert code == 0, figures
    assert (figures["placed"], figures["completed"], figures["ended"], figures["most_at_once"]) == (2, 2, 2, 2)
    assert figures["sent"] == figures["counted"] >= 2 * 2 * 50 * 3
    assert figures["scored"] == 2
    assert figures["transcripts"] > 0
    assert figures["latency_p95_ms"] > 0
    assert "2 placed, 2 answered" in shown
    assert len([record for record in running.recorder.records if isinstance(record, CallRecord)]) > 0


async def test_full_engine_shows_as_refusals_and_fails_the_test(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serve(max_sessions=1) as running:
        code, figures, shown = await load(
            capsys, running.twilio, "--calls", "1", "--rate", "10", "--hold", "1", "--min-success", "100"
        )
    assert code == 1
    assert figures["refusals"] == {"closed with 1013: no room for this call, try again later": figures["placed"]}
    assert figures["answered"] == 0
    assert "missed" in shown


async def test_server_that_is_not_there_shows_as_refusals(capsys: pytest.CaptureFixture[str]) -> None:
    target = f"ws://{LOOPBACK}:9/twilio"
    code, figures, _ = await load(capsys, target, "--records", "none", "--calls", "1", "--hold", "1")
    assert code == 0
    assert figures["answered"] == 0
    assert list(figures["refusals"]) == ["no connection: Connection refused"]
    assert figures["wer"] is None


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["http://127.0.0.1/twilio"], "is no target"),
        (["ws:twilio"], "is no address"),
        (["ws://127.0.0.1/twilio", "--siprec"], "needs a sip: target"),
        (["sip:1@127.0.0.1;transport=tls"], "only UDP and TCP"),
        (["sip:"], "is no SIP address"),
        (["ws://127.0.0.1/twilio", "--script", "s.json"], "give both"),
        (["ws://127.0.0.1/twilio", "--calls", "0"], "calls must be"),
    ],
)
async def test_mistake_in_the_command_is_said_in_one_line(arguments: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as error:
        await run_loadtest(options(*arguments))
    assert "\n" not in str(error.value)


class StageSource:
    """The records of a stage, as they come."""

    title = "stage"

    def __init__(self, server: Stage, tally: RecordTally) -> None:
        self._server, self._tally, self._read = server, tally, 0
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._reading = asyncio.create_task(self._run())

    def follow(self, key: str) -> None: ...

    def unfollow(self, key: str) -> None: ...

    async def close(self) -> None:
        assert self._reading is not None
        self._reading.cancel()

    async def _run(self) -> None:
        while True:
            records = self._server.records[self._read :]
            self._read += len(records)
            for record in records:
                self._tally.add(record)
            await asyncio.sleep(0.01)


def spoken(*tracks: str) -> CallScript:
    """Two seconds of noise a track, and what the scripted recogniser makes of it."""
    noise = np.random.default_rng(1).integers(0, 256, 16_000).astype(np.uint8)
    lines = {
        name: Line(leg=name, role="agent", language="en-US", text=SAID[name], start=0.0, end=1.8)  # type: ignore[arg-type]
        for name in tracks
    }
    return CallScript(tuple(ScriptTrack(name, noise, (lines[name],)) for name in tracks))


def cues(*tracks: str, calls: int) -> list[list[Cue]]:
    return [script(words(SAID[name])) for _ in range(calls) for name in tracks]


async def ring_up(server: Stage, played: CallScript, calls: int = 2, hold_s: float = 2.0, **caller: Any) -> LoadReport:
    tally = RecordTally(played)
    parameters = SipParameters.of(transport="tcp") if caller.pop("tcp", False) else None
    host, port = server.connector.addresses["TCP" if parameters else "UDP"]
    sip = SipCaller(SipUri.to(host, "1000", port, parameters), played, **caller)
    test = LoadTest(Plan(calls, 10.0, hold_s, played.duration_s), sip, tally, StageSource(server, tally))
    return await test.run(Thresholds())


@asynccontextmanager
async def answering(*tracks: str, calls: int = 2, **config: Any) -> AsyncIterator[Stage]:
    async with stage(changed(**config), *cues(*tracks, calls=calls)) as server:
        yield server


@pytest.mark.parametrize("tcp", [False, True])
async def test_sip_calls_are_counted_and_heard(tcp: bool) -> None:
    async with answering("inbound", tcp=f"{LOOPBACK}:0" if tcp else None) as server:
        report = await ring_up(server, spoken("inbound"), tcp=tcp)
    assert (report.placed, report.completed, report.ended, report.scored) == (2, 2, 2, 2)
    assert report.sent == report.counted >= 2 * 95
    assert (report.lost, report.loss, report.wer) == (0, 0, 0)
    assert report.setup_p95_ms is not None


async def test_recording_sessions_have_two_streams_each_heard_as_itself() -> None:
    async with answering("inbound", "outbound") as server:
        report = await ring_up(server, spoken("inbound", "outbound"), recording=True)
        calls = server.call_records()
    assert (report.kind, report.completed, report.ended, report.scored) == ("siprec", 2, 2, 2)
    assert report.sent == report.counted >= 2 * 2 * 95
    assert report.wer == 0
    assert {len(call.legs) for call in calls[-2:]} == {2}
    assert {call.connector for call in calls} == {"siprec"}


@pytest.mark.parametrize(("password", "refusals"), [("right", set()), ("wrong", {"401 Unauthorized"})])
async def test_digest_lets_in_who_knows_the_password(password: str, refusals: set[str]) -> None:
    users = (Credential(username="loadtest", password="right"),)
    async with answering("inbound", calls=1, credentials=users) as server:
        report = await ring_up(server, spoken("inbound"), calls=1, credentials=("loadtest", password))
    assert set(report.refusals) == refusals
    assert report.answered == (0 if refusals else 1)


async def test_full_engine_refuses_sip_calls_by_status() -> None:
    async with stage(changed(), max_sessions=0) as server:
        report = await ring_up(server, spoken("inbound"), calls=1)
    assert report.refusals == {"503 Service Unavailable": report.placed}
    assert report.completed == 0


async def test_server_that_hangs_up_has_broken_the_call_off() -> None:
    async with answering("inbound", calls=1) as server:
        testing = asyncio.create_task(ring_up(server, spoken("inbound"), calls=1, hold_s=1.2))
        await server.until(lambda: server.calls.active)
        await asyncio.sleep(0.3)
        await server.connector.close()
        report = await testing
    assert report.broken == {"the server hung up": 1}


async def test_interrupted_test_hangs_its_calls_up() -> None:
    async with answering("inbound", calls=1) as server:
        testing = asyncio.create_task(ring_up(server, spoken("inbound"), calls=1))
        await server.until(lambda: server.calls.active)
        testing.cancel()
        await asyncio.gather(testing, return_exceptions=True)
        (end,) = await server.ended()
    assert end.reason is not None


async def test_recording_client_asks_for_a_recorder() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
        there.bind((LOOPBACK, 0))
        there.setblocking(False)
        caller = SipCaller(SipUri.to(LOOPBACK, "1000", there.getsockname()[1]), spoken("inbound"), recording=True)
        await caller.start()
        calling = asyncio.create_task(caller.call("key", 1.0))
        invite = parse_datagram(await asyncio.get_running_loop().sock_recv(there, 65_536))
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        await caller.close()
    assert invite.require == ("siprec",)
    assert invite.headers.get("X-Loadtest") == "key"
    assert invite.content_type is not None
    assert invite.content_type.essence == "multipart/mixed"
    assert "sip.src" in (invite.headers.get("Contact") or "")
