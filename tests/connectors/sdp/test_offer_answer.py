"""Answers to offers: what is agreed, what is refused, and how it changes over a dialog."""

from collections.abc import Sequence

import pytest

from connectors.sdp.description import AudioMedia, Direction, MediaLine, OtherMedia, RtpCodec, encode, parse
from connectors.sdp.offer_answer import Capabilities, MediaWarning, NegotiationSession, NoCommonCodec
from tests.connectors.samples import SDP, sample
from tests.connectors.sdp.negotiation import (
    EVENTS,
    G722,
    G729,
    OPUS,
    OURS,
    PCMA,
    PCMU,
    Ports,
    Start,
    answered,
    line,
    offer,
)


def test_answer_takes_the_common_codecs_in_the_order_of_the_offer(start: Start) -> None:
    lines, [agreed] = answered(start(), line(G729, PCMA, EVENTS, PCMU))
    ours = lines[0]
    assert isinstance(ours, AudioMedia)
    assert [codec.payload_type for codec in ours.codecs] == [8, 0, 101]
    assert (ours.address, ours.port, ours.direction) == (OURS, agreed.local.port, Direction.SENDRECV)
    assert agreed.codec == PCMA
    assert [codec.payload_type for codec in agreed.receive] == [8, 0, 101]
    assert agreed.telephone_event == EVENTS
    assert (agreed.index, agreed.ptime_ms, agreed.direction) == (0, 20, Direction.SENDRECV)


def test_own_order_is_taken_where_it_is_configured(start: Start) -> None:
    capabilities = Capabilities(codecs=(G722, PCMU, PCMA), prefer_own_order=True)
    _, [agreed] = answered(start(capabilities), line(PCMA, PCMU, G722))
    assert [codec.name for codec in agreed.receive] == ["G722", "PCMU", "PCMA"]


def test_single_codec_is_answered_but_all_common_ones_are_taken(start: Start) -> None:
    lines, [agreed] = answered(start(Capabilities(single_codec=True)), line(PCMA, PCMU, EVENTS))
    assert lines[0].formats == ("8", "101")
    assert [codec.payload_type for codec in agreed.receive] == [8, 0, 101]


def test_dynamic_numbers_are_the_peers_and_parameters_are_ours(start: Start) -> None:
    lines, [agreed] = answered(start(), line(OPUS))
    ours = lines[0]
    assert isinstance(ours, AudioMedia)
    assert ours.codecs[0].payload_type == 111
    assert ours.codecs[0].parameters["useinbandfec"] == "1"
    assert ours.codecs[0].parameters["stereo"] == "0"
    assert agreed.codec.parameters == {"stereo": "1"}


def test_comfort_noise_is_taken_but_is_no_codec(start: Start) -> None:
    noise = RtpCodec(13, "CN", 8000)
    _, [agreed] = answered(start(), line(noise, PCMU))
    assert agreed.codec == PCMU
    assert noise in agreed.receive
    with pytest.raises(NoCommonCodec):
        start().answer(offer(line(noise, EVENTS)))


@pytest.mark.parametrize("name", SDP)
def test_sample_is_accepted_and_its_answer_is_read_back(start: Start, name: str) -> None:
    session = start()
    peers = parse(sample(name))
    description, agreed = session.answer(peers)
    assert parse(encode(description)) == description
    assert [one.index for one in agreed] == [index for index, _ in peers.audio]
    assert [media.port == 0 for media in description.media] == [media.kind != "audio" for media in peers.media]


@pytest.mark.parametrize(
    ("offered", "willing", "ours"),
    [
        ("sendrecv", "sendrecv", "sendrecv"),
        ("sendonly", "sendrecv", "recvonly"),
        ("recvonly", "sendrecv", "sendonly"),
        ("inactive", "sendrecv", "inactive"),
        ("sendrecv", "recvonly", "recvonly"),
        ("sendonly", "recvonly", "recvonly"),
        ("recvonly", "recvonly", "inactive"),
        ("sendrecv", "sendonly", "sendonly"),
        ("sendonly", "sendonly", "inactive"),
    ],
)
def test_directions(start: Start, offered: str, willing: str, ours: str) -> None:
    session = start(Capabilities(direction=Direction(willing)))
    lines, [agreed] = answered(session, line(direction=Direction(offered)))
    assert agreed.direction == ours
    assert isinstance(lines[0], AudioMedia)
    assert lines[0].direction == ours


def test_null_address_holds_although_the_line_says_sendrecv(start: Start) -> None:
    _, [agreed] = answered(start(), line(address="0.0.0.0"))
    assert agreed.direction is Direction.RECVONLY
    assert agreed.remote.on_hold


def test_hold_and_resume_keep_port_and_codec_and_raise_the_version(start: Start) -> None:
    session = start()
    first, [running] = session.answer(offer(line(PCMA)))
    held, [on_hold] = session.answer(offer(line(PCMA, direction=Direction.SENDONLY), version=2))
    resumed, [again] = session.answer(offer(line(PCMA), version=3))
    assert [description.origin.version for description in (first, held, resumed)] == [1, 2, 3]
    assert {description.origin.session_id for description in (first, held, resumed)} == {"77"}
    assert running.local.port == on_hold.local.port == again.local.port
    assert (on_hold.codec, on_hold.direction, again.direction) == (PCMA, Direction.RECVONLY, Direction.SENDRECV)


def test_refresh_gets_the_same_answer_with_the_same_version(start: Start) -> None:
    session = start()
    first, _ = session.answer(offer(line(), line()))
    again, _ = session.answer(offer(line(), line()))
    assert encode(again) == encode(first)


def test_several_lines_each_get_a_port_and_others_are_rejected_in_place(start: Start, ports: Ports) -> None:
    video = OtherMedia("video", 5000, "RTP/AVP", ("96", "97"))
    lines, agreed = answered(start(), line(label="1"), video, line(G729, port=4004), line(label="3", port=4006))
    assert [media.port > 0 for media in lines] == [True, False, False, True]
    assert lines[1] == OtherMedia("video", 0, "RTP/AVP", ("96", "97"), OURS)
    assert lines[2].formats == ("18",)
    assert [(one.index, one.label) for one in agreed] == [(0, "1"), (3, "3")]
    assert len(ports.taken) == 2
    assert [media.label for media in lines if isinstance(media, AudioMedia)] == ["1", None, "3"]


def test_stream_that_goes_frees_its_port_and_its_place_may_be_taken_again(start: Start, ports: Ports) -> None:
    session = start()
    _, [first, second] = answered(session, line(label="1"), line(label="2"))
    lines, [left] = answered(session, line(label="1"), line(label="2", port=0))
    assert [media.port for media in lines] == [first.local.port, 0]
    assert left == first
    assert ports.taken == {first.local.port}
    _, [_, new, third] = answered(session, line(label="1"), line(label="9"), line(label="3"))
    assert new.local.port not in {first.local.port, second.local.port}
    assert [one.index for one in session.streams] == [0, 1, 2]
    assert ports.taken == {first.local.port, new.local.port, third.local.port}
    session.close()
    assert ports.taken == set()


def test_offer_with_fewer_lines_than_before_drops_the_rest(start: Start, ports: Ports) -> None:
    session = start()
    _, [first, _] = answered(session, line(), line())
    answered(session, line())
    assert ports.taken == {first.local.port}


def test_offer_without_a_line_in_use_is_answered_with_none(start: Start, ports: Ports) -> None:
    session = start()
    answered(session, line())
    lines, agreed = answered(session, line(port=0))
    assert [media.port for media in lines] == [0]
    assert agreed == []
    assert answered(session) == ([], [])
    assert ports.taken == set()


@pytest.mark.parametrize(
    ("media", "warning"),
    [
        ((line(G729),), MediaWarning.MEDIA_FORMAT),
        ((OtherMedia("video", 5000, "RTP/AVP", ("96",)),), MediaWarning.MEDIA_TYPE),
        ((OtherMedia("video", 5000, "RTP/AVP", ("96",)), line(G729)), MediaWarning.MEDIA_FORMAT),
        ((line(protocol="UDP/TLS/RTP/SAVPF"),), MediaWarning.TRANSPORT),
        ((line(protocol="RTP/SAVP"),), MediaWarning.TRANSPORT),
        ((line(address="2001:db8::9"),), MediaWarning.ADDRESS_FORMAT),
        ((line(G729), line(port=0)), MediaWarning.MEDIA_FORMAT),
    ],
)
def test_refusal_names_the_warning(
    start: Start, ports: Ports, media: Sequence[MediaLine], warning: MediaWarning
) -> None:
    with pytest.raises(NoCommonCodec) as refused:
        start().answer(offer(*media))
    assert refused.value.warning is warning
    assert ports.taken == set()


def test_refused_reoffer_changes_nothing(start: Start, ports: Ports) -> None:
    session = start()
    before, agreed = session.answer(offer(line(PCMU)))
    with pytest.raises(NoCommonCodec):
        session.answer(offer(line(G729)))
    assert session.streams == agreed
    assert ports.taken == {agreed[0].local.port}
    assert session.answer(offer(line(PCMU)))[0] == before


def test_line_that_there_is_no_room_for_is_refused_in_the_answer(start: Start, ports: Ports) -> None:
    session = start()
    before, [first] = session.answer(offer(line(PCMU)))
    grown, agreed = session.answer(offer(line(PCMU), line(PCMA), line(PCMA)))
    assert (before.origin.version, grown.origin.version) == (1, 2)
    refused = session.refuse([1])
    assert refused.origin.version == 2
    assert [media.port for media in refused.media] == [first.local.port, 0, agreed[2].local.port]
    assert session.streams == [agreed[0], agreed[2]]
    assert ports.taken == {first.local.port, agreed[2].local.port}
    again, _ = session.answer(offer(line(PCMU), line(PCMA, port=0), line(PCMA)))
    assert again.origin.version == 2
    assert session.answer(offer(line(PCMU)))[0].origin.version == 3
    assert session.refuse([0]).media[0].port == 0
    assert ports.taken == set()


def test_ports_that_run_out_pass_through_and_change_nothing(ports: Ports) -> None:
    scarce = Ports(limit=2)
    session = NegotiationSession(OURS, Capabilities(), scarce.allocate, release_port=scarce.release)
    _, [agreed] = answered(session, line())
    with pytest.raises(OSError, match="no port is free"):
        session.answer(offer(line(), line(), line()))
    assert session.streams == [agreed]
    assert scarce.taken == {agreed.local.port}
    with pytest.raises(OSError, match="no port is free"):
        NegotiationSession(OURS, Capabilities(), scarce.allocate, release_port=scarce.release).offer(streams=2)
    assert scarce.taken == {agreed.local.port}


def test_names_and_null_addresses_are_no_other_ip_version(start: Start) -> None:
    for address in ("media.example.com", "0.0.0.0", "::", None):
        _, agreed = answered(start(), line(address=address))
        assert len(agreed) == 1


def test_streams_over_the_limit_are_rejected(start: Start) -> None:
    _, agreed = answered(start(Capabilities(max_streams=2)), line(), line(), line())
    assert [one.index for one in agreed] == [0, 1]


@pytest.mark.parametrize(
    ("ptime", "maxptime", "expected"),
    [(None, None, 20), (30, None, 30), (40, 20, 20), (1, None, 20), (1000, None, 20), (None, 10, 10), (60, 1000, 60)],
)
def test_packet_length(start: Start, ptime: int | None, maxptime: int | None, expected: int) -> None:
    lines, [agreed] = answered(start(), line(ptime_ms=ptime, maxptime_ms=maxptime))
    assert agreed.ptime_ms == expected
    assert isinstance(lines[0], AudioMedia)
    assert lines[0].ptime_ms == expected


def test_reports_go_where_the_line_says(start: Start) -> None:
    _, [agreed] = answered(start(), line())
    assert (agreed.rtcp_mux, agreed.remote_rtcp_port) == (False, 4001)
    _, [agreed] = answered(start(), line(rtcp_port=4100))
    assert agreed.remote_rtcp_port == 4100
    lines, [agreed] = answered(start(), line(rtcp_mux=True, rtcp_port=4100))
    assert (agreed.rtcp_mux, agreed.remote_rtcp_port) == (True, 4000)
    assert isinstance(lines[0], AudioMedia)
    assert lines[0].rtcp_mux
    _, [agreed] = answered(start(Capabilities(rtcp_mux=False)), line(rtcp_mux=True))
    assert not agreed.rtcp_mux
