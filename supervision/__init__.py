"""Background work that is owned and watched."""

from supervision.supervisor import Supervisor, one_line

__all__ = ["Supervisor", "one_line"]
