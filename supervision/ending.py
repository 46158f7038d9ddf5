"""The end of tasks."""

import asyncio
from typing import Any

AGAIN_S = 1.0
"""A task that is not done by then is cancelled once more."""


async def cancel_and_wait(*tasks: "asyncio.Task[Any] | None", again_s: float = AGAIN_S) -> None:
    """Cancel tasks and wait until they are done, whatever comes of them.

    One cancellation is not enough: on Python 3.11 `asyncio.wait_for` swallows the one that comes at the moment in which
    what it waits for is done, and libraries use it (redis-py for each command that it sends).
    """
    pending = {task for task in tasks if task is not None}
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=again_s)
        for task in done:
            if not task.cancelled():
                task.exception()  # is known to whoever waits for its result; asyncio need not complain that nobody does
