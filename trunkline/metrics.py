"""What the parts count, as Prometheus metrics. The only module that knows Prometheus."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import CollectorRegistry

from connectors.stats import ConnectorStats
from engine import Engine
from pipeline.call import Calls
from sinks.fanout import FanOut


class Metrics:
    """Reads the counters of the parts when it is asked for them; counts nothing itself."""

    def __init__(
        self,
        engine: Engine,
        calls: Calls,
        fanout: FanOut,
        connectors: Mapping[str, ConnectorStats],
        sip: object | None = None,
    ) -> None:
        self._parts = (engine, calls, fanout, connectors)
        self._sip = sip
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def render(self) -> bytes:
        """The text format that Prometheus scrapes."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        engine, calls, fanout, connectors = self._parts
        yield from self._engine(engine)
        yield from self._pipeline(calls)
        yield from self._sinks(fanout)
        yield from self._connectors(connectors)
        for name, value in _numbers(self._sip):
            yield GaugeMetricFamily(f"trunkline_sip_{name}", f"SIP: {name.replace('_', ' ')}", value)

    @staticmethod
    def _engine(engine: Engine) -> Iterator[Metric]:
        stats = engine.stats
        yield GaugeMetricFamily("trunkline_engine_sessions", "Sessions open now", engine.open_sessions)
        yield GaugeMetricFamily(
            "trunkline_engine_sessions_max", "Sessions the engine has room for", engine.max_sessions
        )
        yield CounterMetricFamily("trunkline_engine_steps", "Batches stepped", stats.steps)
        yield CounterMetricFamily("trunkline_engine_rows", "Chunks stepped, over all sessions", stats.rows)
        yield CounterMetricFamily("trunkline_engine_step_seconds", "Time spent stepping", stats.step_s)
        yield CounterMetricFamily("trunkline_engine_refused", "Sessions refused for want of a slot", stats.refused)
        yield CounterMetricFamily(
            "trunkline_engine_skipped_seconds", "Audio thrown away unheard", stats.skipped_samples / 16_000
        )

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


def _numbers(stats: object) -> Iterator[tuple[str, float]]:
    """Counters of a statistics dataclass, those of its parts with the part's name before them."""
    for name in getattr(stats, "__dataclass_fields__", {}):
        value = getattr(stats, name)
        if isinstance(value, int | float):
            yield name, value
        elif hasattr(value, "__dataclass_fields__"):
            for inner, number in _numbers(value):
                yield f"{name}_{inner}", number
