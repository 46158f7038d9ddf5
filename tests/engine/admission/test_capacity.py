"""The engine's own account of its load, and that it refuses what it has no time for."""

import threading
import time
from collections.abc import Mapping

import numpy as np
import pytest

from engine.admission.admission import Admission
from engine.admission.capacity import Capacity, measure
from engine.admission.meter import HALF_LIFE_S, LagWindow, Meter
from engine.api import Session, SessionOptions
from engine.checkpoint.find import load_checkpoint
from engine.checkpoint.weights import Checkpoint
from engine.engine import Engine
from engine.errors import EngineFull
from engine.sessions.stream import Stream
from engine.sessions.transcript import Transcript
from testing import audio
from tests.engine.listener import Listener, settle

CLASSES = (80, 160)


# Meters --------------------------------------------------------------------------------------------------------------


def test_quantiles_of_lags_are_right_within_a_tenth() -> None:
    rng = np.random.default_rng(1)
    lags, window = rng.exponential(0.05, 20_000), LagWindow()
    for part in np.split(lags, 200):
        window.add(part, 1.0)
    for share in (0.5, 0.95, 0.99):
        assert window.quantile(share, 1.0) == pytest.approx(np.quantile(lags, share), rel=0.1)


def test_lags_beyond_every_bound_are_not_lost() -> None:
    window = LagWindow()
    window.add([0.0, 1e6], 0.0)
    assert window.weight(0.0) == 2
    assert window.quantile(0.99, 0.0) > 60


def test_old_lags_give_way_to_new_ones() -> None:
    window = LagWindow()
    window.add([1.0] * 100, 0.0)
    assert window.weight(HALF_LIFE_S) == pytest.approx(50)
    window.add([0.01] * 100, 8 * HALF_LIFE_S)
    assert window.quantile(0.95, 8 * HALF_LIFE_S) < 0.02
    assert LagWindow().quantile(0.95, 3.0) == 0.0


def test_a_meter_counts_and_averages() -> None:
    meter = Meter()
    for step in range(400):
        meter.stepped(rows=4, possible=8, step_s=0.010 if step < 200 else 0.030, lags=[0.02], now=step * 0.1)
    assert (meter.steps, meter.rows) == (400, 1_600)
    assert meter.step_s == pytest.approx(8.0)
    assert meter.mean_step_s == pytest.approx(0.030, rel=0.01)
    assert meter.fill == pytest.approx(0.5)


# When audio counts as complete ---------------------------------------------------------------------------------------


def stream(chunk_ms: int = 160) -> Stream:
    return Stream(Session(0, 0, 0, chunk_ms), 0, 0, Transcript(load_checkpoint().tokenizer, None))


def completions(pushes: list[tuple[float, int]], chunk_ms: int = 160) -> list[float | None]:
    """When the chunks that these pushes (time, samples) complete counted as complete."""
    one, found = stream(chunk_ms), list[float | None]()
    out = np.empty(1_280 * chunk_ms // 80 + 241, np.float32)
    for now, samples in pushes:
        one.push(np.zeros(samples, np.float32), now)
    while one.ready:
        one.read(out)
        found.append(one.completed_at)
    return found


def test_a_chunk_is_complete_with_the_packet_that_brings_its_last_sample() -> None:
    found = completions([(0.02 * packet, 320) for packet in range(1, 30)])
    assert found == pytest.approx([0.10, 0.26, 0.42, 0.58])  # 1,480 samples, then 2,560 each


def test_a_recording_that_comes_at_once_counts_as_spoken_one_chunk_after_the_other() -> None:
    found = completions([(5.0, 16_000)])
    assert found[0] == 5.0
    assert np.diff(np.asarray(found, float)) == pytest.approx([0.12] * 5)


def test_audio_that_was_held_up_counts_from_its_arrival_and_the_delay_is_forgotten() -> None:
    packets = [(max(0.02 * packet, 1.0 if packet > 10 else 0.0), 320) for packet in range(1, 200)]
    found = np.asarray(completions(packets), float)
    spoken = np.asarray(completions([(0.02 * packet, 320) for packet in range(1, 200)]), float)
    assert found[1] == pytest.approx(1.0, abs=0.2)
    assert (found - spoken)[-1] == pytest.approx(0.0, abs=1e-6)


def test_flushing_silence_has_no_time_of_its_own() -> None:
    one = stream()
    out = np.empty(2_801, np.float32)
    one.push(np.zeros(2_000, np.float32), 1.0)
    one.closing = True
    one.read(out)
    assert one.completed_at == 1.0
    one.read(out)
    assert one.completed_at is None
    assert one.ready_since(7.0) == 7.0


def test_a_chunk_that_was_skipped_takes_its_time_with_it() -> None:
    one = stream()
    for packet in range(1, 30):
        one.push(np.zeros(320, np.float32), 0.02 * packet)
    one.skip_chunk()
    one.read(np.empty(2_801, np.float32))
    assert one.completed_at == pytest.approx(0.26)


# The measurement -----------------------------------------------------------------------------------------------------


def test_steps_are_timed_at_growing_sizes_as_far_as_there_are_slots() -> None:
    stepped: list[int] = []
    times = measure(stepped.append, 20, 160, budget_s=10.0)
    assert set(times) == {1, 4, 16}
    assert set(stepped) == {1, 4, 16}
    assert set(measure(stepped.append, 1, 160, 10.0)) == {1}


def test_no_time_is_spent_on_batches_that_cannot_be_in_time() -> None:
    stepped: list[int] = []

    def step(rows: int) -> None:
        stepped.append(rows)
        time.sleep(0.002 * rows)

    assert set(measure(step, 1_000, 5, budget_s=10.0)) == {1, 4}
    stepped.clear()
    assert set(measure(step, 1_000, 1_000, budget_s=0.0)) == {1, 4}
    assert stepped == [1, 1, 1, 4, 4]


# The engine ----------------------------------------------------------------------------------------------------------


def slow(engine: Engine, times: Mapping[int, float]) -> None:
    """As if the measurement at the start had found these step times."""
    engine._capacity.admission.measured(160, times)


def fill(engine: Engine) -> tuple[list[Session], EngineFull]:
    """Open sessions until one is refused."""
    sessions = list[Session]()
    try:
        while True:
            sessions.append(engine.open(SessionOptions(160)))
    except EngineFull as refusal:
        return sessions, refusal


def test_an_engine_without_time_refuses_and_says_why(plain: Checkpoint) -> None:
    engine = Engine(plain, max_sessions=64, admission=True)
    slow(engine, {1: 0.030, 4: 0.050, 16: 0.130})
    opened, refusal = fill(engine)
    assert refusal.retryable
    assert "no time" in str(refusal)
    assert 5 < len(opened) < 20
    assert engine.stats.refused == 1
    load = engine.snapshot()
    of_class = next(one for one in load.classes if one.chunk_ms == 160)
    assert (load.sessions, of_class.open, of_class.capacity, of_class.headroom) == (*[len(opened)] * 3, 0)
    assert 0.5 < load.utilisation <= 0.8


def test_a_close_makes_room_again(plain: Checkpoint) -> None:
    engine = Engine(plain, max_sessions=64, admission=True)
    slow(engine, {1: 0.060, 4: 0.200})
    sessions, _ = fill(engine)
    engine.close(sessions[0])
    settle(engine)
    engine.open(SessionOptions(160))


def test_an_engine_with_time_for_all_is_full_when_its_slots_are(plain: Checkpoint) -> None:
    engine = Engine(plain, max_sessions=3, admission=True)
    slow(engine, {1: 0.000_1, 4: 0.000_1})
    for _ in range(3):
        engine.open(SessionOptions(160))
    with pytest.raises(EngineFull, match="in use"):
        engine.open(SessionOptions(160))


def test_without_admission_only_slots_count(plain: Checkpoint) -> None:
    engine = Engine(plain, max_sessions=32)
    slow(engine, {1: 1.0, 4: 4.0})
    for _ in range(32):
        engine.open(SessionOptions(80))
    assert engine.snapshot().classes[0].headroom == 0


def test_the_measurement_is_done_when_the_engine_has_started_and_leaves_no_trace(plain: Checkpoint) -> None:
    engine = Engine(plain, max_sessions=8, admission=True)
    engine.reserve(80)
    engine.reserve(560)
    listener, ended = Listener(engine), threading.Event()
    engine.subscribe(lambda events: ended.set() if events.closed else None)
    signal = audio.babble(2.0, 501)
    with engine:
        assert set(engine.step_times) == {80, 560}
        assert all(seconds > 0 for times in engine.step_times.values() for seconds in times.values())
        session = engine.open(SessionOptions(80))
        engine.push(session, signal)
        engine.close(session)
        assert ended.wait(60)
    alone = Engine(plain, max_sessions=1)
    wanted = Listener(alone)
    session_alone = alone.open(SessionOptions(80))
    alone.push(session_alone, signal)
    alone.close(session_alone)
    settle(alone)
    assert listener.words[session] == wanted.words[session_alone]


def test_an_engine_without_admission_measures_nothing(plain: Checkpoint) -> None:
    with Engine(plain, max_sessions=2) as engine:
        assert not engine.step_times


def test_a_snapshot_counts_what_was_stepped(plain: Checkpoint) -> None:
    engine = Engine(plain, max_sessions=4)
    first, second = engine.open(SessionOptions(160)), engine.open(SessionOptions(160))
    for _ in range(4):
        for session in (first, second):
            engine.push(session, audio.babble(0.16, 502))
        settle(engine)
    of_class = {one.chunk_ms: one for one in engine.snapshot().classes}
    assert (of_class[160].open, of_class[160].slots, of_class[160].steps, of_class[160].rows) == (2, 4, 4, 8)
    assert of_class[160].fill == 1.0
    assert of_class[160].mean_step_s > 0
    assert of_class[80].steps == 0


def test_many_finals_at_once_wait_for_one_another_and_all_come(plain: Checkpoint) -> None:
    """More than there are slots for flushing; and an engine that can do nothing about it does not spin."""
    engine = Engine(plain, max_sessions=24)
    listener = Listener(engine)
    sessions = [engine.open(SessionOptions(80)) for _ in range(24)]
    for session in sessions:
        engine.push(session, audio.babble(0.5, 503))
        engine.finalize(session)
        engine.finalize(session)
    settle(engine)
    assert all(len(listener.finals[session]) == 2 for session in sessions)


def test_slow_classes_step_in_smaller_batches_while_a_fast_one_is_open(plain: Checkpoint) -> None:
    engine = Engine(plain, max_sessions=24, admission=True)
    engine._capacity.admission.measured(1_120, {1: 0.008, 4: 0.032})
    rows: list[int] = []
    engine.subscribe(lambda events: rows.append(len(events.progress)))
    slow_ones = [engine.open(SessionOptions(1_120)) for _ in range(8)]
    fast = engine.open(SessionOptions(80))
    for session in slow_ones:
        engine.push(session, audio.babble(1.2, 504))
    settle(engine)
    assert max(rows) == 2
    rows.clear()
    engine.close(fast)
    settle(engine)
    for session in slow_ones:
        engine.push(session, audio.babble(1.2, 505))
    settle(engine)
    assert max(rows) == 8


def test_room_is_counted_at_most_once_a_second() -> None:
    capacity = Capacity(CLASSES, 16, admits=True)
    capacity.admission.measured(160, {1: 0.010, 4: 0.020})
    first = capacity.compute_load(capacity.snapshot({160: 1}, 100, 5.0))
    capacity.admission.measured(160, {1: 0.100, 4: 0.200})
    assert capacity.compute_load(capacity.snapshot({160: 1}, 100, 5.5)).classes[1].capacity == first.classes[1].capacity
    assert capacity.compute_load(capacity.snapshot({160: 1}, 100, 6.5)).classes[1].capacity < first.classes[1].capacity


def test_few_lags_do_not_refuse_anybody() -> None:
    capacity = Capacity(CLASSES, 16, admits=True)
    capacity.admission.measured(160, {1: 0.001, 4: 0.002})
    for step in range(8):
        capacity.stepped(160, 1, 1, 0.001, [0.5] * 2, 0.5 * step)
    assert capacity.refusal({160: 1}, 160, 4.0) is None
    for step in range(8):
        capacity.stepped(160, 1, 1, 0.001, [0.5] * 40, 4.0 + 0.5 * step)
    assert capacity.refusal({160: 1}, 160, 8.0) is not None
    assert isinstance(capacity.admission, Admission)


def test_a_moment_of_late_answers_refuses_nobody() -> None:
    capacity = Capacity(CLASSES, 16, admits=True)
    capacity.admission.measured(160, {1: 0.001, 4: 0.002})
    for tenth in range(200):
        late = 100 <= tenth < 125
        capacity.stepped(160, 4, 4, 0.001, [1.5 if late else 0.02] * 40, 0.1 * tenth)
        assert capacity.refusal({160: 1}, 160, 0.1 * tenth) is None, tenth
