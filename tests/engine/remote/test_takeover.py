"""An engine that takes over: whatever the moment, words, finals and ends are those of an engine that was never lost.

Both sides are in memory and the engine is stepped by hand, so that it can be lost between any two of its steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.api import AUTO, Session, SessionOptions
from engine.checkpoint.weights import Checkpoint
from tests.engine.listener import exact
from tests.engine.remote.audio import legs
from tests.engine.remote.pair import Pair, Reader, plain

PACKET = 3_200
"""Samples pushed at once: 0.2 s."""


@dataclass(frozen=True)
class Script:
    """One session: audio from `begin_s` on for `seconds` of a leg of the call; finals and languages at packets."""

    leg: int = 0
    begin_s: float = 0.0
    seconds: float = 14.0
    chunk_ms: int = 160
    language: str = AUTO
    finals: tuple[int, ...] = (31, 57)
    languages: tuple[tuple[int, str], ...] = ()

    @property
    def options(self) -> SessionOptions:
        return SessionOptions(self.chunk_ms, self.language)

    @property
    def packets(self) -> list[NDArray[np.float32]]:
        pcm = legs()[self.leg][int(self.begin_s * 16_000) : int((self.begin_s + self.seconds) * 16_000)]
        return [pcm[at : at + PACKET] for at in range(0, len(pcm), PACKET)]


SPANISH = Script()
ENGLISH = Script(leg=1, chunk_ms=80, finals=(14, 66))
CONFIGURED = Script(language="es-US")
CHANGED = Script(begin_s=30.0, language="es-US", languages=((18, AUTO), (40, "en-US")))
SLOW = Script(leg=1, chunk_ms=1120)


class Undisturbed:
    """What an engine says to a script alone, in one process."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.of: Callable[[Script], tuple[Reader, Session]] = cache(self._run)
        self._checkpoint = checkpoint

    def _run(self, script: Script) -> tuple[Reader, Session]:
        engine, reader = exact(self._checkpoint, max_sessions=1), Reader()
        engine.subscribe(reader.receive)
        session = engine.open(script.options)
        for number, packet in enumerate(script.packets):
            engine.push(session, packet)
            for at, language in script.languages:
                if at == number:
                    engine.set_language(session, language)
            if number in script.finals:
                engine.finalize(session)
            while engine.step():
                pass
        engine.close(session)
        while engine.step():
            pass
        return reader, session


@pytest.fixture(scope="module")
def undisturbed(checkpoint: Checkpoint) -> Undisturbed:
    return Undisturbed(checkpoint)


@dataclass
class Play:
    """Scripts played at the same time. The engine is lost after so many `steps`, `lost` with the news of the last; the
    next one is there `down` packets later."""

    pair: Pair
    scripts: Sequence[Script]
    losses: Sequence[int] = ()
    down: int = 0
    lost: bool = False
    steps: int = 0
    back_at: int | None = None
    sessions: list[Session] = field(default_factory=list)

    def run(self) -> None:
        client = self.pair.client
        self.sessions = [client.open(script.options) for script in self.scripts]
        for number, packets in enumerate(zip(*(script.packets for script in self.scripts), strict=True)):
            if self.back_at is not None and number >= self.back_at:
                self.back()
            for session, script, packet in zip(self.sessions, self.scripts, packets, strict=True):
                client.push(session, packet)
                for at, language in script.languages:
                    if at == number:
                        client.set_language(session, language)
                if number in script.finals:
                    client.finalize(session)
            self.settle(number)
        for session in self.sessions:
            client.close(session)
        if self.back_at is not None:
            self.back()
        self.settle(0)
        if self.back_at is not None:
            self.back()
            self.settle(0)

    def settle(self, number: int) -> None:
        if self.back_at is not None:
            return
        while True:
            if self.steps + 1 in self.losses:
                self.pair.deaf = self.lost
            if not self.pair.step():
                return
            self.steps += 1
            if self.steps in self.losses:
                self.pair.kill()
                self.back_at = number + self.down
                if self.down:
                    return
                self.back()

    def back(self) -> None:
        self.back_at = None
        self.pair.restart()


def check(play: Play, undisturbed: Undisturbed) -> None:
    """Nothing was lost, repeated, taken back or told in another way."""
    reader = play.pair.reader
    assert sorted(reader.closed, key=lambda session: session.id) == play.sessions
    for session, script in zip(play.sessions, play.scripts, strict=True):
        wanted, key = undisturbed.of(script)
        assert list(map(plain, reader.words[session])) == list(map(plain, wanted.words[key]))
        finals = [[plain(word) for word in final] for final in reader.finals[session]]
        assert finals == [[plain(word) for word in final] for final in wanted.finals[key]]
        states = iter(wanted.states[key])
        for state in reader.states[session]:
            assert state in states, "told what an undisturbed engine does not tell, or in another order"


def test_a_remote_engine_tells_what_one_in_the_process_tells(checkpoint: Checkpoint, undisturbed: Undisturbed) -> None:
    play = Play(Pair(checkpoint), (SPANISH, ENGLISH, CONFIGURED, CHANGED, SLOW))
    play.run()
    check(play, undisturbed)
    for session, script in zip(play.sessions, play.scripts, strict=True):
        wanted, key = undisturbed.of(script)
        assert len(play.pair.reader.states[session]) == len(wanted.states[key])


@pytest.fixture(scope="module")
def steps(checkpoint: Checkpoint) -> int:
    """Steps that the engine takes for the two scripts of the next test."""
    play = Play(Pair(checkpoint), (SPANISH, ENGLISH))
    play.run()
    return play.steps


@pytest.mark.parametrize("moment", [0.01, 0.13, 0.26, 0.41, 0.47, 0.62, 0.78, 0.93, 0.99])
@pytest.mark.parametrize("lost", [False, True], ids=["sent", "unsent"])
def test_words_and_finals_are_the_same_whenever_the_engine_is_lost(
    checkpoint: Checkpoint, undisturbed: Undisturbed, steps: int, moment: float, lost: bool
) -> None:
    play = Play(Pair(checkpoint), (SPANISH, ENGLISH), [max(1, int(moment * steps))], lost=lost)
    play.run()
    check(play, undisturbed)


@pytest.mark.parametrize("loss", [25, 46, 82, 130])
def test_every_class_and_way_of_choosing_the_language_survives(
    checkpoint: Checkpoint, undisturbed: Undisturbed, loss: int
) -> None:
    play = Play(Pair(checkpoint), (CONFIGURED, CHANGED, SLOW), [loss])
    play.run()
    check(play, undisturbed)


@pytest.mark.parametrize(("loss", "down"), [(40, 12), (90, 7), (150, 60)])
def test_what_comes_while_there_is_no_engine_is_heard_later(
    checkpoint: Checkpoint, undisturbed: Undisturbed, loss: int, down: int
) -> None:
    play = Play(Pair(checkpoint), (SPANISH, CHANGED), [loss], down=down)
    play.run()
    check(play, undisturbed)


def test_engines_may_be_lost_again_before_they_have_caught_up(checkpoint: Checkpoint, undisturbed: Undisturbed) -> None:
    play = Play(Pair(checkpoint), (SPANISH, ENGLISH), [60, 61, 65, 80, 110, 200], lost=True)
    play.run()
    check(play, undisturbed)
