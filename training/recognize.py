"""Runs many recordings through an engine at once and collects the words."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from queue import Empty, SimpleQueue

import numpy as np
from numpy.typing import NDArray

from engine import LanguageSource, Recognizer, Session, SessionOptions, StepEvents, Word
from engine.api import replace_from
from engine.errors import EngineError
from training.voices import SAMPLE_RATE_HZ

_PIECE_S = 1.0
_AHEAD_S = 2.0  # below the lag at which an engine begins to skip audio
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Part:
    """Audio to recognise under one language option. `pcm`: float32 (T,), 16 kHz, [-1, 1]. `language_lock`: that of the
    whole recording is its first part's."""

    pcm: NDArray[np.float32]
    language: str
    language_lock: bool = False


@dataclass(slots=True)
class _Stream:
    """An open session: what it is still to hear, under which language it stands, and its words so far."""

    pieces: deque[Part]
    language: str
    words: list[Word]
    given_s: float = 0.0
    consumed_s: float = 0.0
    complete: bool = False


class Batch:
    """Recognises recordings, `at_once` of them side by side.

    One batch drives an engine at a time; it subscribes to the engine once.
    """

    def __init__(self, engine: Recognizer, at_once: int) -> None:
        self._engine = engine
        self._at_once = at_once
        self._events: SimpleQueue[StepEvents] = SimpleQueue()
        engine.subscribe(self._events.put)

    def run(self, recordings: Sequence[Sequence[Part]], chunk_ms: int) -> list[list[Word]]:
        """The words of each recording. The language changes in the chunk in which a part of another one begins.

        Raises `EngineError` when the engine fails, `TimeoutError` when it stands still.
        """
        words: list[list[Word]] = [[] for _ in recordings]
        waiting = zip(recordings, words, strict=True)
        streams: dict[Session, _Stream] = {}

        def fill() -> None:
            while len(streams) < self._at_once and (following := next(waiting, None)):
                parts, collected = following
                first = parts[0]
                session = self._engine.open(SessionOptions(chunk_ms, first.language, first.language_lock))
                streams[session] = _Stream(deque(_pieces(parts)), parts[0].language, collected)
                self._feed(session, streams[session])

        fill()
        while streams:
            events = self._next()
            for hypothesis in events.hypotheses:
                stream = streams[hypothesis.session]
                replace_from(stream.words, hypothesis.first, hypothesis.words)
                stream.complete = hypothesis.is_final
            for session, consumed_s in events.progress.items():
                streams[session].consumed_s = consumed_s
                self._feed(session, streams[session])
            for session in events.closed:
                if not streams.pop(session).complete:
                    raise EngineError("the engine ended a session before its last word: see its log")
            fill()
        return words

    def _feed(self, session: Session, stream: _Stream) -> None:
        """Push ahead, but change the language only when less than a chunk is left before; close behind the end."""
        chunk_s = session.chunk_ms / 1000
        while stream.pieces:
            piece = stream.pieces[0]
            same = piece.language == stream.language
            if stream.given_s - stream.consumed_s >= (max(_AHEAD_S, chunk_s) if same else chunk_s):
                return
            if not same:
                self._engine.set_language(session, piece.language)
            self._engine.push(session, piece.pcm)
            stream.language = piece.language
            stream.given_s += len(piece.pcm) / SAMPLE_RATE_HZ
            stream.pieces.popleft()
            if not stream.pieces:
                self._engine.close(session)

    def _next(self) -> StepEvents:
        try:
            return self._events.get(timeout=_PATIENCE_S)
        except Empty:
            raise TimeoutError(f"no word from the engine for {_PATIENCE_S:.0f} s") from None


def _pieces(parts: Sequence[Part]) -> Iterator[Part]:
    """The parts, cut to at most `_PIECE_S` each."""
    step = int(_PIECE_S * SAMPLE_RATE_HZ)
    for part in parts:
        for start in range(0, len(part.pcm), step):
            yield Part(part.pcm[start : start + step], part.language)


def written_tags(words: Sequence[Word]) -> list[str]:
    """The language tags that the model wrote, one for each run of words in the same language."""
    detected = (word.language for word in words if word.language_source is LanguageSource.DETECTED)
    return [language for language, _ in groupby(detected) if language is not None]


def text_of(words: Sequence[Word]) -> str:
    """The transcript, words apart where the model wrote a space."""
    return "".join(f"{' ' if word.spaced else ''}{word.text}" for word in words).strip()
