"""What a process that serves calls does with signals: none ends it before its calls have ended.

SIGTERM, SIGINT, SIGQUIT   stop in order; each further one hurries
SIGHUP                     reload; where it came because the terminal is gone, stop in order
SIGUSR1, SIGUSR2           nothing, with a line in the log: by default they would end the process

SIGPIPE is ignored by Python itself.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable

logger = logging.getLogger(__name__)

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)
UNUSED = (signal.SIGUSR1, signal.SIGUSR2)

_STANDARD_ERROR = 2


def handle_signals(on_stop: Callable[[], None], on_reload: Callable[[], None] | None = None) -> None:
    """From now on, on the running loop, until it is closed. `on_reload` None: there is nothing that can be reloaded."""
    loop = asyncio.get_running_loop()
    for number in STOPPING:
        loop.add_signal_handler(number, on_stop)
    for number in UNUSED:
        loop.add_signal_handler(number, _ignore, number)
    loop.add_signal_handler(signal.SIGHUP, _hang_up, os.isatty(_STANDARD_ERROR), on_stop, on_reload)


def leave_to_parent() -> None:
    """For a process that ends with its parent: a terminal and a service manager signal the whole group, and the parent
    still needs it for its calls."""
    for number in (*STOPPING, *UNUSED, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _hang_up(had_terminal: bool, on_stop: Callable[[], None], on_reload: Callable[[], None] | None) -> None:
    if had_terminal and not os.isatty(_STANDARD_ERROR):
        logger.warning("the terminal is gone: stopping")
        on_stop()
    elif on_reload is None:
        logger.warning("SIGHUP is ignored: nothing here can be reloaded")
    else:
        on_reload()


def _ignore(number: signal.Signals) -> None:
    logger.warning("%s is ignored: it means nothing here", number.name)
