"""What one speaker says, from audio to `Said`, over as many sessions as it takes.

The idea
    A session has one latency class and may be refused or lost. So a stream is a row of sessions: the last one gets the
    audio, those before it are being flushed. Their words come out in order: what a later session brings waits until the
    earlier ones have ended.

The invariants
    1. Audio goes to exactly one session. While there is none that takes it, it waits, `WAITING_S` at most.
    2. A class changes in a pause alone, so no word is cut in two.
    3. After `close` resolved everything was said.

All on one event loop; nothing here blocks.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from engine.api import SAMPLE_RATE_HZ, FaultReason, Hypothesis, Recognizer, Session, SessionFault, SessionOptions
from engine.errors import EngineError, SessionClosed
from pipeline.recognition.hub import Hub
from pipeline.recognition.utterance import Said, Utterances

WAITING_S = 10.0
"""Audio kept while no session takes it; beyond it the oldest is left out, and counted."""

RETRY_S = (0.25, 5.0)
"""Pause before the first attempt to open another session, and the longest one."""

FLUSH_S = 5.0
"""`close` waits so long for the last words; then those known are said."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Nothing is recognised for now, or not as asked. `text`: one line. `goes_on`: it is, or is tried again."""

    text: str
    goes_on: bool


@dataclass(slots=True)
class _Part:
    """One session. `start_s`: where in the stream it begins. `held`: said by it while an earlier one still speaks."""

    session: Session
    start_s: float
    utterances: Utterances = field(default_factory=Utterances)
    held: list[Said] = field(default_factory=list)
    admitted: bool = True


class SpeechStream:
    """`say` and `complain` are called on the loop, in order; they must not call back. `left_out_s`: seconds of audio
    that no session took. Times of words are those of the stream.

    Opens its first session at once, or says by `complain` why not and goes on trying.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        options: SessionOptions,
        say: Callable[[Said], None],
        complain: Callable[[Trouble], None],
    ) -> None:
        self.left_out_s = 0.0
        self._recognizer, self._hub = recognizer, Hub.of(recognizer)
        self._options = options
        self._say, self._complain = say, complain
        self._parts: deque[_Part] = deque()
        self._current: _Part | None = None
        self._waiting: deque[NDArray[np.float32]] = deque()
        self._waiting_samples = 0
        self._pushed = 0  # samples
        self._finalizes_waiting = False
        self._wanted_ms = options.chunk_ms
        self._speaking: bool | None = None
        self._pause_s = RETRY_S[0]
        self._complained = ""
        self._retry: asyncio.TimerHandle | None = None
        self._closing = False
        self._done = asyncio.Event()
        self._open()

    @property
    def options(self) -> SessionOptions:
        """Of the session that gets the audio now."""
        return self._options

    def push(self, pcm: NDArray[np.float32]) -> None:
        """float32 (T,), 16 kHz, [-1, 1]."""
        if self._closing or not pcm.size:
            return
        self._push(pcm)

    def _push(self, pcm: NDArray[np.float32]) -> None:
        part = self._current
        if part is None or not part.admitted:
            self._wait(pcm)
            return
        try:
            self._recognizer.push(part.session, pcm)
            self._recognizer.flush()
            self._pushed += pcm.size
        except SessionClosed:  # its end is on its way here
            self._wait(pcm)

    def finalize(self) -> None:
        """Ask for a final of everything pushed so far."""
        part = self._current
        if self._waiting or part is None or not part.admitted:
            self._finalizes_waiting = True
            return
        with contextlib.suppress(SessionClosed):
            self._recognizer.finalize(part.session)

    def speaking(self, is_speaking: bool) -> None:
        """What voice activity detection says, where there is one: without, pauses are those between words."""
        self._speaking = is_speaking
        if not is_speaking:
            self._change_class()

    def set_language(self, language: str) -> None:
        """From the next step on. Raises `UnknownLocale`."""
        if self._current is not None:
            with contextlib.suppress(SessionClosed):
                self._recognizer.set_language(self._current.session, language)
        self._options = replace(self._options, language=language)
        if self._current is None and self._retry is None:
            self._open()

    def set_chunk_ms(self, chunk_ms: int) -> None:
        """Another latency class, from the next pause on: a new session, while the one before is flushed."""
        self._wanted_ms = chunk_ms
        if self._current is None and self._retry is None:
            self._open()
        self._change_class()

    async def close(self) -> None:
        """Flush; resolves after the last word was said. Idempotent."""
        if not self._closing:
            self._closing = True
            if self._retry is not None:
                self._retry.cancel()
            part = self._current
            if part is not None:
                part.admitted = True  # or its end says that it is not
                self._push_waiting()
                self._end_session(part)
            self._check_done()
        try:
            async with asyncio.timeout(FLUSH_S):
                await self._done.wait()
        except TimeoutError:
            self._complain(Trouble(f"the engine did not flush a session in {FLUSH_S:g} s", goes_on=True))
            for part in list(self._parts):
                self._hub.leave(part.session)
                self.ended(part.session, None)

    # -- of the hub

    def stepped(self, session: Session, hypotheses: Sequence[Hypothesis], progress_s: float | None) -> None:
        part = self._part(session)
        if part is None:
            return
        said: list[Said] = []
        for hypothesis in hypotheses:
            said += part.utterances.update(hypothesis.first, hypothesis.words, final=hypothesis.is_final)
        if progress_s is not None:
            said += part.utterances.advance(progress_s)
        self._emit(part, said)
        if part is self._current:
            self._change_class()

    def opened(self, session: Session) -> None:
        part = self._part(session)
        if part is not None and not part.admitted:
            part.admitted = True
            self._admitted()

    def ended(self, session: Session, fault: SessionFault | None) -> None:
        part = self._part(session)
        if part is None:
            return
        last = _placed(part.utterances.end(), part.start_s)
        part.held += [last] if last.words else []
        at = self._parts.index(part)
        self._parts.remove(part)
        if at:
            self._parts[at - 1].held += part.held
        else:
            self._release(part)
            if self._parts:
                self._release(self._parts[0])
        if part is self._current:
            self._current = None
            if not self._closing:
                self._lost(fault or SessionFault(FaultReason.LOST, "its session ended unasked"))
        self._check_done()

    # -- sessions

    def _open(self) -> None:
        self._retry = None
        if self._closing:
            return
        self._options = replace(self._options, chunk_ms=self._wanted_ms)
        try:
            session = self._recognizer.open(self._options)
        except EngineError as error:
            self._lost(SessionFault(FaultReason.REFUSED, str(error), error.retryable))
            return
        part = self._add(session)
        if part.admitted:
            self._admitted()

    def _add(self, session: Session) -> _Part:
        self._hub.listen(session, self)
        start_s = self._pushed / SAMPLE_RATE_HZ + self.left_out_s
        part = self._current = _Part(session, start_s, admitted=not self._recognizer.awaits_answer(session))
        self._parts.append(part)
        return part

    def _admitted(self) -> None:
        self._pause_s, self._complained = RETRY_S[0], ""
        self._push_waiting()

    def _lost(self, fault: SessionFault) -> None:
        text = f"{fault.reason}: {fault.detail}"
        if text != self._complained:  # once, however often it is tried
            self._complained = text
            self._complain(Trouble(text, fault.retryable))
        if fault.retryable:
            self._retry = asyncio.get_running_loop().call_later(self._pause_s, self._open)
            self._pause_s = min(2 * self._pause_s, RETRY_S[1])

    def _change_class(self) -> None:
        """In a pause, where another class is wanted than the session has."""
        part = self._current
        if part is None or self._wanted_ms == self._options.chunk_ms or self._closing or not part.admitted:
            return
        if self._speaking or (self._speaking is None and not part.utterances.quiet):
            return
        before = self._options
        self._options = replace(before, chunk_ms=self._wanted_ms)
        try:
            session = self._recognizer.open(self._options)
        except EngineError as error:
            self._complain(Trouble(f"no change to chunks of {self._wanted_ms} ms: {error}", goes_on=True))
            self._options, self._wanted_ms = before, before.chunk_ms
            return
        self._add(session)
        self._end_session(part)

    def _end_session(self, part: _Part) -> None:
        with contextlib.suppress(SessionClosed):
            self._recognizer.close(part.session)

    def _wait(self, pcm: NDArray[np.float32]) -> None:
        self._waiting.append(pcm)
        self._waiting_samples += pcm.size
        while self._waiting_samples > WAITING_S * SAMPLE_RATE_HZ and len(self._waiting) > 1:
            gone = self._waiting.popleft().size
            self._waiting_samples -= gone
            self.left_out_s += gone / SAMPLE_RATE_HZ

    def _push_waiting(self) -> None:
        waiting, self._waiting, self._waiting_samples = self._waiting, deque(), 0
        for pcm in waiting:
            self._push(pcm)
        if self._finalizes_waiting:
            self._finalizes_waiting = False
            self.finalize()

    # -- words

    def _emit(self, part: _Part, said: Sequence[Said]) -> None:
        said = [_placed(one, part.start_s) for one in said]
        if part is not self._parts[-1]:  # flushed for another class: that answers no `finalize`
            said = [replace(one, finalized=False) for one in said if one.words]
        if part is self._parts[0]:
            for one in said:
                self._say(one)
        else:
            part.held += [one for one in said if one.is_final]

    def _release(self, part: _Part) -> None:
        held, part.held = part.held, []
        for one in held:
            self._say(one)

    def _part(self, session: Session) -> _Part | None:
        return next((part for part in self._parts if part.session == session), None)

    def _check_done(self) -> None:
        if self._closing and not self._parts:
            self._done.set()


def _placed(said: Said, start_s: float) -> Said:
    """In the time of the stream."""
    if not start_s:
        return said
    words = (replace(word, start=word.start + start_s, end=word.end + start_s) for word in said.words)
    return replace(said, words=tuple(words))
