"""Draws `docs/architecture.svg` from the code's own imports: `python -m testing.draw_architecture`.

A band is a room, from the top floor down; a box is what stands in it, in columns from what is used (left) to what uses
(right). Lines between boxes are imports within the room; the arrows on the right are imports between rooms.
"""

import ast
from collections.abc import Mapping
from graphlib import TopologicalSorter
from html import escape
from pathlib import Path

from testing.layout import ALLOWED, ROOT, arrows, modules, within

PICTURE = ROOT / "docs" / "architecture.svg"

_BOX, _HIGH, _GAP, _LINE, _MARGIN = 150, 24, 34, 8, 20
_LANE = 26
_ROWS = 6
"""Boxes of a column at the most."""
_COLOURS = ("#fde8d7", "#e3f0d8", "#dbeaf7", "#efe2f5", "#fdf3cf", "#dff3ee", "#eceff1")
_PURPOSE = {
    "trunkline": "the server, the command line, the load test",
    "connectors": "from the carrier's protocols to calls, legs and audio",
    "liveview": "the page and its API",
    "pipeline": "legs: audio in one clock, words in segments, records",
    "engine": "sessions of streaming speech recognition",
    "sinks": "records to Kafka, Redis, files and subscribers",
    "supervision": "background work that is owned and watched",
}


def draw() -> str:
    """The picture as text; the same for the same code."""
    rooms = list(ALLOWED)
    floors = sorted(rooms, key=lambda room: (-_height(room), rooms.index(room)))
    parts: list[str] = []
    middles: dict[str, int] = {}
    columns = {room: _columns(within(room)) for room in rooms}
    width = 3 * _MARGIN + max(len(one) for one in columns.values()) * (_BOX + _GAP) - _GAP
    top = _MARGIN
    for room, colour in zip(floors, _COLOURS, strict=True):
        body, bottom = _band(room, columns[room], top, width, colour)
        middles[room] = (top + bottom) // 2
        parts += body
        top = bottom + 16
    parts += _between(floors, middles, width)
    full = width + _LANE * len(floors) + 2 * _MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {full} {top}" width="{full}" height="{top}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="11">'
    )
    return "\n".join([head, f'<rect width="{full}" height="{top}" fill="#ffffff"/>', *parts, "</svg>"]) + "\n"


def _height(room: str) -> int:
    """Floors above the ground."""
    return max((1 + _height(other) for other in ALLOWED[room]), default=0)


def _columns(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """What imports nothing of the room first, then what imports only that, and so on; many are cut in several."""
    depth: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():
        depth[name] = max((depth[other] + 1 for other in graph.get(name, ())), default=0)
    columns: list[list[str]] = []
    for level in range(max(depth.values()) + 1):
        names = sorted(name for name in depth if depth[name] == level)
        parts = -(-len(names) // _ROWS)
        high = -(-len(names) // parts)
        columns += [names[first : first + high] for first in range(0, len(names), high)]
    return columns


def _band(room: str, columns: list[list[str]], top: int, right: int, colour: str) -> tuple[list[str], int]:
    graph = within(room)
    places: dict[str, tuple[int, int]] = {}
    for level, names in enumerate(columns):
        for row, name in enumerate(names):
            places[name] = 2 * _MARGIN + level * (_BOX + _GAP), top + 34 + row * (_HIGH + _LINE)
    bottom = top + 34 + max(len(names) for names in columns) * (_HIGH + _LINE) + 6
    shapes = [
        f'<rect x="{_MARGIN}" y="{top}" width="{right - _MARGIN}" height="{bottom - top}" rx="8" fill="{colour}"/>',
        f'<text x="{_MARGIN + 12}" y="{top + 20}" font-size="15" font-weight="bold">{room}/'
        f'<tspan font-size="12" font-weight="normal" dx="10">{escape(_PURPOSE[room])}</tspan></text>',
    ]
    for name in sorted(graph):
        for other in sorted(graph[name]):
            (x1, y1), (x2, y2) = places[other], places[name]
            start, end, bend = (x1 + _BOX, y1 + _HIGH // 2), (x2, y2 + _HIGH // 2), _GAP // 2
            curve = f"M{start[0]} {start[1]} C{start[0] + bend} {start[1]} {end[0] - bend} {end[1]} {end[0]} {end[1]}"
            shapes.append(f'<path d="{curve}" fill="none" stroke="#90a4ae" stroke-width="0.6" opacity="0.55"/>')
    for name, (x, y) in places.items():
        is_folder = modules()[f"{room}.{name}"].name == "__init__.py"
        edge, weight, label = (1.4, "bold", f"{name}/") if is_folder else (0.6, "normal", f"{name}.py")
        shapes += [
            f'<rect x="{x}" y="{y}" width="{_BOX}" height="{_HIGH}" rx="4" fill="#ffffff" stroke="#546e7a" '
            f'stroke-width="{edge}"><title>{escape(_summary(f"{room}.{name}"))}</title></rect>',
            f'<text x="{x + 8}" y="{y + 16}" font-weight="{weight}">{label}</text>',
        ]
    return shapes, bottom


def _summary(module: str) -> str:
    """First line of its docstring."""
    text = ast.get_docstring(ast.parse(modules()[module].read_text("utf-8"))) or ""
    return text.partition("\n")[0]


def _between(floors: list[str], middles: Mapping[str, int], width: int) -> list[str]:
    """A lane for each room that imports others, with a head at each of those."""
    uses = {room: set[str]() for room in floors}
    for name, others in arrows().items():
        room = name.partition(".")[0]
        uses[room] |= {other.partition(".")[0] for other in others} - {room}
    shapes: list[str] = []
    for lane, room in enumerate(room for room in floors if uses[room]):
        x = width + _MARGIN + lane * _LANE
        for other in sorted(uses[room], key=floors.index):
            start, end = middles[room] + 4 * lane - 8, middles[other] + 4 * lane - 8
            shapes += [
                f'<path d="M{width} {start} H{x} V{end} H{width + 6}" fill="none" stroke="#37474f" stroke-width="1"/>',
                f'<path d="M{width} {end} l8 -4 v8 z" fill="#37474f"/>',
            ]
    return shapes


def main() -> None:
    PICTURE.write_text(draw(), "utf-8")
    print(f"{PICTURE.relative_to(Path.cwd()) if PICTURE.is_relative_to(Path.cwd()) else PICTURE}: drawn")


if __name__ == "__main__":
    main()
