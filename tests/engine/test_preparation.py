"""Classes are made ready by the thread that steps, between steps, and measured before they are used."""

import itertools
import json
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from engine.admission.admission import Forecast
from engine.api import FaultReason, Session, SessionOptions, StepEvents
from engine.checkpoint.weights import Checkpoint
from engine.engine import Engine
from engine.errors import EngineError
from engine.executor import StepExecutor
from engine.model.emission import Emission
from engine.remote.__main__ import load
from testing import audio
from tests.engine.listener import Listener, settle, spoken, transcribe

WAIT_S = 60.0
CHUNK = np.zeros(1_280, np.float32)


class Device:
    """Watches what is done on the device: `threads`, by what they did, and whether two were there at once.

    `at_step`: called within every step.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[tuple[str, int, str]] = []
        self.overlaps: list[tuple[str, str]] = []
        self.at_step: Callable[[], object] = lambda: None
        self._now: str | None = None
        step, allocate = StepExecutor.step, StepExecutor.allocating

        def stepping(executor: StepExecutor, chunk_ms: int, *arguments: Sequence[object]) -> list[Emission]:
            self._enter("step", chunk_ms)
            self.at_step()
            try:
                return step(executor, chunk_ms, *arguments)  # type: ignore[arg-type]
            finally:
                self._now = None

        def allocating(executor: StepExecutor, chunk_ms: int, slots: int) -> Iterator[None]:
            self._enter("allocate", chunk_ms)
            try:
                yield from allocate(executor, chunk_ms, slots)
            finally:
                self._now = None

        monkeypatch.setattr(StepExecutor, "step", stepping)
        monkeypatch.setattr(StepExecutor, "allocating", allocating)

    def _enter(self, what: str, chunk_ms: int) -> None:
        if self._now is not None:
            self.overlaps.append((self._now, what))
        self._now = what
        self.done.append((what, chunk_ms, threading.current_thread().name))


def ends(engine: Engine, count: int) -> tuple[threading.Event, list[StepEvents]]:
    """Set once so many sessions have ended; all events."""
    ended, told = threading.Event(), list[StepEvents]()

    def receive(events: StepEvents) -> None:
        told.append(events)
        if sum(len(one.closed) for one in told) >= count:
            ended.set()

    engine.subscribe(receive)
    return ended, told


# Who allocates -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", ["open", "reserve"])
def test_a_class_that_is_asked_for_within_a_step_is_allocated_after_it_and_nobody_waits(
    plain: Checkpoint, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    device = Device(monkeypatch)
    with Engine(plain, max_sessions=4) as engine:
        ended, _ = ends(engine, 2 if ask == "open" else 1)
        inside, asked = threading.Event(), threading.Event()

        def linger() -> None:
            inside.set()
            assert asked.wait(WAIT_S)

        device.at_step = linger
        first = engine.open(SessionOptions(80))
        engine.push(first, np.zeros(16_000, np.float32))
        assert inside.wait(WAIT_S)
        if ask == "open":
            second = engine.open(SessionOptions(560))  # returns although the step goes on
            engine.push(second, np.zeros(16_000, np.float32))
            engine.close(second)
        else:
            engine.reserve(560)
        assert [what for what, chunk_ms, _ in device.done if chunk_ms == 560] == []
        asked.set()
        engine.close(first)
        assert ended.wait(WAIT_S)
    assert device.overlaps == []
    assert {name for _, _, name in device.done} == {"engine"}
    assert ("allocate", 560, "engine") in device.done


def test_many_threads_that_ask_for_classes_while_others_speak_change_nobodys_words(
    plain: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(monkeypatch)
    calls = [(audio.babble(1.0, 700 + k), SessionOptions((80, 160, 320, 560, 1_120)[k % 5])) for k in range(5)]
    with Engine(plain, max_sessions=8) as engine:
        listener, (ended, _) = Listener(engine), ends(engine, 5)
        sessions: dict[int, Session] = {}

        def call(number: int) -> None:
            signal, options = calls[number]
            sessions[number] = session = engine.open(options)
            engine.reserve(1_120)
            for at in range(0, len(signal), 640):
                engine.push(session, signal[at : at + 640])
            engine.close(session)

        threads = [threading.Thread(target=call, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ended.wait(WAIT_S)
    assert device.overlaps == []
    assert sorted(chunk_ms for what, chunk_ms, _ in device.done if what == "allocate") == [80, 160, 320, 560, 1_120]
    for number, wanted in enumerate(calls):
        (alone,) = transcribe(Engine(plain, max_sessions=1), [wanted])
        assert spoken(listener.words[sessions[number]]) == spoken(alone)


def test_steps_go_on_between_the_pieces_of_an_allocation(plain: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    allocate = StepExecutor.allocating
    engine = Engine(plain, max_sessions=4)
    engine.reserve(80)
    with engine:
        ended, _ = ends(engine, 1)
        first = engine.open(SessionOptions(80))
        engine.push(first, np.zeros(1_600, np.float32))

        def allocating(executor: StepExecutor, chunk_ms: int, slots: int) -> Iterator[None]:
            yield from allocate(executor, chunk_ms, slots)
            for _ in range(4):
                order.append("piece")
                engine.push(first, CHUNK)
                yield

        monkeypatch.setattr(StepExecutor, "allocating", allocating)
        engine.subscribe(lambda events: order.append("step") if first in events.progress else None)
        second = engine.open(SessionOptions(160))
        engine.push(second, np.zeros(16_000, np.float32))
        engine.close(second)
        assert ended.wait(WAIT_S)
    pieces = [number for number, what in enumerate(order) if what == "piece"]
    assert len(pieces) == 4
    assert all("step" in order[one:other] for one, other in itertools.pairwise(pieces)), order


def test_a_class_that_cannot_be_had_ends_its_own_sessions_and_no_others(
    plain: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocate = StepExecutor.allocating

    def allocating(executor: StepExecutor, chunk_ms: int, slots: int) -> Iterator[None]:
        if chunk_ms == 1_120:
            raise RuntimeError("out of memory")
        return allocate(executor, chunk_ms, slots)

    monkeypatch.setattr(StepExecutor, "allocating", allocating)
    signal = audio.babble(1.0, 710)
    with Engine(plain, max_sessions=4) as engine:
        listener, (ended, told) = Listener(engine), ends(engine, 2)
        kept, doomed = engine.open(SessionOptions(80)), engine.open(SessionOptions(1_120))
        for session in (kept, doomed):
            engine.push(session, signal) if session is kept else None
        engine.close(kept)
        assert ended.wait(WAIT_S)
        faults = {session: fault for events in told for session, fault in events.faults.items()}
        assert set(faults) == {doomed}
        assert faults[doomed].reason is FaultReason.FAILED
        assert "out of memory" in faults[doomed].detail
        with pytest.raises(EngineError, match="out of memory"):
            engine.open(SessionOptions(1_120))
        with pytest.raises(EngineError, match="out of memory"):
            engine.reserve(1_120)
        assert engine.failure is None
        assert engine.open_sessions == 0
        engine.close(engine.open(SessionOptions(80)))
    (alone,) = transcribe(Engine(plain, max_sessions=1), [(signal, SessionOptions(80))])
    assert spoken(listener.words[kept]) == spoken(alone)


def test_before_anything_steps_a_class_is_there_when_it_was_reserved(plain: Checkpoint) -> None:
    engine = Engine(plain, max_sessions=2)
    engine.reserve(320)
    assert engine._executor.audio(320).shape[0] > 0


def test_the_sessions_of_an_engine_that_failed_end_with_why(plain: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(*_arguments: object) -> list[Emission]:
        raise RuntimeError("the device is gone")

    with Engine(plain, max_sessions=2) as engine:
        ended, told = ends(engine, 1)
        session = engine.open(SessionOptions(80))
        monkeypatch.setattr(StepExecutor, "step", step)
        engine.push(session, np.zeros(16_000, np.float32))
        assert ended.wait(WAIT_S)
    assert told[-1].faults[session].reason is FaultReason.FAILED
    assert "the device is gone" in told[-1].faults[session].detail


# What is measured ----------------------------------------------------------------------------------------------------


def test_an_engine_process_measures_the_classes_its_gateway_will_use() -> None:
    engine = load({"max_sessions": 4, "admission": True, "reserve": [80]})
    with engine:
        assert set(engine.step_times) == {80}
        curve = engine._capacity.admission.forecast(0.0).curves[80]
        assert curve(1) == pytest.approx(engine.step_times[80][1])


def test_what_a_server_spawns_is_told_the_class_of_its_calls() -> None:
    from engine.remote import RemoteEngine, Spawned  # noqa: PLC0415
    from trunkline.config import EngineConfig  # noqa: PLC0415
    from trunkline.engines import find_engine  # noqa: PLC0415

    engine = find_engine(EngineConfig(max_sessions=2, admission=True), 80)
    assert isinstance(engine, RemoteEngine)
    with engine:
        assert isinstance(engine._link, Spawned)
        assert json.loads(engine._link._settings)["reserve"] == [80]


def test_without_any_class_the_default_one_is_measured(plain: Checkpoint) -> None:
    with Engine(plain, max_sessions=4, admission=True) as engine:
        assert set(engine.step_times) == {160}


def test_a_class_reserved_later_is_measured_while_nobody_speaks(plain: Checkpoint) -> None:
    """As that of a second gateway."""
    measured = threading.Event()
    with Engine(plain, max_sessions=4, admission=True) as engine:
        note = engine._capacity.admission.measured

        def noted(chunk_ms: int, times: dict[int, float]) -> None:
            note(chunk_ms, times)
            measured.set()

        engine._capacity.admission.measured = noted  # type: ignore[method-assign, assignment]
        engine.reserve(560)
        assert measured.wait(WAIT_S)
        assert set(engine.step_times) == {160, 560}


def test_a_class_that_came_with_a_session_is_measured_once_all_sessions_have_ended(plain: Checkpoint) -> None:
    signal = audio.babble(1.0, 711)
    with Engine(plain, max_sessions=4, admission=True) as engine:
        listener, (ended, _) = Listener(engine), ends(engine, 2)
        sessions = [engine.open(SessionOptions(80)) for _ in range(2)]
        for session in sessions:
            engine.push(session, signal)
        assert set(engine.step_times) == {160}
        engine.close(sessions[0])
        engine.close(sessions[1])
        assert ended.wait(WAIT_S)
        measured = threading.Event()
        engine.subscribe(lambda events: measured.set() if events.closed and 80 in engine.step_times else None)
        while not measured.is_set():  # each is an end after which the class may have been measured
            engine.close(engine.open(SessionOptions(160)))
            measured.wait(0.02)
    (alone,) = transcribe(Engine(plain, max_sessions=1), [(signal, SessionOptions(80))])
    for session in sessions:
        assert spoken(listener.words[session]) == spoken(alone)


# The lock ------------------------------------------------------------------------------------------------------------


def test_what_a_snapshot_has_to_reckon_is_reckoned_without_the_engines_lock(
    plain: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(plain, max_sessions=64, admission=True)
    engine._capacity.admission.measured(160, {1: 0.001, 4: 0.002, 16: 0.006})
    for _ in range(8):
        engine.open(SessionOptions(160))
    held: list[bool] = []
    for name in ("headroom", "capacity", "utilisation"):
        reckon = getattr(Forecast, name)

        def watched(*arguments: object, reckon: Callable[..., object] = reckon, **options: object) -> object:
            held.append(engine._lock.locked())
            return reckon(*arguments, **options)

        monkeypatch.setattr(Forecast, name, watched)
    load = engine.snapshot()
    assert len(held) > 10
    assert not any(held)
    assert load.sessions == 8
    settle(engine)


def test_counting_rooms_anew_takes_a_few_trials_where_little_has_changed(
    plain: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(plain, max_sessions=900, admission=True)
    capacity = engine._capacity
    for ms in (80, 160, 320, 560, 1_120):
        capacity.admission.measured(ms, {1: 0.002, 4: 0.0025, 16: 0.004, 64: 0.010})
    trials, refusal = 0, Forecast.refusal

    def counted(*arguments: object) -> str | None:
        nonlocal trials
        trials += 1
        return refusal(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Forecast, "refusal", counted)
    first = capacity.compute_load(capacity.snapshot({160: 600}, 900, 0.0))
    cold, trials = trials, 0
    second = capacity.compute_load(capacity.snapshot({160: 601}, 900, 2.0))
    assert [of.capacity for of in second.classes] == [of.capacity for of in first.classes]
    assert trials < cold / 2
