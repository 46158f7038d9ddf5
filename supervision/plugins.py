"""Objects of the user's own, from the names of their classes."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from supervision.supervisor import one_line


class PluginError(Exception):
    """What stands in the way, in one line."""


def make_plugin(
    named: str, class_: str, options: Mapping[str, Any], *, untouched: type[Exception] = PluginError
) -> Any:
    """`class_`: `module:Class`, made with `options`. `named`: what the configuration calls it, for errors; `untouched`:
    its own errors of this type pass as they are. Raises `PluginError`."""
    module, _, name = class_.partition(":")
    if not module or not name:
        raise PluginError(f"{named}: write it as module:Class")
    try:
        loaded = import_module(module)
    except (Exception, SystemExit) as error:
        hint = ": install it, or name its folder in PYTHONPATH" if isinstance(error, ModuleNotFoundError) else ""
        raise PluginError(f"{named}: cannot be imported: {one_line(error)}{hint}") from error
    made_by = getattr(loaded, name, None)
    if not callable(made_by):
        raise PluginError(f"{named}: {module} has no class {name}")
    try:
        return made_by(**options)
    except untouched:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(f"{named}: cannot be made with these options: {one_line(error)}") from error
