"""What Prometheus is shown of the parts' counters."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import CollectorRegistry

from connectors.sip import SipConfig, SipStats
from connectors.stats import ConnectorStats
from connectors.webrtc.config import WebRtcConfig
from engine import Engine
from engine.checkpoint.weights import Checkpoint
from liveview.attempts import AccessStats
from pipeline.bots import BotStats
from pipeline.call import PipelineStats
from pipeline.turns.detector import TurnStats
from sinks.delivery import Delivery, EndpointDelivery
from trunkline.config import Config
from trunkline.connections import ConnectionStats
from trunkline.metric_names import ACCESS, BOTS, CONNECTIONS, CONNECTOR, ENDPOINT, PIPELINE, SINK, SIP, TURNS, Exported
from trunkline.metrics import sip_metrics
from trunkline.server import Server


class Collected:
    def __init__(self, stats: SipStats) -> None:
        self.stats = stats

    def collect(self) -> object:
        return sip_metrics(self.stats)


def text_of(stats: SipStats) -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collected(stats))  # type: ignore[arg-type]
    return generate_latest(registry).decode()


def test_counters_of_the_sip_server_are_exported_with_those_of_its_recordings() -> None:
    stats = SipStats(calls=3, refused_lines=4)
    stats.transport.malformed = 5
    stats.recording.bad_documents = 6
    stats.recording.differences["no group"] += 7
    stats.requests.refused[503] += 8
    lines = text_of(stats).splitlines()
    for line in (
        "trunkline_sip_calls 3.0",
        "trunkline_sip_refused_lines_total 4.0",
        "trunkline_sip_transport_malformed_total 5.0",
        "trunkline_sip_recording_bad_documents_total 6.0",
        'trunkline_sip_recording_differences_total{kind="no group"} 7.0',
        'trunkline_sip_requests_refused_total{kind="503"} 8.0',
    ):
        assert line in lines
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names))


def fields(stats: object, before: str = "") -> Iterator[str]:
    """Every counter of a statistics dataclass and of its parts."""
    for name in getattr(stats, "__dataclass_fields__", {}):
        value = getattr(stats, name)
        if isinstance(value, int | float | Counter):
            yield before + name
        yield from fields(value, f"{before}{name}.")


@pytest.mark.parametrize(
    ("table", "stats"),
    [
        (PIPELINE, PipelineStats()),
        (TURNS, TurnStats()),
        (BOTS, BotStats()),
        (SINK, Delivery()),
        (ENDPOINT, EndpointDelivery(connected=True)),
        (CONNECTOR, ConnectorStats()),
        (SIP, SipStats()),
        (ACCESS, AccessStats()),
        (CONNECTIONS, ConnectionStats()),
    ],
)
def test_every_counter_has_a_metric(table: Sequence[Exported], stats: object) -> None:
    assert sorted(exported.path for exported in table) == sorted(fields(stats))


def documented() -> dict[str, tuple[str, str]]:
    """Type and labels of each metric in the documentation's table."""
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (counter|gauge) \| ([\w`, ]*) \| .+ \|$", text, re.MULTILINE)
    return {name: (kind, labels.replace("`", "").strip()) for name, kind, labels in rows}


def test_units_in_names_are_not_abbreviated() -> None:
    """As `promtool check metrics` has it."""
    names = [name.removesuffix("_total") for name in documented()]
    assert names
    assert [name for name in names if re.search(r"_(s|sec|ms|us|ns|h|min|kb|mb|gb)$", name)] == []


def test_names_of_all_metrics_are_those_in_the_documentation(demo_checkpoint: Checkpoint) -> None:
    """Dashboards and alerts go by them: a field that is renamed keeps its metric, or the table says so."""
    config = Config(sip=SipConfig(udp="127.0.0.1:0", tcp=None), webrtc=WebRtcConfig())
    server = Server(config, Engine(demo_checkpoint, max_sessions=2), [])
    found = {}
    for metric in server.metrics.collect():
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        labels: dict[str, None] = dict.fromkeys(getattr(metric, "_labelnames", ()))
        found[name] = metric.type, ", ".join(labels)
    assert found == documented()
