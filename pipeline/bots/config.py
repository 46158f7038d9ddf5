"""Configuration of bots: section `[bots]`."""

from typing import Any

import msgspec


class BotPlugin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bot (docs/bots.md). `class`: `module:Class`, to be imported; `options`: what it is made with, by keyword.
    `connectors`: those whose calls it attends, by their names in `call` records; empty: all."""

    class_: str = msgspec.field(name="class")
    options: dict[str, Any] = {}
    connectors: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"BotPlugin({self.class_!r})"


class BotsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`plugins`: a call is attended by the first that wants it."""

    plugins: tuple[BotPlugin, ...] = ()
