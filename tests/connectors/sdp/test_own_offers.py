"""Offers of ours: late ones, repeated ones, and what the peer answers to them."""

from dataclasses import replace

import pytest

from connectors.errors import LocalProtocolError
from connectors.sdp.capabilities import DEFAULT_CODECS
from connectors.sdp.description import AudioMedia, Direction, OtherMedia, parse
from connectors.sdp.offer_answer import MediaWarning, NoCommonCodec
from tests.connectors.sdp.negotiation import EVENTS, G729, OPUS, PCMA, PCMU, Ports, Start, answered, line, offer, secure


def test_an_answer_without_a_name_for_a_number_of_ours_means_our_codec(start: Start) -> None:
    session = start()
    session.offer()
    text = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 96 101\r\na=rtpmap:101\r\n"
    [agreed] = session.accept(parse(text))
    assert agreed.codec.key == OPUS.key
    assert {96, 101} <= {codec.payload_type for codec in agreed.receive}


def test_late_offer_has_all_codecs_and_the_answer_decides(start: Start) -> None:
    session = start()
    ours = session.offer()
    media = ours.media[0]
    assert isinstance(media, AudioMedia)
    assert media.codecs == DEFAULT_CODECS
    assert (media.protocol, media.direction, media.crypto) == ("RTP/AVP", Direction.SENDRECV, ())
    assert session.offering
    [agreed] = session.accept(offer(line(PCMA, EVENTS, direction=Direction.SENDONLY)))
    assert not session.offering
    assert (agreed.codec, agreed.telephone_event, agreed.direction) == (PCMA, EVENTS, Direction.RECVONLY)
    assert [codec.payload_type for codec in agreed.receive] == [8, 101]
    assert agreed.local.port == media.port


def test_answer_with_other_numbers_is_sent_with_those_and_taken_with_both(start: Start) -> None:
    session = start()
    session.offer()
    [agreed] = session.accept(offer(line(replace(OPUS, payload_type=120))))
    assert agreed.codec.payload_type == 120
    assert [codec.payload_type for codec in agreed.receive] == [96, 120]


def test_answer_without_a_common_codec_is_refused_and_rejected_lines_are_not(start: Start, ports: Ports) -> None:
    session = start()
    session.offer(streams=2)
    with pytest.raises(NoCommonCodec) as refused:
        session.accept(offer(line(G729), line(port=0)))
    assert refused.value.warning is MediaWarning.MEDIA_FORMAT
    session.offer(streams=2)
    assert session.accept(offer(line(port=0))) == []
    assert ports.taken == set()


def test_answer_with_a_line_too_many_is_taken_without_it(start: Start) -> None:
    session = start()
    session.offer()
    assert [one.index for one in session.accept(offer(line(), line()))] == [0]


def test_reoffer_repeats_lines_ports_keys_and_numbers_and_offers_to_resume(start: Start) -> None:
    session = start()
    numbered = replace(OPUS, payload_type=101)
    held = secure(direction=Direction.SENDONLY, codecs=(numbered, PCMU), label="5")
    before, [running] = session.answer(offer(OtherMedia("video", 9, "RTP/AVP", ("31",)), held))
    ours = session.offer()
    assert ours.origin.version == before.origin.version + 1
    assert [media.port for media in ours.media] == [0, running.local.port]
    media = ours.media[1]
    assert isinstance(media, AudioMedia)
    assert (media.direction, media.protocol, media.label) == (Direction.SENDRECV, "RTP/SAVP", "5")
    assert media.crypto == (running.local_crypto,)
    numbers = {codec.key: codec.payload_type for codec in media.codecs}
    assert numbers["OPUS", 48000, 2] == 101
    assert len(set(numbers.values())) == len(numbers) == len(DEFAULT_CODECS)
    [resumed] = session.accept(
        offer(OtherMedia("video", 0, "RTP/AVP", ("31",)), replace(held, direction=Direction.SENDRECV))
    )
    assert (resumed.index, resumed.direction, resumed.local.port) == (1, Direction.SENDRECV, running.local.port)


def test_one_offer_at_a_time(start: Start, ports: Ports) -> None:
    session = start()
    with pytest.raises(LocalProtocolError):
        session.accept(offer(line()))
    session.offer()
    for misuse in (session.offer, lambda: session.answer(offer(line()))):
        with pytest.raises(LocalProtocolError):
            misuse()
    session.withdraw()
    assert ports.taken == set()
    assert len(answered(session, line())[1]) == 1


def test_withdrawn_reoffer_leaves_the_streams(start: Start, ports: Ports) -> None:
    session = start()
    _, agreed = answered(session, line())
    session.offer()
    session.withdraw()
    assert session.streams == agreed
    assert ports.taken == {agreed[0].local.port}
    assert session.answer(offer(line()))[1] == agreed
