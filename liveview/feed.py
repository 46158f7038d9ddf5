"""The list of calls as every open page sees it, read once for all of them.

One subscription to all calls feeds it. It condenses them into two kinds of messages: `calls` (the calls that changed
or went, or the whole list) and `words` (the last words of every call that spoke since the message before), each at
most once per interval. So a page costs the same however many calls speak; only the call it shows is sent in full.
`unread_since` of a whole list says since when the view cannot be read, null: it can. So an empty list is told from one
that nobody knows.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from typing import Any

from liveview.sse import event, now
from sinks.live import View
from supervision import cancel_and_wait

log = logging.getLogger(__name__)

STEPS_KEPT = 100
"""Holds, resumptions and transfers kept of one call."""

PREVIEW_CHARS = 160
"""Length of the last words kept of a call: more than a line of the list can show."""

REREAD_S = 20.0
"""Calls that the view forgets leave the list at most this much later."""

MAX_PAUSE_S = 10.0


async def until_first(*jobs: Coroutine[Any, Any, None]) -> None:
    """Runs all until the first is over, then cancels the others; raises what that first one raised."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_and_wait(*tasks)
    try:
        for task in done:
            task.result()
    finally:
        # What is raised knows this frame, and the frame's tasks know what is raised: a circle, and the page with it.
        del task, tasks, done


def is_passing(error: Exception) -> bool:
    """Whether an error of a view says of itself that the same call may succeed later."""
    return bool(getattr(error, "retryable", False))


class Mailbox:
    """Messages for one page, oldest first. Bounded; overflow: all are dropped and the whole list is sent instead."""

    def __init__(self, feed: "CallFeed", limit: int) -> None:
        self._feed = feed
        self._limit = limit
        self._messages: deque[bytes] = deque([feed.everything()])
        self._wakeup = asyncio.Event()
        self._wakeup.set()

    def put(self, message: bytes) -> None:
        if len(self._messages) >= self._limit:
            self._messages.clear()
            message = self._feed.everything()
        self._messages.append(message)
        self._wakeup.set()

    def wake(self) -> None:
        self._wakeup.set()

    async def get(self) -> bytes | None:
        """The next message, or None once the feed is closed."""
        while not self._messages:
            if self._feed.closed:
                return None
            self._wakeup.clear()
            await self._wakeup.wait()
        return self._messages.popleft()


class CallFeed:
    """Follows a view and passes on what the list of calls needs. `run` until cancelled; `close` ends all pages."""

    def __init__(self, view: View, *, interval_s: float, mailbox_limit: int) -> None:
        self._view = view
        self._interval_s = interval_s
        self._mailbox_limit = mailbox_limit
        self._mailboxes: set[Mailbox] = set()
        self._calls: dict[str, dict[str, Any]] = {}
        self._words: dict[str, dict[str, Any]] = {}
        self._new_words: set[str] = set()
        self._steps: dict[str, deque[Mapping[str, Any]]] = {}
        self._calls_changed = False
        self._failing_since: float | None = None
        self._fault: type[Exception] | None = None  # that was said last
        self._unread_since: str | None = now()
        self.closed = False

    @property
    def pages(self) -> int:
        """Pages that are open now."""
        return len(self._mailboxes)

    def last_words(self, call_id: str) -> dict[str, Any] | None:
        """What was said last in the call since the feed follows it: leg, speaker_role, text, is_final, language."""
        return self._words.get(call_id)

    def steps(self, call_id: str) -> list[Mapping[str, Any]]:
        """The call's HOLD, RESUME and TRANSFER records since the feed follows it, which a snapshot does not hold."""
        return list(self._steps.get(call_id, ()))

    def everything(self) -> bytes:
        """The message that replaces all a page knows of the list."""
        calls = [call | {"last_words": self._words.get(call_id)} for call_id, call in self._calls.items()]
        whole = {"complete": True, "calls": calls, "removed": [], "unread_since": self._unread_since}
        return event("calls", whole)

    @contextlib.contextmanager
    def join(self) -> Iterator[Mailbox]:
        """A mailbox whose first message is the whole list."""
        mailbox = Mailbox(self, self._mailbox_limit)
        self._mailboxes.add(mailbox)
        try:
            yield mailbox
        finally:
            self._mailboxes.discard(mailbox)

    def close(self) -> None:
        """Ends every page's stream; the pages come back to whoever serves next."""
        self.closed = True
        for mailbox in self._mailboxes:
            mailbox.wake()

    async def run(self) -> None:
        """Follows the view until `close`; a view that fails is tried again, with growing pauses."""
        pause_s = self._interval_s
        while not self.closed:
            try:
                async with self._view.subscribe() as records:
                    await self._reread()
                    pause_s = self._interval_s
                    self._is_back()
                    await until_first(self._follow(records), self._tick())
                    log.debug("the subscription to all calls ended, next in %.1f s", pause_s)
            except Exception as error:  # noqa: BLE001 - whatever a view does, the pages outlive it
                self._failed(error)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, MAX_PAUSE_S)

    def _is_back(self) -> None:
        if self._unread_since is not None:
            self._unread_since = None
            self._broadcast(self.everything())
        if self._failing_since is not None:
            log.info("the list of calls is read again after %.1f s", time.monotonic() - self._failing_since)
            self._failing_since = None

    def _failed(self, error: Exception) -> None:
        """Said once, until the view can be read again; a fault of ours once more where it is another one."""
        if self._unread_since is None:
            self._unread_since = now()
            self._broadcast(self.everything())
        fault = None if is_passing(error) else type(error)
        if self._failing_since is None:
            self._failing_since = time.monotonic()
        elif fault is None or fault is self._fault:
            return
        self._fault = fault
        log.warning("no list of calls, trying again: %s", error, exc_info=error if fault else None)

    async def _follow(self, records: AsyncIterator[Mapping[str, Any]]) -> None:
        async for record in records:
            self._note(record)

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        reread_at = loop.time() + REREAD_S
        while True:
            await asyncio.sleep(self._interval_s)
            if self._calls_changed or loop.time() >= reread_at:
                self._calls_changed = False
                reread_at = loop.time() + REREAD_S
                await self._reread()
            if self._new_words:
                words = {call_id: self._words[call_id] for call_id in self._new_words if call_id in self._words}
                self._new_words.clear()
                self._broadcast(event("words", words))

    def _note(self, record: Mapping[str, Any]) -> None:
        call_id = record["call_id"]
        match record["type"]:
            case "call":
                self._calls_changed = True
                if record["action"] == "START":
                    self._steps.pop(call_id, None)
                elif record["action"] in ("HOLD", "RESUME", "TRANSFER"):
                    self._steps.setdefault(call_id, deque(maxlen=STEPS_KEPT)).append(record)
            case "transcript" if text := record["transcript"]:
                self._words[call_id] = {
                    "leg": record["leg"],
                    "speaker_role": record["speaker_role"],
                    "text": text[-PREVIEW_CHARS:],
                    "is_final": record["is_final"],
                    "language": record["language"],
                }
                self._new_words.add(call_id)

    async def _reread(self) -> None:
        """Compares the view's list with the one the pages have and sends the difference."""
        calls = {call["call_id"]: call for call in await self._view.calls()}
        changed = [call for call_id, call in calls.items() if self._calls.get(call_id) != call]
        removed = [call_id for call_id in self._calls if call_id not in calls]
        self._calls = calls
        for kept in (self._words, self._steps):
            for call_id in kept.keys() - calls.keys():
                del kept[call_id]
        if changed or removed:
            self._broadcast(event("calls", {"complete": False, "calls": changed, "removed": removed}))

    def _broadcast(self, message: bytes) -> None:
        for mailbox in self._mailboxes:
            mailbox.put(message)
