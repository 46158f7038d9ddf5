"""Speech over somebody else's: interruptions and back-channels."""

import asyncio
import time

import numpy as np
import pytest

from engine.api import Word
from pipeline import PipelineConfig
from pipeline.turns.config import TurnConfig
from pipeline.turns.detector import TurnDetector
from pipeline.turns.machine import Turn, TurnMachine
from pipeline.turns.overlap import FIRST_S, GOES_ON_S, SOUND_S, WORDLESS_S, Stretches, is_back_channel, verdict
from sinks.record import TurnEvent, TurnRecord, decode, encode
from tests.pipeline.playback.line import Outlet
from tests.pipeline.scripted import Cue, ScriptedRecognizer, script, words
from tests.pipeline.stage import AGENT, CALLER, Stage, info
from tests.pipeline.turns.script import END, SETTINGS, START, by_time, frames, hear

INTERRUPTION, BACK_CHANNEL = TurnEvent.INTERRUPTION, TurnEvent.BACK_CHANNEL


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Mhm.", "en-US"),
        ("Yeah, okay.", "en-US"),
        ("Uh-huh, I see.", "en-US"),
        ("Sí, claro.", "es-US"),
        ("Ja, genau.", "de-DE"),
        ("D'accord.", "fr-FR"),
        ("Okay", None),
        ("mhm mhm", "pt-BR"),
    ],
)
def test_phrases_of_listeners_are_back_channels(text: str, language: str | None) -> None:
    assert is_back_channel(words(text, language=language))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("No, wait.", "en-US"),
        ("Yeah but I", "en-US"),
        ("I", "en-US"),
        ("yes yes yes yes yes", "en-US"),
        ("Nein", "de-DE"),
        ("ja", "es-US"),
    ],
)
def test_other_words_are_none(text: str, language: str) -> None:
    assert not is_back_channel(words(text, language=language))


@pytest.mark.parametrize(
    ("text", "speech_s", "silence_s", "event"),
    [
        ("", FIRST_S - 0.01, None, None),
        ("", FIRST_S, None, INTERRUPTION),
        ("", 0.3, WORDLESS_S - 0.01, None),
        ("", 0.3, WORDLESS_S, BACK_CHANNEL),
        ("", SOUND_S, WORDLESS_S, INTERRUPTION),
        ("amb", 0.3, None, None),  # may yet grow
        ("amber", 0.3, WORDLESS_S, BACK_CHANNEL),  # not recognised
        ("Tuesday", 0.6, 0.1, INTERRUPTION),
        ("is on", 0.2, None, None),  # too short for words
        ("stop", 0.3, None, INTERRUPTION),
        ("stop it", 0.3, None, INTERRUPTION),
        ("stop", 0.3, 0.1, INTERRUPTION),
        ("yeah", 0.6, None, None),
        ("yeah", 0.3, 0.1, BACK_CHANNEL),
        ("yeah", 0.9, 0.1, BACK_CHANNEL),
        ("yeah", GOES_ON_S, None, INTERRUPTION),
    ],
)
def test_verdict(text: str, speech_s: float, silence_s: float | None, event: TurnEvent | None) -> None:
    found = verdict(words(text), speech_s, silence_s)
    assert (None if found is None else found[0]) == event


def test_a_word_that_the_recogniser_doubts_counts_for_none() -> None:
    doubted = [Word("amber", 1.0, 1.2, 0.2, "en-US", None)]
    assert verdict(doubted, 0.3, WORDLESS_S) == verdict([], 0.3, WORDLESS_S)


def test_who_has_the_word() -> None:
    stretches = Stretches()
    assert not stretches.has_the_word(1.0)
    assert stretches.begin(1.0)
    assert stretches.has_the_word(2.0)
    assert not stretches.has_the_word(1.1)  # both begin
    stretches.end(3.0)
    assert stretches.has_the_word(2.7)
    assert not stretches.has_the_word(2.9)  # it ends as the other begins
    assert not stretches.has_the_word(3.2)  # one after the other
    assert not stretches.begin(3.4)
    assert stretches.has_the_word(3.2)  # in a pause
    stretches.end(4.0)
    assert stretches.begin(5.0)
    assert not stretches.has_the_word(4.5)
    assert not stretches.has_the_word(0.5)


def overlapping(over: str | None = "agent") -> TurnMachine:
    return TurnMachine(SETTINGS, by_time, over=lambda _: over)


def brief(turns: list[Turn]) -> list[TurnEvent]:
    return [turn.event for turn in turns if turn.event in (START, END, INTERRUPTION, BACK_CHANNEL)]


def test_speech_that_goes_on_without_words_is_an_interruption_soon() -> None:
    turns = hear(overlapping(), frames((0.0, 0.96), (0.9, 1.6), (0.0, 1.0)))
    assert brief(turns) == [START, INTERRUPTION, END]
    told = turns[1]
    assert told.over == "agent"
    assert told.at_s == pytest.approx(0.96)
    assert told.decided_s - told.at_s <= 0.5


def test_a_back_channel_is_told_before_its_turn_ends() -> None:
    one = overlapping()
    turns = hear(one, frames((0.0, 0.96), (0.9, 0.32), (0.0, 0.1)))
    one.write(0, words("mhm", 1.0))
    turns += hear(one, frames((0.0, 1.0)), at=round(1.38 / 0.032))
    assert brief(turns) == [START, BACK_CHANNEL, END]


def test_a_wordless_sound_whose_turn_ends_at_once_is_a_back_channel() -> None:
    one = TurnMachine(SETTINGS, lambda _: 0.99, over=lambda _: "agent")
    assert brief(hear(one, frames((0.0, 0.96), (0.9, 0.32), (0.0, 1.0)))) == [START, BACK_CHANNEL, END]


def test_an_interruption_that_was_a_back_channel_is_corrected() -> None:
    one = overlapping()
    turns = hear(one, frames((0.9, 0.64)))
    one.write(0, words("d'accord", 0.3, "fr-FR"))
    turns += hear(one, frames((0.0, 1.0)), at=20)
    assert brief(turns) == [START, INTERRUPTION, BACK_CHANNEL, END]


def test_a_back_channel_that_goes_on_is_corrected() -> None:
    one = overlapping()
    one.write(0, words("yeah", 0.1))
    turns = hear(one, frames((0.9, 0.32), (0.0, 0.128)))
    one.write(1, words("but wait", 0.5))
    turns += hear(one, frames((0.9, 0.64), (0.0, 1.0)), at=14)
    assert brief(turns) == [START, BACK_CHANNEL, INTERRUPTION, END]


def test_speech_over_nobody_is_neither() -> None:
    assert brief(hear(overlapping(None), frames((0.9, 1.6), (0.0, 1.0)))) == [START, END]


# Two legs of a call --------------------------------------------------------------------------------------------------


def stage(*scripts: list[Cue]) -> Stage:
    return Stage(ScriptedRecognizer(*scripts), PipelineConfig(chunk_ms=80), TurnDetector(TurnConfig()))


def verdicts(one: Stage) -> list[tuple[str, TurnEvent, str]]:
    told = [record for record in one.records if isinstance(record, TurnRecord) and record.over]
    assert all(decode(encode(record)) == record for record in told)
    return [(record.leg, record.event, str(record.over)) for record in told]


LONG = words("I can tell you that the order was sent on the first day of this month", 0.4)


@pytest.mark.parametrize(("said", "event"), [("mhm", BACK_CHANNEL), ("no wait that is not what I said", INTERRUPTION)])
async def test_speech_over_the_other_leg_is_told_and_listened_to(said: str, event: TurnEvent) -> None:
    one = stage(script(LONG), script(words(said, 2.0)))
    call = one.calls.start(info())
    heard: list[TurnRecord] = []
    call.on_turn(heard.append)
    await one.play(call.add_leg(AGENT), call.add_leg(CALLER), seconds=8.0)
    assert verdicts(one) == [("caller", event, "agent")]
    assert heard == [record for record in one.records if isinstance(record, TurnRecord)]
    await one.end()


async def test_media_times_of_legs_are_compared_as_they_came() -> None:
    """The caller's leg begins three seconds later: its speech at 0.5 s is after the agent's."""
    one = stage(script(LONG[:6]), script(words("no wait that is not what I said", 0.5)))
    call = one.calls.start(info())
    agent = call.add_leg(AGENT)
    await one.play(agent, seconds=3.0)
    await one.play(agent, call.add_leg(CALLER), seconds=5.0)
    assert verdicts(one) == []
    await one.end()


async def test_a_caller_who_interrupts_what_is_played_to_him_stops_it() -> None:
    one = stage(script(words("no wait please", 0.4)))
    call = one.calls.start(info())
    leg = call.add_leg(CALLER)
    leg.connect_outlet(Outlet(time.monotonic))
    call.on_turn(lambda turn: turn.event == INTERRUPTION and turn.over == turn.leg and call.stop(turn.leg))
    said = call.play("caller", np.ones(8_000 * 60, np.int16), 8_000)
    await asyncio.sleep(0.05)
    await one.play(leg, seconds=3.0)
    assert (await said.wait()).interrupted
    assert verdicts(one) == [("caller", INTERRUPTION, "caller")]
    await one.end()


async def test_a_listener_that_fails_is_no_trouble_of_the_call(caplog: pytest.LogCaptureFixture) -> None:
    one = stage(script(words("hello there.", 0.4)))
    call = one.calls.start(info())
    heard: list[TurnRecord] = []

    def fails(_: TurnRecord) -> None:
        raise RuntimeError("no policy")

    call.on_turn(fails)
    call.on_turn(heard.append)
    await one.play(call.add_leg(CALLER), seconds=4.0)
    await one.end()
    assert [turn.event for turn in heard][-1] == END
    assert "no policy" in caplog.text


def test_words_are_of_the_stretch_and_not_of_those_before() -> None:
    one = overlapping()
    one.write(0, [Word("order", 0.1, 0.3, 0.9, "en-US", None)])
    turns = hear(one, frames((0.9, 0.2), (0.0, 2.0)))
    one.write(1, words("mhm", 2.5))
    turns += hear(one, frames((0.9, 0.32), (0.0, 1.0)), at=70)
    assert brief(turns)[-2:] == [BACK_CHANNEL, END]
