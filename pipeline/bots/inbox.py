"""What waits for a bot: bounded, in order, and what is left out is counted."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Inbox(Generic[Item]):
    """An asynchronous iterator for one reader, which ends once the inbox was closed and is empty.

    `most`: the weight that waits at most; `weigh`: of an item, 1 by default. Beyond it the oldest items go for which
    `may_go` says so, then the oldest; `on_left_out` is told of each.
    """

    def __init__(
        self,
        most: int,
        on_left_out: Callable[[Item], None],
        *,
        weigh: Callable[[Item], int] = lambda _: 1,
        may_go: Callable[[Item], bool] = lambda _: True,
    ) -> None:
        self._most, self._on_left_out, self._weigh, self._may_go = most, on_left_out, weigh, may_go
        self._items: deque[Item] = deque()
        self._weight = 0
        self._closed = False
        self._changed = asyncio.Event()

    def put(self, item: Item) -> None:
        if self._closed:
            return
        self._items.append(item)
        self._weight += self._weigh(item)
        while self._weight > self._most and len(self._items) > 1:
            index = next((i for i, one in enumerate(self._items) if self._may_go(one)), 0)
            gone = self._items[index]
            del self._items[index]
            self._weight -= self._weigh(gone)
            self._on_left_out(gone)
        self._changed.set()

    def close(self) -> None:
        """Nothing more comes."""
        self._closed = True
        self._changed.set()

    def __aiter__(self) -> AsyncIterator[Item]:
        return self

    async def __anext__(self) -> Item:
        while not self._items:
            if self._closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        item = self._items.popleft()
        self._weight -= self._weigh(item)
        return item
