"""The plots of the report, as SVG that stands in the page: texts and axes take the page's colour and font, and nothing
comes from elsewhere. A plot without anything to show is None.
"""

import io
import re
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import matplotlib as mpl
import matplotlib.dates as mdates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from trunkline_analytics.figures import Figures, LegFigures

COLOURS = {"agent": "#4c86e0", "customer": "#d9772e", "unknown": "#8a94a3"}
"""By role; others take these in turn. Chosen to be seen on white and on near black."""

_ACCENT, _SECOND, _THIRD = "#4c86e0", "#d9772e", "#2f9e77"
_INK = "#010203"
"""Stands for the page's text colour until the SVG is written."""

_LONGEST_LABEL = 28
_MOST_BARS = 15

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "trunkline",
    "text.parse_math": False,
    "font.size": 9,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK),
}


def plots(figures: Figures) -> list[tuple[str, str]]:
    """Title and SVG of each plot that has something to show."""
    made = (
        ("Calls", _calls(figures)),
        ("Talk share of the agent", _talk_shares(figures)),
        ("Silence and overlap", _silences(figures)),
        ("Words a minute", _speeds(figures)),
        ("Interruptions", _interruptions(figures)),
        ("Languages", _bars(list(figures.languages.items()), "words")),
        ("Keywords", _bars([(one.text, one.times) for one in figures.keywords], "times")),
        ("Latency by connector", _latencies(figures)),
    )
    return [(title, svg) for title, svg in made if svg is not None]


def _draw(paint: Callable[[Axes], None], height: float = 2.6) -> str:
    """`height`: inches, of a plot that is 5.6 wide."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)  # measured here, drawn by the browser
        figure = Figure(figsize=(5.6, height), layout="constrained")
        paint(figure.add_subplot())
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg))
    return re.sub(r"font: ?([\d.]+px) [^;\"]*", r"font-size: \1; font-family: inherit", svg)


def _calls(figures: Figures) -> str | None:
    times = [call.started for call in figures.calls]
    if not times:
        return None
    step = timedelta(hours=1) if max(times) - min(times) <= timedelta(days=3) else timedelta(days=1)
    counts = Counter(_begin(one, step) for one in times)

    def paint(axes: Axes) -> None:
        axes.bar(list(counts), list(counts.values()), width=step * 0.9, align="edge", color=_ACCENT)  # type: ignore[arg-type]
        first = min(counts)
        axes.set_xlim(first - step / 10, max(max(counts) + step, first + 6 * step))  # type: ignore[arg-type]
        locator = mdates.AutoDateLocator(maxticks=6)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        _whole(axes.yaxis)
        axes.set_ylabel(f"calls {'an hour' if step < timedelta(days=1) else 'a day'} (UTC)")

    return _draw(paint)


def _begin(at: datetime, step: timedelta) -> datetime:
    at = at.replace(minute=0, second=0, microsecond=0)
    return at if step < timedelta(days=1) else at.replace(hour=0)


def _talk_shares(figures: Figures) -> str | None:
    shares = [
        100 * sum(leg.talk_share or 0 for leg in call.legs if leg.role == "agent")
        for call in figures.calls
        if len(call.legs) > 1 and any(leg.role == "agent" for leg in call.legs)
    ]
    return _histogram({"agent": shares}, "percent of all talk", (0, 100)) if shares else None


def _silences(figures: Figures) -> str | None:
    spoken = [call for call in figures.calls if call.span_s > 0]
    if not spoken:
        return None
    return _histogram(
        {
            "silence": [100 * call.silence_s / call.span_s for call in spoken],
            "overlap": [100 * call.overlap_s / call.span_s for call in spoken],
        },
        "percent of the call",
        (0, 100),
    )


def _speeds(figures: Figures) -> str | None:
    by_role: dict[str, list[float]] = {}
    for leg in _legs(figures):
        if leg.words_a_minute is not None and leg.words > 0:
            by_role.setdefault(leg.role, []).append(leg.words_a_minute)
    if not by_role:
        return None
    most = max(300.0, *(value for values in by_role.values() for value in values))
    return _histogram(dict(sorted(by_role.items())), "words a minute", (0, min(most, 600.0)))


def _interruptions(figures: Figures) -> str | None:
    counts: dict[str, list[int]] = {}
    for leg in _legs(figures):
        counts.setdefault(leg.role, []).append(leg.interruptions)
    if not any(any(values) for values in counts.values()):
        return None
    most = max(max(values) for values in counts.values())

    def paint(axes: Axes) -> None:
        width = 0.8 / len(counts)
        for place, (role, values) in enumerate(sorted(counts.items())):
            heights = np.bincount(np.minimum(values, 10), minlength=min(most, 10) + 1)
            where = np.arange(len(heights)) + place * width - 0.4 + width / 2
            axes.bar(where, heights, width=width, color=_colour(role, place), label=f"by {_label(role)}")
        axes.set_xlabel("interruptions in a call" + (" (10: and more)" if most > 10 else ""))
        axes.set_ylabel("legs")
        _whole(axes.xaxis)
        _whole(axes.yaxis)
        axes.legend()

    return _draw(paint)


def _latencies(figures: Figures) -> str | None:
    found = figures.latencies[: 2 * _MOST_BARS]
    if not found:
        return None
    names = [f"{_label(one.connector)}, {'finals' if one.is_final else 'partials'} ({one.count})" for one in found]

    def paint(axes: Axes) -> None:
        where = np.arange(len(found))
        for name, colour, move in (("p50", _THIRD, -0.27), ("p95", _ACCENT, 0.0), ("p99", _SECOND, 0.27)):
            axes.barh(where + move, [getattr(one, name) for one in found], height=0.25, color=colour, label=name)
        axes.set_yticks(where, names)
        axes.invert_yaxis()
        axes.set_xlabel("ms")
        axes.legend()

    return _draw(paint, 1.2 + 0.45 * len(found))


def _histogram(values: dict[str, list[float]], title: str, limits: tuple[float, float]) -> str:
    def paint(axes: Axes) -> None:
        clipped = [np.clip(some, *limits) for some in values.values()]
        axes.hist(
            clipped,
            bins=np.linspace(*limits, 21),  # type: ignore[arg-type]
            color=[_colour(name, place) for place, name in enumerate(values)],
            label=[_label(name) for name in values],
        )
        axes.set_xlim(*limits)
        axes.set_xlabel(title)
        axes.set_ylabel("legs" if title == "words a minute" else "calls")
        _whole(axes.yaxis)
        if len(values) > 1:
            axes.legend()

    return _draw(paint)


def _bars(values: Sequence[tuple[str, int]], title: str) -> str | None:
    shown = values[:_MOST_BARS]
    if not shown:
        return None

    def paint(axes: Axes) -> None:
        axes.barh(range(len(shown)), [count for _, count in shown], color=_ACCENT)
        axes.set_yticks(range(len(shown)), [_label(name) for name, _ in shown])
        axes.invert_yaxis()
        axes.set_xlabel(title)
        _whole(axes.xaxis)

    return _draw(paint, 0.8 + 0.22 * len(shown))


def _legs(figures: Figures) -> list[LegFigures]:
    return [leg for call in figures.calls for leg in call.legs]


def _whole(axis: Any) -> None:
    axis.set_major_locator(MaxNLocator(integer=True, nbins=6))


def _colour(name: str, place: int) -> str:
    return COLOURS.get(name) or (_ACCENT, _SECOND, _THIRD)[place % 3]


def _label(text: str) -> str:
    """Names are the peers'. Without what XML cannot hold, and not longer than a plot can."""
    text = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"
