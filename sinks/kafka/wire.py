"""What a server and the process that delivers its records say to each other, and its frames. Sans-IO.

A frame is its length (4 bytes, little-endian) and one msgpack map. The spool is not on this way: both have it open, the
server to write, the other to read.

    server                              delivery
    Begin                        ->
    Committed, Held, Released,
    Partials, Stop               ->
                                 <-     Settled, Rejected, Redirected, Room, State, Line, Ended
"""

import struct
from typing import Final

import msgspec

from sinks.config import KafkaConfig
from sinks.message import Message
from sinks.spool import Spooled

LENGTH: Final = struct.Struct("<I")


class Begin(msgspec.Struct, frozen=True, tag=True):
    """First message. `log_level`: lines below it are not sent."""

    config: KafkaConfig
    log_level: int


class Committed(msgspec.Struct, frozen=True, tag=True):
    """The spool has been written to; `waiting` entries are in it."""

    waiting: int


class Held(msgspec.Struct, frozen=True, tag=True):
    """The disk refuses: these entries are in memory alone, newer than those of before."""

    entries: list[Spooled]


class Released(msgspec.Struct, frozen=True, tag=True):
    """The disk has taken all that was held."""


class Partials(msgspec.Struct, frozen=True, tag=True):
    """At most as many as there was `Room` for."""

    messages: list[Message]


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Deliver what there is for `within_s` at most, dead letters for `letters`; then say `Ended`."""

    within_s: float
    letters: bool


class Settled(msgspec.Struct, frozen=True, tag=True):
    """Entries that were acknowledged."""

    ids: list[int]


class Rejected(msgspec.Struct, frozen=True, tag=True):
    """An entry for the dead-letter file."""

    id: int
    reason: str


class Redirected(msgspec.Struct, frozen=True, tag=True):
    """An entry whose place another takes."""

    id: int
    entry: Message


class Room(msgspec.Struct, frozen=True, tag=True):
    """So many partials more may come."""

    count: int


class LaneState(msgspec.Struct, frozen=True):
    """`errors`: since this process began."""

    connected: bool
    errors: int


class State(msgspec.Struct, frozen=True, tag=True):
    """By topic; of the partials, since this process began. Comes at least every `BEAT_S`."""

    lanes: dict[str, LaneState]
    partials_acknowledged: int = 0
    partials_dropped: int = 0


class Line(msgspec.Struct, frozen=True, tag=True):
    """For the server's log."""

    level: int
    logger: str
    text: str


class Ended(msgspec.Struct, frozen=True, tag=True):
    """What `Stop` asked for."""


BEAT_S: Final = 1.0

ToDelivery = Begin | Committed | Held | Released | Partials | Stop
ToServer = Settled | Rejected | Redirected | Room | State | Line | Ended

to_delivery: msgspec.msgpack.Decoder[ToDelivery] = msgspec.msgpack.Decoder(ToDelivery)
to_server: msgspec.msgpack.Decoder[ToServer] = msgspec.msgpack.Decoder(ToServer)
_encoder = msgspec.msgpack.Encoder()


def frame(message: ToDelivery | ToServer) -> bytes:
    data = _encoder.encode(message)
    return LENGTH.pack(len(data)) + data
