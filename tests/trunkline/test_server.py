"""Calls through the whole server: real sockets, the real engine with the demo model."""

import asyncio
import base64
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import aiohttp
import jsonschema
import msgspec
import numpy as np
import pytest

from connectors.errors import StreamClosed
from pipeline.config import PipelineConfig
from sinks.config import JsonlConfig, KafkaConfig, RedisConfig
from sinks.record import TranscriptRecord, decode, encode, is_partial
from sinks.schema import load_schema
from tests.trunkline.conftest import Serve
from trunkline.config import Config, ServerConfig
from trunkline.demo.report import finals, report
from trunkline.demo.script import load_audio, load_script
from trunkline.errors import AddressInUse
from trunkline.server import Server

SILENCE = np.full(8000, 0xFF, np.uint8)


def transcript_of(records: list[TranscriptRecord], leg: str) -> str:
    """All that was said on a leg. Where it is cut depends on turns, these on whether Smart Turn answered in time."""
    return " ".join(final.transcript for final in finals(records, leg))


@pytest.mark.parametrize("chunk_ms", [80, 160])
async def test_demo_call_is_transcribed_with_both_languages_detected(serve: Serve, chunk_ms: Literal[80, 160]) -> None:
    config = Config(pipeline=PipelineConfig(chunk_ms=chunk_ms))
    async with serve(config) as running:
        await running.play(*load_audio(), call_sid="CA1")
    records = running.recorder.of("CA1")
    result = report(records, load_script())
    assert result.faults == ()
    assert result.errors.rate <= 0.15
    transcripts = [record for record in records if isinstance(record, TranscriptRecord)]
    caller = finals(transcripts, "inbound")
    assert {final.language for final in caller} == {"es-US", "en-US"}
    assert {final.language_source for final in caller} == {"detected"}
    validator = jsonschema.Draft202012Validator(load_schema())
    for record in records:
        validator.validate(msgspec.json.decode(encode(record)))


async def test_concurrent_calls_do_not_mix_and_each_is_as_if_alone(serve: Serve) -> None:
    inbound, outbound = load_audio()
    tracks = [
        (inbound[:160_000], None),
        (outbound[:160_000], None),
        (inbound[160_000:320_000], outbound[160_000:320_000]),
    ]

    async def run(names: list[str]) -> dict[str, str]:
        async with serve() as running:
            await asyncio.gather(*(running.play(*tracks[int(name[-1])], call_sid=name) for name in names))
        transcripts = [record for record in running.recorder.records if isinstance(record, TranscriptRecord)]
        return {
            f"{name} {leg}": transcript_of([record for record in transcripts if record.call_id == name], leg)
            for name in names
            for leg in ("inbound", "outbound")
        }

    alone: dict[str, str] = {}
    for index in range(len(tracks)):
        alone |= await run([f"CA0{index}"])
    together = await run([f"CA{copy}{index}" for copy in range(3) for index in range(len(tracks))])
    assert any(alone.values())
    for name, said in together.items():
        assert said == alone[f"CA0{name[3:]}"], name


async def test_caller_hanging_up_mid_word_keeps_the_last_word(serve: Serve) -> None:
    inbound, _ = load_audio()
    line = next(line for line in load_script() if line.leg == "inbound")
    hung_up = inbound[: int(line.end * 8000) - 800]
    async with serve() as running:
        async with aiohttp.ClientSession() as session, session.ws_connect(running.twilio) as socket:
            await socket.send_str(start_message("CA1", ["inbound"]))
            for number in range(len(hung_up) // 160):
                await socket.send_str(media_message(number, hung_up))
                await asyncio.sleep(0.005)
            assert socket._response.connection is not None
            socket._response.connection.transport.abort()  # type: ignore[union-attr]
        await until(lambda: running.recorder.ended("CA1"))
    transcripts = [record for record in running.recorder.of("CA1") if isinstance(record, TranscriptRecord)]
    assert transcripts[-1].is_final
    said = transcript_of(transcripts, "inbound")
    assert said.startswith(" ".join(line.text.split()[:-1])[:-1])


async def test_bad_peers_are_refused_and_a_good_call_goes_on_undisturbed(serve: Serve) -> None:
    inbound, _ = load_audio()
    good = inbound[:160_000]
    async with serve() as running:
        await running.play(good, call_sid="CA0")
        async with aiohttp.ClientSession() as session:
            playing = asyncio.create_task(running.play(good, call_sid="CA1"))
            for spoken in (
                ["not json"] * 101,
                [media_message(0, good)] * 101,
                [start_message("CA2", ["inbound"], encoding="audio/opus")],
                [start_message("CA3", ["inbound"]), start_message("CA4", ["inbound"])],
                [start_message("CA1", ["inbound"])],
                ["x" * (10 << 20)],
            ):
                async with session.ws_connect(running.twilio, max_msg_size=0) as socket:
                    with contextlib.suppress(ConnectionError):  # closed before all of it was sent
                        for text in spoken:
                            await socket.send_str(text)
                    while not (await socket.receive(timeout=10)).type.name.startswith("CLOS"):
                        pass
            await playing
            async with session.get(running.url + "/metrics") as response:
                metrics = await response.text()
    for code, count in {1007: 1, 1002: 1, 1003: 1, 1008: 2, 1009: 1}.items():
        assert f'trunkline_connector_closed_total{{connector="twilio",reason="{code}"}} {count}.0' in metrics
    assert 'trunkline_connector_refused_total{connector="twilio"} 1.0' in metrics
    transcripts = [record for record in running.recorder.records if isinstance(record, TranscriptRecord)]
    first, second = ([item for item in transcripts if item.call_id == name] for name in ("CA0", "CA1"))
    assert transcript_of(second, "inbound") == transcript_of(first, "inbound") != ""


async def test_full_engine_refuses_with_try_again_later(serve: Serve) -> None:
    async with serve(max_sessions=1) as running:
        with pytest.raises(StreamClosed) as refused:
            await running.play(SILENCE, SILENCE, call_sid="CA1")
        assert "1013" in str(refused.value)
        await until(lambda: running.server.engine.open_sessions == 0)
        await running.play(SILENCE, call_sid="CA2")
    assert running.recorder.ended("CA2")


async def test_every_leg_of_a_silent_call_ends_with_a_final(serve: Serve) -> None:
    async with serve() as running:
        await running.play(SILENCE, SILENCE, call_sid="CA1")
    records = running.recorder.of("CA1")
    assert report(records, load_script()).faults == ()


async def test_stopping_the_server_lets_running_calls_finish(serve: Serve) -> None:
    inbound, _ = load_audio()
    async with serve() as running:
        playing = asyncio.create_task(running.play(inbound[:80_000], call_sid="CA1"))
        await until(lambda: running.server.calls.active == 1)
    await playing
    assert running.recorder.ended("CA1")


async def test_records_reach_file_kafka_and_redis_alike(
    serve: Serve, tmp_path: Path, redis_url: str, kafka_bootstrap: str
) -> None:
    from kafka import KafkaConsumer  # noqa: PLC0415 - only here

    inbound, outbound = load_audio()
    kafka = KafkaConfig(
        bootstrap_servers=kafka_bootstrap,
        transcripts_topic="e2e.transcripts",
        partials_topic="e2e.partials",
        events_topic="e2e.events",
        create_topics=True,
        spool=str(tmp_path / "spool"),
    )
    redis = RedisConfig(url=redis_url, key_prefix="e2e:")
    config = Config(jsonl=JsonlConfig(path=str(tmp_path / "records.jsonl")), kafka=kafka, redis=redis)
    async with serve(config) as running:
        await running.play(inbound[:160_000], outbound[:160_000], call_sid="CA1")
        await until(lambda: running.recorder.ended("CA1"))
        async with aiohttp.ClientSession() as session:
            # The page's API reads from Redis, which is written a moment after the recorder.
            for _ in range(100):
                async with session.get(running.url + "/api/calls/CA1") as response:
                    shown = await response.json()
                if response.status == 200 and shown["call"]["status"] == "ended":
                    break
                await asyncio.sleep(0.05)
    written = [decode(line) for line in (tmp_path / "records.jsonl").read_bytes().splitlines()]
    assert written == running.recorder.records
    transcripts = [record for record in written if isinstance(record, TranscriptRecord)]
    latest = {item.segment_id: item for item in transcripts if item.is_final}
    assert {segment["segment_id"]: segment["transcript"] for segment in shown["segments"]} == {
        name: item.transcript for name, item in latest.items()
    }
    consumer = KafkaConsumer(
        "e2e.transcripts",
        "e2e.partials",
        "e2e.events",
        bootstrap_servers=kafka_bootstrap,
        auto_offset_reset="earliest",
        consumer_timeout_ms=5_000,
    )
    consumed = list(consumer)
    consumer.close()
    assert {message.key for message in consumed} == {b"CA1"}
    ids = [msgspec.json.decode(message.value)["event_id"] for message in consumed]
    durable = {item.event_id for item in written if not is_partial(item)}
    assert durable <= set(ids) <= {item.event_id for item in written}  # partials may have given way to newer ones


def test_taken_port_is_said_in_one_line(serve: Serve) -> None:
    async def twice() -> None:
        async with serve() as running:
            port = int(running.url.rpartition(":")[2])
            other = Server(Config(server=ServerConfig(port=port), jsonl=JsonlConfig(path="")), running.server.engine)
            with pytest.raises(AddressInUse, match=f"port {port} .* taken"):
                async with other.running():
                    pass

    asyncio.run(twice())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for is a state of the server's
            await asyncio.sleep(0.02)


def start_message(call_sid: str, tracks: list[str], encoding: str = "audio/x-mulaw") -> str:
    return json.dumps(
        {
            "event": "start",
            "sequenceNumber": "1",
            "streamSid": "MZ1",
            "start": {
                "streamSid": "MZ1",
                "accountSid": "AC1",
                "callSid": call_sid,
                "tracks": tracks,
                "customParameters": {},
                "mediaFormat": {"encoding": encoding, "sampleRate": 8000, "channels": 1},
            },
        }
    )


def media_message(number: int, codes: np.ndarray) -> str:
    payload = base64.b64encode(codes[160 * number : 160 * (number + 1)].tobytes()).decode()
    media = {"track": "inbound", "chunk": str(number + 1), "timestamp": str(20 * number), "payload": payload}
    return json.dumps({"event": "media", "sequenceNumber": str(number + 2), "streamSid": "MZ1", "media": media})
