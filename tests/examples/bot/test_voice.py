"""The voice: a real espeak-ng, what is kept, and what is said where it is not there."""

import shutil

import numpy as np
import pytest

from tests.services.missing import missing
from trunkline_bot import voice
from trunkline_bot.phrases import PHRASES
from trunkline_bot.voice import RATE_HZ, EspeakVoice, NullVoice, VoiceFailed


@pytest.fixture
def espeak() -> EspeakVoice:
    if shutil.which("espeak-ng") is None:
        missing("espeak-ng is not installed: apt-get install espeak-ng")
    return EspeakVoice()


async def test_every_language_has_a_voice(espeak: EspeakVoice) -> None:
    for language, phrases in PHRASES.items():
        pcm = await espeak.render(phrases.question, language)
        assert pcm.dtype == np.int16
        assert 1 < pcm.size / RATE_HZ < 5
        assert np.abs(pcm).max() > 3_000


async def test_a_sentence_is_made_once_and_the_oldest_are_forgotten(
    espeak: EspeakVoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voice, "KEPT_SENTENCES", 2)
    first = await espeak.render("One.", "en-US")
    await espeak.render("Two.", "en-US")
    assert await espeak.render("One.", "en-US") is first
    await espeak.render("Three.", "en-US")
    assert [sentence for sentence, _ in espeak._known] == ["One.", "Three."]


async def test_a_sentence_that_looks_like_an_option_is_a_sentence(espeak: EspeakVoice) -> None:
    assert (await espeak.render("--version -q", "en-US")).size > RATE_HZ // 2


@pytest.mark.parametrize(
    ("program", "says"), [("no-such-program", "No such file"), ("false", "exit status 1"), ("true", "no audio")]
)
async def test_a_voice_that_fails_says_why_in_a_line(monkeypatch: pytest.MonkeyPatch, program: str, says: str) -> None:
    monkeypatch.setattr(voice, "PROGRAM", program)
    with pytest.raises(VoiceFailed, match=says) as raised:
        await EspeakVoice().render("One.", "en-US")
    assert "\n" not in str(raised.value)


async def test_the_null_voice_takes_as_long_as_it_would_take_to_say_it() -> None:
    pcm = await NullVoice().render("x" * 50, "en-US")
    assert (pcm.size / RATE_HZ, int(np.abs(pcm).max())) == (3.0, 0)
