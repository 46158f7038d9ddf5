"""The one boundary between connectors and pipeline: what a connector needs of `Calls`, `Call` and `Leg`.

Protocols, so that a connector is tested without the pipeline; tests check that the pipeline's own classes fulfil them.
"""

from collections.abc import Mapping
from typing import Literal, Protocol

from pipeline.call import CallInfo, LegOptions, LegStats
from pipeline.frames import AudioFrame
from pipeline.intake import Intake
from pipeline.playback import AudioOutlet
from pipeline.records import SpeakerRole

Role = Literal["agent", "customer", "unknown"]
"""Who speaks on a leg, as the configuration says it."""


class AudioLeg(Protocol):
    """What audio is fed to."""

    stats: LegStats

    @property
    def intake(self) -> Intake | None:
        """Where audio of this leg may be taken along with that of others; None: all is to be pushed."""
        ...

    def push(self, frame: AudioFrame, /) -> None: ...

    def fail(self, error: Exception, /) -> None:
        """A fault of ours: nothing more can be handed to the leg. It ends, and its call's records say why."""
        ...


class LegHandle(AudioLeg, Protocol):
    """A leg of a call."""

    options: LegOptions

    @property
    def awaits_answer(self) -> bool:
        """The engine has not said yet whether it takes this leg."""
        ...

    def connect_outlet(self, outlet: AudioOutlet | None, /) -> None:
        """The way back to who is on the leg; None, as without this: there is none."""

    async def admitted(self) -> None:
        """Wait for the engine's word. Raises `EngineFull`, `EngineError`, `CallEnded`."""

    async def close(self) -> object: ...


class CallHandle(Protocol):
    """A running call."""

    @property
    def ended(self) -> bool: ...

    @property
    def fault(self) -> str | None:
        """The fault of ours that has ended it."""
        ...

    def announce(self) -> None: ...

    def add_leg(self, options: LegOptions, /) -> LegHandle: ...

    def update(self, metadata: Mapping[str, str], roles: Mapping[str, SpeakerRole] = ..., /) -> None: ...

    def transfer(self, metadata: Mapping[str, str], roles: Mapping[str, SpeakerRole] = ..., /) -> None: ...

    def hold(self) -> None: ...

    def resume(self) -> None: ...

    def dtmf(self, leg: str, digit: str, start: float, duration: float, /) -> None: ...

    async def end(self, reason: str, /) -> None: ...

    async def wait_ended(self) -> None: ...


class CallRegistry(Protocol):
    """The calls of the server."""

    def start(self, info: CallInfo, /, *, announce: bool = True) -> CallHandle: ...

    def get(self, call_id: str, /) -> object | None: ...
