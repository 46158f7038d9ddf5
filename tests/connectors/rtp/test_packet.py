import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.rtp.errors import MalformedRtp
from connectors.rtp.packet import Extension, RtpPacket, is_rtcp
from tests.connectors.rtp.captures import capture, captures

PAYLOAD = bytes((index * 37 + 11) & 0xFF for index in range(160))
SEQUENCE, TIMESTAMP, SSRC = 15743, 3937035252, 0x5DDDF5C0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rtp-pcmu", RtpPacket(0, SEQUENCE, TIMESTAMP, SSRC, payload=PAYLOAD)),
        ("rtp-marker", RtpPacket(0, SEQUENCE, TIMESTAMP, SSRC, payload=PAYLOAD, marker=True)),
        ("rtp-csrc", RtpPacket(8, SEQUENCE, TIMESTAMP, SSRC, payload=PAYLOAD, csrc=(0x11223344, 0xAABBCCDD))),
        (
            "rtp-extension",
            RtpPacket(0, SEQUENCE, TIMESTAMP, SSRC, payload=PAYLOAD, extension=Extension(0xBEDE, b"\x10\xb0\x00\x00")),
        ),
        ("rtp-padding", RtpPacket(0, SEQUENCE, TIMESTAMP, SSRC, payload=PAYLOAD[:157], padding=3)),
        (
            "rtp-everything",
            RtpPacket(
                101,
                SEQUENCE,
                TIMESTAMP,
                SSRC,
                payload=b"\x05\x8a\x03\x20",
                marker=True,
                csrc=(9,),
                extension=Extension(0x1000, bytes(8)),
                padding=4,
            ),
        ),
        ("rtp-empty", RtpPacket(0, SEQUENCE, TIMESTAMP, SSRC)),
        ("rtp-dtmf-end", RtpPacket(101, SEQUENCE, TIMESTAMP, SSRC, payload=b"\x05\x8a\x03\x20")),
    ],
)
def test_captured_packets_are_read_and_written(name: str, expected: RtpPacket) -> None:
    assert RtpPacket.parse(capture(name)) == expected
    assert expected.encode() == capture(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rtp-bad-short", "11 octets are shorter than the RTP header"),
        ("rtp-bad-version", "RTP version 1"),
        ("rtp-bad-csrc", "contributing sources reach past the end"),
        ("rtp-bad-extension-header", "header extension is cut off"),
        ("rtp-bad-extension-length", "header extension reaches past the end"),
        ("rtp-bad-padding-zero", "padding does not fit the packet"),
        ("rtp-bad-padding-long", "padding does not fit the packet"),
        ("rtp-bad-padding-none", "padding does not fit the packet"),
    ],
)
def test_malformed_packets_are_refused_by_what_is_wrong(name: str, message: str) -> None:
    with pytest.raises(MalformedRtp, match=f"^{message}$"):
        RtpPacket.parse(capture(name))


def test_every_malformed_capture_is_refused() -> None:
    names = captures("rtp-bad-*")
    assert len(names) == 8
    for name in names:
        with pytest.raises(MalformedRtp):
            RtpPacket.parse(capture(name))


packets = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    sequence=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFFFFFF),
    ssrc=st.integers(0, 0xFFFFFFFF),
    payload=st.binary(max_size=300),
    marker=st.booleans(),
    csrc=st.lists(st.integers(0, 0xFFFFFFFF), max_size=15).map(tuple),
    extension=st.none()
    | st.builds(
        Extension,
        st.integers(0, 0xFFFF),
        st.integers(0, 8).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n)),
    ),
    padding=st.integers(0, 255),
)


@given(packets)
def test_what_is_written_is_read_back(packet: RtpPacket) -> None:
    assert RtpPacket.parse(packet.encode()) == packet


@settings(max_examples=300)
@given(st.binary(max_size=80))
def test_any_octets_are_a_packet_or_malformed(data: bytes) -> None:
    try:
        packet = RtpPacket.parse(data)
    except MalformedRtp:
        return
    assert len(packet.payload) + packet.padding <= len(data) - 12


def test_fields_that_do_not_fit_are_not_written() -> None:
    with pytest.raises(ValueError, match="whole words"):
        RtpPacket(0, 0, 0, 0, extension=Extension(0, b"abc")).encode()
    with pytest.raises(ValueError, match="contributing"):
        RtpPacket(0, 0, 0, 0, csrc=(1,) * 16).encode()
    with pytest.raises(ValueError, match="contributing"):
        RtpPacket(128, 0, 0, 0).encode()


def test_rtcp_on_a_shared_port_is_told_by_its_type() -> None:
    assert is_rtcp(capture("rtcp-sr"))
    assert is_rtcp(capture("rtcp-bye"))
    assert not is_rtcp(capture("rtp-pcmu"))
    assert not is_rtcp(capture("rtp-marker"))
    assert not is_rtcp(RtpPacket(101, 1, 1, 1, marker=True).encode())
    assert not is_rtcp(b"\x80")
