import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from training import voices
from training.evaluation_set import SpeechCache, single_sentences, steady_calls, switching_calls
from training.grammar import LOCALES, Sentence, held_out, world
from training.voices import Program, Voice


class Speaker:
    """Hums instead of speaking and remembers who said what."""

    def __init__(self) -> None:
        self.said: list[tuple[Voice, Sentence]] = []

    def speak(self, voice: Voice, sentence: Sentence) -> NDArray[np.float32]:
        self.said.append((voice, sentence))
        return np.resize(np.array([0.2, 0.6, -0.2, -0.6], np.float32), len(sentence.spoken) * 100)


def test_single_sentences_are_held_out_and_as_many_in_each_language() -> None:
    calls = single_sentences(Program.ESPEAK, 5, 1, Speaker().speak)
    assert [call.segments[0].locale for call in calls] == [locale for locale in LOCALES for _ in range(5)]
    assert all(held_out(call.segments[0].text) for call in calls)
    assert {call.group for call in calls} == {"sentences, espeak-ng"}


def test_switching_calls_change_language_at_every_segment() -> None:
    calls = switching_calls(False, 20, 1, Speaker().speak)
    for call in calls:
        assert len(call.segments) == len(call.recording.starts_s) == 3
        assert all(before.locale != after.locale for before, after in pairwise(call.segments))
        assert all(held_out(segment.text) for segment in call.segments)


def test_steady_calls_are_one_voice_in_one_language_and_the_languages_take_turns() -> None:
    speaker = Speaker()
    calls = steady_calls(8, 1, speaker.speak)
    assert [{segment.locale for segment in call.segments} for call in calls] == [{locale} for locale in LOCALES] * 2
    assert all(len(call.segments) == 5 and held_out(call.segments[4].text) for call in calls)
    assert all(len({voice for voice, _ in speaker.said[i : i + 5]}) == 1 for i in range(0, 40, 5))


@pytest.mark.parametrize("one_voice", [True, False])
def test_a_switching_call_has_one_voice_or_several(one_voice: bool) -> None:
    speaker = Speaker()
    switching_calls(one_voice, 10, 1, speaker.speak)
    casts = [{voice for voice, _ in speaker.said[i : i + 3]} for i in range(0, 30, 3)]
    assert all((len(cast) == 1) == one_voice for cast in casts)


def test_the_set_follows_the_seed() -> None:
    first, again, other = (single_sentences(Program.ESPEAK, 3, seed, Speaker().speak) for seed in (1, 1, 2))
    assert [call.segments for call in first] == [call.segments for call in again]
    assert all(np.array_equal(a.recording.codes, b.recording.codes) for a, b in zip(first, again, strict=True))
    assert [call.segments for call in first] != [call.segments for call in other]


def test_the_cache_speaks_a_sentence_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoken: list[str] = []

    def speak(voice: Voice, locale: str, text: str) -> NDArray[np.float32]:
        spoken.append(text)
        return np.full(10, len(spoken), np.float32)

    monkeypatch.setattr(voices, "speak", speak)
    cache = SpeechCache(tmp_path / "speech")
    rng = random.Random(1)
    sentence, voice, second = world("en-US").draw(rng), voices.draw(Program.ESPEAK, rng), voices.espeak("f5", rng)
    assert np.array_equal(cache.speak(voice, sentence), cache.speak(voice, sentence))
    assert SpeechCache(tmp_path / "speech").speak(voice, sentence)[0] == 1
    assert cache.speak(second, sentence)[0] == 2
    assert len(spoken) == 2


def test_each_seed_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    SpeechCache.of_seed(4)
    SpeechCache.of_seed(5)
    assert {folder.name for folder in tmp_path.iterdir()} == {"trunkline-evaluation-4", "trunkline-evaluation-5"}
