"""Finals in mid-stream, against NeMo's offline forward and against the end of the same audio."""

import numpy as np
import pytest

from engine.api import SessionOptions
from engine.checkpoint.weights import Checkpoint
from engine.engine import Engine
from testing import audio
from testing.oracle import NemoReference
from tests.engine.listener import Listener, exact, settle, spoken
from tests.engine.offline import offline


@pytest.mark.parametrize("chunk_ms", [80, 160, 1_120])
def test_a_final_in_mid_stream_equals_the_end_of_that_audio(
    plain: Checkpoint, plain_reference: NemoReference, chunk_ms: int
) -> None:
    signal = audio.babble(4.0, 41)
    for mark in (0, 1, 12_345, 32_000, 40_001):
        engine = exact(plain, max_sessions=1)
        listener = Listener(engine)
        session = engine.open(SessionOptions(chunk_ms))
        engine.push(session, signal[:mark])
        engine.finalize(session)
        settle(engine)
        (final,) = listener.finals[session]
        assert spoken(final) == offline(plain_reference, plain, signal[:mark], chunk_ms, "auto"), mark


def test_a_final_holds_only_what_was_pushed_before_it(plain: Checkpoint, plain_reference: NemoReference) -> None:
    """Audio that arrives between the request and the engine's next step is not part of that final."""
    signal = audio.babble(4.0, 42)
    engine = exact(plain, max_sessions=1)
    listener = Listener(engine)
    session = engine.open(SessionOptions(160))
    engine.push(session, signal[:20_000])
    engine.finalize(session)
    engine.push(session, signal[20_000:60_000])
    engine.close(session)
    settle(engine)
    first, last = listener.finals[session]
    assert spoken(first) == offline(plain_reference, plain, signal[:20_000], 160, "auto")
    assert spoken(last) == offline(plain_reference, plain, signal[:60_000], 160, "auto")


@pytest.mark.parametrize("chunk_ms", [80, 560])
def test_finals_leave_the_session_as_it_was(plain: Checkpoint, plain_reference: NemoReference, chunk_ms: int) -> None:
    """However often one is asked for, also before what the last one foretold has come or failed to come."""
    signal = audio.babble(5.0, 43)
    options = SessionOptions(chunk_ms, "es-US")
    engine = exact(plain, max_sessions=2)
    listener = Listener(engine)
    session, other = engine.open(options), engine.open(options)
    marks: list[int] = []
    for number, at in enumerate(range(0, len(signal), 1_600)):
        engine.push(session, signal[at : at + 1_600])
        engine.push(other, signal[at : at + 1_600])
        if number % 3 == 0:
            engine.finalize(session)
            marks.append(at + 1_600)
        settle(engine)
    engine.close(session)
    engine.close(other)
    settle(engine)
    assert spoken(listener.words[session]) == spoken(listener.words[other])
    for mark, final in zip([*marks, len(signal)], listener.finals[session], strict=True):
        assert spoken(final) == offline(plain_reference, plain, signal[:mark], chunk_ms, "es-US"), mark


def test_words_of_a_final_are_not_told_again(demo_engine: Engine) -> None:
    """The session goes on over a sentence that its final has told: nothing of it is repeated while it stays true."""
    engine = demo_engine
    listener = Listener(engine)
    session = engine.open(SessionOptions(160))
    sentence = np.concatenate([audio.speech(0), np.zeros(8_000, np.float32)])
    for at in range(0, len(sentence), 1_600):
        engine.push(session, sentence[at : at + 1_600])
        settle(engine)
    engine.finalize(session)
    settle(engine)
    (final,) = listener.finals[session]
    assert len(final) > 5
    told = len(listener.hypotheses[session])
    engine.push(session, np.zeros(32_000, np.float32))
    settle(engine)
    assert listener.hypotheses[session][told:] == []
    engine.push(session, audio.speech(1))
    engine.close(session)
    settle(engine)
    later = listener.hypotheses[session][told:]
    assert later
    assert min(hypothesis.first for hypothesis in later) >= len(final)
    assert tuple(listener.words[session][: len(final)]) == final


def test_many_finals_at_once_are_all_answered(plain: Checkpoint) -> None:
    """More sessions ask than the engine has spare slots, and one asks three times."""
    engine = exact(plain, max_sessions=12)
    listener = Listener(engine)
    sessions = [engine.open(SessionOptions(160)) for _ in range(12)]
    for number, session in enumerate(sessions):
        engine.push(session, audio.babble(1.0, 60 + number))
        engine.finalize(session)
    engine.finalize(sessions[0])
    engine.finalize(sessions[0])
    settle(engine)
    assert [len(listener.finals[session]) for session in sessions] == [3] + [1] * 11
    first, second, third = map(spoken, listener.finals[sessions[0]])
    assert first == second == third
