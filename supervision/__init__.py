"""Background work that is owned and watched, and code of the user's own that is loaded by name."""

from supervision.ending import cancel_and_wait
from supervision.plugins import PluginError, make_plugin
from supervision.supervisor import Supervised, Supervisor, one_line

__all__ = ["PluginError", "Supervised", "Supervisor", "cancel_and_wait", "make_plugin", "one_line"]
