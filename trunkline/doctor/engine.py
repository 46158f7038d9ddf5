"""The engine: whether its checkpoint loads, and how many legs it would carry."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from engine.remote import parse_address
from trunkline.config import Config
from trunkline.doctor.capacity import Answer, Question
from trunkline.doctor.findings import Finding, fault, ok, warning
from trunkline.doctor.network import server_runs

LIMIT_S = 60.0
"""The first start compiles kernels for some twenty seconds; a large checkpoint is read from a disk."""

_CONNECT_S = 3.0


def check_engine(config: Config) -> Iterator[Finding]:
    """Not beside a server that runs: the measurement would take its time, and its memory."""
    if ":" in config.engine.process:
        yield _elsewhere(config.engine.process)
        return
    if server_runs(config):
        yield ok(
            "engine", "not measured, as the server's port is in use: see trunkline_engine_class_room in its /metrics"
        )
        return
    yield from _measured(config)
    if config.engine.checkpoint is None:
        yield warning(
            "engine", "this is the demo model, it knows only a small synthetic world: set [engine] checkpoint"
        )


def _elsewhere(address: str) -> Finding:
    """It says nothing before it is greeted, so a connection is all that can be had without a session."""
    target = parse_address(address)
    try:
        if isinstance(target, Path):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_CONNECT_S)
                connection.connect(str(target))
        else:
            socket.create_connection(target, timeout=_CONNECT_S).close()
    except OSError as error:
        what = f"[engine] process = {address}: {error.strerror or error}: start `trunkline engine --listen {address}`"
        return fault("engine", what)
    return ok("engine", f"[engine] process = {address} takes connections")


def _measured(config: Config) -> Iterator[Finding]:
    question = Question(config.engine, config.pipeline.chunk_ms, config.pipeline.language)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "trunkline.doctor.capacity"],
            input=msgspec.json.encode(question),
            capture_output=True,
            timeout=LIMIT_S,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},  # a look at a checkpoint does not fetch it
            check=False,
        )
    except subprocess.TimeoutExpired:
        what = (
            f"not measured within {LIMIT_S:g} s (a large checkpoint, or kernels to compile): `trunkline bench engine`"
        )
        yield warning("engine", what)
        return
    if done.returncode:
        yield fault("engine", f"loading the checkpoint ended the process: {_why(done)}")
        return
    answer = msgspec.json.decode(done.stdout, type=Answer)
    yield _of_error(config, *answer.error) if answer.error is not None else _of_figures(config, answer)


def _of_error(config: Config, kind: str, message: str) -> Finding:
    name = str(config.engine.checkpoint)
    is_id = kind == "CheckpointNotFound" and not name.endswith(".nemo") and "is not in the cache" in message
    if is_id:
        return warning("engine", f"{name} is not in the cache: the first start fetches it, so it needs the network")
    return fault("engine", message)


def _of_figures(config: Config, answer: Answer) -> Finding:
    name, of = config.engine.checkpoint or "demo model", config.engine.device
    what = f"{name}, {answer.precision} on {of}: {answer.step_ms:.1f} ms a step of one leg"
    if not answer.legs:
        return fault("engine", f"{what}: too slow for legs of {answer.chunk_ms} ms: set a longer [pipeline] chunk_ms")
    bound = " (all that there are slots for)" if answer.legs >= answer.max_sessions else ""
    return ok("engine", f"{what}, room for some {answer.legs} legs of {answer.chunk_ms} ms{bound}")


def _why(done: "subprocess.CompletedProcess[bytes]") -> str:
    """The signal that it died of, or its last line."""
    if done.returncode < 0:
        hint = ": the system has no memory left, it seems" if done.returncode == -signal.SIGKILL else ""
        return f"{signal.Signals(-done.returncode).name}{hint}"
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else f"status {done.returncode}"
