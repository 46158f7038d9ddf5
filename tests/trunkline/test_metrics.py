"""What Prometheus is shown of the parts' counters."""

from prometheus_client.exposition import generate_latest
from prometheus_client.registry import CollectorRegistry

from connectors.sip import SipStats
from trunkline.metrics import sip_metrics


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
