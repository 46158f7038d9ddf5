"""Packets as they were on the wire; `*-bad-*` has one error each."""

from pathlib import Path

_DATA = Path(__file__).parent / "data"


def capture(name: str) -> bytes:
    return (_DATA / f"{name}.bin").read_bytes()


def captures(pattern: str) -> list[str]:
    """The names that match, to parametrise a test with."""
    return sorted(path.stem for path in _DATA.glob(f"{pattern}.bin"))
