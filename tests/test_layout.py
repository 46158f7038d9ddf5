"""The house rules that a machine can see: who may import whom, and what the wheel holds."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = (
    "trunkline",
    "connectors",
    "pipeline",
    "engine",
    "sinks",
    "liveview",
    "supervision",
    "training",
    "benchmarks",
    "testing",
)
ALLOWED = {
    "trunkline": {"connectors", "pipeline", "engine", "sinks", "liveview", "supervision"},
    "connectors": {"pipeline", "engine", "sinks", "supervision"},
    "pipeline": {"engine", "sinks", "supervision"},
    "engine": {"supervision"},
    "sinks": {"supervision"},
    "liveview": {"sinks", "supervision"},
    "supervision": set[str](),
}
HOMES = {
    "nemo": set[str](),
    "transformers": set[str](),
    "prometheus_client": {"trunkline/metrics.py"},
    "kafka": {"sinks/kafka.py", "trunkline/loadtest/kafka_source.py"},
    "aiortc": {"connectors/webrtc/peer.py"},
    "pylibsrtp": {"connectors/rtp/srtp.py"},
    "redis": {"sinks/redis_view.py"},
    "huggingface_hub": {"engine/checkpoint/find.py"},
    "triton": {"engine/cuda/ring_attention.py"},
    "av": {"pipeline/ffmpeg.py"},
}


def imports(path: Path) -> set[str]:
    """Top-level packages that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("room", ALLOWED)
def test_rooms_import_only_what_they_may(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        strangers = (imports(path) & set(ROOMS)) - ALLOWED[room] - {room}
        assert not strangers, f"{path.relative_to(ROOT)} imports {strangers}"


@pytest.mark.parametrize("package", HOMES)
def test_heavy_dependencies_are_imported_in_their_home_only(package: str) -> None:
    served = [path for room in ALLOWED for path in (ROOT / room).rglob("*.py")]
    users = {str(path.relative_to(ROOT)) for path in served if package in imports(path)}
    assert users <= HOMES[package]


def test_folders_are_two_levels_deep_at_most() -> None:
    for room in ALLOWED:
        for path in (ROOT / room).rglob("*.py"):
            assert len(path.relative_to(ROOT).parts) <= 4, path
