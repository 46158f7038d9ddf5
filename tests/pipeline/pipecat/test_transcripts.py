"""Records of a call as Pipecat's frames: `TrunklineTranscripts`, alone and with Pipecat's own user aggregator."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipecat.frames.frames import (
    EagerEndOfTurnCancelFrame,
    EagerTranscriptionFrame,
    Frame,
    InterimTranscriptionFrame,
    InterruptionFrame,
    LLMContextFrame,
    ProposedUserStartedSpeakingFrame,
    ProposedUserStoppedSpeakingFrame,
    STTMetadataFrame,
    TranscriptionFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.tests.utils import SleepFrame, run_test
from pipecat.transcriptions.language import Language

from engine.api import Hypothesis
from engine.api import Word as Recognised
from pipeline.pipecat.source import TrunklineRecordFrame
from pipeline.pipecat.transcripts import TrunklineTranscripts, _Finals
from pipeline.punctuation import bare_word
from pipeline.segments import Segment, Segmenter
from pipeline.turns.config import TurnConfig
from pipeline.turns.detector import TurnDetector
from sinks.record import SpeakerRole, TranscriptRecord, TurnEvent, TurnRecord, Word
from tests.pipeline.pipecat.frames import finals, interims
from tests.pipeline.scripted import SESSION, ScriptedRecognizer, script, words
from tests.pipeline.stage import AGENT, CALLER, Stage, info

NAP = SleepFrame(0.02)


def transcript(text: str, segment: int = 0, *, final: bool = True, start: float = 0.0, **changes: Any) -> Frame:
    said = [
        Word(word=one.lower().strip(".?"), punctuated_word=one, start=start + 0.3 * k, end=start + 0.3 * k + 0.24,
             confidence=0.9, language="es-US")
        for k, one in enumerate(text.split())
    ]  # fmt: skip
    values: dict[str, Any] = {
        "event_id": "e", "call_id": "CA1", "leg": "caller", "seq": 0, "at": "", "segment_id": f"s{segment}",
        "revision": 0, "is_final": final, "speech_final": final, "speaker_role": SpeakerRole.CUSTOMER,
        "channel_index": 0, "start": start, "duration": 1.0, "transcript": text, "confidence": 0.9, "stability": 1.0,
        "language": "es-US", "languages": ("es-US",), "language_source": "detected", "words": tuple(said),
        "latency_ms": 1.0,
    }  # fmt: skip
    return TrunklineRecordFrame(TranscriptRecord(**(values | changes)))


def turn(event: TurnEvent, leg: str = "caller") -> Frame:
    return TrunklineRecordFrame(
        TurnRecord(event_id="t", call_id="CA1", leg=leg, seq=0, at="", event=event, turn_index=0, confidence=0.9,
                   at_s=0.0)
    )  # fmt: skip


async def down(source: TrunklineTranscripts, *frames: Frame) -> list[Frame]:
    told, _ = await run_test(source, frames_to_send=[*frames, NAP])
    return [one for one in told if not isinstance(one, TrunklineRecordFrame)]


async def test_partials_and_finals_of_its_leg_with_language_words_and_who_spoke() -> None:
    told = await down(
        TrunklineTranscripts("caller"),
        transcript("Sí", final=False),
        NAP,
        transcript("Sí gracias.", speech_final=False),
        transcript("Hello.", leg="agent"),
        NAP,
        transcript("Adiós.", 1, start=3.0),
    )
    assert interims(told) == ["Sí"]
    assert finals(told) == [("Sí gracias.", False), ("Adiós.", True)]
    texts = [one for one in told if isinstance(one, TranscriptionFrame | InterimTranscriptionFrame)]
    assert {(one.user_id, one.language) for one in texts} == {("caller", Language.ES_US)}
    assert [word.word for word in texts[1].result or ()] == ["sí", "gracias"]


async def test_a_correction_adds_what_is_new_and_says_nothing_again() -> None:
    told = await down(
        TrunklineTranscripts("caller"),
        transcript("this is le"),
        transcript("this is leer", revision=1),
        transcript("this is leer est", revision=2),
        transcript("this is", revision=3),
        transcript("leer est", 1, start=0.6, final=False),
        transcript("leer est now", 1, start=0.6),
    )
    assert [text for text, _ in finals(told)] == ["this is le", "est", "now"]
    assert interims(told) == []


async def test_turns_are_proposed_and_strategies_recommended() -> None:
    told = await down(
        TrunklineTranscripts("caller", eager=True),
        turn(TurnEvent.START_OF_TURN),
        turn(TurnEvent.START_OF_TURN, "agent"),
        transcript("Sí", final=False),
        turn(TurnEvent.EAGER_END_OF_TURN),
        turn(TurnEvent.TURN_RESUMED),
        NAP,
        transcript("Sí gracias."),
        turn(TurnEvent.END_OF_TURN),
    )
    (metadata,) = (one for one in told if isinstance(one, STTMetadataFrame))
    assert metadata.user_turn_strategies is not None
    kinds = (ProposedUserStartedSpeakingFrame, EagerTranscriptionFrame, EagerEndOfTurnCancelFrame, TranscriptionFrame)
    wanted = [type(one) for one in told if isinstance(one, (*kinds, ProposedUserStoppedSpeakingFrame))]
    assert sorted(map(repr, wanted)) == sorted(map(repr, (*kinds, ProposedUserStoppedSpeakingFrame)))
    assert wanted.index(TranscriptionFrame) < wanted.index(ProposedUserStoppedSpeakingFrame)
    (eager,) = (one for one in told if isinstance(one, EagerTranscriptionFrame))
    assert eager.text == "Sí"


async def test_without_turns_they_are_left_to_others() -> None:
    told = await down(TrunklineTranscripts("caller", turns=False), turn(TurnEvent.START_OF_TURN))
    assert [one.user_turn_strategies for one in told if isinstance(one, STTMetadataFrame)] == [None]
    assert not [one for one in told if isinstance(one, ProposedUserStartedSpeakingFrame)]


def aggregated(source: TrunklineTranscripts) -> Pipeline:
    """What goes to the LLM, by Pipecat's own aggregator, which is given no strategies."""
    return Pipeline([source, LLMContextAggregatorPair(LLMContext()).user()])


def asked(told: Sequence[Frame]) -> list[str]:
    contexts = [one.context for one in told if isinstance(one, LLMContextFrame)]
    messages = cast("list[dict[str, Any]]", contexts[-1].get_messages() if contexts else [])
    return [message["content"] for message in messages]


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("end_first", [False, True])
async def test_the_aggregator_takes_our_turns_whichever_comes_first(eager: bool, end_first: bool) -> None:
    last: list[Frame] = [transcript("Where is my order?"), NAP, turn(TurnEvent.END_OF_TURN)]
    frames = [turn(TurnEvent.START_OF_TURN), transcript("Where is", final=False), NAP]
    told, up = await run_test(
        aggregated(TrunklineTranscripts("caller", eager=eager)),
        frames_to_send=[*frames, *(reversed(last) if end_first else last), SleepFrame(0.1)],
    )
    assert asked(told) == ["Where is my order?"]
    kinds = [type(one) for one in told]
    assert kinds.count(UserStartedSpeakingFrame) == kinds.count(UserStoppedSpeakingFrame) == 1
    assert kinds.count(InterruptionFrame) == 1
    assert any(isinstance(one, InterruptionFrame) for one in up)


async def test_an_eager_end_has_the_answer_begun_before_the_turn_has_ended() -> None:
    frames = [
        turn(TurnEvent.START_OF_TURN),
        transcript("Where is my order", final=False),
        NAP,
        turn(TurnEvent.EAGER_END_OF_TURN),
        SleepFrame(0.1),
    ]
    told, _ = await run_test(aggregated(TrunklineTranscripts("caller", eager=True)), frames_to_send=frames)
    assert asked(told) == ["Where is my order"]
    assert UserStoppedSpeakingFrame not in map(type, told)


async def test_a_real_call_with_turns_of_words_gives_each_turn_once() -> None:
    said = script(words("Where is my order?", 0.4), words("It is late.", 3.6))
    stage = Stage(ScriptedRecognizer(said, []), turns=TurnDetector(TurnConfig()))
    call = stage.calls.start(info())
    await stage.play(call.add_leg(CALLER), call.add_leg(AGENT), seconds=6.5)
    await stage.end()
    frames = [frame for record in stage.records for frame in (TrunklineRecordFrame(record), SleepFrame(0.001))]
    told, _ = await run_test(aggregated(TrunklineTranscripts("caller")), frames_to_send=[*frames, SleepFrame(0.7)])
    assert asked(told) == ["Where is my order?", "It is late."]


SPOKEN = [f"w{k}{'.' if k % 7 == 6 else ''}" for k in range(30)]


def record_of(segment: Segment) -> TranscriptRecord:
    said = tuple(
        Word(word=bare_word(one.text), punctuated_word=one.text, start=one.start, end=one.end, confidence=0.9,
             language=one.language)
        for one in segment.words
    )  # fmt: skip
    frame = transcript(segment.transcript, segment_id=segment.segment_id, revision=segment.revision, words=said,
                       is_final=segment.is_final)  # fmt: skip
    assert isinstance(frame, TrunklineRecordFrame)
    assert isinstance(frame.record, TranscriptRecord)
    return frame.record


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_no_word_of_the_records_is_lost_or_doubled_however_finals_are_corrected(data: st.DataObject) -> None:
    """As the segmenter makes records: finals at any place, whose fork may write the last word otherwise, or as two."""
    spoken = words(" ".join(SPOKEN))
    segmenter, finals_of_leg, heard, at = Segmenter("s"), _Finals(), list[str](), 0

    def take(first: int, row: Sequence[Recognised], final: bool, progress_s: float) -> None:
        for segment in segmenter.update([Hypothesis(SESSION, first, tuple(row), final)], progress_s):
            record = record_of(segment)
            told = finals_of_leg.take(record)
            heard.extend(word.word for word in told if record.is_final)

    while at < len(spoken):
        count = data.draw(st.integers(2, 4))
        take(at, spoken[at : at + count], False, spoken[min(at + count, len(spoken)) - 1].end)
        at = min(at + count, len(spoken))
        if at == len(spoken):
            break
        last = spoken[at - 1]
        match data.draw(st.sampled_from(["go on", "final", "other", "two"])):
            case "final":
                take(at, (), True, last.end)
            case "other":
                take(at - 1, (replace(last, text=last.text + "x"),), True, last.end)
                at -= 1
            case "two":
                middle = last.start + 0.08
                take(at - 1, (replace(last, end=middle), replace(last, text="uh", start=middle)), True, last.end)
                at -= 1
    for segment in segmenter.close():
        heard.extend(word.word for word in finals_of_leg.take(record_of(segment)))
    told = [word.rstrip("x.") for word in heard if word != "uh"]
    assert told == [bare_word(word) for word in SPOKEN]
