"""Language lock: the rule by itself, and sessions of the whole engine that have one, on the demo call."""

from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from engine.api import AUTO, LanguageSource, Session, SessionOptions, Word
from engine.checkpoint.find import load_checkpoint
from engine.checkpoint.weights import Checkpoint
from engine.engine import Engine
from engine.executor import StepExecutor
from engine.sessions.language_lock import LanguageLock, Move, Rewrite, TimedToken
from engine.sessions.stream import Stream
from engine.sessions.transcript import Transcript
from testing.audio import Audio
from testing.streams import window
from tests.engine.listener import Listener, settle, spoken, transcribe

CALL = Path(__file__).parents[3] / "trunkline" / "demo" / "call.wav"
FREE, LOCKED = SessionOptions(160, AUTO), SessionOptions(160, AUTO, language_lock=True)
PACKET = 2_560
RATE = 16_000
SPANISH, ENGLISH, FRENCH = 1, 2, 3
TAGS = {SPANISH: ("es-US", 31), ENGLISH: ("en-US", 32), FRENCH: ("fr-FR", 33)}


@pytest.fixture(scope="module")
def demo() -> Checkpoint:
    return load_checkpoint()


@pytest.fixture(scope="module")
def legs() -> list[Audio]:
    """The caller, who changes from Spanish to English after half a minute, and the agent, who speaks English."""
    samples, rate = soundfile.read(CALL, dtype="float32")
    return [np.ascontiguousarray(leg) for leg in soxr.resample(samples, rate, RATE).T.astype(np.float32)]


def seconds(leg: Audio, start: float, end: float) -> Audio:
    return leg[int(start * RATE) : int(end * RATE)]


# The rule ----------------------------------------------------------------------------------------------------------


def said(token: int, frame: int) -> TimedToken:
    return TimedToken(token, frame, 0.5)


def say(lock: LanguageLock, *tokens: tuple[int, int]) -> tuple[Move | None, Rewrite | None]:
    """One step in which `auto` wrote these tokens at these frames."""
    for token, frame in tokens:
        lock.add(said(token, frame))
    return lock.decide()


def test_the_first_tag_locks_and_has_the_decoder_watched() -> None:
    lock = LanguageLock(TAGS)
    assert say(lock, (10, 0), (11, 1)) == (None, None)
    assert not lock.is_locked
    assert say(lock, (12, 2), (SPANISH, 5), (13, 6)) == (Move.START_WATCHER, None)
    assert (lock.prompt, lock.since) == (31, 5)


def test_tags_of_the_locked_language_change_no_words() -> None:
    lock = LanguageLock(TAGS)
    say(lock, (SPANISH, 5))
    assert say(lock, (10, 7), (SPANISH, 9), (11, 12)) == (None, None)
    assert (lock.prompt, lock.since) == (31, 9)


def test_another_tag_moves_the_lock_and_brings_the_words_since_the_tag_before() -> None:
    lock = LanguageLock(TAGS)
    say(lock, (10, 1), (SPANISH, 5), (11, 6))
    assert say(lock, (12, 8)) == (None, None)
    move, rewrite = say(lock, (ENGLISH, 11), (13, 12))
    assert move is Move.ADOPT_WATCHER
    assert rewrite == Rewrite(5, "es-US", (said(11, 6), said(12, 8), said(ENGLISH, 11), said(13, 12)))
    assert (lock.prompt, lock.since) == (32, 11)
    assert say(lock, (14, 15), (ENGLISH, 17)) == (None, None)


def test_several_tags_in_a_step_end_with_the_last() -> None:
    lock = LanguageLock(TAGS)
    say(lock, (SPANISH, 5))
    move, rewrite = say(lock, (10, 6), (SPANISH, 7), (11, 8), (ENGLISH, 9), (12, 10), (FRENCH, 11))
    assert move is Move.ADOPT_WATCHER
    assert rewrite == Rewrite(7, "es-US", (said(11, 8), said(ENGLISH, 9), said(12, 10), said(FRENCH, 11)))
    assert (lock.prompt, lock.since) == (33, 11)


def test_a_tag_without_a_prompt_neither_locks_nor_moves() -> None:
    lock = LanguageLock({SPANISH: TAGS[SPANISH]})
    assert say(lock, (ENGLISH, 3)) == (None, None)
    say(lock, (SPANISH, 5))
    assert say(lock, (ENGLISH, 7)) == (None, None)
    assert lock.prompt == 31


def test_a_watcher_that_never_tags_costs_no_memory() -> None:
    lock = LanguageLock(TAGS)
    say(lock, (SPANISH, 0))
    for frame in range(1, 10_000):
        say(lock, (10, frame))
    _, rewrite = say(lock, (ENGLISH, 10_000))
    assert rewrite is not None
    assert len(rewrite.tokens) <= 1_025
    assert rewrite.after == rewrite.tokens[0].frame - 1


def test_a_fork_goes_on_by_itself() -> None:
    lock = LanguageLock(TAGS)
    say(lock, (SPANISH, 5), (10, 6))
    twin = lock.clone()
    assert say(twin, (ENGLISH, 8))[0] is Move.ADOPT_WATCHER
    assert say(lock, (SPANISH, 8)) == (None, None)


def test_the_fork_of_a_locked_stream_moves_by_itself_and_foretells_what_it_rewrote(demo: Checkpoint) -> None:
    spanish, english = (
        next(token for token, piece in enumerate(demo.tokenizer.pieces) if piece.text == tag and not piece.spaced)
        for tag in ("es-US", "en-US")
    )
    stream = Stream(Session(0, 0, 1, 160), 0, 101, Transcript(demo.tokenizer, None))
    stream.lock = LanguageLock({spanish: ("es-US", 3), english: ("en-US", 0)})
    stream.audio.append(np.zeros(RATE, np.float32))
    stream.chunks = 1
    stream.add_token(spanish, 0, 0.9)
    assert stream.update_lock() is Move.START_WATCHER
    stream.marks.append(stream.audio.end)
    twin = stream.clone(1)
    assert twin.lock is not None
    twin.chunks = 2
    twin.add_watcher_token(stream.lock, spanish, 0, 0.9)  # the watcher of another lock
    twin.add_watcher_token(twin.lock, english, 0, 0.9)
    assert twin.update_lock() is Move.ADOPT_WATCHER
    assert twin.reported_ahead == [Rewrite(0, "es-US", (said(english, 2),))]
    assert (stream.prompt, twin.prompt) == (3, 0)
    assert stream.update_lock() is None


# Sessions ----------------------------------------------------------------------------------------------------------


def told_language(words: list[Word]) -> str | None:
    """Language of the first tag."""
    return next((word.language for word in words if word.language_source is LanguageSource.DETECTED), None)


def test_a_leg_in_one_language_is_heard_as_under_its_own_prompt_after_the_first_tag(
    demo: Checkpoint, legs: list[Audio]
) -> None:
    audio = seconds(legs[1], 0, 50)
    (locked,) = transcribe(Engine(demo, max_sessions=1), [(audio, LOCKED)], PACKET)
    (free,) = transcribe(Engine(demo, max_sessions=1), [(audio, FREE)], PACKET)
    engine = Engine(demo, max_sessions=1)
    listener = Listener(engine)
    session, given = engine.open(FREE), False
    for at in range(0, len(audio), PACKET):
        engine.push(session, audio[at : at + PACKET])
        settle(engine)
        if not given and told_language(listener.words[session]) == "en-US":
            engine.set_language(session, "en-US")
            given = True
    engine.close(session)
    settle(engine)
    assert spoken(locked) == spoken(listener.words[session])
    confidences = [[word.confidence for word in words] for words in (locked, listener.words[session], free)]
    assert confidences[0] == pytest.approx(confidences[1], abs=1e-5)
    assert confidences[0] != pytest.approx(confidences[2], abs=1e-3), "the prompt made no difference"


def test_a_leg_that_changes_its_language_is_followed_with_the_watchers_words(
    demo: Checkpoint, legs: list[Audio]
) -> None:
    """Before the change the language's own prompt may bring other words than `auto`, and more of them."""
    audio = seconds(legs[0], 14, 48)
    engine = Engine(demo, max_sessions=3)
    listener = Listener(engine)
    free, locked, guided = engine.open(FREE), engine.open(LOCKED), engine.open(FREE)
    foreign = 0.0
    for at in range(0, len(audio), PACKET):
        for session in (free, locked, guided):
            engine.push(session, audio[at : at + PACKET])
        settle(engine)
        if listener.words[guided] and listener.words[guided][-1].language == "en-US":
            engine.set_language(guided, "en-US")
        last = [listener.words[session][-1:] for session in (free, locked)]
        if all(last) and last[1][0].language_source is not LanguageSource.DETECTED:
            foreign = max(foreign, abs(last[0][0].confidence - last[1][0].confidence))
    for session in (free, locked, guided):
        engine.close(session)
    settle(engine)
    assert foreign > 0.01, "the wrong prompt made no difference before the tag"
    wanted, found = listener.words[free], listener.words[locked]
    assert {word.language_source for word in found} == {LanguageSource.DETECTED}
    changes = [[language for language, _ in groupby(word.language for word in words)] for words in (wanted, found)]
    assert changes == [["es-US", "en-US"]] * 2
    first = [[word for word in words if word.language == "en-US"][:10] for words in (wanted, found)]
    assert spoken(first[0]) == spoken(first[1])
    confidences = [[word.confidence for word in words] for words in first]
    assert confidences[0] == pytest.approx(confidences[1], abs=1e-5), "not the watcher's words"
    told = listener.words[guided]
    assert spoken(told)[-12:] == spoken(found)[-12:]
    assert [word.confidence for word in told][-12:] == pytest.approx([w.confidence for w in found][-12:], abs=1e-5), (
        "the decoder did not take over the watcher's state"
    )


def test_a_locked_session_changes_nothing_for_the_others_in_its_batch(demo: Checkpoint, legs: list[Audio]) -> None:
    calls = [(seconds(legs[0], 14, 40), FREE), (seconds(legs[1], 0, 26), SessionOptions(160, "en-US"))]
    alone = transcribe(Engine(demo, max_sessions=2), calls)
    company = [(seconds(legs[0], 14, 40), LOCKED), (seconds(legs[0], 10, 36), LOCKED)]
    together = transcribe(Engine(demo, max_sessions=4), [calls[0], company[0], calls[1], company[1]])
    assert [spoken(words) for words in (together[0], together[2])] == [spoken(words) for words in alone]


def test_without_a_lock_there_are_no_watchers(
    demo: Checkpoint, legs: list[Audio], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a watcher")

    for name in ("start_watcher", "step_watchers", "adopt_watcher"):
        monkeypatch.setattr(StepExecutor, name, never)
    calls = [(seconds(legs[1], 0, 6), FREE), (seconds(legs[1], 0, 6), replace(LOCKED, language="en-US"))]
    free, configured = transcribe(Engine(demo, max_sessions=2), calls)
    assert told_language(free) == told_language(configured) == "en-US"


def test_a_final_is_what_the_end_would_have_brought_and_does_not_disturb_the_lock(
    demo: Checkpoint, legs: list[Audio]
) -> None:
    """Finals asked for around the change of language, before and after its tag."""
    audio = seconds(legs[0], 22, 48)
    asked = [int(at * RATE) for at in (3.1, 9.5, 13.9, 15.3, 15.7, 16.1, 16.4, 20.6)]
    engine = Engine(demo, max_sessions=1)
    listener = Listener(engine)
    session = engine.open(LOCKED)
    for begin, end in zip([0, *asked], [*asked, len(audio)], strict=True):
        engine.push(session, audio[begin:end])
        settle(engine)
        if end in asked:
            engine.finalize(session)
            settle(engine)
    engine.close(session)
    settle(engine)
    ends = [*asked, len(audio)]
    closed = transcribe(Engine(demo, max_sessions=len(ends)), [(audio[:end], LOCKED) for end in ends])
    assert len(listener.finals[session]) == len(ends)
    for end, final, wanted in zip(ends, listener.finals[session], closed, strict=True):
        assert spoken(final) == spoken(wanted), f"at {end / RATE} s"
        assert [word.language for word in final] == [word.language for word in wanted]
        confidences = [[word.confidence for word in words] for words in (final, wanted)]
        assert confidences[0] == pytest.approx(confidences[1], abs=1e-4), f"at {end / RATE} s"
    assert {word.language for word in listener.words[session]} == {"es-US", "en-US"}


def run(engine: Engine, session: Session, audio: Audio) -> None:
    for at in range(0, len(audio), PACKET):
        engine.push(session, audio[at : at + PACKET])
        settle(engine)


def test_a_language_that_is_set_ends_the_lock_and_auto_begins_a_new_one(demo: Checkpoint, legs: list[Audio]) -> None:
    def words(options: SessionOptions, *, back_to_auto: bool) -> list[Word]:
        engine = Engine(demo, max_sessions=1)
        listener = Listener(engine)
        session = engine.open(options)
        run(engine, session, seconds(legs[0], 14, 24))
        engine.set_language(session, "es-US")
        run(engine, session, seconds(legs[0], 24, 30))
        if back_to_auto:
            engine.set_language(session, AUTO)
        run(engine, session, seconds(legs[0], 30, 48))
        engine.close(session)
        settle(engine)
        return listener.words[session]

    configured, free = words(LOCKED, back_to_auto=False), words(FREE, back_to_auto=False)
    assert spoken(configured)[-8:] == spoken(free)[-8:]
    again = words(LOCKED, back_to_auto=True)
    assert [word.language for word in again if word.start > 24] == ["en-US"] * sum(word.start > 24 for word in again)


@pytest.mark.parametrize("chunk_ms", [80, 1_120])
def test_the_watcher_writes_what_auto_would_however_steps_are_made(
    demo: Checkpoint, legs: list[Audio], chunk_ms: int
) -> None:
    """On the path of a CPU and on that of a device: rows under a wrong prompt, watched with the right one."""
    frames, auto = chunk_ms // 80, demo.config.prompt.dictionary[AUTO] if demo.config.prompt else 0
    silence = np.zeros(int(1.3 * RATE), np.float32)  # a first chunk in which nobody says anything under any prompt
    parts = [np.concatenate([silence, part]) for part in (seconds(legs[1], 0, 6), seconds(legs[0], 2.5, 8.5))]
    chunks = 7_000 // chunk_ms
    wanted: list[list[tuple[int, int, int]]] = []
    for static in (False, True):
        plain, watched = (StepExecutor(demo, {chunk_ms: 3}, max_batch=2, static=static) for _ in range(2))
        auto_said, of_watcher = [], []
        for chunk in range(chunks):
            audio = np.stack([window(part, chunk, frames) for part in parts])
            spoke = plain.step(chunk_ms, audio, [0, 1], [chunk] * 2, [auto] * 2)
            auto_said += [(chunk, one.token, one.frame) for one in spoke if one.row == 1]
            watched.step(chunk_ms, audio, [0, 1], [chunk] * 2, [8, 8])
            if chunk == 0:
                watched.start_watcher(chunk_ms, 1)
            else:
                emissions = watched.step_watchers(chunk_ms, [1], [1], auto)
                of_watcher += [(chunk, one.token, one.frame) for one in emissions]
        assert len(of_watcher) > 10
        assert of_watcher == auto_said
        wanted.append(of_watcher)
    assert wanted[0] == wanted[1]


def test_a_stream_that_follows_its_watcher_goes_on_as_if_it_had_never_been_locked(
    demo: Checkpoint, legs: list[Audio]
) -> None:
    auto = demo.config.prompt.dictionary[AUTO] if demo.config.prompt else 0
    sound, english, turn = seconds(legs[0], 14, 24), 0, 21  # Spanish, which English writes otherwise
    plain, locked = StepExecutor(demo, {160: 1}), StepExecutor(demo, {160: 1})

    def step(executor: StepExecutor, chunk: int, prompt: int) -> list[tuple[int, int, float]]:
        said = executor.step(160, window(sound, chunk, 2)[None], [0], [chunk], [prompt])
        return [(one.token, one.frame, one.probability) for one in said]

    differs = False
    for chunk in range(turn):
        differs = step(plain, chunk, auto) != step(locked, chunk, english) or differs
        if chunk == 0:
            locked.start_watcher(160, 0)
        else:
            locked.step_watchers(160, [0], [0], auto)
    assert differs, "the wrong prompt changes nothing"
    locked.adopt_watcher(160, 0)
    wanted = [step(plain, chunk, auto) for chunk in range(turn, 60)]
    assert sum(map(len, wanted)) > 10
    assert [step(locked, chunk, auto) for chunk in range(turn, 60)] == wanted
