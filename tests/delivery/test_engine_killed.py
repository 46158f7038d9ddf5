"""The engine's process is killed in the middle of a call: what the call emitted is what arrives, once, in order."""

import asyncio
import os
import signal
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from engine.remote import RemoteEngine, Spawned
from pipeline import AudioFrame, CallInfo, Calls, Encoding, LegOptions, PipelineConfig
from sinks.config import KafkaConfig
from sinks.fanout import FanOut
from sinks.kafka.sink import KafkaSink
from sinks.record import AnyRecord, SpeakerRole, TranscriptRecord, is_partial
from testing.faults.count import consume
from trunkline.config import EngineConfig
from trunkline.demo.script import load_audio
from trunkline.engines import find_engine

PACKET = 160
SECONDS, KILLED_AT_S = 6.0, 3.0


def kill(engine: RemoteEngine) -> None:
    link = engine._link
    assert isinstance(link, Spawned)
    assert link.process is not None
    os.kill(link.process.pid, signal.SIGKILL)


async def play(engine: RemoteEngine, config: KafkaConfig) -> list[AnyRecord]:
    """Records that were emitted, partials left out."""
    emitted: list[AnyRecord] = []
    fan = FanOut([KafkaSink(config)])
    await fan.start()

    def publish(records: Sequence[AnyRecord]) -> None:
        emitted.extend(record for record in records if not is_partial(record))
        fan.publish(records)

    calls = Calls(engine, publish, PipelineConfig(flush_timeout_s=120.0))
    call = calls.start(CallInfo("CA1", "test"))
    leg = call.add_leg(LegOptions("inbound", SpeakerRole.CUSTOMER, 0))
    track, killed = load_audio()[0], False
    for pts in range(0, int(SECONDS * 8_000), PACKET):
        leg.push(AudioFrame(pts, track[pts : pts + PACKET], Encoding.PCMU, 8_000, 0.0))
        calls.ingest.tick()
        if pts >= KILLED_AT_S * 8_000 and not killed:
            killed = True
            kill(engine)
        async with asyncio.timeout(120):
            while leg._progress_s < pts / 8_000 - 1.0:  # noqa: ASYNC110 - progress is no event
                await asyncio.sleep(0.002)
    await call.end("hang-up")
    await fan.close(30.0)
    return emitted


def test_records_of_a_call_whose_engine_was_killed_all_arrive_once_and_in_order(kafka_bootstrap: str) -> None:
    name = f"test-{uuid.uuid4()}"
    config = KafkaConfig(
        bootstrap_servers=kafka_bootstrap,
        create_topics=True,
        transcripts_topic=f"{name}.transcripts",
        events_topic=f"{name}.events",
        partials_topic="",
        spool=str(Path(tempfile.mkdtemp(prefix="trunkline-spool-")) / "kafka.spool"),
    )
    with find_engine(EngineConfig(max_sessions=2, admission=False)) as engine:
        assert isinstance(engine, RemoteEngine)
        emitted = asyncio.run(play(engine, config))
        assert engine.stats.restarts == 1
    finals = [record for record in emitted if isinstance(record, TranscriptRecord)]
    events = [record for record in emitted if not isinstance(record, TranscriptRecord)]
    assert finals
    assert events
    for topic, expected in ((config.transcripts_topic, finals), (config.events_topic, events)):
        arrived = {one.record.event_id: one.record for one in consume(kafka_bootstrap, [topic])}
        assert list(arrived.values()) == expected
