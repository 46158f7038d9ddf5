"""The bot on a call with a scripted recogniser: when it speaks, when it is silent, and how it ends. In real time."""

import asyncio

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import AttendedCall, CallInfo
from tests.examples.bot.room import Tones, room
from trunkline_bot import OrderBot, bot
from trunkline_bot.conversation import HUNG_UP, Conversation
from trunkline_bot.dialogue import Dialogue, Reply
from trunkline_bot.phrases import PHRASES
from trunkline_bot.voice import VoiceFailed

ENGLISH = PHRASES["en-US"]
QUICK_S = 0.4


class Impatient(Dialogue):
    """Waits for `QUICK_S` only."""

    def silent(self) -> Reply:
        return self._quick(super().silent())

    def heard(self, text: str, language: str | None = None) -> Reply:
        return self._quick(super().heard(text, language))

    def begin(self) -> Reply:
        return self._quick(super().begin())

    @staticmethod
    def _quick(reply: Reply) -> Reply:
        return Reply(reply.sentences, reply.language, QUICK_S, reply.hangs_up)


class Spoken:
    """A bot whose dialogue and voice are the test's."""

    name = "spoken"

    def __init__(self, dialogue: Dialogue, voice: Tones) -> None:
        self.dialogue, self.voice = dialogue, voice

    def attends(self, info: CallInfo) -> bool:
        return True

    async def attend(self, call: AttendedCall) -> None:
        await Conversation(call, await call.way_back(), self.dialogue, self.voice).run(None)


async def test_the_first_word_stops_it_and_the_final_is_answered() -> None:
    voice = Tones(3.0)
    async with room(Spoken(Dialogue(4), voice), (0.5, "My order number is 47 12.")) as one:
        await one.until(lambda: len(voice.asked) == 4)
        assert voice.asked[2:] == ["Your order number is 4 7 1 2.", ENGLISH.confirm]
        assert one.playback.stops == 1
        assert 200 <= one.outlet.sent_ms < 3_000  # of six seconds; the caller's first word ends at 0.74 s


async def test_a_back_channel_does_not_stop_it() -> None:
    voice = Tones(0.8)
    async with room(Spoken(Dialogue(4), voice), (0.2, "Mhm. Okay. Uh huh.")) as one:
        await one.until(lambda: one.outlet.sent_ms >= 1_600)
        assert (one.playback.utterances, one.playback.stops) == (1, 0)
        assert voice.asked == [ENGLISH.greeting, ENGLISH.question]


async def test_keys_stop_it_and_are_the_number() -> None:
    voice = Tones(3.0)
    async with room(Spoken(Dialogue(4), voice)) as one:
        await one.until(lambda: one.outlet.sent_ms >= 200)
        one.call.dtmf("caller", "4", 0.3, 0.1)
        await asyncio.sleep(0.1)
        stopped = one.outlet.sent_ms
        await asyncio.sleep(0.2)
        assert one.outlet.sent_ms == stopped
        for digit in "712":
            one.call.dtmf("caller", digit, 1.0, 0.1)
        await one.until(lambda: "Your order number is 4 7 1 2." in voice.asked)
        one.call.dtmf("caller", "1", 2.0, 0.1)
        await one.until(lambda: one.reasons)
        assert one.reasons == [HUNG_UP]


async def test_a_caller_who_says_nothing_is_asked_again_and_let_go() -> None:
    voice = Tones(0.1)
    async with room(Spoken(Impatient(), voice)) as one:
        await one.until(lambda: one.reasons)
        assert voice.asked == [ENGLISH.greeting, *[ENGLISH.question] * 3, ENGLISH.goodbye]
        assert one.reasons == [HUNG_UP]


async def test_words_without_an_end_are_made_final_and_answered() -> None:
    voice = Tones(0.1)
    async with room(Spoken(Impatient(4), voice), (0.6, "it is 47 12")) as one:
        await one.until(lambda: "Your order number is 4 7 1 2." in voice.asked)


async def test_the_goodbye_is_said_to_its_end() -> None:
    voice = Tones(0.6)
    async with room(Spoken(Dialogue(2), voice), (0.3, "It is 42."), (3.0, "Yes."), (4.2, "But wait a moment.")) as one:
        await one.until(lambda: ENGLISH.done in voice.asked)
        before = one.outlet.sent_ms
        await one.until(lambda: one.reasons)
        assert voice.asked[-1] == ENGLISH.goodbye
        assert one.outlet.sent_ms - before >= 1_000  # of 1.2 s, less what went out before this test looked


async def test_a_call_that_ends_in_the_middle_of_a_sentence_is_no_fault() -> None:
    async with room(Spoken(Dialogue(), Tones(5.0))) as one:
        await one.until(lambda: one.outlet.sent_ms >= 100)
        await one.call.end("completed")
        await one.until(lambda: not one.calls.bots.stats.active)
        assert one.outlet.sent_ms < 1_000
        assert one.calls.bots.stats.faults == 0


async def test_a_voice_that_fails_ends_the_call_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Tones):
        async def render(self, sentence: str, language: str) -> NDArray[np.int16]:
            raise VoiceFailed("no audio for it")

    async with room(Spoken(Dialogue(), Broken(1.0))) as one:
        await one.until(lambda: one.reasons)
        assert one.reasons == ["the bot failed: VoiceFailed"]
        assert "no audio for it" in caplog.text
        one.faults = 1


async def test_without_espeak_it_says_so_and_is_silent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bot, "has_espeak", lambda: False)
    silent = OrderBot(transcribe=False)
    assert "espeak-ng is not installed: apt-get install espeak-ng; until then the bot is silent" in caplog.text
    async with room(silent) as one:
        await one.until(lambda: one.outlet.sent_ms >= 200)
        assert not one.outlet.pcm.any()
