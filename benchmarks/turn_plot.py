"""Figures of `benchmarks.turns` as tables in Markdown and a plot in SVG."""

from collections.abc import Mapping, Sequence

from benchmarks.turn_policy import Outcome, frontier
from benchmarks.turn_systems import Figures

_COLOURS = ("#999999", "#e69f00", "#56b4e9", "#009e73", "#d55e00")
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 320, 240, 52, 34, 40
_LATENCY_MS, _CUTOFF_PCT = 2_000.0, 100.0


def table(by_system: Mapping[str, Figures]) -> str:
    """A row a system: with the policy of the other split, and what its own best one would give."""
    rows = [
        "| system | cut-offs at 300 ms, % (latency, ms) | latency at 5 %, ms (cut-offs, %) | best on itself |",
        "|---|---|---|---|",
    ]
    for name, one in by_system.items():
        best = f"{_number(one.best_cutoff_pct)} % / {_number(one.best_latency_ms, 0)} ms"
        rows.append(f"| {name} | {_first(one.at_latency)} | {_second(one.at_cutoffs)} | {best} |")
    return "\n".join(rows)


def _first(found: Outcome | None) -> str:
    return "none" if found is None else f"{found.cutoff_pct:.1f} ({found.latency_ms:.0f})"


def _second(found: Outcome | None) -> str:
    return "none" if found is None else f"{found.latency_ms:.0f} ({found.cutoff_pct:.1f})"


def _number(value: float | None, digits: int = 1) -> str:
    return "none" if value is None else f"{value:.{digits}f}"


def plot(panels: Mapping[str, Mapping[str, Sequence[Outcome]]]) -> str:
    """SVG: for each panel the best outcomes of each system, cut-offs over latency; lower and further left is better."""
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    wide, high = columns * (_WIDTH + _LEFT + 12) + 10, rows * (_HEIGHT + _TOP + _GAP) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="11">',
        f'<rect width="{wide}" height="{high}" fill="white"/>',
    ]
    names = list(next(iter(panels.values())))
    for index, name in enumerate(names):
        x = _LEFT + index * 130
        colour = _COLOURS[index % len(_COLOURS)]
        parts.append(f'<path d="M{x} {high - 14}h18" stroke="{colour}" stroke-width="2.5"/>')
        parts.append(f'<text x="{x + 24}" y="{high - 10}">{name}</text>')
    for index, (title, by_system) in enumerate(panels.items()):
        left = index % columns * (_WIDTH + _LEFT + 12) + _LEFT
        top = index // columns * (_HEIGHT + _TOP + _GAP) + _TOP
        parts += _panel(left, top, title, by_system)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(left: int, top: int, title: str, by_system: Mapping[str, Sequence[Outcome]]) -> list[str]:
    parts = [
        f'<text x="{left}" y="{top - 10}" font-size="13" font-weight="bold">{title}</text>',
        f'<rect x="{left}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#666"/>',
    ]
    for latency_ms in range(0, int(_LATENCY_MS) + 1, 500):
        x = left + latency_ms / _LATENCY_MS * _WIDTH
        parts.append(f'<path d="M{x:.0f} {top}v{_HEIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.0f}" y="{top + _HEIGHT + 14}" text-anchor="middle">{latency_ms}</text>')
    for percent in (0, 20, 40, 60, 80, 100):
        y = top + _HEIGHT * (1 - percent / _CUTOFF_PCT)
        parts.append(f'<path d="M{left} {y:.0f}h{_WIDTH}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.0f}" text-anchor="end">{percent}</text>')
    middle = left + _WIDTH / 2
    parts.append(f'<text x="{middle:.0f}" y="{top + _HEIGHT + 28}" text-anchor="middle">mean latency, ms</text>')
    upright = f"rotate(-90 {left - 36} {top + _HEIGHT / 2:.0f})"
    label = f'<text x="{left - 36}" y="{top + _HEIGHT / 2:.0f}" text-anchor="middle" transform="{upright}">'
    parts.append(f"{label}cut-offs, %</text>")
    for index, outcomes in enumerate(by_system.values()):
        points = " ".join(
            f"{left + min(one.latency_ms / _LATENCY_MS, 1) * _WIDTH:.1f},"
            f"{top + _HEIGHT * (1 - one.cutoff_pct / _CUTOFF_PCT):.1f}"
            for one in frontier(outcomes)
        )
        colour = _COLOURS[index % len(_COLOURS)]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return parts
