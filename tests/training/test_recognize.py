import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import EngineError
from tests.training.recognizer import EchoBatch, EchoRecognizer
from training.recognize import Batch, Part, text_of


def level(value: float, seconds: float, language: str = "auto") -> Part:
    return Part(np.full(int(seconds * 16_000), value, np.float32), language)


def heard(recordings: list[list[Part]], chunk_ms: int) -> list[list[str]]:
    words = EchoBatch(EchoRecognizer()).run(recordings, chunk_ms)
    return [[word.text for word in found] for found in words]


def test_every_recording_gets_its_own_words_in_order() -> None:
    recognizer = EchoRecognizer()
    recordings = [[level(index / 100, 0.4 + index / 10)] for index in range(10)]
    words = EchoBatch(recognizer, at_once=3).run(recordings, 160)
    found = [[word.text for word in spoken] for spoken in words]
    assert [set(words) for words in found] == [{f"auto:{index}"} for index in range(10)]
    assert [len(words) for words in found] == [-(-int((0.4 + index / 10) * 16_000) // 2560) for index in range(10)]
    assert recognizer.most == 3


def test_all_of_a_long_recording_is_heard() -> None:
    ramp = Part(np.repeat(np.arange(60, dtype=np.float32) / 100, 8000), "auto")
    (found,) = heard([[ramp]], 80)
    assert found == [f"auto:{int(chunk * 1280 / 8000)}" for chunk in range(375)]


@settings(deadline=None)
@given(st.lists(st.floats(0.05, 3.0), min_size=1, max_size=5), st.sampled_from([80, 160, 320, 560, 1120]))
def test_the_language_changes_in_the_chunk_in_which_the_next_part_begins(seconds: list[float], chunk_ms: int) -> None:
    languages = [("es-US", "en-US")[index % 2] for index in range(len(seconds))]
    parts = [level(0.1 * index, length, languages[index]) for index, length in enumerate(seconds)]
    (found,) = heard([parts], chunk_ms)
    samples = chunk_ms * 16
    owners = np.repeat(np.arange(len(parts)), [len(part.pcm) for part in parts])
    for chunk, word in enumerate(found):
        within = owners[chunk * samples : (chunk + 1) * samples]
        assert word == f"{languages[within[-1]]}:{within[0] * 10}"


def test_an_engine_that_fails_is_an_error_and_not_an_empty_transcript() -> None:
    with pytest.raises(EngineError, match="before its last word"):
        EchoBatch(EchoRecognizer(fails=True)).run([[level(0.1, 1.0)]], 160)


def test_an_engine_that_stands_still_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.recognize._PATIENCE_S", 0.01)
    with pytest.raises(TimeoutError, match="no word from the engine"):
        Batch(EchoRecognizer(), 2).run([[level(0.1, 1.0)]], 160)


def test_nothing_to_recognise_is_nothing() -> None:
    assert EchoBatch(EchoRecognizer()).run([], 160) == []
    assert text_of([]) == ""
