"""What Prometheus sees of the engine's load."""

from engine.api import ClassLoad, EngineLoad
from engine.stats import EngineStats
from trunkline.metrics import Metrics


class BusyEngine:
    """An engine that says how busy it is."""

    stats = EngineStats(steps=9, refused=3)
    open_sessions = 5
    max_sessions = 40

    def snapshot(self) -> EngineLoad:
        of_class = ClassLoad(
            chunk_ms=160,
            open=5,
            slots=40,
            headroom=6,
            capacity=12,
            steps=9,
            rows=30,
            step_s=0.4,
            mean_step_s=0.045,
            fill=0.75,
            lag_p50_s=0.05,
            lag_p95_s=0.09,
            lag_p99_s=0.11,
        )
        return EngineLoad(sessions=5, max_sessions=40, utilisation=0.31, classes=(of_class,))


def test_the_load_of_the_engine_is_exported_by_class() -> None:
    lines = [
        f"{sample.name}{dict(sample.labels)} {sample.value}"
        for family in Metrics._engine(BusyEngine())  # type: ignore[arg-type]
        for sample in family.samples
    ]
    for wanted in (
        "trunkline_engine_utilisation{} 0.31",
        "trunkline_engine_refused_total{} 3",
        "trunkline_engine_class_open{'chunk_ms': '160'} 5",
        "trunkline_engine_class_slots{'chunk_ms': '160'} 40",
        "trunkline_engine_class_room{'chunk_ms': '160'} 6",
        "trunkline_engine_class_capacity{'chunk_ms': '160'} 12",
        "trunkline_engine_class_mean_step_seconds{'chunk_ms': '160'} 0.045",
        "trunkline_engine_class_fill{'chunk_ms': '160'} 0.75",
        "trunkline_engine_class_lag_p95_seconds{'chunk_ms': '160'} 0.09",
    ):
        assert wanted in lines
