"""Any order of what callers may do: whatever happens around a session, it says what it says alone."""

from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engine.api import Session, SessionOptions
from engine.checkpoint.find import load_checkpoint
from engine.checkpoint.weights import Checkpoint
from engine.errors import EngineFull
from engine.executor import flush_samples
from testing import audio
from testing.oracle import FRAME, NemoReference
from testing.shapes import NARROW
from tests.engine.conftest import MakeCheckpoint
from tests.engine.listener import Listener, Spoken, assembled, exact, settle, spoken

CLASSES = (80, 160, 560)
LANGUAGES = ("auto", "de-DE")
SIGNAL = 5

Wanted = Callable[[int, int, str, int], list[Spoken]]

steps = st.one_of(
    st.tuples(st.just("open"), st.sampled_from(CLASSES), st.sampled_from(LANGUAGES)),
    st.tuples(st.just("push"), st.integers(0, 5), st.integers(1, 9_000)),
    st.tuples(st.just("push"), st.integers(0, 5), st.integers(1, 9_000)),
    st.tuples(st.just("finalize"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("close"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("step"), st.integers(1, 4), st.just(0)),
)


class World:
    """The checkpoint, and the words of (signal, chunk_ms, language, samples) by NeMo. No dataclass: those are printed
    in full, weights included, when a test fails."""

    def __init__(self, checkpoint: Checkpoint, wanted: Wanted) -> None:
        self.checkpoint = checkpoint
        self.wanted = wanted


@pytest.fixture(scope="module")
def world(made: MakeCheckpoint) -> World:
    checkpoint, reference = load_checkpoint(made(NARROW).nemo), NemoReference(made(NARROW).model)

    @cache
    def say(number: int, chunk_ms: int, language: str, samples: int) -> list[Spoken]:
        if samples == 0:
            return []
        frames = (samples + flush_samples(samples, chunk_ms) - 200) // FRAME + 1
        signal = audio.babble(SIGNAL, 400 + number)[:samples]
        return assembled(checkpoint.tokenizer, reference.tokens(signal, frames, chunk_ms // 80, language))

    return World(checkpoint, say)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(steps, min_size=8, max_size=40))
@example(  # the session writes a foretold token one frame earlier than its final did
    script=[("open", 80, "auto")] * 2
    + [("finalize", 0, 0)] * 2
    + [("close", 0, 0), ("push", 0, 44), ("finalize", 0, 0), ("push", 0, 72)]
)
def test_sessions_never_notice_one_another(world: World, script: list[tuple[str, int, int | str]]) -> None:
    engine = exact(world.checkpoint, max_sessions=3)
    listener = Listener(engine)
    options: dict[Session, SessionOptions] = {}
    numbers: dict[Session, int] = {}
    sent: dict[Session, int] = {}
    marks: dict[Session, list[int]] = {}
    alive: list[Session] = []
    for action, first, second in script:
        if action == "open":
            option = SessionOptions(first, str(second))
            if len(options) - len(listener.closed) >= 3:
                with pytest.raises(EngineFull):
                    engine.open(option)
                continue
            session = engine.open(option)
            options[session], numbers[session], sent[session], marks[session] = option, len(numbers) % 3, 0, []
            alive.append(session)
        elif action == "step":
            for _ in range(first):
                engine.step()
        elif alive:
            session = alive[first % len(alive)]
            if action == "push":
                end = min(sent[session] + int(second), SIGNAL * audio.RATE)
                engine.push(session, audio.babble(SIGNAL, 400 + numbers[session])[sent[session] : end])
                sent[session] = end
            else:
                marks[session].append(sent[session])
                if action == "close":
                    engine.close(session)
                    alive.remove(session)
                else:
                    engine.finalize(session)
    for session in alive:
        marks[session].append(sent[session])
        engine.close(session)
    settle(engine)
    assert sorted(listener.closed, key=lambda s: s.id) == list(options)
    for session, option in options.items():
        finals = [spoken(final) for final in listener.finals[session]]
        wanted = [world.wanted(numbers[session], option.chunk_ms, option.language, mark) for mark in marks[session]]
        assert finals == wanted
