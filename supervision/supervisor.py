"""Owns the background work of a part of the program: asyncio tasks, threads, callbacks.

Whatever runs where nobody waits for it is handed to a `Supervisor`. There are three kinds of it:

- a *service* runs as long as its part does (`keep`, `thread`). One that ends by itself is a *failure*: it is logged,
  stays in `failures` and is reported to `on_failure`. Who serves is not ready while there is one.
- a *job* ends by itself (`spawn`). What it raises is a *fault*: counted, and logged.
- a *callback*, of a timer or a socket, is guarded where it is written; what it raises is handed to `fault`, with the
  name of the place. The caller then ends or mends the one call that it concerned.

Parts have a supervisor each and are put together by `include`, so that one question to the outermost answers for all.
This room knows no other.
"""

import asyncio
import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Protocol, TypeVar, runtime_checkable

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class Supervisor:
    """`on_failure(name, why)`: called once for every service that ended by itself, on the thread where it did.

    `fault` and `thread` may be used from any thread, the rest from that of the event loop.
    """

    def __init__(self, on_failure: Callable[[str, str], None] | None = None) -> None:
        self._on_failure = on_failure
        self._failures: dict[str, str] = {}
        self._faults: Counter[str] = Counter()
        self._known: set[tuple[str, type[BaseException]]] = set()
        self._lock = threading.Lock()
        self._jobs: set[asyncio.Task[Any]] = set()
        self._parts: list[Supervisor] = []

    def include(self, *parts: "Supervisor") -> None:
        """Answer for these, too."""
        self._parts += parts

    def include_of(self, *owners: object) -> None:
        """Answer for the supervisors of those owners that are `Supervised`: where background work is optional."""
        self.include(*(owner.supervisor for owner in owners if isinstance(owner, Supervised)))

    @property
    def failures(self) -> dict[str, str]:
        """Services that ended by themselves, and why, in one line each."""
        return {name: why for part in self._all() for name, why in part._failures.items()}

    @property
    def faults(self) -> Counter[str]:
        """Faults so far, by place."""
        total: Counter[str] = Counter()
        for part in self._all():
            with part._lock:
                total.update(part._faults)
        return total

    @property
    def jobs(self) -> frozenset["asyncio.Task[Any]"]:
        """Those of this part that are not done."""
        return frozenset(self._jobs)

    def keep(
        self, coroutine: Coroutine[Any, Any, object], name: str, *, returns: bool = False
    ) -> "asyncio.Task[object]":
        """A service on the running loop, until it is cancelled. `returns`: it also may come to its end."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._jobs.add(task)

        def ended(task: "asyncio.Task[object]") -> None:
            self._jobs.discard(task)
            error = _outcome(task)
            if error is not None:
                self.failed(name, error)
            elif not returns and not task.cancelled():
                self.failed(name, RuntimeError("it came to its end"))

        task.add_done_callback(ended)
        return task

    def spawn(self, coroutine: Coroutine[Any, Any, Result], name: str) -> "asyncio.Task[Result]":
        """A job on the running loop. Who awaits the task gets what it raises, too."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._jobs.add(task)

        def ended(task: "asyncio.Task[Result]") -> None:
            self._jobs.discard(task)
            error = _outcome(task)
            if error is not None:
                self.fault(name, error)

        task.add_done_callback(ended)
        return task

    def thread(self, target: Callable[[], object], name: str) -> threading.Thread:
        """A service on a daemon thread, started; it ends by returning."""

        def run() -> None:
            try:
                target()
            except BaseException as error:  # noqa: BLE001 - whatever ends a thread is a failure
                self.failed(name, error)

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread

    def failed(self, name: str, error: BaseException) -> None:
        """A service of this name has ended by itself."""
        why = one_line(error)
        logger.critical("%s has ended: %s", name, why, exc_info=error)
        self._failures[name] = why
        if self._on_failure is not None:
            self._on_failure(name, why)

    def fault(self, where: str, error: BaseException, what: str = "", *, always: bool = False) -> None:
        """Count a fault that was contained. `what`: what became of it, for the log, which has the first of each kind
        at a place; with `always`, each, for those that end something and so cannot repeat without end."""
        with self._lock:
            self._faults[where] += 1
            kind = where, type(error)
            first = kind not in self._known
            self._known.add(kind)
        if first or always:
            logger.error("%s: %s%s", where, one_line(error), f": {what}" if what else "", exc_info=error)
        else:
            logger.debug("%s: %s", where, one_line(error))

    @contextlib.contextmanager
    def catching_strays(self) -> Iterator[None]:
        """While entered, what nobody else catches counts here: exceptions of callbacks and of forgotten tasks on the
        running loop, and of threads that are nobody's."""
        loop, hook = asyncio.get_running_loop(), threading.excepthook

        def callback(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            error = context.get("exception")
            if isinstance(error, Exception):
                self.fault("event loop", error, str(context.get("message", "")))
            else:
                _loop.default_exception_handler(context)

        def thread(stray: threading.ExceptHookArgs) -> None:
            name = "a thread" if stray.thread is None else stray.thread.name
            if stray.exc_value is None:
                hook(stray)
            else:
                self.fault("thread", stray.exc_value, f"{name} has ended", always=True)

        before = loop.get_exception_handler()
        loop.set_exception_handler(callback)
        threading.excepthook = thread
        try:
            yield
        finally:
            loop.set_exception_handler(before)
            threading.excepthook = hook

    def _all(self) -> Iterator["Supervisor"]:
        yield self
        for part in self._parts:
            yield from part._all()


@runtime_checkable
class Supervised(Protocol):
    """Has background work of its own."""

    supervisor: Supervisor


def one_line(error: BaseException) -> str:
    """`RuntimeError: what it says`, without line breaks."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _outcome(task: "asyncio.Task[Any]") -> BaseException | None:
    """What a task ended by, None where it returned or was cancelled by somebody. A `CancelledError` that nobody asked
    for (of a future that was cancelled elsewhere) is a fault as any other."""
    if task.cancelled():
        return None if task.cancelling() else asyncio.CancelledError("by something it waited for")
    return task.exception()
