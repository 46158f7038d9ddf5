"""Background work: what ends by itself is known, what goes wrong is counted and logged once."""

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable

import pytest

from supervision import Supervisor, cancel_and_wait
from supervision.signals import handle_signals


async def boom() -> None:
    raise RuntimeError("boom\nand more")


async def for_ever() -> None:
    await asyncio.Event().wait()


async def done(task: "asyncio.Task[object]") -> None:
    await asyncio.wait({task})
    await asyncio.sleep(0)


async def test_a_service_that_raises_is_a_failure_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    told: list[tuple[str, str]] = []
    supervisor = Supervisor(lambda name, why: told.append((name, why)))
    await done(supervisor.keep(boom(), "ticks"))
    assert supervisor.failures == {"ticks": "RuntimeError: boom and more"}
    assert told == [("ticks", "RuntimeError: boom and more")]
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]


async def test_a_service_that_comes_to_its_end_is_a_failure_unless_it_may() -> None:
    supervisor = Supervisor()
    await done(supervisor.keep(asyncio.sleep(0), "watch"))
    await done(supervisor.keep(asyncio.sleep(0), "lane", returns=True))
    assert supervisor.failures == {"watch": "RuntimeError: it came to its end"}


async def test_a_service_that_its_owner_cancels_is_no_failure() -> None:
    supervisor = Supervisor()
    task = supervisor.keep(for_ever(), "ticks")
    await asyncio.sleep(0)
    task.cancel()
    await done(task)
    assert supervisor.failures == {}


async def test_a_service_that_ends_with_a_future_cancelled_elsewhere_is_a_failure() -> None:
    supervisor = Supervisor()
    waited = asyncio.get_running_loop().create_future()
    task = supervisor.keep(asyncio.wait_for(waited, None), "sink")
    await asyncio.sleep(0)
    waited.cancel()
    await done(task)
    assert list(supervisor.failures) == ["sink"]


async def test_a_job_that_raises_is_a_fault_of_which_each_kind_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor()
    for _ in range(3):
        await done(supervisor.spawn(boom(), "end of a call"))
    assert supervisor.faults == {"end of a call": 3}
    assert supervisor.failures == {}
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert supervisor.jobs == frozenset()


async def test_a_job_hands_on_what_it_returns() -> None:
    async def seven() -> int:
        return 7

    assert await Supervisor().spawn(seven(), "job") == 7


@pytest.mark.parametrize("error", [RuntimeError("boom"), SystemExit(3), KeyboardInterrupt()])
def test_a_thread_that_raises_anything_at_all_is_a_failure(error: BaseException) -> None:
    def run() -> None:
        raise error

    supervisor = Supervisor()
    supervisor.thread(run, "writer").join()
    assert list(supervisor.failures) == ["writer"]


def test_a_thread_that_returns_is_none() -> None:
    supervisor = Supervisor()
    supervisor.thread(lambda: None, "writer").join()
    assert supervisor.failures == {}


async def test_one_supervisor_answers_for_its_parts_and_theirs() -> None:
    outer, middle, inner = Supervisor(), Supervisor(), Supervisor()
    outer.include(middle)
    middle.include(inner)
    inner.fault("rtp", ValueError("bad"))
    outer.fault("rtp", ValueError("bad"))
    await done(inner.keep(boom(), "reader"))
    assert outer.faults == {"rtp": 2}
    assert list(outer.failures) == ["reader"]


def test_an_owner_without_background_work_is_left_out() -> None:
    class Owner:
        def __init__(self) -> None:
            self.supervisor = Supervisor()

    outer, owner = Supervisor(), Owner()
    outer.include_of(owner, object(), None)
    owner.supervisor.fault("rtp", ValueError("bad"))
    assert outer.faults == {"rtp": 1}


async def test_what_nobody_catches_counts_while_strays_are_caught(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor()

    def raise_it() -> None:
        raise RuntimeError("boom")

    with supervisor.catching_strays():
        asyncio.get_running_loop().call_soon(raise_it)
        await asyncio.sleep(0)
        thread = threading.Thread(target=raise_it, name="somebody's")
        thread.start()
        await asyncio.to_thread(thread.join)
    assert supervisor.faults == {"event loop": 1, "thread": 1}
    assert "somebody's has ended" in caplog.text


STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)


@pytest.mark.parametrize("number", [*STOPPING, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE])
async def test_no_signal_ends_a_process_out_of_turn(
    number: signal.Signals, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped, reloaded = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    handle_signals(stopped.set, reloaded.set)
    try:
        with caplog.at_level(logging.WARNING):
            signal.raise_signal(number)
            async with asyncio.timeout(10):
                if number in STOPPING:
                    await stopped.wait()
                elif number is signal.SIGHUP:
                    await reloaded.wait()
                elif number is not signal.SIGPIPE:
                    while f"{number.name} is ignored" not in caplog.text:  # noqa: ASYNC110 - the log has no event
                        await asyncio.sleep(0.001)
        assert stopped.is_set() is (number in STOPPING)
        assert reloaded.is_set() is (number is signal.SIGHUP)
    finally:
        for one in (*STOPPING, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            loop.remove_signal_handler(one)


async def hangs_up(monkeypatch: pytest.MonkeyPatch, terminal_then: bool, on_reload: Callable[[], None] | None) -> bool:
    """Whether the process stops at SIGHUP, having been started from a terminal."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr("os.isatty", lambda _number: True)
    handle_signals(stopped.set, on_reload)
    monkeypatch.setattr("os.isatty", lambda _number: terminal_then)
    try:
        signal.raise_signal(signal.SIGHUP)
        for _ in range(3):
            await asyncio.sleep(0.01)
    finally:
        for one in (*STOPPING, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            loop.remove_signal_handler(one)
    return stopped.is_set()


async def test_a_hang_up_stops_in_order_where_the_terminal_is_gone_and_reloads_otherwise(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reloaded: list[int] = []
    assert await hangs_up(monkeypatch, False, lambda: reloaded.append(1))
    assert reloaded == []
    assert not await hangs_up(monkeypatch, True, lambda: reloaded.append(1))
    assert reloaded == [1]
    assert not await hangs_up(monkeypatch, True, None)
    assert "SIGHUP is ignored" in caplog.text


async def test_a_task_that_swallows_its_cancellation_is_cancelled_again() -> None:
    async def stubborn() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    async def failing() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise RuntimeError("boom")

    tasks = [asyncio.create_task(work()) for work in (stubborn, failing)]
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await cancel_and_wait(*tasks, None, again_s=0.01)
    assert tasks[0].cancelled()
    assert tasks[1].done()
    await cancel_and_wait()
