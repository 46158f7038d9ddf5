"""A gateway's sessions: how they go over the wire together, and what becomes of them without an engine."""

import numpy as np
import pytest

from engine.api import AUTO, FaultReason, SessionOptions
from engine.checkpoint.weights import Checkpoint
from engine.errors import EngineFull, SessionClosed, UnknownChunk, UnknownLocale
from engine.remote.exchange import Gateway
from engine.remote.wire import VERSION, Greeting, Open, Opened, Push, SetLanguage
from tests.engine.remote.audio import legs
from tests.engine.remote.pair import Pair

OPTIONS = SessionOptions(80)
NOTHING = np.zeros(320, np.float32)


def speech(seconds: float) -> np.ndarray:
    return legs()[0][int(2.5 * 16_000) : int((2.5 + seconds) * 16_000)]


def test_audio_of_all_sessions_goes_in_one_message(checkpoint: Checkpoint) -> None:
    pair = Pair(checkpoint)
    sessions = [pair.client.open(OPTIONS) for _ in range(5)]
    pair.send()
    for _ in range(2):
        for session in sessions:
            pair.client.push(session, NOTHING)
    (push,) = pair.client.collect()
    assert isinstance(push, Push)
    assert push.lengths == [640] * 5
    assert not pair.client.has_outgoing


def test_options_travel_as_a_whole(checkpoint: Checkpoint) -> None:
    pair = Pair(checkpoint)
    options = SessionOptions(160, "es-US", language_lock=True)
    pair.client.open(options)
    (message,) = pair.client.collect()
    assert isinstance(message, Open)
    assert message.options == options


def test_mistakes_are_told_at_once(checkpoint: Checkpoint) -> None:
    client = Pair(checkpoint).client
    with pytest.raises(UnknownChunk, match="this checkpoint has 80, 160"):
        client.open(SessionOptions(100))
    with pytest.raises(UnknownLocale, match="tlh-KX"):
        client.open(SessionOptions(80, "tlh-KX"))
    session = client.open(OPTIONS)
    with pytest.raises(UnknownLocale):
        client.set_language(session, "tlh-KX")
    client.close(session)
    for late in (client.close, client.finalize):
        with pytest.raises(SessionClosed):
            late(session)
    with pytest.raises(SessionClosed):
        client.push(session, NOTHING)


def test_a_full_engine_refuses_at_once_and_has_room_again_after_an_end(checkpoint: Checkpoint) -> None:
    pair = Pair(checkpoint, max_sessions=2)
    first, _ = pair.client.open(OPTIONS), pair.client.open(OPTIONS)
    with pytest.raises(EngineFull, match="try again later"):
        pair.client.open(OPTIONS)
    pair.client.close(first)
    pair.settle()
    assert pair.reader.closed == [first]
    pair.client.open(OPTIONS)


def test_sessions_of_other_gateways_count_as_soon_as_they_are_known(checkpoint: Checkpoint) -> None:
    pair = Pair(checkpoint, max_sessions=1)
    take_all(pair)
    pair.report_capacity()
    with pytest.raises(EngineFull):
        pair.client.open(OPTIONS)


def test_a_refusal_that_comes_late_ends_the_session(checkpoint: Checkpoint, caplog: pytest.LogCaptureFixture) -> None:
    pair = Pair(checkpoint, max_sessions=1)
    take_all(pair)
    session = pair.client.open(OPTIONS)
    pair.client.push(session, NOTHING)
    pair.settle()
    assert pair.reader.closed == [session]
    assert "all 1 sessions of the engine are in use" in caplog.text
    with pytest.raises(SessionClosed):
        pair.client.push(session, NOTHING)
    pair.report_capacity()
    assert pair.client.stats.refused == 2


def test_a_session_awaits_the_engines_word_and_hears_of_it(checkpoint: Checkpoint) -> None:
    pair = Pair(checkpoint, max_sessions=2)
    session = pair.client.open(OPTIONS)
    assert pair.client.awaits_answer(session)
    assert pair.reader.opened == []
    pair.send()
    assert not pair.client.awaits_answer(session)
    assert pair.reader.opened == [session]
    pair.client.push(session, speech(1.0))
    pair.client.close(session)
    pair.settle()
    assert pair.reader.closed == pair.reader.opened == [session]
    assert pair.reader.faults == {}


@pytest.mark.parametrize("retryable", [True, False])
def test_a_refusal_says_why_and_whether_it_is_for_good(checkpoint: Checkpoint, retryable: bool) -> None:
    pair = Pair(checkpoint, max_sessions=1)
    if retryable:
        take_all(pair)
    else:
        pair.engine._failure = RuntimeError("the device is gone")
    session = pair.client.open(OPTIONS)
    pair.send()
    fault = pair.reader.faults[session]
    assert (fault.reason, fault.retryable) == (FaultReason.REFUSED, retryable)
    assert fault.detail.startswith("all 1 sessions" if retryable else "the engine has failed (the device is gone)")
    assert pair.reader.closed == [session]
    assert not pair.client.awaits_answer(session)


def test_a_session_that_no_engine_has_taken_yet_is_new_to_the_next_one(checkpoint: Checkpoint) -> None:
    """It has no words that it could lose, and must not come in past the admission."""
    pair = Pair(checkpoint, max_sessions=4)
    taken = pair.client.open(OPTIONS)
    pair.send()
    asked, waiting = pair.client.open(OPTIONS), pair.client.open(OPTIONS)
    pair.client.collect()  # which the engine dies of
    pair.kill()
    pair.restart()
    opens = [message for message in pair.client.collect() if isinstance(message, Open)]
    assert [message.again for message in opens] == [True, False, False]
    assert [pair.client.awaits_answer(session) for session in (taken, asked, waiting)] == [False, True, True]


def test_a_session_that_was_asked_for_while_no_engine_was_there_is_answered_by_the_next_one(
    checkpoint: Checkpoint,
) -> None:
    pair = Pair(checkpoint, max_sessions=1)
    pair.kill()
    first, second = pair.client.open(OPTIONS), None
    with pytest.raises(EngineFull):
        second = pair.client.open(OPTIONS)
    assert second is None
    pair.client.push(first, speech(1.0))
    pair.restart()
    take_all(pair)
    pair.settle()
    assert pair.reader.faults[first].reason is FaultReason.REFUSED
    assert pair.client.sessions == {}


def test_a_session_that_engines_die_of_at_its_end_is_lost_and_says_so(checkpoint: Checkpoint) -> None:
    pair = Pair(checkpoint, max_sessions=1)
    session = pair.client.open(OPTIONS)
    pair.client.push(session, speech(1.0))
    pair.client.close(session)
    for _ in range(4):
        pair.client.collect()
        pair.kill()
        pair.restart()
    assert pair.reader.closed == [session]
    assert pair.reader.faults[session].reason is FaultReason.LOST


def take_all(pair: Pair) -> Gateway:
    """Another gateway opens the only session."""
    other = Gateway()
    pair.exchange.receive(other, Greeting(VERSION))
    assert pair.exchange.receive(other, Open(0, OPTIONS, again=False)) == [Opened(0)]
    return other


def test_a_session_that_finds_its_place_taken_after_a_restart_waits_for_it(checkpoint: Checkpoint) -> None:
    pair = Pair(checkpoint, max_sessions=1)
    session = pair.client.open(OPTIONS)
    pair.client.push(session, speech(2.0))
    pair.settle()
    pair.kill()
    pair.restart()
    other = take_all(pair)
    pair.client.push(session, speech(4.0)[32_000:])
    pair.client.close(session)
    pair.settle()
    assert pair.reader.closed == []
    assert not pair.client.unanswered
    pair.exchange.leave(other)
    pair.settle()
    pair.report_capacity()
    pair.settle()
    assert pair.reader.closed == [session]
    assert [word.text for word in pair.reader.words[session]][:3] == ["Mi", "número", "de"]


def test_what_is_done_while_there_is_no_engine_is_done_when_there_is_one(checkpoint: Checkpoint) -> None:
    pair, wanted = Pair(checkpoint), Pair(checkpoint)
    pair.kill()
    assert not pair.client.has_outgoing
    for one in (pair, wanted):
        session = one.client.open(SessionOptions(80, AUTO))
        one.client.push(session, speech(3.0))
        one.client.finalize(session)
        if one is wanted:
            one.settle()
        one.client.set_language(session, "es-US")
        one.client.push(session, speech(3.6)[48_000:])
        one.client.close(session)
    pair.restart()
    pair.settle()
    wanted.settle()
    assert pair.reader.words[session] == wanted.reader.words[session] != []
    assert len(pair.reader.finals[session]) == 2


def test_audio_that_no_engine_can_hear_any_more_is_counted(checkpoint: Checkpoint) -> None:
    pair = Pair(checkpoint, replay_s=2.0)
    session = pair.client.open(OPTIONS)
    pair.client.push(session, np.zeros(16_000, np.float32))
    pair.settle()
    pair.kill()
    pair.client.push(session, np.zeros(5 * 16_000, np.float32))
    pair.restart()
    pair.client.close(session)
    pair.settle()
    pair.report_capacity()
    assert pair.reader.closed == [session]
    assert pair.reader.progress[session] == pytest.approx(6.0, abs=0.1), "media time stays true"
    assert pair.client.stats.skipped_samples == pytest.approx(3 * 16_000, abs=2_560)


def test_an_engine_that_does_not_keep_up_loses_the_oldest_audio_only(checkpoint: Checkpoint) -> None:
    pair = Pair(checkpoint, replay_s=2.0)
    session = pair.client.open(OPTIONS)
    pair.client.push(session, np.zeros(1_600, np.float32))
    pair.settle()
    for _ in range(10):
        pair.client.push(session, np.zeros(16_000, np.float32))
    pair.client.close(session)
    pair.settle()
    assert pair.reader.closed == [session]
    assert pair.reader.progress[session] == pytest.approx(10.1, abs=0.1)
    pair.report_capacity()
    assert pair.client.stats.skipped_samples == pytest.approx(8 * 16_000, abs=2_560), "each second is counted once"
    assert pair.engine.open_sessions == 0


def test_a_session_that_ended_and_kills_every_engine_is_given_up(checkpoint: Checkpoint) -> None:
    pair = Pair(checkpoint)
    poison, other = pair.client.open(OPTIONS), pair.client.open(OPTIONS)
    for session in (poison, other):
        pair.client.push(session, speech(1.0))
    pair.client.close(poison)
    for _ in range(3):
        pair.send()
        pair.kill()
        assert pair.reader.closed == []
        pair.restart()
    pair.send()
    pair.kill()
    assert pair.reader.closed == [poison]
    pair.restart()
    pair.client.close(other)
    pair.settle()
    assert pair.reader.closed == [poison, other]


def test_a_language_set_before_the_loss_is_that_of_the_new_session(checkpoint: Checkpoint) -> None:
    pair = Pair(checkpoint, replay_s=5.0)
    session = pair.client.open(OPTIONS)
    pair.client.set_language(session, "es-US")
    for _ in range(20):
        pair.client.push(session, np.zeros(16_000, np.float32))
        pair.settle()
    pair.kill()
    pair.restart()
    messages = pair.client.collect()
    (message,) = (one for one in messages if isinstance(one, Open))
    assert message.options.language == "es-US"
    assert message.again
    assert not any(isinstance(one, SetLanguage) for one in messages)
