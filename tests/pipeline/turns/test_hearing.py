"""Voice activity of many legs together is that of each by itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.turns.hearing import CONTEXT, RESET_WINDOWS, WINDOW, Frame, Hearing, hear

Floats = NDArray[np.float32]


class CountingVad:
    """Says the loudness of a window; its state counts the windows. `rows`: of each call."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.contexts: list[Floats] = []

    def __call__(self, windows: Floats, state: Floats) -> tuple[Floats, Floats]:
        assert windows.shape == (len(windows), CONTEXT + WINDOW)
        assert state.shape == (2, len(windows), 128)
        self.rows.append(len(windows))
        self.contexts.append(windows[0, :CONTEXT])
        return np.abs(windows[:, CONTEXT:]).max(axis=1), state + 1


def speech(*levels: float) -> Floats:
    return np.repeat(np.array(levels, np.float32)[:, None], WINDOW, axis=1)


def test_legs_are_heard_in_one_batch_and_keep_their_own_past() -> None:
    vad, first, second = CountingVad(), Hearing(), Hearing()
    heard = hear(vad, [(first, speech(0.5, 0.6)), (second, speech(0.7))])
    assert [[frame.speech for frame in one] for one in heard] == [pytest.approx([0.5, 0.6]), pytest.approx([0.7])]
    assert vad.rows == [2, 1]
    assert (vad.contexts[1] == np.float32(0.5)).all()
    assert (first.state == 2).all()
    assert (second.state == 1).all()


def test_what_cannot_be_heard_is_not_asked_about() -> None:
    vad, leg = CountingVad(), Hearing()
    assert hear(vad, [(leg, speech(0.0, 1e-4))]) == [[Frame(0.0), Frame(0.0)]]
    assert vad.rows == []


def test_the_state_is_begun_anew_in_silence_but_not_in_speech() -> None:
    leg = Hearing()
    hear(CountingVad(), [(leg, speech(*[0.5] * (RESET_WINDOWS + 10)))])
    assert (leg.state == RESET_WINDOWS + 10).all()
    hear(CountingVad(), [(leg, speech(*[0.05] * 5))])
    assert (leg.state == 0).all()
    assert (leg.context == 0).all()


@given(st.lists(st.lists(st.floats(0, 1), max_size=6), max_size=5))
def test_no_leg_depends_on_another(levels: list[list[float]]) -> None:
    legs = [speech(*one) if one else np.zeros((0, WINDOW), np.float32) for one in levels]
    together = hear(CountingVad(), [(Hearing(), one) for one in legs])
    assert together == [hear(CountingVad(), [(Hearing(), one)])[0] for one in legs]


def test_silence_is_known_by_its_level_whatever_the_model_says() -> None:
    def sure(windows: Floats, state: Floats) -> tuple[Floats, Floats]:
        return np.full(len(windows), 0.9, np.float32), state

    levels = [0.004] * 3 + [0.3] * 10 + [0.005, 0.1, 0.005]
    (heard,) = hear(sure, [(Hearing(), speech(*levels))])
    assert [frame.speech for frame in heard[3:]] == pytest.approx([0.9] * 10 + [0.0, 0.9, 0.0])


def test_levels_that_are_close_say_nothing() -> None:
    def sure(windows: Floats, state: Floats) -> tuple[Floats, Floats]:
        return np.full(len(windows), 0.9, np.float32), state

    (heard,) = hear(sure, [(Hearing(), speech(0.1, 0.3, 0.1, 0.3, 0.1))])
    assert [frame.speech for frame in heard] == pytest.approx([0.9] * 5)


def test_voiced_windows_have_their_pitch() -> None:
    def sure(windows: Floats, state: Floats) -> tuple[Floats, Floats]:
        return np.full(len(windows), 0.9, np.float32), state

    time = np.arange(10 * WINDOW) / 16_000
    overtones = np.array([np.sin(2 * np.pi * 200 * k * time) for k in range(2, 12)], np.float32)
    buzz = np.float32(0.02) * overtones.sum(axis=0)
    (heard,) = hear(sure, [(Hearing(), buzz.reshape(-1, WINDOW))])
    tones = [frame.tone.semitones for frame in heard[2:] if frame.tone]
    assert tones == pytest.approx([12.0] * 8, abs=0.3)
