"""`TrunklineTranscripts`: the call's own transcripts and turns as Pipecat's frames, in the place of an STT service, so
that nothing is recognised twice.

A final cannot be taken back in Pipecat, a record can be corrected. So of a corrected final those words are said that
follow what was said of it, and a word that a correction moved into the next segment is not said there again.
"""

from collections import deque
from collections.abc import Sequence

from pipecat.frames.frames import (
    Frame,
    InterimTranscriptionFrame,
    ProposedUserStartedSpeakingFrame,
    ProposedUserStoppedSpeakingFrame,
    StartFrame,
    STTMetadataFrame,
    TranscriptionFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.turns.eager_end_of_turn_mixin import EagerEndOfTurnSTTServiceMixin
from pipecat.utils.time import time_now_iso8601

from pipeline.pipecat.language import to_language
from pipeline.pipecat.source import TrunklineRecordFrame
from pipeline.pipecat.turns import user_turn_strategies
from sinks.record import TranscriptRecord, TurnEvent, TurnRecord, Word

TTFS_P99_S = 0.5
"""End of speech to its final, for turn strategies of a user's own."""

_KEPT_SEGMENTS = 16
_SAME_PLACE_S = 0.5
_EPSILON_S = 1e-6


class TrunklineTranscripts(EagerEndOfTurnSTTServiceMixin, FrameProcessor):
    """Stands behind `transport.input()`. `leg`: whose words; None: of every leg, with the leg as the `user_id`.
    `turns`: propose user turns by `turn` records, and recommend strategies for them; without it they are left to
    others. `eager`: EagerEndOfTurn as well (`pipeline.pipecat.turns`). `interruptions`: a turn that starts interrupts
    the bot."""

    def __init__(
        self, leg: str | None = None, *, turns: bool = True, eager: bool = False, interruptions: bool = True
    ) -> None:
        super().__init__(enable_eager_end_of_turn=eager)
        self._leg, self._turns, self._interruptions = leg, turns, interruptions
        self._legs: dict[str, _Finals] = {}

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, StartFrame):
            strategies = None
            if self._turns:
                strategies = user_turn_strategies(
                    eager=self.eager_end_of_turn_enabled, interruptions=self._interruptions
                )
            await self.broadcast_frame(
                STTMetadataFrame,
                service_name=self.name,
                ttfs_p99_latency=TTFS_P99_S,
                user_turn_strategies=strategies,
            )
        elif isinstance(frame, TrunklineRecordFrame) and self._leg in (None, frame.record.leg):
            if isinstance(frame.record, TranscriptRecord):
                await self._push_transcript(frame.record)
            elif isinstance(frame.record, TurnRecord) and self._turns:
                await self._propose(frame.record)

    async def _push_transcript(self, record: TranscriptRecord) -> None:
        words = self._legs.setdefault(record.leg, _Finals()).take(record)
        if not words:
            return
        text, language = _text(record, words), to_language(record.language)
        if record.is_final:
            await self.push_frame(
                TranscriptionFrame(
                    text, record.leg, time_now_iso8601(), language, result=words, finalized=record.speech_final
                )
            )
        else:
            await self.push_frame(
                InterimTranscriptionFrame(text, record.leg, time_now_iso8601(), language, result=words)
            )

    async def _propose(self, record: TurnRecord) -> None:
        match record.event:
            case TurnEvent.START_OF_TURN:
                await self.broadcast_frame(ProposedUserStartedSpeakingFrame)
            case TurnEvent.EAGER_END_OF_TURN:
                open_words = self._legs.setdefault(record.leg, _Finals()).open_words
                await self._push_eager_end_of_turn(
                    " ".join(word.punctuated_word for word in open_words), user_id=record.leg, result=open_words
                )
            case TurnEvent.TURN_RESUMED:
                await self._cancel_eager_end_of_turn()
            case TurnEvent.END_OF_TURN:
                self._clear_eager_end_of_turn()
                await self.broadcast_frame(ProposedUserStoppedSpeakingFrame)


class _Finals:
    """What of one leg was said. `open_words`: of the last partial."""

    def __init__(self) -> None:
        self.open_words: tuple[Word, ...] = ()
        self._said: dict[str, tuple[Word, ...]] = {}  # by segment
        self._taken_out: deque[Word] = deque(maxlen=16)  # by corrections, of what was said

    def take(self, record: TranscriptRecord) -> tuple[Word, ...]:
        """The words of a record that were not said yet."""
        words = record.words
        if (said := self._said.get(record.segment_id)) is not None:
            if not record.is_final:
                return ()
            self._taken_out += [word for word in said if not _has(words, word)]
            self._said[record.segment_id] = words
            end = max((word.end for word in said), default=0.0)
            return tuple(word for word in words if word.start >= end - _EPSILON_S)
        while words and _has(self._taken_out, words[0]):
            words = words[1:]
        self.open_words = () if record.is_final else words
        if record.is_final:
            self._said[record.segment_id] = record.words
            while len(self._said) > _KEPT_SEGMENTS:
                del self._said[next(iter(self._said))]
        return words


def _has(words: Sequence[Word], word: Word) -> bool:
    return any(one.word == word.word and abs(one.start - word.start) <= _SAME_PLACE_S for one in words)


def _text(record: TranscriptRecord, words: Sequence[Word]) -> str:
    if len(words) == len(record.words):
        return record.transcript
    return (" " if " " in record.transcript else "").join(word.punctuated_word for word in words)
