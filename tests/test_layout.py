"""The house rules that a machine can see: who may import whom, in one direction, and what the wheel holds."""

import ast
from collections.abc import Iterable, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from testing.draw_architecture import PICTURE, draw
from testing.layout import ALLOWED, ROOT, arrows, packages, within

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
ANALYTICS = "examples/analytics/trunkline_analytics"
"""Installed with the rooms, but none of them: a consumer of the records."""

BOT = "examples/bot"
"""As above: a bot, as a user would write it."""

HOMES = {
    "nemo": set[str](),
    "transformers": set[str](),
    "prometheus_client": {"trunkline/metrics.py"},
    "kafka": {
        "sinks/kafka/client.py",
        "sinks/kafka/probe.py",
        "sinks/kafka/replay.py",
        "sinks/kafka/topics.py",
        "trunkline/kafka_command.py",
        "trunkline/loadtest/kafka_source.py",
        *(f"{ANALYTICS}/{name}.py" for name in ("collect", "database", "topics")),
    },
    "duckdb": {f"{ANALYTICS}/{name}.py" for name in ("database", "figures")},
    "jinja2": {f"{ANALYTICS}/report.py"},
    "matplotlib": {f"{ANALYTICS}/plots.py"},
    "pyarrow": {f"{ANALYTICS}/{name}.py" for name in ("compact", "database", "store", "table")},
    "aiortc": {"connectors/webrtc/peer.py"},
    "pylibsrtp": {"connectors/rtp/srtp.py"},
    "redis": {"sinks/redis/client.py"},
    "huggingface_hub": {"engine/checkpoint/find.py"},
    "onnxruntime": {"pipeline/turns/models.py"},
    "pipecat": {f"pipeline/pipecat/{name}.py" for name in ("language", "stt", "transport", "input", "output")}
    | {f"pipeline/pipecat/{name}.py" for name in ("source", "turns", "transcripts", "bot")},
    "livekit": {"pipeline/livekit/stt.py"},
    "triton": {"engine/cuda/ring_attention.py"},
    "av": {"pipeline/ffmpeg.py"},
}


@cache
def imports(path: Path) -> frozenset[str]:
    """Top-level packages that a module imports, wherever in it."""
    found = set[str]()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return frozenset(found)


@pytest.mark.parametrize("room", ALLOWED)
def test_rooms_import_only_what_they_may(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        strangers = (imports(path) & set(ROOMS)) - ALLOWED[room] - {room}
        assert not strangers, f"{path.relative_to(ROOT)} imports {strangers}"


def test_analytics_know_no_room_but_the_sinks_and_load_none_of_their_client_libraries() -> None:
    for path in (ROOT / ANALYTICS).rglob("*.py"):
        assert imports(path) & set(ROOMS) <= {"sinks"}, path
    assert not imports(ROOT / ANALYTICS / "command.py") & HOMES.keys()


def test_the_example_bot_uses_what_users_import() -> None:
    """Names of `trunkline` itself, of no module in it and of no other room."""
    for path in (ROOT / BOT).rglob("*.py"):
        assert imports(path) & set(ROOMS) <= {"trunkline"}, path
        assert "from trunkline." not in path.read_text("utf-8"), path


@pytest.mark.parametrize("package", HOMES)
def test_heavy_dependencies_are_imported_in_their_home_only(package: str) -> None:
    served = [path for room in (*ALLOWED, ANALYTICS, BOT) for path in (ROOT / room).rglob("*.py")]
    users = {str(path.relative_to(ROOT)) for path in served if package in imports(path)}
    assert users <= HOMES[package]


def test_folders_are_two_levels_deep_at_most() -> None:
    for room in ALLOWED:
        for path in (ROOT / room).rglob("*.py"):
            assert len(path.relative_to(ROOT).parts) <= 4, path


def circle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def test_no_module_imports_itself_on_whatever_way() -> None:
    assert circle(arrows()) == []


@pytest.mark.parametrize("package", packages())
def test_within_a_room_imports_go_one_way(package: str) -> None:
    """Between what stands directly in it: files and folders."""
    assert circle(within(package)) == []


@pytest.mark.parametrize(("room", "most"), [("connectors", 14), ("engine", 18)])
def test_a_room_shows_few_things_at_its_door(room: str, most: int) -> None:
    files = [path.relative_to(ROOT / room).parts for path in (ROOT / room).rglob("*") if path.is_file()]
    entries = {parts[0] for parts in files if "__pycache__" not in parts} - {"__init__.py", "py.typed"}
    assert len(entries) <= most, sorted(entries)


LONGEST_MODULE, LONGEST_CLASS = 450, 350


def test_no_module_and_no_class_is_too_long_to_be_read() -> None:
    found = []
    for room in ("benchmarks", "examples", "testing", "tests", "training", *ALLOWED):
        for path in (ROOT / room).rglob("*.py"):
            text = path.read_text("utf-8")
            lengths = {"": (text.count("\n"), LONGEST_MODULE)}
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.ClassDef) and node.end_lineno is not None:
                    lengths[f" {node.name}"] = node.end_lineno - node.lineno + 1, LONGEST_CLASS
            found += [f"{path.relative_to(ROOT)}{name}: {has}" for name, (has, most) in lengths.items() if has > most]
    assert found == []


def test_what_is_shared_with_tests_has_a_home_outside_of_them() -> None:
    for room in ("benchmarks", "examples", "testing", "training", *ALLOWED):
        for path in (ROOT / room).rglob("*.py"):
            assert "tests" not in imports(path), f"{path.relative_to(ROOT)} imports tests"


def test_no_test_module_imports_from_another() -> None:
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tests."):
                is_test = node.module.rpartition(".")[2].startswith("test_")
                assert not is_test, f"{path.relative_to(ROOT)} imports {node.module}"


def test_the_picture_of_the_architecture_is_that_of_the_code() -> None:
    """Where it is not: `python -m testing.draw_architecture`."""
    assert PICTURE.read_text("utf-8") == draw()
