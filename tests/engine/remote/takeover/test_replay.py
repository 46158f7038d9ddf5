"""What is sent, in which order, and again."""

import numpy as np

from engine.remote.takeover.replay import Outgoing, ReplayLog, Request, SendAudio, SendClose

SECOND = 16_000


def silence(samples: int) -> np.ndarray:
    return np.zeros(samples, np.float32)


def log(seconds: float = 0.0, keep_s: float = 30.0) -> ReplayLog:
    made = ReplayLog(160, "auto", int(keep_s * SECOND))
    made.push(silence(int(seconds * SECOND)))
    return made


def shown(actions: list[Outgoing]) -> list[object]:
    """Audio as (begin, end), a final as "final", a language as itself."""
    names: list[object] = []
    for action in actions:
        if isinstance(action, SendAudio):
            names.append((action.begin, action.end))
        elif isinstance(action, Request):
            names.append(action.language or "final")
        else:
            assert isinstance(action, SendClose)
            names.append("close")
    return names


def test_requests_stand_between_the_audio_they_were_made_at() -> None:
    made = log()
    made.push(silence(100))
    made.finalize()
    made.push(silence(50))
    made.set_language("de-DE")
    made.push(silence(25))
    made.closed = True
    assert shown(list(made.due())) == [(0, 100), "final", (100, 150), "de-DE", (150, 175), "close"]
    assert shown(list(made.due())) == []


def test_a_rewound_log_goes_out_from_there_with_its_requests() -> None:
    made = log(1)
    made.finalize()
    made.push(silence(SECOND // 2))
    made.closed = True
    first = shown(list(made.due()))
    assert first == [(0, 16_000), "final", (16_000, 24_000), "close"]
    made.rewind(2_560, 2_560)
    assert shown(list(made.due())) == [(2_560, 16_000), "final", (16_000, 24_000), "close"]


def test_a_final_that_was_answered_is_known_when_it_comes_again() -> None:
    made = log(1)
    made.finalize()
    list(made.due())
    assert not made.next_final_is_repeat
    made.answer_final()
    made.rewind(0, 0)
    assert made.has_repeats
    list(made.due())
    assert made.next_final_is_repeat
    assert made.has_repeats
    made.answer_final()
    assert not made.has_repeats


def test_a_final_asked_for_before_the_audio_that_is_left_is_still_asked_for() -> None:
    made = log(1, keep_s=2)
    made.finalize()
    made.push(silence(3 * SECOND))
    made.rewind(made.audio.first, made.audio.first)
    assert shown(list(made.due()))[0] == "final"


def test_a_successor_gets_a_window_of_audio_until_it_has_all() -> None:
    made = log(10)
    made.rewind(0, 0)
    assert shown(list(made.due())) == [(0, 32_000)]
    assert list(made.due()) == []
    made.consumed = 16_000
    assert shown(list(made.due())) == [(32_000, 48_000)]
    assert made.paced
    made.consumed = 9 * SECOND
    assert shown(list(made.due())) == [(48_000, 160_000)]
    assert not made.paced
    made.push(silence(10 * SECOND))
    assert shown(list(made.due())) == [(160_000, 320_000)]


def test_a_language_is_set_again_before_the_step_it_was_set_before() -> None:
    """The step is that on samples 2,760 to 5,320: with the language it must not have all of them before."""
    made = log()
    made.push(silence(2_800))
    list(made.due())
    made.consumed = 1_480
    made.set_language("de-DE")
    made.push(silence(10_000))
    list(made.due())
    made.rewind(0, 0)
    (audio,) = made.due()
    assert isinstance(audio, SendAudio)
    assert audio.end < 4_040
    made.consumed = 1_480
    assert shown(list(made.due()))[0] == "de-DE"


def test_a_log_rewound_past_a_language_begins_with_it() -> None:
    made = log(1)
    made.set_language("de-DE")
    made.push(silence(SECOND))
    list(made.due())
    made.rewind(20_480, 20_480)
    assert made.language == "de-DE"
    assert shown(list(made.due())) == [(20_480, 32_000)]
    made.rewind(0, 0)
    assert made.language == "auto"


def test_old_requests_are_forgotten_with_their_audio() -> None:
    made = log(keep_s=1)
    for _ in range(50):
        made.push(silence(SECOND))
        made.set_language("de-DE")
        made.finalize()
        list(made.due())
        made.answer_final()
    assert len(made._requests) < 10
    made.rewind(made.audio.first, made.audio.first)
    assert made.language == "de-DE"


def test_silence_stands_before_the_place_to_begin_in() -> None:
    made = log()
    made.push(np.ones(10_000, np.float32))
    made.rewind(2_560, 4_000)
    assert made.read(2_560, 5_000).tolist() == [0.0] * 1_440 + [1.0] * 1_000
    assert made.read(5_000, 5_100).tolist() == [1.0] * 100
    assert made.audio.read(2_560, 4_000).tolist() == [1.0] * 1_440
