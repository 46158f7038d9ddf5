"""The outbox in memory: bounded until settled, thread-safe."""

import threading

from sinks.outbox import MemoryOutbox, OutboxEntry


def entries(count: int) -> list[OutboxEntry]:
    return [OutboxEntry("topic", b"call", str(i).encode(), (), partial=False) for i in range(count)]


def test_what_is_taken_counts_until_it_is_settled() -> None:
    calls: list[None] = []
    outbox = MemoryOutbox(2, lambda: calls.append(None))
    first, second, third = entries(3)
    assert outbox.offer([first, second, third]) == 2
    assert outbox.take(9) == [first, second]
    assert outbox.offer([third]) == 0
    outbox.settle(first, None)
    assert calls == [None]  # told once that there is room
    outbox.settle(second, TimeoutError())
    assert calls == [None]
    assert outbox.offer([third]) == 1


def test_take_waits_for_an_entry_and_ends_after_stop() -> None:
    outbox = MemoryOutbox(9, lambda: None)
    taken: list[list[OutboxEntry]] = []
    done = threading.Event()

    def drain() -> None:
        while batch := outbox.take(2):
            taken.append(batch)
        done.set()

    thread = threading.Thread(target=drain)
    thread.start()
    sent = entries(5)
    assert outbox.offer(sent) == 5
    outbox.stop()
    assert done.wait(30)
    thread.join()
    assert [entry for batch in taken for entry in batch] == sent
    assert all(len(batch) <= 2 for batch in taken)


def test_waiting_for_settlement_says_how_many_are_left() -> None:
    outbox = MemoryOutbox(9, lambda: None)
    outbox.offer(entries(2))
    first, second = outbox.take(9)
    outbox.settle(first, None)
    assert outbox.wait_settled(0) == 1
    threading.Thread(target=outbox.settle, args=(second, None)).start()
    assert outbox.wait_settled(30) == 0
