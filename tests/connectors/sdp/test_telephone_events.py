"""Telephone events in offer and answer: at which clock and under which number."""

from dataclasses import replace

import pytest

from connectors.sdp.description import AudioMedia, RtpCodec
from connectors.sdp.offer_answer import Capabilities
from tests.connectors.sdp.negotiation import EVENTS, G722, OPUS, PCMA, PCMU, Start, answered, line, offer


def test_telephone_events_go_with_the_clock_of_a_codec(start: Start) -> None:
    wide = RtpCodec(102, "TELEPHONE-EVENT", 48000)
    _, [agreed] = answered(start(), line(OPUS, EVENTS, wide))
    assert agreed.telephone_event == wide
    assert EVENTS not in agreed.receive
    _, [agreed] = answered(start(), line(PCMU, wide))
    assert agreed.telephone_event is None


@pytest.mark.parametrize(
    ("codecs", "clocks", "taken"),
    [
        ((OPUS,), (8000,), (8000,)),
        ((OPUS,), (16000,), (16000,)),
        ((OPUS,), (48000,), (48000,)),
        ((OPUS,), (8000, 48000), (48000,)),
        ((OPUS,), (8000, 16000), (8000, 16000)),
        ((OPUS, PCMU), (8000, 16000, 48000), (8000, 48000)),
        ((OPUS, PCMU), (8000,), (8000,)),
        ((OPUS, PCMU), (16000,), (16000,)),
        ((PCMU,), (8000, 48000), (8000,)),
        ((PCMU,), (48000,), (48000,)),
        ((PCMU,), (32000,), (32000,)),
        ((G722,), (16000,), (16000,)),
        ((RtpCodec(97, "L16", 16000),), (8000,), (8000,)),
    ],
)
def test_telephone_events_are_answered_whatever_their_clock_is(
    start: Start, codecs: tuple[RtpCodec, ...], clocks: tuple[int, ...], taken: tuple[int, ...]
) -> None:
    events = [RtpCodec(120 + place, "TELEPHONE-EVENT", clock) for place, clock in enumerate(clocks)]
    lines, [agreed] = answered(start(), line(*codecs, *events))
    expected = [event for event in events if event.clock_rate in taken]
    assert isinstance(lines[0], AudioMedia)
    assert [codec.key for codec in lines[0].codecs if not codec.is_audio] == [event.key for event in expected]
    assert [codec.payload_type for codec in lines[0].codecs if not codec.is_audio] == [
        event.payload_type for event in expected
    ]
    assert [codec for codec in agreed.receive if not codec.is_audio] == expected
    assert agreed.codec == codecs[0]


def test_a_single_codec_is_answered_with_its_events_or_those_there_are(start: Start) -> None:
    wide = RtpCodec(102, "TELEPHONE-EVENT", 48000)
    lines, _ = answered(start(Capabilities(single_codec=True)), line(OPUS, PCMU, EVENTS, wide))
    assert lines[0].formats == ("111", "102")
    lines, _ = answered(start(Capabilities(single_codec=True)), line(OPUS, PCMU, EVENTS))
    assert lines[0].formats == ("111", "101")


def test_one_number_for_events_of_two_clocks_is_answered_once_with_the_right_one(start: Start) -> None:
    events = [RtpCodec(101, "TELEPHONE-EVENT", clock) for clock in (16000, 8000)]
    for codec, clock in ((PCMA, 8000), (OPUS, 16000)):
        lines, [agreed] = answered(start(), line(codec, *events))
        assert lines[0].formats == (str(codec.payload_type), "101")
        assert [one.clock_rate for one in agreed.receive if not one.is_audio] == [clock]


def test_without_events_of_ours_none_are_answered(start: Start) -> None:
    lines, _ = answered(start(Capabilities(codecs=(PCMU,))), line(PCMU, EVENTS))
    assert lines[0].formats == ("0",)


def test_keys_of_ours_go_at_the_clock_of_the_codec_or_at_the_one_that_all_have(start: Start) -> None:
    wide = RtpCodec(102, "TELEPHONE-EVENT", 48000)
    assert answered(start(), line(OPUS, EVENTS))[1][0].telephone_event == EVENTS
    assert answered(start(), line(OPUS, EVENTS, wide))[1][0].telephone_event == wide


def test_an_answer_with_events_of_another_clock_than_its_codec_is_received(start: Start) -> None:
    session = start()
    session.offer()
    [agreed] = session.accept(offer(line(OPUS, EVENTS)))
    assert {codec.payload_type: codec.key for codec in agreed.receive} == {
        96: OPUS.key,
        111: OPUS.key,
        101: ("TELEPHONE-EVENT", 8000, 1),
    }


def test_an_answer_that_gives_our_number_of_events_another_clock_is_received(start: Start) -> None:
    session = start()
    session.offer()
    [agreed] = session.accept(offer(line(OPUS, replace(EVENTS, clock_rate=48000))))
    assert {101, 103} <= {codec.payload_type for codec in agreed.receive if not codec.is_audio}
