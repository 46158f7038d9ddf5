"""`TrunklineSTT`: speech to text of a LiveKit agent, by an engine behind a socket or in this process.

`flush` asks for a final of everything pushed so far, which the engine answers within a step; without it a sentence
becomes final 400 ms after its end.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

from livekit import rtc
from livekit.agents import APIConnectionError, APIError, stt, utils
from livekit.agents.language import LanguageCode
from livekit.agents.types import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    APIConnectOptions,
    NotGivenOr,
    TimedString,
)

from engine.api import AUTO, Recognizer, SessionOptions
from engine.chunking import DEFAULT_CHUNK_MS
from engine.errors import EngineError
from pipeline.recognition import Said, SpeechStream, To16k, Trouble, engine_at, leave_engine, to_locale

EventType = stt.SpeechEventType


@dataclass(slots=True)
class _Options:
    """`language`: None lets the model detect it."""

    language: str | None
    chunk_ms: int


class TrunklineSTT(stt.STT[Any]):
    """`address`: of an engine that listens at `unix:/path` or `tcp:host:port` (`trunkline engine --listen`), or
    `recognizer`: one of this process. `chunk_ms`: latency class, one of the checkpoint's. One connection serves all
    streams of this process."""

    def __init__(
        self,
        address: str | None = None,
        *,
        recognizer: Recognizer | None = None,
        language: str | None = None,
        chunk_ms: int = DEFAULT_CHUNK_MS,
    ) -> None:
        if (recognizer is None) == (address is None):
            raise ValueError("TrunklineSTT: give the address of an engine, or a recognizer")
        super().__init__(
            capabilities=stt.STTCapabilities(
                streaming=True, interim_results=True, aligned_transcript="word", manual_flush=True
            )
        )
        self._address, self._recognizer = address, recognizer
        self._options = _Options(language, chunk_ms)
        self._streams: WeakSet[TrunklineRecognizeStream] = WeakSet()

    @property
    def model(self) -> str:
        return "streaming"

    @property
    def provider(self) -> str:
        return "trunkline"

    def update_options(self, *, language: NotGivenOr[str | None] = NOT_GIVEN, chunk_ms: int | None = None) -> None:
        """For streams to come and those that run: the language at once, the class from their next pause on. Raises
        `UnknownLocale`, which leaves all as it was."""
        for stream in list(self._streams):
            if utils.is_given(language):
                stream.set_language(language)
            if chunk_ms is not None:
                stream.set_chunk_ms(chunk_ms)
        if utils.is_given(language):
            self._options.language = language
        self._options.chunk_ms = chunk_ms or self._options.chunk_ms

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> "TrunklineRecognizeStream":
        wanted = language if utils.is_given(language) else self._options.language
        stream = TrunklineRecognizeStream(self, _Options(wanted, self._options.chunk_ms), conn_options)
        self._streams.add(stream)
        return stream

    async def aclose(self) -> None:
        for stream in list(self._streams):
            await stream.aclose()

    async def _recognize_impl(
        self, buffer: utils.AudioBuffer, *, language: NotGivenOr[str] = NOT_GIVEN, conn_options: APIConnectOptions
    ) -> stt.SpeechEvent:
        """All of a recording at once."""
        frames = buffer if isinstance(buffer, list) else [buffer]
        stream = self.stream(language=language, conn_options=conn_options)
        try:
            for frame in frames:
                stream.push_frame(frame)
            stream.end_input()
            found = [event.alternatives[0] async for event in stream if event.type is EventType.FINAL_TRANSCRIPT]
        finally:
            await stream.aclose()
        text = " ".join(one.text for one in found)
        tag = found[0].language if found else LanguageCode(self._options.language or AUTO)
        confidence = min((one.confidence for one in found), default=0.0)
        data = stt.SpeechData(language=tag, text=text, confidence=confidence)
        return stt.SpeechEvent(type=EventType.FINAL_TRANSCRIPT, alternatives=[data])


@dataclass(slots=True)
class _Running:
    """`said`: None ends it. `audio_s`: pushed since it was reported last."""

    speech: SpeechStream
    recognizer: Recognizer
    said: "asyncio.Queue[Said | Trouble | None]"
    audio: To16k = field(default_factory=To16k)
    audio_s: float = 0.0
    speaking: bool = False


class TrunklineRecognizeStream(stt.RecognizeStream):
    """Made by `TrunklineSTT.stream`."""

    def __init__(self, owner: TrunklineSTT, options: _Options, conn_options: APIConnectOptions) -> None:
        super().__init__(stt=owner, conn_options=conn_options)
        self._owner, self._options = owner, options
        self._running: _Running | None = None

    def set_language(self, language: str | None) -> None:
        """Raises `UnknownLocale`."""
        if self._running is not None:
            self._running.speech.set_language(to_locale(language, self._running.recognizer.languages))
        self._options.language = language

    def set_chunk_ms(self, chunk_ms: int) -> None:
        self._options.chunk_ms = chunk_ms
        if self._running is not None:
            self._running.speech.set_chunk_ms(chunk_ms)

    async def _run(self) -> None:
        address = self._owner._address
        recognizer = self._owner._recognizer
        if recognizer is None:
            assert address is not None
            try:
                recognizer = await engine_at(address)
            except EngineError as error:
                raise APIConnectionError(f"no engine at {address}: {error}") from error
        try:
            await self._recognize(recognizer)
        finally:
            if address is not None:
                await leave_engine(address)

    async def _recognize(self, recognizer: Recognizer) -> None:
        said: asyncio.Queue[Said | Trouble | None] = asyncio.Queue()
        locale = to_locale(self._options.language, recognizer.languages)
        options = SessionOptions(chunk_ms=self._options.chunk_ms, language=locale)
        speech = SpeechStream(recognizer, options, said.put_nowait, said.put_nowait)
        running = self._running = _Running(speech, recognizer, said)
        pushing = asyncio.create_task(self._push(running))
        try:
            while (one := await said.get()) is not None:
                if isinstance(one, Said):
                    self._tell(running, one)
                elif one.goes_on:
                    self._emit_error(APIConnectionError(one.text), recoverable=True)
                else:
                    raise APIError(one.text, retryable=False)
            await pushing
        finally:
            self._running = None
            await utils.aio.cancel_and_wait(pushing)
            await speech.close()

    async def _push(self, running: _Running) -> None:
        """What comes in, to its end."""
        speech, audio = running.speech, running.audio
        async for one in self._input_ch:
            if isinstance(one, rtc.AudioFrame):
                running.audio_s += one.duration
                speech.push(audio.process(bytes(one.data.cast("B")), one.sample_rate, one.num_channels))
            else:
                speech.push(audio.flush())
                speech.finalize()
        speech.push(audio.flush())
        await speech.close()
        running.said.put_nowait(None)

    def _tell(self, running: _Running, said: Said) -> None:
        if said.words and not running.speaking:
            running.speaking = True
            self._send(EventType.START_OF_SPEECH)
        if said.words:
            kind = EventType.FINAL_TRANSCRIPT if said.is_final else EventType.INTERIM_TRANSCRIPT
            self._send(kind, alternatives=[self._data(said)])
        if said.is_final and running.audio_s:
            usage = stt.RecognitionUsage(audio_duration=running.audio_s)
            running.audio_s = 0.0
            self._send(EventType.RECOGNITION_USAGE, recognition_usage=usage)
        if running.speaking and (said.finalized or said.paused):
            running.speaking = False
            self._send(EventType.END_OF_SPEECH)

    def _send(self, kind: stt.SpeechEventType, **values: Any) -> None:
        self._event_ch.send_nowait(stt.SpeechEvent(type=kind, **values))

    def _data(self, said: Said) -> stt.SpeechData:
        offset_s, words = self.start_time_offset, said.words
        return stt.SpeechData(
            language=LanguageCode(said.language or AUTO),
            text=said.text,
            start_time=words[0].start + offset_s,
            end_time=words[-1].end + offset_s,
            confidence=sum(word.confidence for word in words) / len(words),
            words=[
                TimedString(
                    word.text,
                    start_time=word.start + offset_s,
                    end_time=word.end + offset_s,
                    confidence=word.confidence,
                    start_time_offset=offset_s,
                )
                for word in words
            ],
            source_languages=[LanguageCode(tag) for tag in dict.fromkeys(word.language for word in words) if tag],
        )
