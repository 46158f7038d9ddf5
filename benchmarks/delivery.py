"""How fast records reach their consumers, how much of the machine that takes, and what a full spool costs.

`python -m benchmarks.delivery [--calls 1000] [--legs 2] [--seconds 30] [--spooled 1000000]`

An emitter, one process with the event loop of the server, publishes the records of so many calls at once: 8 partials a
second and 0.3 finals a second of each leg, through the spool to a Kafka broker and into the live view of a Redis
server, all on this machine. Beside it a Kafka consumer reads the finals, and a page's view follows a few calls. Then a
sink finds a spool left full, while 100 calls run. At last three client libraries send as fast as they can. The last
line is JSON.
"""

import argparse
import asyncio
import json
import multiprocessing
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import psutil

from sinks.config import KafkaConfig, RedisConfig
from sinks.fanout import FanOut
from sinks.message import Message
from sinks.record import AnyRecord, CallAction, CallRecord, SpeakerRole, TranscriptRecord, Word, encode, event_id
from testing.services.kafka_broker import KafkaBroker
from testing.services.redis_server import RedisServer
from trunkline.loop import run

PARTIALS_PER_S = 8.0
FINALS_PER_S = 0.3

RUN = "0123456789ab"
EMIT_S = 0.002
TICK_S = 0.01
WARM_UP_S = 5.0

FOLLOWED = 20
"""Calls that the subscriber of the live view follows, as so many open pages do."""

SPOOL_CALLS = 100
"""Calls that run while the full spool is delivered."""

SATURATED = 100_000

_WORDS = tuple(
    Word(word=word, punctuated_word=word, start=k * 0.4, end=k * 0.4 + 0.3, confidence=0.9, language="en-US")
    for k, word in enumerate(["my", "order", "number", "is", "four", "two", "seven", "one", "nine"])
)
_TEMPLATE = TranscriptRecord(
    event_id="",
    call_id="",
    leg="inbound",
    seq=0,
    at="2026-11-30T12:00:00.000Z",
    segment_id="",
    revision=0,
    is_final=False,
    speech_final=False,
    speaker_role=SpeakerRole.CUSTOMER,
    channel_index=0,
    start=0.0,
    duration=3.5,
    transcript=" ".join(word.word for word in _WORDS),
    confidence=0.9,
    stability=0.8,
    language="en-US",
    languages=("en-US",),
    language_source="detected",
    words=_WORDS,
    latency_ms=90.0,
)


@dataclass(slots=True)
class Leg:
    """`start` of its records is when they were emitted, seconds since the epoch."""

    call_id: str
    leg: str
    seq: int = 0
    segment: int = 0
    revision: int = 0

    def next(self, *, final: bool) -> TranscriptRecord:
        segment_id = f"{self.leg}-{self.segment:04d}"
        record = msgspec.structs.replace(
            _TEMPLATE,
            event_id=event_id(self.call_id, RUN, self.leg, "transcript", segment_id, self.revision),
            call_id=self.call_id,
            leg=self.leg,
            seq=self.seq,
            segment_id=segment_id,
            revision=self.revision,
            is_final=final,
            start=time.time(),
        )
        self.seq += 1
        self.revision += 1
        if final:
            self.segment += 1
            self.revision = 0
        return record


class Traffic:
    """The records of many legs, each at its own times, evenly spread."""

    def __init__(self, calls: int, legs: int) -> None:
        self.legs = [Leg(f"call-{call}", f"leg{leg}") for call in range(calls) for leg in range(legs)]
        self._sent = {False: 0, True: 0}

    def starts(self) -> list[AnyRecord]:
        ids = dict.fromkeys(leg.call_id for leg in self.legs)
        return [
            CallRecord(
                event_id=event_id(one, RUN, "", "call", 0),
                call_id=one,
                leg="",
                seq=0,
                at=_TEMPLATE.at,
                action=CallAction.START,
                connector="benchmark",
            )
            for one in ids
        ]

    def due(self, elapsed_s: float) -> list[AnyRecord]:
        """What is to be emitted by now and was not yet."""
        records: list[AnyRecord] = []
        for final, rate in ((False, PARTIALS_PER_S), (True, FINALS_PER_S)):
            until = int(elapsed_s * rate * len(self.legs))
            for index in range(self._sent[final], until):
                records.append(self.legs[index % len(self.legs)].next(final=final))
            self._sent[final] = until
        return records


@dataclass(slots=True)
class Lateness:
    """Of a timer on the event loop, in seconds: how long the loop was busy with something else."""

    seconds: list[float] = field(default_factory=list)

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK_S
            await asyncio.sleep(TICK_S)
            self.seconds.append(max(loop.time() - due, 0.0))


async def _emit(fan: FanOut, traffic: Traffic, until: Callable[[float], bool], warm_up_s: float) -> dict[str, Any]:
    """Until `until` says so of the seconds that have passed. Returns the loop's stalls and the CPU that it took."""
    lateness = Lateness()
    loop = asyncio.get_running_loop()
    fan.publish(traffic.starts())
    began = measured_from = loop.time()
    watching: asyncio.Task[None] | None = None
    cpu_before, published = _cpu_s(), 0
    while not until(elapsed := loop.time() - began):
        if watching is None and elapsed >= warm_up_s:
            watching = asyncio.create_task(lateness.watch())
            cpu_before, measured_from = _cpu_s(), loop.time()
            psutil.cpu_percent()  # since the last call
        records = traffic.due(elapsed)
        published += len(records)
        fan.publish(records)
        await asyncio.sleep(EMIT_S)
    if watching is not None:
        watching.cancel()
    measured_s = max(loop.time() - measured_from, 1e-9)
    own, delivery = (now - before for now, before in zip(_cpu_s(), cpu_before, strict=True))
    return {
        "records_per_s": round(published / (loop.time() - began)),
        "loop_stall_p99_ms": _ms(_quantile(lateness.seconds, 0.99)),
        "loop_stall_max_ms": _ms(max(lateness.seconds, default=0.0)),
        "emitter_cpu": round(own / measured_s, 2),
        "delivery_process_cpu": round(delivery / measured_s, 2),
        "machine_busy_pct": psutil.cpu_percent(),
    }


def _cpu_s() -> tuple[float, float]:
    """Seconds of CPU time of this process, and of those that it has started."""
    process = psutil.Process()
    return _cpu_of(process), sum(map(_cpu_of, process.children()))


def _cpu_of(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def emitter(options: argparse.Namespace, kafka: KafkaConfig, redis: RedisConfig, pipe: Connection) -> None:
    """A process: the traffic of all calls."""
    from sinks.kafka.sink import KafkaSink  # noqa: PLC0415 - the clients are loaded where they are used
    from sinks.redis.sink import RedisSink  # noqa: PLC0415

    async def emit() -> None:
        fan = FanOut([KafkaSink(kafka), RedisSink(redis)])
        await fan.start()
        limit_s = WARM_UP_S + options.seconds
        figures = await _emit(fan, Traffic(options.calls, options.legs), lambda s: s >= limit_s, WARM_UP_S)
        await fan.close(15.0)
        deliveries = fan.deliveries
        figures |= {
            f"{name}_{what}": getattr(deliveries[name], what)
            for name in ("kafka", "redis")
            for what in ("delivered", "delivered_partials", "dropped_partials", "coalesced_partials", "lost")
        }
        pipe.send(figures)

    run(emit())


def refill(kafka: KafkaConfig, count: int, pipe: Connection) -> None:
    """A process: a full spool is delivered, while some calls run."""
    from sinks.kafka.sink import KafkaSink  # noqa: PLC0415

    async def deliver() -> None:
        sink = KafkaSink(kafka)
        fan = FanOut([sink])
        await fan.start()
        began = time.perf_counter()
        figures = await _emit(fan, Traffic(SPOOL_CALLS, 2), lambda _: sink.delivery().delivered >= count, 0.0)
        took_s = time.perf_counter() - began
        await fan.close(15.0)
        pipe.send(
            {
                "spool_replay_per_s": round(count / took_s),
                "replay_loop_stall_p99_ms": figures["loop_stall_p99_ms"],
                "replay_cpu": figures["emitter_cpu"] + figures["delivery_process_cpu"],
            }
        )

    run(deliver())


def fill(kafka: KafkaConfig, count: int, pipe: Connection) -> None:
    """A process: what a server leaves behind whose broker was away."""
    from sinks.spool import Spool  # noqa: PLC0415
    from supervision import Supervisor  # noqa: PLC0415

    spool = Spool(
        Path(kafka.spool),
        max_bytes=kafka.spool_max_bytes,
        max_age_s=1e9,
        on_committed=lambda: None,
        supervisor=Supervisor(),
    )
    spool.start()
    began = time.perf_counter()
    legs = [Leg(f"old-{k}", "inbound") for k in range(1_000)]
    for first in range(0, count, 10_000):
        records = [legs[k % len(legs)].next(final=True) for k in range(first, min(first + 10_000, count))]
        spool.append(
            Message(
                kafka.transcripts_topic,
                one.call_id.encode(),
                encode(one),
                (("schema", b"trunkline/1"), ("event_id", one.event_id.encode()), ("type", b"transcript")),
            )
            for one in records
        )
        spool.flush(60.0)
    spool.stop()
    pipe.send({"spool_append_per_s": round(count / (time.perf_counter() - began))})


class _Emitted(msgspec.Struct):
    start: float
    is_final: bool


def consumer(kafka: KafkaConfig, from_s: float, until_s: float, pipe: Connection) -> None:
    """A process: reads the finals as any consumer does. Times by the clock of this machine."""
    from kafka import KafkaConsumer  # noqa: PLC0415

    decoder = msgspec.json.Decoder(_Emitted)
    reader = KafkaConsumer(kafka.transcripts_topic, bootstrap_servers=kafka.bootstrap_servers)
    latencies: list[float] = []
    while (now := time.time()) < until_s:
        for batch in reader.poll(timeout_ms=200).values():
            now = time.time()
            latencies += [now - at for at in (decoder.decode(one.value).start for one in batch) if at >= from_s]
    reader.close()
    pipe.send(_latencies("kafka_final", latencies))


def subscriber(redis: RedisConfig, from_s: float, until_s: float, pipe: Connection) -> None:
    """A process: follows some calls in the live view, as pages do."""
    from sinks.redis.view import RedisView  # noqa: PLC0415

    latencies: list[float] = []

    async def follow(view: RedisView, call_id: str) -> None:
        while True:
            async with view.subscribe(call_id) as records:
                async for record in records:
                    if record["type"] == "transcript" and record["start"] >= from_s:
                        latencies.append(time.time() - record["start"])

    async def read() -> None:
        view = RedisView(redis)
        following = [asyncio.create_task(follow(view, f"call-{k}")) for k in range(FOLLOWED)]
        await asyncio.sleep(until_s - time.time())
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
        await view.close()

    run(read())
    pipe.send(_latencies("redis", latencies))


def saturated(bootstrap: str, value: bytes, pipe: Connection) -> None:
    """A process: how many records a second each library sends, acknowledged by all replicas."""
    import aiokafka  # noqa: PLC0415
    import confluent_kafka  # noqa: PLC0415
    from kafka import KafkaProducer  # noqa: PLC0415

    def ours() -> None:
        producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
        for k in range(SATURATED):
            producer.send("saturated", key=b"%d" % (k % 1000), value=value)
        producer.flush()
        producer.close()

    def librdkafka() -> None:
        producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
        for k in range(SATURATED):
            while True:
                try:
                    producer.produce("saturated", key=b"%d" % (k % 1000), value=value)
                    break
                except BufferError:
                    producer.poll(0.01)
            producer.poll(0)
        producer.flush()

    async def with_aiokafka() -> None:
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
        await producer.start()
        futures = [await producer.send("saturated", key=b"%d" % (k % 1000), value=value) for k in range(SATURATED)]
        await asyncio.gather(*futures)
        await producer.stop()

    rates = {}
    for name, send in (
        ("kafka_python", ours),
        ("aiokafka", lambda: asyncio.run(with_aiokafka())),
        ("confluent_kafka", librdkafka),
    ):
        began = time.perf_counter()
        send()
        rates[f"saturated_{name}_per_s"] = round(SATURATED / (time.perf_counter() - began))
    pipe.send(rates)


def main() -> None:
    options = _options()
    context = multiprocessing.get_context("spawn")
    broker, server = KafkaBroker({"num.partitions": "12"}), RedisServer()
    figures: dict[str, Any] = {"calls": options.calls, "legs": options.legs, "seconds": options.seconds}
    with tempfile.TemporaryDirectory() as folder:
        kafka = KafkaConfig(bootstrap_servers=broker.bootstrap, create_topics=True, spool=f"{folder}/spool")
        redis = RedisConfig(url=server.url)
        broker.start()
        server.start()

        def together(*parts: tuple[Callable[..., None], tuple[Any, ...]]) -> None:
            running = []
            for target, arguments in parts:
                ours, theirs = context.Pipe()
                process = context.Process(target=target, args=(*arguments, theirs))
                process.start()
                running.append((process, ours))
            for process, ours in running:
                while not ours.poll(1.0):
                    if not process.is_alive():
                        raise SystemExit("a part of the benchmark has ended by itself")
                result = ours.recv()
                figures.update(result)
                print(*(f"{name:<32}{value}" for name, value in result.items()), sep="\n", flush=True)
                process.join()

        try:
            from_s = time.time() + WARM_UP_S + 5.0  # processes take a while to start
            until_s = time.time() + WARM_UP_S + options.seconds
            together(
                (emitter, (options, kafka, redis)),
                (consumer, (kafka, from_s, until_s)),
                (subscriber, (redis, from_s, until_s)),
            )
            if options.spooled:
                together((fill, (kafka, options.spooled)))
                together((refill, (kafka, options.spooled)))
            together((saturated, (kafka.bootstrap_servers, encode(_TEMPLATE))))
        finally:
            broker.remove()
            server.kill()
    print(json.dumps(figures | {"cpu": platform.processor() or platform.machine()}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--legs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--spooled", type=int, default=1_000_000)
    return parser.parse_args()


def _latencies(name: str, seconds: list[float]) -> dict[str, Any]:
    return {
        f"{name}_p50_ms": _ms(_quantile(seconds, 0.5)),
        f"{name}_p99_ms": _ms(_quantile(seconds, 0.99)),
        f"{name}_read": len(seconds),
    }


def _quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(q * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 2)


if __name__ == "__main__":
    main()
