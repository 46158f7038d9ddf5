"""From a pipeline to who is on a leg.

The idea
    Pipecat hands over audio as fast as it is taken, and takes the bot to speak while it does so. So a chunk is taken
    `AHEAD_MS` before it goes out, no sooner; the leg's player has the pace. A run of speech is one utterance: opened by
    its first chunk, closed when Pipecat says that the bot has stopped, or when nothing comes for `IDLE_S`.

The invariants
    1. After an interruption no audio made before it goes out, unless Pipecat calls it uninterruptible.
    2. The bot has started when its first packet was heard, and has stopped when its last one was.
    3. An `EndFrame` hangs up after the last word was heard.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection

import numpy as np
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    CancelFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    OutputAudioRawFrame,
    StartFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.utils.utils import obj_id

from pipeline.bots import AttendedCall
from pipeline.errors import CallEnded, PlaybackError
from pipeline.playback import Heard, Utterance

AHEAD_MS = 100.0
IDLE_S = 0.3
HUNG_UP = "hung up by the bot"

_POLL_S = 0.02


class TrunklineOutput(BaseOutputTransport):
    """Made by `TrunklineTransport`. `mute`: legs that would carry our voice back (`pipeline.call.Call.speak`).
    `interrupted`: told what was heard of what was interrupted."""

    def __init__(
        self,
        call: AttendedCall,
        leg: str,
        params: TransportParams,
        mute: Collection[str],
        interrupted: Callable[[Heard], Awaitable[None]],
        name: str | None = None,
    ) -> None:
        super().__init__(params, name=name)
        self._call, self._leg, self._mute, self._interrupted = call, leg, tuple(mute), interrupted
        self.hung_up = False
        self._utterance: Utterance | None = None
        self._is_open = False
        self._may_interrupt = True
        self._barrier = 0  # frames with a lower id were made before the last interruption
        self._idle: asyncio.TimerHandle | None = None
        self._starts: list[tuple[Frame, FrameDirection]] = []
        self._starting: asyncio.Task[None] | None = None

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def stop(self, frame: EndFrame) -> None:
        await super().stop(frame)
        await self._finish_speaking()
        self.hung_up = not self._call.call.ended
        await self._call.call.end(HUNG_UP)

    async def cancel(self, frame: CancelFrame) -> None:
        self._call.call.stop(self._leg)
        await super().cancel(frame)

    async def cleanup(self) -> None:
        if self._utterance is not None:
            self._utterance.stop()
        if self._idle is not None:
            self._idle.cancel()
        if self._starting is not None:
            await self.cancel_task(self._starting)
            self._starting = None
        await super().cleanup()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        if isinstance(frame, InterruptionFrame):
            await self._interrupt()
        await super().process_frame(frame, direction)

    async def push_frame(self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM) -> None:
        if isinstance(frame, BotStartedSpeakingFrame):
            self._starts.append((frame, direction))
            if self._starting is None:
                self._starting = self.create_task(self._await_start())
            return
        if isinstance(frame, BotStoppedSpeakingFrame) and direction is FrameDirection.DOWNSTREAM:
            await self._finish_speaking()
        await super().push_frame(frame, direction)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        if frame.interruptible and frame.id < self._barrier:
            return False
        utterance = await self._speak(frame.sample_rate)
        if utterance is None or not utterance.put(np.frombuffer(frame.audio, "<i2")):
            return False
        self._may_interrupt = frame.interruptible
        while (wait_s := _wait_s(utterance)) > 0:  # noqa: ASYNC110 - what passes meanwhile is time
            await asyncio.sleep(wait_s)
        self._watch_idle()
        return not utterance.over

    async def _speak(self, sample_rate_hz: int) -> Utterance | None:
        """What the next audio belongs to; None: nothing can be said."""
        if self._utterance is None or not self._is_open or self._utterance.over:
            try:
                self._utterance = self._call.call.speak(self._leg, sample_rate_hz, mute=self._mute)
            except CallEnded:
                return None
            except PlaybackError as error:
                await self.push_error(str(error), force_treat_as_permanent=not error.retryable)
                return None
            self._is_open = True
        if self._idle is not None:
            self._idle.cancel()
        return self._utterance

    def _watch_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = self.get_event_loop().call_later(AHEAD_MS / 1000 + IDLE_S, self._close_utterance)

    def _close_utterance(self) -> None:
        self._is_open = False
        if self._utterance is not None:
            self._utterance.close()

    async def _interrupt(self) -> None:
        self._barrier = obj_id()
        utterance = self._utterance
        if utterance is None or utterance.over or not self._may_interrupt:
            return
        self._call.call.stop(self._leg)
        self._is_open = False
        await self._interrupted(utterance.heard())

    async def _finish_speaking(self) -> None:
        """Resolves when what was said was heard, or interrupted."""
        if self._idle is not None:
            self._idle.cancel()
        self._close_utterance()
        utterance = self._utterance
        if utterance is not None:
            heard = await utterance.wait()
            if heard.error is not None and self._utterance is utterance:
                await self.push_error(str(heard.error), force_treat_as_permanent=not heard.error.retryable)
            self._utterance = None if self._utterance is utterance else self._utterance
        if self._starting is not None:
            starting, self._starting = self._starting, None
            await self.cancel_task(starting)
        await self._tell_start()

    async def _await_start(self) -> None:
        while (said := self._utterance) is None or not (said.over or said.heard().seconds > 0):  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)
        self._starting = None
        await self._tell_start()

    async def _tell_start(self) -> None:
        starts, self._starts = self._starts, []
        for frame, direction in starts:
            await super().push_frame(frame, direction)


def _wait_s(utterance: Utterance) -> float:
    """Until its next chunk is wanted; 0: now. On hold time stands still."""
    ahead_s = (utterance.written_ms - utterance.taken_ms - AHEAD_MS) / 1000
    return max(ahead_s, _POLL_S) if ahead_s > 0 and not utterance.over else 0.0
