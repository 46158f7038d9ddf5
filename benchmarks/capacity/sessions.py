"""How many concurrent streams of a class the engine carries: they are ramped until one deadline in twenty is missed."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil

from benchmarks.capacity.callers import Callers
from benchmarks.capacity.ramp import Ramp
from engine.api import EngineLoad
from engine.remote import RemoteEngine
from engine.remote.link import Spawned

_BEHIND_S = 0.02
"""Callers that are later than this with their packets are no callers in real time: the level is tried again."""


_WARM_UP_S = 4.0


@dataclass(frozen=True, slots=True)
class Level:
    """One number of streams. Times in ms, shares of one (`busy`: of the stepping thread) and of a core (`*_cpu`)."""

    streams: int
    p50: float
    p95: float
    p99: float
    step: float
    rows: float
    busy: float
    engine_cpu: float
    callers_cpu: float
    dropped_s: float
    behind: float
    held: bool


@dataclass(frozen=True, slots=True)
class Found:
    """`level`: the largest that held, None where not even one stream did."""

    chunk_ms: int
    level: Level | None
    memory_mb: float

    @property
    def streams(self) -> int:
        return self.level.streams if self.level is not None else 0


HEAD = "  class streams  p50 ms  p95 ms  p99 ms step ms rows/step  busy engine CPU callers CPU dropped"


class _Process:
    """The engine's process from outside, and what the engine tells of itself."""

    def __init__(self, engine: RemoteEngine, link: Spawned) -> None:
        assert link.process is not None
        self._engine = engine
        self._there, self._here = psutil.Process(link.process.pid), psutil.Process()

    def rss(self) -> int:
        return int(self._there.memory_info().rss)

    def read(self) -> tuple[float, float, float, EngineLoad, int]:
        there, here = self._there.cpu_times(), self._here.cpu_times()
        return (
            time.monotonic(),
            there.user + there.system,
            here.user + here.system,
            self._engine.snapshot(),
            self._engine.stats.skipped_samples,
        )


def sessions(
    settings: Mapping[str, Any], chunk_ms: int, *, start: int, deadline_ms: float, seconds: float, most: int
) -> Found:
    """Ramp streams of one class in an engine process with these settings (`Engine.load`)."""
    link = Spawned({**settings, "admission": False, "max_sessions": most})
    with RemoteEngine(link, hang_s=60.0) as engine:
        engine.reserve(chunk_ms)
        process, ramp, best = _Process(engine, link), Ramp(start, most=most), None
        time.sleep(1.0)
        empty = process.rss()
        memory = 0.0
        with Callers(engine, chunk_ms) as callers:
            callers.stagger(2)  # the first steps pay for compilation and allocations
            time.sleep(_WARM_UP_S)
            callers.hang_up()
            tries = 0
            while ramp.level is not None:
                level = _hold(callers, process, chunk_ms, ramp.level, deadline_ms, seconds)
                print(_line(chunk_ms, level), flush=True)
                tries += 1
                if level.behind > _BEHIND_S and not level.held and tries < 2:
                    callers.hang_up()
                    continue
                tries = 0
                if level.held:
                    if best is None or level.streams > best.streams:
                        best, memory = level, (process.rss() - empty) / level.streams / 1e6
                else:
                    callers.hang_up()
                ramp.tried(level.held)
    return Found(chunk_ms, best, memory)


def _hold(
    callers: Callers, process: _Process, chunk_ms: int, streams: int, deadline_ms: float, seconds: float
) -> Level:
    """Measure with so many streams, once caches are full and the first moments are past."""
    callers.resize(min(streams, len(callers)))
    callers.stagger(streams)
    time.sleep(1.0 + 2 * chunk_ms / 1000)
    callers.window()
    before = process.read()
    time.sleep(max(seconds, 5 * chunk_ms / 1000))
    heard = callers.window()
    after = process.read()
    wall = after[0] - before[0]
    mine, past = _of(after[3], chunk_ms), _of(before[3], chunk_ms)
    steps, rows, step_s = mine[0] - past[0], mine[1] - past[1], mine[2] - past[2]
    dropped_s = (after[4] - before[4]) / 16_000
    lags = 1000 * np.asarray(heard.lags or [np.inf])
    p50, p95, p99 = (float(np.quantile(lags, share)) for share in (0.5, 0.95, 0.99))
    # Streams that were not heard have no lag: whoever is behind by more than the window shows here.
    answered = len(heard.lags) * chunk_ms / 1000 / wall / streams
    return Level(
        streams,
        p50,
        p95,
        p99,
        step=1000 * step_s / max(1, steps),
        rows=rows / max(1, steps),
        busy=step_s / wall,
        engine_cpu=(after[1] - before[1]) / wall,
        callers_cpu=(after[2] - before[2]) / wall,
        dropped_s=dropped_s,
        behind=heard.behind,
        held=p95 <= deadline_ms and dropped_s == 0 and answered > 0.9,
    )


def _of(load: EngineLoad, chunk_ms: int) -> tuple[int, int, float]:
    for one in load.classes:
        if one.chunk_ms == chunk_ms:
            return one.steps, one.rows, one.step_s
    return 0, 0, 0.0


def _line(chunk_ms: int, level: Level) -> str:
    return (
        f"{chunk_ms:>4} ms {level.streams:>7} {level.p50:>7.1f} {level.p95:>7.1f} {level.p99:>7.1f} {level.step:>7.1f} "
        f"{level.rows:>9.1f} {level.busy:>5.0%} {level.engine_cpu:>10.0%} {level.callers_cpu:>11.0%} "
        f"{level.dropped_s:>6.1f}s{'' if level.held else '  missed'}"
    )
