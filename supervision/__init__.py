"""Background work that is owned and watched."""

from supervision.ending import cancel_and_wait
from supervision.supervisor import Supervised, Supervisor, one_line

__all__ = ["Supervised", "Supervisor", "cancel_and_wait", "one_line"]
