"""Whatever comes from the network: no exception, no loop, no growth."""

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.rtp.dtmf import EventPayload
from connectors.rtp.events import Audio, DtmfEvent, Silence
from connectors.rtp.jitter import MAX_HELD
from connectors.rtp.packet import Extension, RtpPacket
from connectors.rtp.receiver import RtpReceiver
from connectors.rtp.srtp import SrtpReceiver
from connectors.sdp.sdes import Crypto
from tests.connectors.rtp.captures import capture, captures
from tests.connectors.rtp.network import CODECS, PEER, START

ADDRESSES = (PEER, ("198.51.100.7", 31000), (PEER[0], 4001))

near = st.integers(0, 40)
anything16, anything32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
payloads = st.binary(max_size=40) | st.integers(0, 400).map(bytes)
events = st.builds(EventPayload, st.integers(0, 255), st.booleans(), st.integers(0, 63), anything16).map(
    EventPayload.encode
)
packets = st.builds(
    RtpPacket,
    payload_type=st.sampled_from([0, 8, 9, 96, 13, 101, 101, 50]),
    sequence=near | anything16 | st.integers(0xFFE0, 0xFFFF),
    timestamp=near.map(lambda index: index * 160) | anything32,
    ssrc=st.sampled_from([1, 1, 1, 2, 3]),
    payload=payloads | events,
    marker=st.booleans(),
    csrc=st.just(()) | st.lists(anything32, max_size=15).map(tuple),
    extension=st.none() | st.builds(Extension, anything16, st.just(bytes(8))),
    padding=st.sampled_from([0, 0, 0, 4]),
).map(RtpPacket.encode)
datagrams = st.one_of(
    packets,
    packets,
    st.binary(max_size=60),
    st.sampled_from(captures("*")).map(capture),
    st.tuples(packets, st.integers(0, 60), st.binary(max_size=4)).map(lambda parts: parts[0][: parts[1]] + parts[2]),
)
steps = st.lists(
    st.tuples(
        datagrams, st.sampled_from(ADDRESSES), st.sampled_from([0.0, 0.001, 0.02, 0.02, 0.02, 0.3, 2.0]), st.booleans()
    ),
    max_size=60,
)


def check(core: RtpReceiver, given_: list[tuple[bytes, tuple[str, int], float, bool]]) -> None:
    now, begun = START, START
    end = {8000: 0, 16_000: 0}
    for data, address, wait, control in given_:
        for _ in range(64):
            due = core.next_timer(now)
            if due is None or due > now + wait:
                break
            now = max(due, now)
            core.take(now)
        else:
            raise AssertionError("timers do not come to rest")
        now += wait
        if control:
            core.receive_rtcp(data, address, now)
        else:
            core.receive(data, address, now)
        taken = core.take(now)
        assert len(taken) <= 2 * MAX_HELD
        for event in taken:
            if isinstance(event, Audio):
                rate = 16_000 if event.codec.name in ("G722", "OPUS") else 8000
                assert 0 <= event.lost_before <= rate
                assert event.pts >= event.lost_before
                assert event.pts / rate <= now - begun + 60 + 0x80000000 / 8000
                end[rate] = event.pts
            elif isinstance(event, Silence):
                assert 0 < event.samples <= 16_000
            elif isinstance(event, DtmfEvent):
                assert event.start_s >= 0
                assert event.duration_s >= 0
        report = core.report(now)
        assert len(report) < 100
    stats = core.stats
    core.finish(now)
    assert len(core._stream._buffer) == 0
    assert len(core._stream._buffer._gaps) <= 129
    assert len(core._probation._held) <= 8
    assert stats.late <= stats.lost
    assert 0 <= stats.r_factor <= 93.2
    assert 1 <= stats.mos <= 4.5
    accounted = stats.received + stats.late + stats.duplicate + stats.foreign + stats.malformed + stats.rtcp
    assert accounted + stats.unauthentic + stats.replayed <= len(given_)


@settings(max_examples=250, deadline=None)
@given(steps)
def test_no_datagrams_break_a_leg(given_: list[tuple[bytes, tuple[str, int], float, bool]]) -> None:
    check(RtpReceiver(CODECS, signalled=PEER), given_)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_no_datagrams_break_a_protected_leg(given_: list[tuple[bytes, tuple[str, int], float, bool]]) -> None:
    core = RtpReceiver(CODECS, srtp=SrtpReceiver(Crypto(1, "AEAD_AES_128_GCM", bytes(28))))
    check(core, given_)
    assert core.stats.received == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(packets, st.sampled_from([0.0, 0.02, 0.3])), max_size=150))
def test_everything_from_one_source_is_counted_once(given_: list[tuple[bytes, float]]) -> None:
    """Of the peer's own packets none disappears without a count."""
    core = RtpReceiver(CODECS)
    now = START
    for data, wait in given_:
        now += wait
        core.receive(data, PEER, now)
        core.take(now)
    core.finish(now)
    core.receive(b"", PEER, now)  # takes the count of what was on probation
    stats = core.stats
    accounted = stats.received + stats.late + stats.duplicate + stats.foreign + stats.malformed - 1
    accounted += stats.events_beside
    assert accounted == len(given_)
