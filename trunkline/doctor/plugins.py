"""Sinks and bots of the user's own: whether each can be imported and made. None is started."""

from collections.abc import Iterator

import sinks
from pipeline.bots import load_bot
from pipeline.errors import BotMisconfigured
from sinks.errors import SinkError
from trunkline.config import Config
from trunkline.doctor.findings import Finding, fault, ok


def check_plugins(config: Config) -> Iterator[Finding]:
    """Made as the server makes it, so what its module and its constructor do is done here, too."""
    names = _own_names(config)
    for plugin in config.sinks.plugins:
        try:
            sink = sinks.load_plugin(plugin)
        except SinkError as error:
            yield fault("plug-ins", str(error).removeprefix("[sinks] plugins: "))
            continue
        if sink.name in names:
            yield fault("plug-ins", f"{plugin.class_}: another sink is named {sink.name!r}, too: rename one")
        else:
            yield ok("plug-ins", f"{plugin.class_}: it can be made; its name is {sink.name!r}")
        names.add(sink.name)
    if not config.sinks.plugins:
        yield ok("plug-ins", "none is configured")


def check_bots(config: Config) -> Iterator[Finding]:
    """As `check_plugins`, for the code that attends calls."""
    for plugin in config.bots.plugins:
        try:
            bot = load_bot(plugin)
        except BotMisconfigured as error:
            yield fault("bots", str(error).removeprefix("[bots] plugins: "))
            continue
        calls = f"calls by {', '.join(plugin.connectors)}" if plugin.connectors else "all calls"
        yield ok("bots", f"{plugin.class_}: it can be made; {bot.name!r} is asked for {calls}")
    if not config.bots.plugins:
        yield ok("bots", "none is configured")


def _own_names(config: Config) -> set[str]:
    """Of the sinks that have a section."""
    names = {name for name in ("kafka", "webhooks", "redis") if getattr(config, name) is not None}
    return names | {"jsonl" if config.jsonl.path else "", "" if "redis" in names else "live"}
