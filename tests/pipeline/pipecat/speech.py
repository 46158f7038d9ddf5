"""What stands for the paid services of a bot: answers by rule, a voice of one tone."""

from typing import cast

import numpy as np
from numpy.typing import NDArray
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    EndFrame,
    Frame,
    InputDTMFFrame,
    InterruptionFrame,
    LLMContextFrame,
    ProposedUserStartedSpeakingFrame,
    TextFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor


def tone(seconds: float, rate_hz: int) -> NDArray[np.int16]:
    return (np.sin(np.arange(round(seconds * rate_hz)) * 2 * np.pi * 440 / rate_hz) * 10_000).astype(np.int16)


class Answers(FrameProcessor):
    """Answers every final by what `rules` has for it; None ends the call. A turn that starts interrupts. `is_model`: as
    a language model behind Pipecat's aggregator does, it answers turns, and leaves interruptions to that."""

    def __init__(self, rules: dict[str, str | None], *, is_model: bool = False) -> None:
        super().__init__()
        self.is_model = is_model
        self.heard: list[str] = []
        self.keys = ""
        self.bot: list[str] = []
        self._rules = rules

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, BotStartedSpeakingFrame | BotStoppedSpeakingFrame):
            self.bot.append("started" if isinstance(frame, BotStartedSpeakingFrame) else "stopped")
        elif isinstance(frame, InputDTMFFrame):
            self.keys += frame.button.value
        elif isinstance(frame, ProposedUserStartedSpeakingFrame) and not self.is_model:
            await self.broadcast_interruption()
        elif isinstance(frame, TranscriptionFrame):
            await self._answer(frame.text)
        elif isinstance(frame, LLMContextFrame):
            await self._answer(str(cast("dict[str, object]", frame.context.get_messages()[-1])["content"]))

    async def _answer(self, text: str) -> None:
        self.heard.append(text)
        answer = self._rules.get(text, "")
        if answer:
            await self.push_frame(TTSSpeakFrame(answer))
        elif answer is None:
            await self.push_frame(EndFrame())


class Voice(FrameProcessor):
    """100 ms of a tone for each letter, at 24 kHz, all at once as a fast service would."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, TTSSpeakFrame) or isinstance(frame, TextFrame | InterruptionFrame):
            await self.push_frame(frame, direction)
            return
        await self.push_frame(TTSStartedFrame())
        await self.push_frame(TTSAudioRawFrame(tone(len(frame.text) / 10, 24_000).tobytes(), 24_000, 1))
        await self.push_frame(TTSStoppedFrame())
