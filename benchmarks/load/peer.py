"""What the processes of the compared projects share. Imports nothing beyond the standard library, so that it runs with
their interpreters."""

import asyncio
import importlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

WARM_UP_S = 3.0


def attribute(path: str) -> Any:
    """`package.module.name`, imported."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


async def start_sender(order: Mapping[str, Any], seconds: float) -> asyncio.subprocess.Process:
    """A sender that is connected and has begun; it sends for the warm-up and `seconds`, and a second more."""
    sender = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.load.sender"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert sender.stdin is not None
    assert sender.stdout is not None
    sender.stdin.write(json.dumps(dict(order) | {"seconds": WARM_UP_S + seconds + 1.0}).encode() + b"\n")
    if await sender.stdout.readline() != b"ready\n":
        raise RuntimeError("the sender did not start")
    return sender


def figures(package: str, what: str, legs: int, packets: int, cpu_s: float, *, kept_up: bool) -> str:
    """The line of JSON. `kept_up`: all audio came out in time; without it the figure is too good."""
    return json.dumps(
        {
            "version": importlib.metadata.version(package),
            "what": what,
            "legs": legs,
            "us_per_packet": 1e6 * cpu_s / max(packets, 1),
            "kept_up": kept_up,
        }
    )


def leave() -> NoReturn:
    """End the process at once: the threads and tasks of the compared projects may wait for ever."""
    sys.stdout.flush()
    os._exit(0)
