"""`trunkline bench engine`: the engine's measured capacity, as its admission sees it."""

import json

import msgspec

from trunkline.config import EngineConfig
from trunkline.engines import load_engine


def bench_engine(config: EngineConfig, *, as_json: bool = False) -> str:
    """Measure the steps of all latency classes of the configured engine; returns the table or one line of JSON.

    The number of sessions is what an otherwise idle machine would admit of one class alone.
    """
    engine = load_engine(msgspec.structs.replace(config, admission=True), serving=True)
    for chunk_ms in engine.chunks_ms:
        engine.reserve(chunk_ms)
    with engine:
        load, times, precision = engine.snapshot(), engine.step_times, engine.precision
    if as_json:
        return json.dumps(
            {
                "device": config.device,
                "precision": str(precision),
                "step_ms": {ms: {rows: round(1000 * s, 2) for rows, s in of.items()} for ms, of in times.items()},
                "sessions": {of.chunk_ms: of.capacity for of in load.classes},
                "max_sessions": load.max_sessions,
            }
        )
    sizes = sorted({rows for of_class in times.values() for rows in of_class})
    head = ["class", *(f"{rows} rows" for rows in sizes), "sessions"]
    lines = [
        f"{config.checkpoint or 'demo model'} on {config.device}, {precision}: step times in ms, and sessions admitted",
        "  ".join(f"{cell:>9}" for cell in head),
    ]
    for of_class in load.classes:
        measured = times[of_class.chunk_ms]
        cells = [f"{1000 * measured[rows]:.1f}" if rows in measured else "-" for rows in sizes]
        row = [f"{of_class.chunk_ms} ms", *cells, str(of_class.capacity)]
        lines.append("  ".join(f"{cell:>9}" for cell in row))
    if any(of_class.capacity >= load.max_sessions for of_class in load.classes):
        lines.append(f"no class gets more than {load.max_sessions} sessions, for want of slots: [engine] max_sessions")
    return "\n".join(lines)
