"""When a turn of the caller is over, from its records."""

from sinks.record import SpeakerRole, TranscriptRecord, TurnEvent, TurnRecord
from trunkline_bot.listening import Listening, Said


def words(
    text: str, number: int = 0, revision: int = 0, *, final: bool = False, paused: bool = True, language: str = "en-US"
) -> TranscriptRecord:
    return TranscriptRecord(
        event_id=f"{number}-{revision}-{text}",
        call_id="C",
        leg="caller",
        seq=0,
        at="2026-01-01T00:00:00.000Z",
        segment_id=f"caller-{number:04d}",
        revision=revision,
        is_final=final,
        speech_final=final and paused,
        speaker_role=SpeakerRole.CUSTOMER,
        channel_index=0,
        start=0.0,
        duration=1.0,
        transcript=text,
        confidence=1.0,
        stability=1.0,
        language=language or None,
        languages=(language,),
        language_source="detected",
        words=(),
        latency_ms=1.0,
    )


def turn(event: TurnEvent) -> TurnRecord:
    return TurnRecord(
        event_id=event, call_id="C", leg="caller", seq=0, at="", event=event, turn_index=0, confidence=0.9, at_s=1.0
    )


START, EAGER, RESUMED, END = (
    TurnEvent.START_OF_TURN,
    TurnEvent.EAGER_END_OF_TURN,
    TurnEvent.TURN_RESUMED,
    TurnEvent.END_OF_TURN,
)


def test_a_turn_is_over_with_its_end_and_the_last_final_whichever_is_first() -> None:
    one = Listening()
    assert one.update(turn(START)) is None
    assert one.update(words("It is")) is None
    assert one.words == "It is"
    assert one.update(words("It is 47.", revision=1, final=True)) is None
    assert one.update(turn(END)) == Said("It is 47.", "en-US")
    one.update(turn(START))
    one.update(words("12", 1))
    assert not one.lacks_final
    assert one.update(turn(END)) is None
    assert one.lacks_final
    assert one.update(words("12.", 1, 1, final=True, paused=False)) == Said("12.", "en-US")
    assert one.words == ""


def test_a_pause_in_a_turn_does_not_end_it() -> None:
    one = Listening()
    one.update(turn(START))
    one.update(words("My order number is 4712.", final=True))
    assert one.update(turn(EAGER)) is None
    assert one.update(turn(RESUMED)) is None
    assert one.update(words("Es el 8356.", 1, final=True, language="es-US")) is None
    assert one.update(turn(END)) == Said("My order number is 4712. Es el 8356.", "es-US")


def test_without_turns_a_final_and_a_pause_end_it() -> None:
    one = Listening()
    assert one.update(words("Hello,", final=True, paused=False)) is None
    assert one.update(words("where is", 1)) is None
    assert one.update(words("where is my order?", 1, 1, final=True)) == Said("Hello, where is my order?", "en-US")


def test_what_was_answered_is_not_answered_again() -> None:
    one = Listening()
    assert one.update(words("Yes.", final=True)) is not None
    assert one.update(words("Yes, but.", revision=1, final=True)) is None
    assert one.words == ""


def test_words_that_were_taken_back_are_none() -> None:
    one = Listening()
    one.update(turn(START))
    one.update(words("A"))
    one.update(turn(END))
    assert one.update(words("", revision=1, final=True)) is None
    assert one.update(words("Yes,", 1, final=True, language="")) == Said("Yes,", None)


def test_a_turn_whose_end_is_never_told_ends_by_silence() -> None:
    one = Listening()
    one.update(turn(START))
    assert one.end_turn() is None
    one.update(turn(START))
    assert one.update(words("It is 47.", final=True)) is None
    assert one.end_turn() == Said("It is 47.", "en-US")
    one.update(turn(START))
    one.update(words("12", 1))
    assert one.end_turn() is None
    assert one.update(words("12.", 1, 1, final=True)) == Said("12.", "en-US")


def test_a_silence_without_words_changes_nothing() -> None:
    one = Listening()
    assert one.end_turn() is None
    assert one.update(words("It")) is None
    assert not one.lacks_final
    assert one.update(words("It is", revision=1, final=True, paused=False)) is None
