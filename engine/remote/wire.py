"""Messages between a gateway and an engine process, and their frames. Sans-IO: bytes in, messages out.

A frame is its length (4 bytes, little-endian) and one msgpack array, whose first element tells the kind of message.
Sessions go by a number that the gateway chooses and never uses twice on a connection. Audio is float32, so that an
engine in another process writes the same tokens as one in this process.

    gateway                                engine
    Greeting                 ->
                             <-            Hello | Failed
    Open, Push, Finalize, SetLanguage,
    Close, Drop, Reserve, Ping ->
                             <-            Opened, OpenRefused, Events, CapacityReport, Pong
"""

import struct
from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from engine.api import EngineLoad, SessionOptions, Word
from engine.errors import MalformedFrame
from engine.stats import EngineStats

VERSION = 2

MAX_FRAME = 8 << 20
"""Bytes of the longest frame; a peer that announces a longer one is not of this protocol."""

MAX_SAMPLES = 1 << 20
"""Samples of the longest `Push`, so that its frame stays well below the limit."""

SAMPLE_BYTES = 4

_LENGTH = struct.Struct("<I")

_Message = TypeVar("_Message")


class Greeting(msgspec.Struct, array_like=True, frozen=True, tag=0):
    """First message of a gateway."""

    version: int


class Open(msgspec.Struct, array_like=True, frozen=True, tag=1):
    """Answered by `Opened` or `OpenRefused`. `again`: the session was open before, in an engine that is gone."""

    id: int
    options: SessionOptions
    again: bool


class Push(msgspec.Struct, array_like=True, frozen=True, tag=2):
    """Audio of many sessions: `pcm` holds `lengths[k]` float32 samples of session `ids[k]`, one after the other."""

    ids: list[int]
    lengths: list[int]
    pcm: memoryview


class Finalize(msgspec.Struct, array_like=True, frozen=True, tag=3):
    id: int


class SetLanguage(msgspec.Struct, array_like=True, frozen=True, tag=4):
    id: int
    language: str


class Close(msgspec.Struct, array_like=True, frozen=True, tag=5):
    id: int


class Drop(msgspec.Struct, array_like=True, frozen=True, tag=6):
    """Free the slot; nobody waits for the last words."""

    id: int


class Reserve(msgspec.Struct, array_like=True, frozen=True, tag=7):
    chunk_ms: int


class Ping(msgspec.Struct, array_like=True, frozen=True, tag=8):
    number: int


class Hello(msgspec.Struct, array_like=True, frozen=True, tag=20):
    """First message of an engine that is ready."""

    version: int
    languages: list[str]
    chunks_ms: list[int]
    max_sessions: int


class Failed(msgspec.Struct, array_like=True, frozen=True, tag=21):
    """The engine cannot serve; the connection ends."""

    reason: str


class WireHypothesis(msgspec.Struct, array_like=True, frozen=True):
    """A `Hypothesis` whose session goes by its number."""

    id: int
    first: int
    words: tuple[Word, ...]
    is_final: bool


class Events(msgspec.Struct, array_like=True, frozen=True, tag=22):
    """What one step brought for the sessions of this gateway. `progress`: seconds consumed, by session. `failed`: why,
    by session, for those of `closed` that a fault of the engine has ended."""

    hypotheses: list[WireHypothesis]
    closed: list[int]
    progress: dict[int, float]
    failed: dict[int, str] = {}


class OpenRefused(msgspec.Struct, array_like=True, frozen=True, tag=23):
    """A session that cannot be opened. `retryable`: for want of a free slot."""

    id: int
    reason: str
    retryable: bool


class CapacityReport(msgspec.Struct, array_like=True, frozen=True, tag=24):
    """`others`: sessions open for other gateways."""

    max_sessions: int
    others: int
    stats: EngineStats
    load: EngineLoad


class Pong(msgspec.Struct, array_like=True, frozen=True, tag=25):
    number: int


class Opened(msgspec.Struct, array_like=True, frozen=True, tag=26):
    """The engine takes the session. Comes before anything else of it."""

    id: int


FromGateway = Greeting | Open | Push | Finalize | SetLanguage | Close | Drop | Reserve | Ping
FromEngine = Hello | Failed | Opened | Events | OpenRefused | CapacityReport | Pong

_encoder = msgspec.msgpack.Encoder()


def frame(message: FromGateway | FromEngine) -> bytearray:
    """The message as it goes over the wire."""
    buffer = bytearray(_LENGTH.size)
    _encoder.encode_into(message, buffer, _LENGTH.size)
    _LENGTH.pack_into(buffer, 0, len(buffer) - _LENGTH.size)
    return buffer


class Framer(Generic[_Message]):
    """Cuts what a peer sends into messages. Holds one unfinished frame, of `MAX_FRAME` bytes at most."""

    def __init__(self, decoder: "msgspec.msgpack.Decoder[_Message]") -> None:
        self._decoder = decoder
        self._buffer = bytearray()

    def feed(self, data: bytes | bytearray) -> Iterator[_Message]:
        """Messages that are complete now. Raises `MalformedFrame`, after which the peer is not to be read further."""
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, at)
            if length > MAX_FRAME:
                raise MalformedFrame(f"a frame of {length} bytes: the longest is {MAX_FRAME}")
            end = at + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            with memoryview(self._buffer) as view:
                payload = bytes(view[at + _LENGTH.size : end])
            at = end
            yield self._decode(payload)
        del self._buffer[:at]

    def _decode(self, payload: bytes) -> _Message:
        try:
            message = self._decoder.decode(payload)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise MalformedFrame(f"a frame of {len(payload)} bytes is no message: {error}") from error
        if isinstance(message, Push):
            _check(message)
        return message


def from_gateway() -> Framer[FromGateway]:
    """Reads what gateways send."""
    return Framer(msgspec.msgpack.Decoder(FromGateway))


def from_engine() -> Framer[FromEngine]:
    """Reads what an engine sends."""
    return Framer(msgspec.msgpack.Decoder(FromEngine))


def _check(push: Push) -> None:
    if len(push.ids) != len(push.lengths) or min(push.lengths, default=0) < 0:
        raise MalformedFrame(f"audio of {len(push.ids)} sessions with {len(push.lengths)} lengths")
    if sum(push.lengths) * SAMPLE_BYTES != push.pcm.nbytes:
        raise MalformedFrame(f"{push.pcm.nbytes} bytes of audio for {sum(push.lengths)} samples")
