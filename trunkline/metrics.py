"""What the parts count, as Prometheus metrics. The only module that knows Prometheus."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import CollectorRegistry

from connectors.stats import ConnectorStats
from pipeline.calls import Calls
from sinks.fanout import FanOut
from supervision import Supervisor
from trunkline.metric_names import (
    ACCESS,
    BOTS,
    CLASS,
    CONNECTIONS,
    CONNECTOR,
    ENDPOINT,
    PIPELINE,
    SINK,
    SIP,
    TURNS,
    Exported,
)

if TYPE_CHECKING:
    from connectors.sip.stats import SipStats
    from engine.engine import Engine
    from engine.remote import RemoteEngine


class Metrics:
    """Reads the counters of the parts when it is asked for them; counts nothing itself."""

    def __init__(
        self,
        engine: "Engine | RemoteEngine",
        calls: Calls,
        fanout: FanOut,
        connectors: "Mapping[str, ConnectorStats | SipStats]",
        supervisor: Supervisor | None = None,
        access: object | None = None,
        connections: object | None = None,
    ) -> None:
        self._parts = (engine, calls, fanout)
        self._streams = {name: stats for name, stats in connectors.items() if isinstance(stats, ConnectorStats)}
        self._sip = [stats for stats in connectors.values() if not isinstance(stats, ConnectorStats)]
        self._supervisor = supervisor or Supervisor()
        self._http = ((ACCESS, access), (CONNECTIONS, connections))
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def render(self) -> bytes:
        """The text format that Prometheus scrapes."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        engine, calls, fanout = self._parts
        yield from self._engine(engine)
        yield from self._pipeline(calls)
        yield from self._sinks(fanout)
        yield from self._connectors(self._streams)
        for stats in self._sip:
            yield from sip_metrics(stats)
        yield from self._supervision(self._supervisor)
        for table, counted in self._http:
            if counted is not None:
                yield from (_family(exported, [((), counted)]) for exported in table)

    @staticmethod
    def _supervision(supervisor: Supervisor) -> Iterator[Metric]:
        faults = CounterMetricFamily(
            "trunkline_faults", "Faults of ours that were contained, by place", labels=["place"]
        )
        for place, count in supervisor.faults.items():
            faults.add_metric([place], count)
        yield faults
        failures = GaugeMetricFamily(
            "trunkline_failed", "Background services that have ended by themselves", labels=["service"]
        )
        for service in supervisor.failures:
            failures.add_metric([service], 1)
        yield failures

    @staticmethod
    def _engine(engine: "Engine | RemoteEngine") -> Iterator[Metric]:
        stats = engine.stats
        yield GaugeMetricFamily("trunkline_engine_sessions", "Sessions open now", engine.open_sessions)
        yield GaugeMetricFamily(
            "trunkline_engine_sessions_max", "Sessions the engine has room for", engine.max_sessions
        )
        yield CounterMetricFamily("trunkline_engine_steps", "Batches stepped", stats.steps)
        yield CounterMetricFamily("trunkline_engine_rows", "Chunks stepped, over all sessions", stats.rows)
        yield CounterMetricFamily("trunkline_engine_step_seconds", "Time spent stepping", stats.step_s)
        yield CounterMetricFamily(
            "trunkline_engine_restarts", "Engine processes that took over from one that was lost", stats.restarts
        )
        yield CounterMetricFamily(
            "trunkline_engine_refused", "Sessions refused for want of a slot or of time", stats.refused
        )
        yield CounterMetricFamily(
            "trunkline_engine_skipped_seconds", "Audio thrown away unheard", stats.skipped_samples / 16_000
        )
        load = engine.snapshot()
        yield GaugeMetricFamily(
            "trunkline_engine_utilisation", "Share of time that stepping the open sessions takes", load.utilisation
        )
        classes = [((str(of_class.chunk_ms),), of_class) for of_class in load.classes]
        yield from (_family(exported, classes, ["chunk_ms"]) for exported in CLASS)

    @staticmethod
    def _pipeline(calls: Calls) -> Iterator[Metric]:
        yield GaugeMetricFamily("trunkline_calls_active", "Calls running now", calls.active)
        yield from (_family(exported, [((), calls.stats)]) for exported in PIPELINE)
        if calls.turns is not None:
            yield from (_family(exported, [((), calls.turns.stats)]) for exported in TURNS)
        yield from (_family(exported, [((), calls.bots.stats)]) for exported in BOTS)

    @staticmethod
    def _sinks(fanout: FanOut) -> Iterator[Metric]:
        deliveries = fanout.deliveries
        sinks = [((sink,), delivery) for sink, delivery in deliveries.items()]
        yield from (_family(exported, sinks, ["sink"], "reason") for exported in SINK)
        endpoints = [((sink, name), one) for sink, found in deliveries.items() for name, one in found.endpoints.items()]
        yield from (_family(exported, endpoints, ["sink", "endpoint"]) for exported in ENDPOINT)

    @staticmethod
    def _connectors(connectors: Mapping[str, ConnectorStats]) -> Iterator[Metric]:
        of_each = [((connector,), stats) for connector, stats in connectors.items()]
        yield from (_family(exported, of_each, ["connector"], "reason") for exported in CONNECTOR)


def sip_metrics(stats: object) -> Iterator[Metric]:
    """All that the SIP server counts (`connectors.sip.SipStats`)."""
    return (_family(exported, [((), stats)]) for exported in SIP)


def _family(
    exported: Exported,
    of_each: Sequence[tuple[tuple[str, ...], object]],
    labels: Sequence[str] = (),
    kind: str = "kind",
) -> Metric:
    """One metric: a value of each of these statistics, with the values of its `labels`. What a field counts by kind is
    labelled with `kind`, too."""
    values = [(own, exported.value(stats)) for own, stats in of_each]
    by_kind = any(isinstance(value, Counter) for _, value in values)
    made = GaugeMetricFamily if exported.is_gauge else CounterMetricFamily
    family = made(exported.name, exported.text, labels=[*labels, kind] if by_kind else labels)
    for own, value in values:
        if isinstance(value, Counter):
            for one, count in value.items():
                family.add_metric([*own, str(one)], count)
        elif isinstance(value, int | float):
            family.add_metric(own, value)
    return family
