"""The rooms of the house and who imports whom, read from the code: for the layout test and the picture."""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent

ALLOWED: Mapping[str, frozenset[str]] = {
    "trunkline": frozenset({"connectors", "pipeline", "engine", "sinks", "liveview", "supervision"}),
    "connectors": frozenset({"pipeline", "supervision"}),
    "pipeline": frozenset({"engine", "sinks", "supervision"}),
    "engine": frozenset({"supervision"}),
    "sinks": frozenset({"supervision"}),
    "liveview": frozenset({"sinks", "supervision"}),
    "supervision": frozenset(),
}
"""The rooms that are served, from the top floor to the ground, and whom each may import."""


@cache
def modules() -> Mapping[str, Path]:
    """Of the served rooms, by dotted name; a package is its `__init__`."""
    found = {}
    for path in (path for room in ALLOWED for path in sorted((ROOT / room).rglob("*.py"))):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def arrows() -> Mapping[str, frozenset[str]]:
    """For each module the modules of ours that it names, wherever in it, for types alone as well."""
    return {name: frozenset(_imported(path)) - {name} for name, path in modules().items()}


@cache
def packages() -> tuple[str, ...]:
    """Rooms and the rooms in them."""
    return tuple(name for name, path in modules().items() if path.name == "__init__.py")


def within(package: str) -> dict[str, set[str]]:
    """What stands directly in a package, files and folders, and which of them name which others."""
    inside = f"{package}."
    graph: dict[str, set[str]] = {}
    for name, others in arrows().items():
        if name.startswith(inside):
            child = _child(name, inside)
            graph.setdefault(child, set()).update({_child(o, inside) for o in others if o.startswith(inside)} - {child})
    return graph


def _child(name: str, inside: str) -> str:
    return name.removeprefix(inside).partition(".")[0]


def _imported(path: Path) -> Iterator[str]:
    known = modules()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known else str(node.module)
