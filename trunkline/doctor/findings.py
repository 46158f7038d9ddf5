"""What a check found: ok, a warning or a fault, in one line each."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """`FAULT`: the server does not start, or something of it does not work. `WARNING`: it is worth knowing."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """`what`: one line, with what to do where there is something."""

    subject: str
    level: Level
    what: str


def ok(subject: str, what: str) -> Finding:
    return Finding(subject, Level.OK, what)


def warning(subject: str, what: str) -> Finding:
    return Finding(subject, Level.WARNING, what)


def fault(subject: str, what: str) -> Finding:
    return Finding(subject, Level.FAULT, what)
