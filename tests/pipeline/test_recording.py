"""Finals of a file's channels in one line: by time, whatever the order of the steps."""

from pathlib import Path

import pytest

from engine.api import Hypothesis, LanguageSource, Session, Word
from pipeline.recording import SETTLE_S, Recording
from pipeline.segments import Segmenter
from sinks.record import TranscriptRecord
from tests.pipeline.scripted import words

LEFT, RIGHT = Session(0, 0, 1, 1120), Session(1, 1, 1, 1120)
AT = "2026-01-01T00:00:00.000Z"


def recording() -> Recording:
    return Recording(Path("call.wav"), [LEFT, RIGHT], Segmenter)


def said(session: Session, first: int, spoken: tuple[Word, ...], *, is_final: bool = False) -> list[Hypothesis]:
    return [Hypothesis(session, first, spoken, is_final=is_final)]


def texts(records: tuple[TranscriptRecord, ...]) -> list[tuple[str, str]]:
    return [(record.leg, record.transcript) for record in records]


def test_finals_wait_for_a_channel_that_may_still_begin_earlier() -> None:
    call = recording()
    call.update(RIGHT, said(RIGHT, 0, words("Good morning.", start=2.0)), 10.0)
    assert call.take(AT) == ()
    call.update(LEFT, said(LEFT, 0, words("Hello there.", start=1.0)), 1.9)
    assert call.take(AT) == ()
    call.update(LEFT, [], 10.0)
    assert texts(call.take(AT)) == [("channel-0", "Hello there."), ("channel-1", "Good morning.")]


def test_an_open_segment_holds_back_what_begins_after_it() -> None:
    call = recording()
    call.update(LEFT, said(LEFT, 0, words("I would like", start=1.0)), 10.0)
    call.update(RIGHT, said(RIGHT, 0, words("Yes.", start=1.5)), 10.0)
    assert call.take(AT) == ()
    call.update(LEFT, said(LEFT, 3, words("to return it.", start=9.0)), 14.0)
    assert texts(call.take(AT)) == [("channel-0", "I would like to return it."), ("channel-1", "Yes.")]


def test_a_correction_that_comes_soon_is_part_of_the_one_record() -> None:
    call = recording()
    call.update(RIGHT, [], 60.0)
    call.update(LEFT, said(LEFT, 0, words("Hola.", start=1.0, source=LanguageSource.CARRIED)), 2.0)
    call.update(LEFT, said(LEFT, 0, words("Hola.", start=1.0, language="es-US")), 1.3 + SETTLE_S)
    (record,) = call.take(AT)
    assert (record.language, record.language_source) == ("es-US", "detected")
    call.update(LEFT, said(LEFT, 0, words("Hello.", start=1.0)), 9.0)
    (late,) = call.take(AT)
    assert (late.segment_id, late.transcript) == (record.segment_id, "Hello.")
    assert late.revision > record.revision
    assert late.seq == record.seq + 1


def test_the_end_of_all_channels_brings_the_rest_in_order() -> None:
    call = recording()
    call.update(LEFT, said(LEFT, 0, words("One two", start=3.0), is_final=True), 4.0)
    call.update(RIGHT, said(RIGHT, 0, words("Three", start=1.0), is_final=True), 2.0)
    call.end(LEFT)
    assert call.take(AT) == ()
    assert not call.ended
    call.end(RIGHT)
    assert texts(call.take(AT)) == [("channel-1", "Three"), ("channel-0", "One two")]
    assert call.ended
    assert all(channel.complete for channel in call.channels.values())


def test_a_channel_without_a_word_ends_with_an_empty_final_and_one_without_audio_with_none() -> None:
    call = recording()
    call.update(LEFT, [], 4.0)
    for session in (LEFT, RIGHT):
        call.end(session)
    assert texts(call.take(AT)) == [("channel-0", "")]


def test_seconds_heard_are_those_of_all_channels() -> None:
    call = recording()
    call.update(LEFT, [], 4.0)
    call.update(RIGHT, [], 2.5)
    assert call.consumed_s == pytest.approx(6.5)
    assert call.slowest_s == 2.5
