"""The package as a whole: what it exports and what it must not drag in."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sinks


def test_every_exported_name_is_there() -> None:
    for name in sinks.__all__:
        assert getattr(sinks, name).__module__.startswith("sinks."), name
    with pytest.raises(AttributeError, match="Nothing"):
        _ = sinks.Nothing


def test_clients_are_imported_only_with_their_sink() -> None:
    program = "import sys, sinks; print(sorted({'redis', 'kafka', 'aiohttp'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_each_client_is_imported_in_one_module_and_no_sibling_anywhere() -> None:
    users: dict[str, set[str]] = {}
    folder = Path(sinks.__file__).parent
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                users.setdefault(name.split(".")[0], set()).add(str(path.relative_to(folder)))
    assert users["redis"] == {"redis/client.py"}
    assert users["kafka"] == {f"kafka/{name}.py" for name in ("client", "probe", "replay", "topics")}
    assert users["aiohttp"] == {"webhooks/endpoint.py"}
    assert not users.keys() & {"engine", "pipeline", "connectors", "liveview", "trunkline", "training"}
