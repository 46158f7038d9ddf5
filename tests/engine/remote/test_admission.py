"""A gateway refuses at once what the engine has no headroom for, by what its last report."""

import pytest

from engine.api import ClassLoad, EngineLoad, SessionOptions
from engine.errors import EngineFull
from engine.remote.client import Client
from engine.remote.wire import VERSION, CapacityReport, Hello, frame, from_engine
from engine.stats import EngineStats

HELLO = Hello(VERSION, ["auto"], [80, 160], 64)


def load(headroom: int) -> EngineLoad:
    of_class = ClassLoad(160, 1, 64, headroom, 20, 5, 9, 0.1, 0.02, 0.5, 0.03, 0.05, 0.06)
    return EngineLoad(1, 64, 0.4, (of_class,))


def report(client: Client, headroom: int) -> None:
    """What the engine tells several times a second, over the wire and back."""
    (message,) = from_engine().feed(frame(CapacityReport(64, 0, EngineStats(), load(headroom))))
    client.receive(message)


def test_no_more_sessions_are_opened_than_there_was_room_for() -> None:
    client = Client(HELLO, 30.0)
    report(client, headroom=2)
    assert client.load == load(2)
    for _ in range(2):
        client.open(SessionOptions(160))
    with pytest.raises(EngineFull, match="no time"):
        client.open(SessionOptions(160))
    client.open(SessionOptions(80))
    report(client, headroom=1)
    client.open(SessionOptions(160))
    assert client.stats.refused == 1


def test_before_the_engine_has_told_only_slots_count() -> None:
    client = Client(HELLO, 30.0)
    for _ in range(5):
        client.open(SessionOptions(160))
    assert client.load.classes == ()
