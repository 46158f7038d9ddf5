import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.rtp.rtcp import (
    Goodbye,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    encode_compound,
    parse_compound,
)
from tests.connectors.rtp.captures import capture, captures

BLOCK = ReportBlock(0xBC5E9A40, 25, -2, 630, 1906, 0x9FF90001, 0x8000)
SENDER = SenderReport(0x400FD8B1, 16016567581311369308, 1722342718, 269, 13557, (BLOCK,))
RECEIVER = ReceiverReport(0x2FB58B92, (BLOCK,))
DESCRIPTION = SourceDescription(((0x6B2B9D4E, ((1, b"ab3c@host.example"), (6, b"tool"))),))
GOODBYE = Goodbye((0xB6A1F53F,), b"goodbye")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rtcp-sr", [SENDER]),
        ("rtcp-rr", [RECEIVER]),
        ("rtcp-sdes", [DESCRIPTION]),
        ("rtcp-bye", [GOODBYE]),
        ("rtcp-bye-bare", [Goodbye(())]),
        ("rtcp-compound", [SENDER, DESCRIPTION, GOODBYE]),
    ],
)
def test_captured_packets_are_read_and_written(name: str, expected: list[RtcpPacket]) -> None:
    assert parse_compound(capture(name)) == (expected, None)
    assert encode_compound(expected) == capture(name)


def test_types_that_are_not_known_are_skipped() -> None:
    assert parse_compound(capture("rtcp-other-types")) == ([RECEIVER, GOODBYE], None)


def test_padding_is_taken_off() -> None:
    assert parse_compound(capture("rtcp-padding")) == ([RECEIVER, Goodbye((5,))], None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rtcp-bad-header", "RTCP header is cut off"),
        ("rtcp-bad-version", "RTCP version 1"),
        ("rtcp-bad-length", "RTCP length reaches past the end"),
        ("rtcp-bad-padding", "RTCP padding does not fit the packet"),
        ("rtcp-bad-padding-word", "RTCP padding does not fit the packet"),
        ("rtcp-bad-sr", "sender report is cut off"),
        ("rtcp-bad-rr", "receiver report is cut off"),
        ("rtcp-bad-blocks", "report blocks are cut off"),
        ("rtcp-bad-sdes", "source description is cut off"),
        ("rtcp-bad-sdes-item", "description item reaches past the end"),
        ("rtcp-bad-bye", "sources of the goodbye are cut off"),
        ("rtcp-bad-bye-reason", "reason of the goodbye reaches past the end"),
    ],
)
def test_what_comes_before_an_error_is_used(name: str, message: str) -> None:
    packets, error = parse_compound(capture(name))
    assert packets == [RECEIVER]
    assert str(error) == message


def test_every_malformed_capture_is_named_by_a_test() -> None:
    assert len(captures("rtcp-bad-*")) == 12


def test_an_empty_datagram_is_malformed() -> None:
    packets, error = parse_compound(b"")
    assert packets == []
    assert str(error) == "empty datagram"


def test_counts_that_do_not_fit_are_written_as_the_largest() -> None:
    block = ReportBlock(1, 255, 2**30, 2**40 + 5, 2**40, 0, 2**40)
    packets, error = parse_compound(encode_compound([ReceiverReport(2, (block,))]))
    assert error is None
    assert packets == [ReceiverReport(2, (ReportBlock(1, 255, 2**23 - 1, 5, 2**32 - 1, 0, 2**32 - 1),))]


u32 = st.integers(0, 0xFFFFFFFF)
blocks = st.lists(
    st.builds(ReportBlock, u32, st.integers(0, 255), st.integers(-(2**23), 2**23 - 1), u32, u32, u32, u32), max_size=31
).map(tuple)
items = st.lists(st.tuples(st.integers(1, 255), st.binary(max_size=255)), max_size=4).map(tuple)
packets_ = st.lists(
    st.builds(SenderReport, u32, st.integers(0, 2**64 - 1), u32, u32, u32, blocks)
    | st.builds(ReceiverReport, u32, blocks)
    | st.builds(SourceDescription, st.lists(st.tuples(u32, items), max_size=5).map(tuple))
    | st.builds(Goodbye, st.lists(u32, max_size=31).map(tuple), st.binary(max_size=255)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(packets_)
def test_what_is_written_is_read_back(packets: list[RtcpPacket]) -> None:
    assert parse_compound(encode_compound(packets)) == (packets, None)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(captures("rtcp-*")), st.integers(0, 200), st.binary(max_size=12))
def test_no_octets_break_the_parser(name: str, cut: int, junk: bytes) -> None:
    data = capture(name)
    for damaged in (junk, data[:cut], data + junk, data[:cut] + junk + data[cut + len(junk) :]):
        packets, _ = parse_compound(damaged)
        assert len(packets) <= len(damaged) // 4
