"""What the parts count, as Prometheus metrics. The only module that knows Prometheus."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import CollectorRegistry

from connectors.stats import ConnectorStats
from pipeline.call import Calls
from sinks.fanout import FanOut
from supervision import Supervisor

if TYPE_CHECKING:
    from connectors.sip.stats import SipStats
    from engine.engine import Engine
    from engine.remote import RemoteEngine


_OF_CLASS = {
    "open": "Sessions open now, by latency class",
    "slots": "Sessions that there are slots for, by latency class",
    "room": "Sessions that would be admitted now, by latency class",
    "capacity": "Sessions that an otherwise empty engine would admit, by latency class",
    "mean_step_s": "Time of a step in seconds, running mean",
    "fill": "Rows of a batch among those that could have been in it, running mean",
    "lag_p50_s": "From complete audio to result in seconds, median of the last seconds",
    "lag_p95_s": "From complete audio to result in seconds, 95th percentile of the last seconds",
    "lag_p99_s": "From complete audio to result in seconds, 99th percentile of the last seconds",
}


class Metrics:
    """Reads the counters of the parts when it is asked for them; counts nothing itself."""

    def __init__(
        self,
        engine: "Engine | RemoteEngine",
        calls: Calls,
        fanout: FanOut,
        connectors: "Mapping[str, ConnectorStats | SipStats]",
        supervisor: Supervisor | None = None,
        http: Sequence[object] = (),
    ) -> None:
        self._parts = (engine, calls, fanout)
        self._streams = {name: stats for name, stats in connectors.items() if isinstance(stats, ConnectorStats)}
        self._sip = [stats for stats in connectors.values() if not isinstance(stats, ConnectorStats)]
        self._supervisor = supervisor or Supervisor()
        self._http = http
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
        for name, value in (number for http in self._http for number in _numbers(http)):
            family = GaugeMetricFamily if name == "connections" else CounterMetricFamily
            yield family(f"trunkline_http_{name}", f"HTTP: {name.replace('_', ' ')}", value)

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
        for name, text in _OF_CLASS.items():
            gauge = GaugeMetricFamily(f"trunkline_engine_class_{name}", text, labels=["chunk_ms"])
            for of_class in load.classes:
                gauge.add_metric([str(of_class.chunk_ms)], getattr(of_class, name))
            yield gauge

    @staticmethod
    def _pipeline(calls: Calls) -> Iterator[Metric]:
        yield GaugeMetricFamily("trunkline_calls_active", "Calls running now", calls.active)
        for name, value in _numbers(calls.stats):
            yield CounterMetricFamily(f"trunkline_pipeline_{name}", f"Pipeline: {name.replace('_', ' ')}", value)

    @staticmethod
    def _sinks(fanout: FanOut) -> Iterator[Metric]:
        for name in ("written", "dropped_partials", "dropped_finals", "errors"):
            family = CounterMetricFamily(
                f"trunkline_sink_{name}", f"Records by sink: {name.replace('_', ' ')}", labels=["sink"]
            )
            for sink, stats in fanout.stats.items():
                family.add_metric([sink], getattr(stats, name))
            yield family

    @staticmethod
    def _connectors(connectors: Mapping[str, ConnectorStats]) -> Iterator[Metric]:
        for name in ("active", "pending"):
            gauge = GaugeMetricFamily(f"trunkline_connector_{name}", f"Streams or sockets {name}", labels=["connector"])
            for connector, stats in connectors.items():
                gauge.add_metric([connector], getattr(stats, name))
            yield gauge
        for name in ("closed", "ended"):
            family = CounterMetricFamily(
                f"trunkline_connector_{name}", f"Streams or sockets {name}, by reason", labels=["connector", "reason"]
            )
            for connector, stats in connectors.items():
                for reason, count in getattr(stats, name).items():
                    family.add_metric([connector, str(reason)], count)
            yield family
        names = dict.fromkeys(name for stats in connectors.values() for name, _ in _numbers(stats))
        for name in names.keys() - {"active", "pending"}:
            family = CounterMetricFamily(
                f"trunkline_connector_{name}", f"Connector: {name.replace('_', ' ')}", labels=["connector"]
            )
            for connector, stats in connectors.items():
                family.add_metric([connector], getattr(stats, name))
            yield family


def sip_metrics(stats: object) -> Iterator[Metric]:
    """All that the SIP server counts (`connectors.sip.SipStats`), a label for each kind where it counts by kind."""
    for name, value in _numbers(stats):
        family = GaugeMetricFamily if name == "calls" else CounterMetricFamily
        yield family(f"trunkline_sip_{name}", f"SIP: {name.replace('_', ' ')}", value)
    for name, counts in _by_kind(stats):
        labelled = CounterMetricFamily(
            f"trunkline_sip_{name}", f"SIP: {name.replace('_', ' ')}, by kind", labels=["kind"]
        )
        for kind, count in counts.items():
            labelled.add_metric([str(kind)], count)
        yield labelled


def _by_kind(stats: object) -> Iterator[tuple[str, Counter[object]]]:
    """Counters of a dataclass and of its parts, as `_numbers` names them."""
    for name in getattr(stats, "__dataclass_fields__", {}):
        value = getattr(stats, name)
        if isinstance(value, Counter):
            yield name, value
        for inner, counts in _by_kind(value):
            yield f"{name}_{inner}", counts


def _numbers(stats: object) -> Iterator[tuple[str, float]]:
    """Counters of a statistics dataclass, those of its parts with the part's name before them."""
    for name in getattr(stats, "__dataclass_fields__", {}):
        value = getattr(stats, name)
        if isinstance(value, int | float):
            yield name, value
        elif hasattr(value, "__dataclass_fields__"):
            for inner, number in _numbers(value):
                yield f"{name}_{inner}", number
