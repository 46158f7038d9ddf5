"""What a bot is to the server."""

from typing import Protocol, runtime_checkable

from pipeline.bots.attended import AttendedCall
from pipeline.records import CallInfo


@runtime_checkable
class Bot(Protocol):
    """One object for all calls; on the event loop's thread, so it must not compute for long."""

    @property
    def name(self) -> str:
        """For the log and the metrics."""
        ...

    def attends(self, info: CallInfo) -> bool:
        """Whether this call is for it. Asked once, when the call is announced."""
        ...

    async def attend(self, call: AttendedCall) -> None:
        """From the call's start to its end, or as long as the bot wants; a task of its own for every call. What it
        raises ends that call, with the bot's fault as the reason: a caller is not left in silence."""
        ...
