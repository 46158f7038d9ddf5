"""Calls whose engine process is killed: their finals are those of an undisturbed run."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from engine.api import SessionOptions
from engine.checkpoint.weights import Checkpoint
from engine.engine import Engine
from engine.errors import EngineFull
from engine.remote import RemoteEngine, Spawned
from engine.remote.server import EngineServer
from pipeline import AudioFrame, Call, CallInfo, Calls, Encoding, Leg, LegOptions, PipelineConfig
from sinks.record import AnyRecord, CallAction, CallRecord, SpeakerRole, TranscriptRecord
from trunkline.config import EngineConfig
from trunkline.config_file import load_config
from trunkline.demo.script import load_audio
from trunkline.engines import find_engine
from trunkline.errors import ConfigError

PACKET = 160
SECONDS = 31.0
HOLD_S = 20.0
"""In the middle of a word, a final is asked for."""


@dataclass
class Played:
    """A call played into an engine, faster than real time but no further ahead of it than it may lag."""

    engine: Engine | RemoteEngine
    kills: Sequence[float] = ()
    kill_at_end: bool = False
    hold: bool = False
    records: list[AnyRecord] = field(default_factory=list)

    async def run(self) -> None:
        calls = Calls(self.engine, self.records.extend, PipelineConfig(flush_timeout_s=120.0))
        call = calls.start(CallInfo("CA1", "test", run="0123456789ab"))
        legs = [
            call.add_leg(LegOptions(name, role, channel))
            for channel, (name, role) in enumerate((("inbound", SpeakerRole.CUSTOMER), ("outbound", SpeakerRole.AGENT)))
        ]
        tracks, kills = load_audio(), list(self.kills)
        for pts in range(0, int(SECONDS * 8_000), PACKET):
            for leg, track in zip(legs, tracks, strict=True):
                leg.push(AudioFrame(pts, track[pts : pts + PACKET], Encoding.PCMU, 8_000, 0.0))
            calls.ingest.tick()
            if self.hold and pts == int(HOLD_S * 8_000):
                call.hold()
            if kills and pts >= kills[0] * 8_000:
                kills.pop(0)
                self.kill()
            async with asyncio.timeout(120):
                while min(leg._progress_s for leg in legs) < pts / 8_000 - 1.0:  # noqa: ASYNC110 - progress is no event
                    await asyncio.sleep(0.002)
        await self.end(call)

    async def end(self, call: Call) -> None:
        ending = asyncio.create_task(call.end("hang-up"))
        await asyncio.sleep(0)
        if self.kill_at_end:
            self.kill()
        await ending

    def kill(self) -> None:
        assert isinstance(self.engine, RemoteEngine)
        link = self.engine._link
        assert isinstance(link, Spawned)
        assert link.process is not None
        os.kill(link.process.pid, signal.SIGKILL)

    def transcripts(self, leg: str) -> list[TranscriptRecord]:
        return [one for one in self.records if isinstance(one, TranscriptRecord) and one.leg == leg]

    def finals(self, leg: str) -> list[tuple[object, ...]]:
        """All that the finals of a leg say, but for times, confidence and latency."""
        return [
            (one.segment_id, one.transcript, one.speech_final, one.languages, one.language_source, words(one))
            for one in self.transcripts(leg)
            if one.is_final
        ]

    def times(self, leg: str) -> list[float]:
        """Of the words of all finals of a leg."""
        finals = [one for one in self.transcripts(leg) if one.is_final]
        return [time for one in finals for word in one.words for time in (word.start, word.end)]


def words(record: TranscriptRecord) -> list[tuple[object, ...]]:
    return [(word.punctuated_word, word.language) for word in record.words]


FRAME_S = 0.08
"""In 8 bits a word may begin or end a frame elsewhere (docs/decisions/engine.md); `tests/engine/remote` is exact."""


@pytest.fixture(scope="module")
def undisturbed(demo_checkpoint: Checkpoint) -> Callable[[bool], Played]:
    @cache
    def play(hold: bool) -> Played:
        with Engine(demo_checkpoint, max_sessions=4) as engine:
            played = Played(engine, hold=hold)
            asyncio.run(played.run())
        return played

    return play


@pytest.mark.parametrize(
    ("kills", "kill_at_end", "hold"),
    [((4.4, 16.0), False, False), ((HOLD_S, 29.0), False, True), ((9.0, 26.6), True, False)],
    ids=["in a word and a sentence", "before the answer to a final", "in silence and after the end"],
)
def test_the_finals_of_a_call_are_the_same_although_its_engine_was_killed(
    undisturbed: Callable[[bool], Played], kills: tuple[float, ...], kill_at_end: bool, hold: bool
) -> None:
    wanted = undisturbed(hold)
    with find_engine(EngineConfig(max_sessions=4, admission=False)) as engine:
        assert isinstance(engine, RemoteEngine), "a server starts an engine process unless told otherwise"
        played = Played(engine, kills, kill_at_end, hold)
        asyncio.run(played.run())
        assert engine.stats.restarts == len(kills) + kill_at_end
    for leg in ("inbound", "outbound"):
        assert played.finals(leg) == wanted.finals(leg) != []
        assert played.times(leg) == pytest.approx(wanted.times(leg), abs=1.1 * FRAME_S)
        revisions: dict[str, int] = {}
        for record in played.transcripts(leg):
            assert record.revision == revisions.get(record.segment_id, -1) + 1
            revisions[record.segment_id] = record.revision
        if not hold:  # a final in the middle of a word is corrected when the word goes on
            assert len(revisions) == len(played.finals(leg)), "a segment has one final"
    last = played.records[-1]
    assert isinstance(last, CallRecord)
    assert last.action is CallAction.END


def test_an_engine_in_the_process_is_asked_for_by_name() -> None:
    assert isinstance(find_engine(EngineConfig(process="in-process", max_sessions=1, admission=False)), Engine)


@pytest.mark.parametrize("process", ["fork", "unix:", "tcp:host", "http://host:80"])
def test_a_process_that_is_none_is_a_mistake_in_the_configuration(process: str) -> None:
    with pytest.raises(ConfigError, match=r"\[engine\]|TRUNKLINE_ENGINE_PROCESS"):
        load_config(environ={"TRUNKLINE_ENGINE_PROCESS": process})


def test_a_server_whose_engine_is_elsewhere_loads_no_model() -> None:
    code = "import sys, trunkline.engines, trunkline.server; print('torch' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert loaded.stdout == "False\n"


async def test_a_call_is_told_by_an_engine_in_another_process_whether_its_legs_are_taken(
    demo_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """Of four places another gateway has one: the second call has no room for its second leg, and leaves nothing."""
    address = f"unix:{tmp_path}/engine"
    records: list[AnyRecord] = []

    def legs(call: Call) -> list[Leg]:
        roles = (SpeakerRole.CUSTOMER, SpeakerRole.AGENT)
        return [call.add_leg(LegOptions(str(role), role, channel)) for channel, role in enumerate(roles)]

    async def heard(call: Call) -> None:
        for leg in legs(call):
            await leg.admitted()
        call.announce()

    with Engine(demo_checkpoint, max_sessions=4) as served:
        server = EngineServer(served)
        serving = asyncio.create_task(server.listen(address))
        async with asyncio.timeout(60):
            while server.address is None:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.01)
        mine, other = [await asyncio.to_thread(RemoteEngine.at, address) for _ in range(2)]
        with mine, other:
            other.open(SessionOptions(160))
            calls = Calls(mine, records.extend, PipelineConfig(answer_timeout_s=30.0))
            first, second, third = (calls.start(CallInfo(f"CA{k}", "test"), announce=False) for k in range(3))
            await heard(first)
            with pytest.raises(EngineFull):
                await heard(second)
            await second.end("refused")
            await third.add_leg(LegOptions("customer", SpeakerRole.CUSTOMER, 0)).admitted()
            await asyncio.gather(first.end("hang-up"), third.end("hang-up"))
        server.stop()
        await serving
    assert {record.call_id for record in records} == {"CA0"}
    assert calls.stats.calls_refused == 2
