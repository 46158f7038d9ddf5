"""Frames: what goes in comes out, however it is cut, and what is no message says so."""

import contextlib
import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api import EngineLoad, LanguageSource, SessionOptions, Word
from engine.errors import MalformedFrame
from engine.remote import wire
from engine.stats import EngineStats

AUDIO = np.linspace(-1, 1, 7, dtype=np.float32)
FROM_GATEWAY: list[wire.FromGateway] = [
    wire.Greeting(wire.VERSION),
    wire.Open(7, SessionOptions(80, "de-DE"), again=True),
    wire.Push([7, 9], [3, 4], AUDIO.data.cast("B")),
    wire.Finalize(7),
    wire.SetLanguage(7, "auto"),
    wire.Close(7),
    wire.Drop(9),
    wire.Reserve(160),
    wire.Ping(3),
]
WORD = Word("Straße,", 0.08, 0.4, 0.9, "de-DE", LanguageSource.DETECTED, spaced=False)
FROM_ENGINE: list[wire.FromEngine] = [
    wire.Hello(wire.VERSION, ["auto", "de-DE"], [80, 160], 64),
    wire.Events([wire.WireHypothesis(7, 3, (WORD,), is_final=True)], [9], {7: 0.25}, {9: "a fault"}),
    wire.OpenRefused(7, "full", retryable=True),
    wire.CapacityReport(64, 3, EngineStats(steps=5, step_s=0.5), EngineLoad(3, 64, 0.5, ())),
    wire.Pong(3),
    wire.Failed("no checkpoint"),
]
CONVERSATION = b"".join(bytes(wire.frame(message)) for message in FROM_GATEWAY)


@given(st.lists(st.integers(0, len(CONVERSATION))))
def test_messages_of_a_gateway_survive_any_cut(cuts: list[int]) -> None:
    framer, got, at = wire.from_gateway(), list[wire.FromGateway](), 0
    for cut in [*sorted(cuts), len(CONVERSATION)]:
        got += framer.feed(CONVERSATION[at:cut])
        at = cut
    assert list(map(repr_of, got)) == list(map(repr_of, FROM_GATEWAY))


def repr_of(message: wire.FromGateway) -> object:
    """Comparable: a `memoryview` equals another by its bytes, whatever they mean."""
    if isinstance(message, wire.Push):
        return message.ids, message.lengths, np.frombuffer(message.pcm, np.float32).tolist()
    return message


def test_messages_of_an_engine_survive() -> None:
    data = b"".join(bytes(wire.frame(message)) for message in FROM_ENGINE)
    assert list(wire.from_engine().feed(data)) == FROM_ENGINE


def test_audio_arrives_bit_by_bit_the_same() -> None:
    pcm = np.random.default_rng(1).standard_normal(999).astype(np.float32)
    (push,) = wire.from_gateway().feed(bytes(wire.frame(wire.Push([1], [999], pcm.data.cast("B")))))
    assert isinstance(push, wire.Push)
    assert np.frombuffer(push.pcm, np.float32).tobytes() == pcm.tobytes()


@given(st.binary(max_size=200))
def test_noise_is_a_malformed_frame_or_waits_for_more(data: bytes) -> None:
    framer = wire.from_gateway()
    try:
        for message in framer.feed(data):
            assert isinstance(message, wire.FromGateway)
    except MalformedFrame:
        pass


@given(st.integers(0, len(FROM_GATEWAY) - 1), st.data())
def test_a_damaged_frame_never_raises_anything_else(number: int, data: st.DataObject) -> None:
    frame = wire.frame(FROM_GATEWAY[number])
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(4, len(frame) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedFrame):
        list(wire.from_gateway().feed(bytes(frame)))


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        (b"\xc1", "no message"),
        (b"\x91" * 100_000, "no message"),
        (msgspec.msgpack.encode([99, 1]), "no message"),
        (msgspec.msgpack.encode({"id": 1}), "no message"),
        (msgspec.msgpack.encode([3, "seven"]), "no message"),
        (msgspec.msgpack.encode([2, [1], [2], b"1234"]), "4 bytes of audio for 2 samples"),
        (msgspec.msgpack.encode([2, [1, 2], [1], b"1234"]), "audio of 2 sessions with 1 lengths"),
        (msgspec.msgpack.encode([2, [1, 2], [2, -1], b"1234"]), "audio of 2 sessions"),
    ],
    ids=["bytes", "depth", "tag", "map", "type", "samples", "ids", "negative"],
)
def test_what_is_no_message_is_said(payload: bytes, what: str) -> None:
    with pytest.raises(MalformedFrame, match=what):
        list(wire.from_gateway().feed(struct.pack("<I", len(payload)) + payload))


def test_a_frame_too_long_is_refused_by_its_first_bytes() -> None:
    with pytest.raises(MalformedFrame, match="the longest is"):
        list(wire.from_gateway().feed(struct.pack("<I", wire.MAX_FRAME + 1)))


def test_the_longest_push_fits_a_frame() -> None:
    pcm = np.zeros(wire.MAX_SAMPLES, np.float32)
    assert len(wire.frame(wire.Push([1] * 4_000, [0] * 4_000, pcm.data.cast("B")))) < wire.MAX_FRAME
