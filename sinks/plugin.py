"""Sinks of the user's own, from the names of their classes."""

from importlib import import_module

from sinks.config import SinkPlugin
from sinks.errors import SinkError, SinkMisconfigured
from sinks.sink import Sink
from supervision import one_line


def load_plugin(plugin: SinkPlugin) -> Sink:
    """Make it. Raises `SinkMisconfigured` for whatever stands in the way."""
    named = f"[sinks] plugins: {plugin.class_}"
    module, _, name = plugin.class_.partition(":")
    if not module or not name:
        raise SinkMisconfigured(f"{named}: write it as module:Class")
    try:
        loaded = import_module(module)
    except (Exception, SystemExit) as error:
        hint = ": install it, or name its folder in PYTHONPATH" if isinstance(error, ModuleNotFoundError) else ""
        raise SinkMisconfigured(f"{named}: cannot be imported: {one_line(error)}{hint}") from error
    made_by = getattr(loaded, name, None)
    if not callable(made_by):
        raise SinkMisconfigured(f"{named}: {module} has no class {name}")
    try:
        sink = made_by(**plugin.options)
    except SinkError:
        raise
    except (Exception, SystemExit) as error:
        raise SinkMisconfigured(f"{named}: cannot be made with these options: {one_line(error)}") from error
    if not isinstance(sink, Sink):
        raise SinkMisconfigured(f"{named}: it is no sink: it needs name, start, write and close")
    return sink
