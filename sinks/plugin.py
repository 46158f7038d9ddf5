"""Sinks of the user's own, from the names of their classes."""

from sinks.config import SinkPlugin
from sinks.errors import SinkError, SinkMisconfigured
from sinks.sink import Sink
from supervision import PluginError, make_plugin


def load_plugin(plugin: SinkPlugin) -> Sink:
    """Make it. Raises `SinkMisconfigured` for whatever stands in the way."""
    named = f"[sinks] plugins: {plugin.class_}"
    try:
        sink = make_plugin(named, plugin.class_, plugin.options, untouched=SinkError)
    except PluginError as error:
        raise SinkMisconfigured(str(error)) from error
    if not isinstance(sink, Sink):
        raise SinkMisconfigured(f"{named}: it is no sink: it needs name, start, write and close")
    return sink
