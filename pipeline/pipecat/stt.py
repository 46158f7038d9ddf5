"""`TrunklineSTTService`: speech to text of a Pipecat pipeline, by an engine in this process or in another one.

Where the pipeline has voice activity detection, the end of speech asks for a final at once (`finalize`), which the
engine answers within a step. Where it has none, a sentence becomes final 400 ms after its end.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    StartFrame,
    TranscriptionFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.settings import ServiceSettings, STTSettings
from pipecat.services.stt_service import STTService
from pipecat.transcriptions.language import Language
from pipecat.utils.time import time_now_iso8601
from pipecat.utils.types import NOT_GIVEN, NotGiven

from engine.api import SAMPLE_RATE_HZ, Recognizer, SessionOptions
from engine.chunking import DEFAULT_CHUNK_MS
from engine.errors import EngineError
from pipeline.pipecat.language import to_language
from pipeline.recognition import WAITING_S, Said, SpeechStream, To16k, Trouble, engine_at, leave_engine, to_locale

TTFS_P99_S = 0.5
"""End of speech to its final, told to the pipeline's turn strategies: they wait no longer than this."""

_RECONNECT_S = 1.0


@dataclass
class TrunklineSTTSettings(STTSettings):
    """`language`: None lets the model detect it. `chunk_ms`: latency class, one of the checkpoint's. Both may change
    while the pipeline runs (`STTUpdateSettingsFrame`), the language at once, the class from the next pause on."""

    chunk_ms: int | NotGiven = field(default_factory=lambda: NOT_GIVEN)


class TrunklineSTTService(STTService):
    """Pushes `InterimTranscriptionFrame`s and `TranscriptionFrame`s, whose `result` is a tuple of `engine.api.Word`.

    `recognizer`: an engine of this process, started by whoever made it; or `connect`. Audio may have any rate from 8 to
    48 kHz; of several channels the mean is recognised.
    """

    Settings = TrunklineSTTSettings
    _settings: TrunklineSTTSettings

    def __init__(
        self,
        recognizer: Recognizer | None = None,
        *,
        address: str | None = None,
        language: Language | str | None = None,
        chunk_ms: int = DEFAULT_CHUNK_MS,
        ttfs_p99_latency: float = TTFS_P99_S,
        **options: Any,
    ) -> None:
        if (recognizer is None) == (address is None):
            raise ValueError("TrunklineSTTService: give a recognizer, or the address of an engine")
        settings = TrunklineSTTSettings(model=None, language=language, chunk_ms=chunk_ms)
        self._recognizer = recognizer  # before the base class asks for its locales
        super().__init__(settings=settings, ttfs_p99_latency=ttfs_p99_latency, **options)
        self._address = address
        self._stream: SpeechStream | None = None
        self._audio = To16k()
        self._format = (0, 1)
        self._has_vad = False
        self._early: deque[NDArray[np.float32]] = deque()  # until the engine is connected
        self._said: asyncio.Queue[Said | Trouble | None] = asyncio.Queue()
        self._telling: asyncio.Task[None] | None = None
        self._connecting: asyncio.Task[None] | None = None

    @classmethod
    def connect(cls, address: str, **options: Any) -> "TrunklineSTTService":
        """By the engine that listens at `unix:/path` or `tcp:host:port` (`trunkline engine --listen`). Connects as the
        pipeline starts; one connection serves all services of this process."""
        return cls(address=address, **options)

    def can_generate_metrics(self) -> bool:
        return True

    def language_to_service_language(self, language: Language) -> str | None:
        return str(language) if self._recognizer is None else to_locale(language, self._recognizer.languages)

    # -- life

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        self._telling = self.create_task(self._tell())
        if self._recognizer is not None:
            self._begin(self._recognizer)
        elif self._connecting is None:
            self._connecting = self.create_task(self._connect_engine())

    async def stop(self, frame: EndFrame) -> None:
        """The last words come out before the `EndFrame`."""
        await self._close()
        await super().stop(frame)

    async def cancel(self, frame: CancelFrame) -> None:
        await self._close()
        await super().cancel(frame)

    async def cleanup(self) -> None:
        await self._close()
        await super().cleanup()

    async def _connect_engine(self) -> None:
        assert self._address is not None
        complained = ""
        while True:
            try:
                recognizer = await engine_at(self._address)
            except EngineError as error:
                if complained != (complained := str(error)):
                    await self.push_error(f"no engine at {self._address}: {error}")
                await asyncio.sleep(_RECONNECT_S)
                continue
            self._recognizer = recognizer
            self._begin(recognizer)
            await self._call_event_handler("on_connected")
            return

    def _begin(self, recognizer: Recognizer) -> None:
        language, chunk_ms = self._settings.language, self._settings.chunk_ms
        assert isinstance(chunk_ms, int)
        locale = to_locale(language if isinstance(language, str) else None, recognizer.languages)
        options = SessionOptions(chunk_ms=chunk_ms, language=locale)
        self._stream = SpeechStream(recognizer, options, self._said.put_nowait, self._said.put_nowait)
        while self._early:
            self._stream.push(self._early.popleft())

    async def _close(self) -> None:
        """Idempotent."""
        if self._connecting is not None:
            await self.cancel_task(self._connecting)
            self._connecting = None
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.push(self._audio.flush())
            await stream.close()
            if self._address is not None:
                await leave_engine(self._address)
        if self._telling is not None:
            telling, self._telling = self._telling, None
            self._said.put_nowait(None)
            await telling

    # -- frames

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        if isinstance(frame, InputAudioRawFrame):
            self._format = frame.sample_rate, frame.num_channels
        await super().process_frame(frame, direction)
        if self._stream is None:
            return
        if isinstance(frame, VADUserStartedSpeakingFrame):
            self._has_vad = True
            self._stream.speaking(True)
        elif isinstance(frame, VADUserStoppedSpeakingFrame) or (
            isinstance(frame, UserStoppedSpeakingFrame) and not self._has_vad  # where there is, it was asked for before
        ):
            self._finalize(self._stream)

    def _finalize(self, stream: SpeechStream) -> None:
        self.request_finalize()
        stream.push(self._audio.flush())
        stream.finalize()
        stream.speaking(False)

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        """`audio`: 16-bit samples in the format of the frame that came last."""
        rate_hz, channels = self._format
        pcm = self._audio.process(audio, rate_hz or self.sample_rate, channels)
        if self._stream is not None:
            self._stream.push(pcm)
        elif self._connecting is not None:
            self._early.append(pcm)
            while sum(one.size for one in self._early) > WAITING_S * SAMPLE_RATE_HZ:
                self._early.popleft()
        yield None

    async def _update_settings(self, delta: ServiceSettings) -> dict[str, Any]:
        assert isinstance(delta, STTSettings)
        before = self._settings.language
        changed = await super()._update_settings(delta)
        stream, language, chunk_ms = self._stream, self._settings.language, self._settings.chunk_ms
        if stream is not None and self._recognizer is not None:
            if "language" in changed:
                try:
                    locale = to_locale(language if isinstance(language, str) else None, self._recognizer.languages)
                    stream.set_language(locale)
                except EngineError as error:
                    self._settings.language = before
                    await self.push_error(f"the language stays {before or 'auto'}: {error}")
            if "chunk_ms" in changed and isinstance(chunk_ms, int):
                stream.set_chunk_ms(chunk_ms)
        return changed

    # -- words

    async def _tell(self) -> None:
        while (said := await self._said.get()) is not None:
            if isinstance(said, Trouble):
                await self.push_error(said.text, force_treat_as_permanent=not said.goes_on)
            elif said.is_final:
                await self._tell_final(said)
            else:
                await self.push_frame(
                    InterimTranscriptionFrame(
                        said.text, self._user_id, time_now_iso8601(), to_language(said.language), result=said.words
                    )
                )

    async def _tell_final(self, said: Said) -> None:
        if said.finalized:
            self.confirm_finalize()
        if said.words:
            await self.emit_stt_usage_metrics()
            await self.push_frame(
                TranscriptionFrame(
                    said.text, self._user_id, time_now_iso8601(), to_language(said.language), result=said.words
                )
            )
        elif self._finalize_pending:  # all of it was said before
            self._finalize_pending = False
            await self.stop_ttfb_metrics()
            await self._cancel_ttfb_timeout()
