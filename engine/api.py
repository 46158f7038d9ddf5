"""What a user of the engine sees: options, handles, words and events.

The same types are the messages of an engine in another process: all are plain immutable values.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.chunking import DEFAULT_CHUNK_MS

AUTO = "auto"
"""The language option under which the model itself decides, sentence by sentence."""

SAMPLE_RATE_HZ = 16_000

_Item = TypeVar("_Item")


class Precision(StrEnum):
    """In which numbers the model computes.

    `INT8` is for CPUs: weights of 8 bits a value with a scale for each output, activations rounded to 8 bits row by row
    as they come, everything between the products in float32.
    """

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """`chunk_ms`: latency class, one of the checkpoint's (80, 160, 320, 560, 1120 of the released one).
    `language`: a locale of the checkpoint, or `auto`.
    `language_lock`: under `auto`, go on with the prompt of the language that was detected, until another one is
    (`engine.sessions.language_lock`)."""

    chunk_ms: int = DEFAULT_CHUNK_MS
    language: str = AUTO
    language_lock: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """Handle of an open session. `generation` sets it apart from earlier sessions in the same `slot`."""

    id: int
    slot: int
    generation: int
    chunk_ms: int


class LanguageSource(StrEnum):
    DETECTED = "detected"
    CARRIED = "carried"
    CONFIGURED = "configured"


@dataclass(frozen=True, slots=True)
class Word:
    """One word as the model wrote it, cased and punctuated, never a tag.

    `start`, `end`: seconds of the session's media time, on the encoder's 80 ms grid. `confidence`: the lowest
    probability among its pieces. `language` is None until one is known. `spaced`: a space stands before it
    (false inside Chinese, Japanese or Thai text).
    """

    text: str
    start: float
    end: float
    confidence: float
    language: str | None
    language_source: LanguageSource | None
    spaced: bool = True


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """`words` replace all words of the session from index `first` on (`replace_from`).

    That is an append, a last word that grew, or a language set when its tag came. `is_final` marks the answer to
    `finalize` and `close`: everything pushed before it is in.
    """

    session: Session
    first: int
    words: tuple[Word, ...]
    is_final: bool


def replace_from(kept: list[_Item], first: int, new: Sequence[_Item], base: int = 0) -> int:
    """The rule of every `Hypothesis`: `new` replaces all items from index `first` on, in place.

    `kept` holds the items from index `base` on; what of `new` lies before that is left out. The words [a, b, c] and
    first=1, new=[x] are [a, x] after it. Returns the first index that was written.
    """
    if first < base:
        new, first = new[base - first :], base
    kept[first - base :] = new
    return first


class FaultReason(StrEnum):
    """Why a session ended that was not at its end, in the words of the records."""

    REFUSED = "refused by the engine"
    LOST = "engine lost"
    FAILED = "engine failed"
    SILENT = "no answer from the engine"


@dataclass(frozen=True, slots=True)
class SessionFault:
    """`detail`: one line for the log. `retryable`: another session may be opened later."""

    reason: FaultReason
    detail: str
    retryable: bool = True


@dataclass(frozen=True, slots=True)
class StepEvents:
    """What one engine step brought, for all its rows at once.

    `closed`: sessions that are flushed and gone; their last hypothesis is in this batch or an earlier one.
    `progress`: seconds of media consumed so far by every session that took part. `opened`: sessions that awaited the
    engine's answer, which is that it takes them. `faults`: those of `closed` that ended before their end, with why.
    """

    hypotheses: tuple[Hypothesis, ...]
    closed: tuple[Session, ...]
    progress: Mapping[Session, float]
    opened: tuple[Session, ...] = ()
    faults: Mapping[Session, SessionFault] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClassLoad:
    """One latency class of an engine. All times in seconds.

    `open` of `slots` are sessions; `headroom`: how many more would be admitted now; `capacity`: how many an otherwise
    empty engine would admit. `steps`, `rows`, `step_s` count since the start; `mean_step_s` and `fill` (rows of a batch
    among those that could have been in it) are running means. `lag_*`: from the time a chunk's audio was complete to
    the time its result was reported, over the last seconds.
    """

    chunk_ms: int
    open: int
    slots: int
    headroom: int
    capacity: int
    steps: int
    rows: int
    step_s: float
    mean_step_s: float
    fill: float
    lag_p50_s: float
    lag_p95_s: float
    lag_p99_s: float


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """How busy an engine is, at one time. `utilisation`: predicted share of time that stepping its sessions takes."""

    sessions: int
    max_sessions: int
    utilisation: float
    classes: tuple[ClassLoad, ...]


class Recognizer(Protocol):
    """Streaming recognition of many sessions. All methods are thread-safe and return at once."""

    @property
    def languages(self) -> frozenset[str]:
        """Locales a session may be opened with, `auto` among them where the checkpoint detects."""
        ...

    def open(self, options: SessionOptions) -> Session:
        """Take a slot. Raises `EngineFull` (retryable), `UnknownLocale`, `UnknownChunk`."""
        ...

    def awaits_answer(self, session: Session) -> bool:  # noqa: ARG002 - an engine in this process answers in `open`
        """Whether the engine has yet to answer if it takes the session: by `StepEvents.opened` or `faults`."""
        return False

    def push(self, session: Session, pcm: NDArray[np.float32]) -> None:
        """Append audio; `pcm`: float32 (T,), 16 kHz, [-1, 1]. Raises `SessionClosed`."""
        ...

    def finalize(self, session: Session) -> None:
        """Ask for a final of all audio so far; the session itself goes on undisturbed."""
        ...

    def set_language(self, session: Session, language: str) -> None:
        """Change the prompt from the next step on; no state is lost. Raises `UnknownLocale`."""
        ...

    def close(self, session: Session) -> None:
        """Flush and free the slot; `StepEvents.closed` reports it after the last word."""
        ...

    def flush(self) -> None:
        """The end of a tick: audio pushed since the last one may go out. The other methods do not wait for it."""
        return

    def subscribe(self, callback: Callable[[StepEvents], None]) -> None:
        """Call back once per step, on the engine's thread."""
        ...
