"""The bounded queue in front of every sink and every screen."""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class SheddingQueue(Generic[Item]):
    """First in, first out, at most `limit` items. Overflow: the oldest partial goes first.

    When it is full and holds no partial, a new item is refused. Every operation takes constant time, also under
    overload. Not thread-safe: it belongs to the event loop's thread.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError("limit must be at least 1")
        self._limit = limit
        self._items: OrderedDict[int, Item] = OrderedDict()  # by position, ascending
        self._partials: deque[int] = deque()  # positions of the partials still queued, ascending
        self._next = 0
        self.shed_partials = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def durable(self) -> int:
        """Items that are not partials."""
        return len(self._items) - len(self._partials)

    def oldest(self) -> Item:
        """The one that waits longest. Raises `StopIteration` where there is none."""
        return next(iter(self._items.values()))

    def put(self, item: Item, *, partial: bool) -> bool:
        """Append. False: refused, because the queue is full of items that must not be dropped for this one."""
        if len(self._items) >= self._limit:
            if not self._partials:
                return False
            del self._items[self._partials.popleft()]
            self.shed_partials += 1
        self._items[self._next] = item
        if partial:
            self._partials.append(self._next)
        self._next += 1
        return True

    def take(self, limit: int) -> list[Item]:
        """Remove and return the oldest items, at most `limit`."""
        taken: list[Item] = []
        while self._items and len(taken) < limit:
            position, item = self._items.popitem(last=False)
            if self._partials and self._partials[0] == position:
                self._partials.popleft()
            taken.append(item)
        return taken

    def clear(self) -> None:
        self._items.clear()
        self._partials.clear()
