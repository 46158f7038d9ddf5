"""Offers and answers of any kind in any order: a dialog keeps its places, versions and ports."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.errors import LocalProtocolError
from connectors.sdp.description import (
    AudioMedia,
    Direction,
    MediaLine,
    OtherMedia,
    RtpCodec,
    SessionDescription,
    encode,
    parse,
)
from connectors.sdp.offer_answer import Capabilities, NegotiationSession, NoCommonCodec, SrtpPolicy
from tests.connectors.sdp.negotiation import EVENTS, G722, G729, KEY, OPUS, OURS, PCMA, PCMU, Ports, offer

codecs = st.lists(
    st.sampled_from([PCMU, PCMA, G722, G729, EVENTS, OPUS, RtpCodec(13, "CN", 8000), RtpCodec(98, "L16", 16000)]),
    unique_by=lambda codec: codec.payload_type,
    min_size=1,
)
lines_offered = st.one_of(
    st.builds(OtherMedia, st.sampled_from(["video", "image"]), st.integers(0, 9), st.just("X"), st.just(("1",))),
    st.builds(
        AudioMedia,
        address=st.sampled_from(["192.0.2.1", "0.0.0.0", "2001:db8::1", None]),
        port=st.sampled_from([0, 4000]),
        protocol=st.sampled_from(["RTP/AVP", "RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP"]),
        codecs=codecs.map(tuple),
        direction=st.sampled_from(Direction),
        label=st.sampled_from([None, "1", "2"]),
        crypto=st.sampled_from([(), (KEY,), (replace(KEY, keys=3),)]),
    ),
)
steps = st.lists(
    st.tuples(st.sampled_from(["answer", "offer", "accept", "withdraw"]), st.lists(lines_offered, max_size=5)),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(steps=steps, policy=st.sampled_from(SrtpPolicy), limit=st.integers(0, 3))
def test_any_dialog_keeps_its_places_versions_and_ports(
    steps: list[tuple[str, list[MediaLine]]], policy: SrtpPolicy, limit: int
) -> None:
    ports = Ports()
    session = NegotiationSession(
        OURS, Capabilities(srtp=policy, max_streams=limit), ports.allocate, release_port=ports.release
    )
    sent: list[SessionDescription] = []
    for step, media in steps:
        try:
            if step == "answer":
                sent.append(session.answer(offer(*media))[0])
                assert [line.port > 0 for line in sent[-1].media] == [
                    index in {one.index for one in session.streams} for index in range(len(media))
                ]
                assert all(
                    ours.port == 0 for ours, theirs in zip(sent[-1].media, media, strict=True) if not theirs.port
                )
            elif step == "offer":
                sent.append(session.offer())
            elif step == "accept":
                session.accept(offer(*media))
            else:
                session.withdraw()
        except (NoCommonCodec, LocalProtocolError):
            pass
        if not session.offering:
            assert ports.taken == {one.local.port for one in session.streams}
        for one in session.streams:
            assert one.codec.is_audio
            assert (one.local_crypto is None) == (one.remote_crypto is None)
            assert one.local_crypto or policy is not SrtpPolicy.REQUIRED
    for former, latter in pairwise(sent):
        changed = former.media != latter.media
        assert latter.origin.version == former.origin.version + changed
        assert parse(encode(latter)) == latter
    session.close()
    assert ports.taken == set()
