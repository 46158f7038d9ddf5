"""Logging: one line an event on standard error, personal data only where it was asked for."""

import logging
import sys

_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class LineFormatter(logging.Formatter):
    """`time level logger message key=value ...`. Extra fields under `pii.` appear only if `show_pii`."""

    def __init__(self, *, show_pii: bool) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        self._show_pii = show_pii

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        extras = [
            f"{key}={value!r}"
            for key, value in vars(record).items()
            if key not in _KNOWN and value is not None and (self._show_pii or not key.startswith("pii."))
        ]
        head, newline, trace = line.partition("\n")
        return " ".join([head, *extras]) + newline + trace


def set_up_logging(level: str, *, show_pii: bool = False) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(show_pii=show_pii))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # The client library tells every reconnect at length and as an error; the sink reports what matters.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
