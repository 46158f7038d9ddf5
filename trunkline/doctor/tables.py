"""The tables of a configuration, whatever sections there are."""

from collections.abc import Iterator
from typing import Any

import msgspec


def tables(section: Any, name: str = "") -> Iterator[tuple[str, msgspec.Struct]]:
    """Every table in it with its name, `sip.rtp`, outer ones first; the whole has none."""
    if isinstance(section, msgspec.Struct):
        if name:
            yield name, section
        for field in section.__struct_fields__:
            yield from tables(getattr(section, field), f"{name}.{field}" if name else field)
    elif isinstance(section, tuple | list):
        for one in section:
            yield from tables(one, name)
