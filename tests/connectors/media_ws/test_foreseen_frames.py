"""`Frames`: what is read is taken at once or left to aiohttp, every byte of it and in order."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from connectors.media_ws.socket import Frames
from tests.connectors.media_ws.lines import PING, masked


class Sink(asyncio.Protocol):
    """In the place of aiohttp."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.received.append(data)


LONG = "x" * 200


@given(st.lists(st.sampled_from(["long", "short", "ping", "no", "part"]), max_size=12), st.data())
def test_every_byte_goes_one_way_or_the_other_and_in_order(kinds: list[str], data: st.DataObject) -> None:
    frames_of = {
        "long": [masked(LONG)],
        "short": [masked("short")],
        "ping": [PING],
        "no": [masked("no" * 100)],
        "part": [masked(LONG, 0x01), PING, masked(LONG, 0x80)],
    }
    wire = [frame for kind in kinds for frame in frames_of[kind]]
    sink, taken = Sink(), list[bytes]()
    frames = Frames(sink, lambda: None, 1000)

    def fast_path(message: bytearray, _now: float) -> bool:
        if message.startswith(b"no"):
            return False
        taken.append(bytes(message))
        return True

    frames.fast_path = fast_path
    whole = b"".join(wire)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=20)))
    for begin_, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        if end > begin_:
            frames.data_received(whole[begin_:end])
    delegated = b"".join(sink.received)
    assert len(delegated) + sum(len(message) + 8 for message in taken) == len(whole)
    left = list(wire)
    for message in taken:
        left.remove(masked(message))
    if "long" in kinds and kinds[0] == "long" and not cuts:
        assert taken[0] == LONG.encode()
    assert delegated == b"".join(left)


def test_nothing_overtakes_what_waits() -> None:
    sink, taken = Sink(), list[bytes]()
    frames = Frames(sink, lambda: None, 1000)

    def take(message: bytearray, _now: float) -> bool:
        if message.startswith(b"no"):
            return False
        taken.append(bytes(message))
        return True

    frames.fast_path = take
    for frame in (masked(LONG), masked("no" * 100), masked(LONG), PING, masked(LONG)):
        frames.data_received(frame)
    assert len(taken) == 1
    frames.handled()
    frames.data_received(masked(LONG))
    assert len(taken) == 1
    for _ in range(3):
        frames.handled()
    frames.data_received(masked(LONG))
    assert len(taken) == 2


def test_longer_messages_than_allowed_and_other_text_are_left_to_aiohttp() -> None:
    sink = Sink()
    frames = Frames(sink, lambda: None, 199)
    frames.fast_path = lambda _message, _now: True
    frames.data_received(masked(LONG))
    assert len(sink.received) == 1
    frames.handled()
    frames.data_received(masked("é" * 80))
    assert len(sink.received) == 2
    frames.handled()
    frames.data_received(masked("x" * 199))
    assert len(sink.received) == 2


def test_aiohttp_hears_now_and_then_that_the_peer_is_there() -> None:
    notified: list[int] = []
    frames = Frames(Sink(), lambda: notified.append(1), 1000)
    frames.fast_path = lambda _message, _now: True
    for _ in range(50):
        frames.data_received(masked(LONG))
    assert len(notified) == 1
