"""Logging: one line an event on standard error, personal data only where it was asked for.

Much of what is logged was written by strangers: paths, headers, call ids, messages of errors. This is the one place
where all of it is made safe to read: nothing in a value can begin a line, move the cursor or turn the text round.
"""

import logging
import sys
from collections.abc import Iterator
from traceback import TracebackException

_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_INDENT = "  "


def escaped(text: str) -> str:
    """One line of printable characters: control characters, line ends of any kind (also U+0085, U+2028, U+2029),
    escape sequences, marks of direction, invisible characters and what is no text, each as Python writes it."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class LineFormatter(logging.Formatter):
    """`time level logger message key=value ...`. Extra fields under `pii.` appear only if `show_pii`. A traceback
    follows in lines of its own, each indented, so that none can be taken for an event."""

    def __init__(self, *, show_pii: bool) -> None:
        super().__init__()
        self._show_pii = show_pii

    def format(self, record: logging.LogRecord) -> str:
        head = f"{self.formatTime(record)} {record.levelname:<7} {record.name}: {record.getMessage()}"
        extras = [
            f"{key}={value!r}"
            for key, value in vars(record).items()
            if key not in _KNOWN and value is not None and (self._show_pii or not key.startswith("pii."))
        ]
        lines = [escaped(" ".join([head, *extras]))]
        if record.exc_info and record.exc_info[1] is not None:
            lines += _traceback(TracebackException.from_exception(record.exc_info[1], compact=True))
        if record.stack_info:
            lines += [_INDENT + escaped(line) for line in record.stack_info.splitlines()]
        return "\n".join(lines)


def _traceback(shown: TracebackException, indent: str = _INDENT) -> Iterator[str]:
    """As Python writes it, the first cause first; what an exception says is one line, whatever it says."""
    chain: list[tuple[TracebackException, str]] = []
    link, following = "", shown
    while True:
        chain.append((following, link))
        if following.__cause__ is not None:
            link, following = (
                "The above exception was the direct cause of the following exception:",
                following.__cause__,
            )
        elif following.__context__ is not None and not following.__suppress_context__:
            link = "During handling of the above exception, another exception occurred:"
            following = following.__context__
        else:
            break
    for one, after in reversed(chain):
        yield f"{indent}Traceback (most recent call last):"
        for frame in one.stack.format():
            yield from (indent + escaped(line) for line in frame.rstrip("\n").split("\n"))
        yield indent + escaped("".join(one.format_exception_only()).rstrip("\n"))
        for member in one.exceptions or ():
            yield from _traceback(member, indent + _INDENT)
        if after:
            yield indent + after


def set_up_logging(level: str, *, show_pii: bool = False) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(show_pii=show_pii))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # The client library logs every reconnect at length and as an error; the sink reports what matters.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    # A peer that offers a subprotocol is no event, and as often as it likes.
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)
