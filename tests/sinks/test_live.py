"""What is particular to the in-process view: its memory is bounded."""

from sinks.calls import KEYS_KEPT
from sinks.config import LiveConfig
from sinks.live import LiveView
from tests.sinks.records import OTHER_RUN, dtmf, end, start, transcript


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def shown(view: LiveView) -> list[str]:
    return [call["call_id"] for call in await view.calls()]


async def test_ended_call_stays_for_a_while() -> None:
    clock = Clock()
    view = LiveView(LiveConfig(retain_s=600), clock=clock)
    await view.write([start("a"), start("b"), start("c"), end("a")])
    clock.now_s = 1.0
    await view.write([end("b")])
    clock.now_s = 599.9
    assert await shown(view) == ["c", "b", "a"]
    clock.now_s = 600.0
    assert await shown(view) == ["c", "b"]
    assert await view.snapshot("a") is None
    clock.now_s = 100_000.0
    assert await shown(view) == ["c"]  # running, however long


async def test_call_begun_anew_is_not_forgotten_with_its_former_self() -> None:
    clock = Clock()
    view = LiveView(LiveConfig(retain_s=10), clock=clock)
    await view.write([start(), end(), start(run=OTHER_RUN, at="2026-11-24T13:00:00.000Z")])
    clock.now_s = 10.0
    assert await shown(view) == ["CA1"]


async def test_beyond_the_limit_ended_calls_go_first_then_the_oldest() -> None:
    clock = Clock()
    view = LiveView(LiveConfig(max_calls=3), clock=clock)
    for i, call_id in enumerate("abc"):
        await view.write([start(call_id, at=f"2026-11-24T12:00:0{i}.000Z")])
    for call_id in "cb":
        clock.now_s += 1
        await view.write([end(call_id)])
    await view.write([start("d", at="2026-11-24T12:00:05.000Z")])
    assert await shown(view) == ["d", "b", "a"]
    await view.write([start("e", at="2026-11-24T12:00:06.000Z")])
    assert await shown(view) == ["e", "d", "a"]
    await view.write([start("f", at="2026-11-24T12:00:07.000Z")])
    assert await shown(view) == ["f", "e", "d"]


async def test_flood_of_keys_is_bounded() -> None:
    view = LiveView()
    await view.write([start(), *(dtmf("1", i) for i in range(KEYS_KEPT + 50))])
    snapshot = await view.snapshot("CA1")
    assert snapshot is not None
    assert len(snapshot.dtmf) == KEYS_KEPT


async def test_close_ends_running_and_later_subscriptions_and_keeps_the_calls() -> None:
    view = LiveView()
    await view.start()
    await view.write([start()])
    async with view.subscribe() as running:
        await view.close()
        assert [record async for record in running] == []
    async with view.subscribe() as later:
        assert [record async for record in later] == []
    assert await shown(view) == ["CA1"]


async def test_snapshot_does_not_change_with_the_call() -> None:
    view = LiveView()
    await view.write([start(), transcript("one")])
    before = await view.snapshot("CA1")
    await view.write([transcript("two", revision=1), end()])
    assert before is not None
    assert (before.call["status"], before.segments[0]["transcript"]) == ("active", "one")
