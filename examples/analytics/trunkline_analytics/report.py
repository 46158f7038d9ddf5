"""The report: one HTML file with everything in it. What peers have said and named is escaped, always."""

import math
from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from statistics import median

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from sinks.config import KafkaConfig
from trunkline_analytics.database import Loaded, database, load
from trunkline_analytics.errors import StoreFailed
from trunkline_analytics.figures import DEFINITIONS, CallFigures, Figures, compute
from trunkline_analytics.plots import plots

MOST_CALLS = 200
"""Rows of the table of calls."""


def write_report(sources: Sequence[str], config: KafkaConfig | None, phrases: Sequence[str], path: Path) -> str:
    """Reads the sources and writes the page; returns what was done, for people. Raises `AnalyticsError`."""
    with database() as connection:
        loaded = load(connection, sources, config)
        figures = compute(connection, phrases)
    page = render(loaded, figures)
    try:
        path.write_text(page, "utf-8", errors="replace")
    except OSError as error:
        raise StoreFailed(f"{path} cannot be written: {error.strerror or error}") from error
    told = [f"{path}: {loaded.records} records of {len(figures.calls)} calls", f"{loaded.doubles} doubles dropped"]
    told += [f"{fault.count} not read ({fault.reason}; the first: {fault.first})" for fault in loaded.unread]
    told += [f"{count} with unknown field {name}" for name, count in loaded.unknown_fields.most_common()]
    told += [f"damaged: {name}" for name in loaded.damaged]
    return ", ".join(told)


def render(loaded: Loaded, figures: Figures) -> str:
    """The page."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": _percent, "seconds": _seconds, "number": _number, "time": _time}
    template = environment.from_string(files("trunkline_analytics").joinpath("report.html").read_text("utf-8"))
    return template.render(
        loaded=loaded,
        figures=figures,
        shown=figures.calls[:MOST_CALLS],
        tiles=_tiles(figures),
        plots=[(title, Markup(svg)) for title, svg in plots(figures)],  # noqa: S704 - our own SVG: its texts are escaped
        definitions=DEFINITIONS,
        style=Markup(files("trunkline_analytics").joinpath("report.css").read_text("utf-8")),  # noqa: S704 - our own
    )


def _tiles(figures: Figures) -> list[tuple[str, str]]:
    calls = figures.calls
    spoken = [call for call in calls if call.span_s > 0]
    speeds = [leg.words_a_minute for call in calls for leg in call.legs if leg.words_a_minute]
    return [
        ("calls", str(len(calls))),
        ("talk share of the agent", _percent(_median([share for call in spoken if (share := _agent_share(call))]))),
        ("silence", _percent(_median([call.silence_s / call.span_s for call in spoken]))),
        ("overlap", _percent(_median([call.overlap_s / call.span_s for call in spoken]))),
        ("words a minute", _number(_median(speeds))),
        ("interruptions", str(sum(call.interruptions for call in calls))),
        ("calls in several languages", str(sum(len(call.languages) > 1 for call in calls))),
        ("missing seq", str(sum(call.missing for call in calls))),
        ("reordered seq", str(sum(call.reordered for call in calls))),
    ]


def _agent_share(call: CallFigures) -> float | None:
    shares = [leg.talk_share for leg in call.legs if leg.role == "agent" and leg.talk_share is not None]
    return sum(shares) if shares and len(call.legs) > 1 else None


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def _percent(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.0f} %"


def _seconds(value: float) -> str:
    """Minutes and seconds."""
    return f"{int(value) // 60}:{int(value) % 60:02d}"


def _number(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.0f}"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
