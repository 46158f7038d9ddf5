"""What goes out on a leg, when, and what was heard of it, in virtual time."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import CallEnded, NotPlayed, NoWayBack, PlaybackFull
from pipeline.playback import Heard
from pipeline.playback.player import MOST_WAITING
from tests.pipeline.playback.line import START, Line, ramp


async def test_audio_goes_out_at_the_pace_of_its_media_time() -> None:
    line = Line()
    said = line.say(ramp(8_000 * 3))
    line.run(4_000)
    times = [at for at, _, _ in line.outlet.sent]
    assert times == pytest.approx([START + index * 0.02 for index in range(150)])
    assert [first for _, _, first in line.outlet.sent] == [True] + [False] * 149
    np.testing.assert_array_equal(line.outlet.pcm, ramp(8_000 * 3))
    assert said.heard() == Heard(3.0, (), True, False)
    assert (line.stats.utterances, line.stats.underruns) == (1, 0)
    assert line.stats.seconds == pytest.approx(3.0)
    assert line.pacer.paced is None


@pytest.mark.parametrize("packet_ms", [10, 20, 30, 60])
async def test_packets_are_as_long_as_was_agreed_and_the_last_is_filled_up(packet_ms: int) -> None:
    line = Line(packet_ms=packet_ms)
    said = line.say(ramp(805))
    line.run(1_000)
    assert len(line.outlet.sent) == -(-805 // (8 * packet_ms))
    np.testing.assert_array_equal(line.outlet.pcm[:805], ramp(805))
    assert not line.outlet.pcm[805:].any()
    assert said.heard().seconds == pytest.approx(805 / 8_000, abs=1e-4)


async def test_after_stop_not_one_packet_goes_out_and_what_was_heard_is_known() -> None:
    line = Line()
    said = line.player.speak(8_000)
    said.put(ramp(1_600))
    said.mark("first")
    said.put(ramp(8_000))
    said.mark("second")
    line.run(410)
    sent = len(line.outlet.sent)
    assert said.stop() == Heard(0.42, ("first",), True, True)
    line.run(1_000)
    assert len(line.outlet.sent) == sent == 21
    assert (line.stats.stops, line.stats.underruns) == (1, 0)
    assert not said.put(ramp(10))
    assert not said.mark("late")
    assert said.stop().seconds == 0.42
    assert line.stats.stops == 1


async def test_utterances_follow_each_other_and_stop_ends_all() -> None:
    line = Line()
    first, second, third = line.say(ramp(1_600)), line.say(ramp(1_600)), line.say(ramp(1_600))
    line.run(300)
    assert (first.heard().seconds, first.heard().interrupted) == (0.2, False)
    heard = line.player.stop_all()
    assert [(one.seconds, one.interrupted) for one in heard] == [(0.1, True), (0.0, True)]
    assert [one.heard().finished for one in (second, third)] == [True, True]
    assert line.player.stop_all() == []
    line.run(500)
    assert line.outlet.sent_ms == 300


async def test_an_open_utterance_without_audio_is_silence_and_counted_once() -> None:
    line = Line()
    said = line.player.speak(8_000)
    line.run(200)
    assert not line.outlet.sent  # before its first audio nothing goes out
    said.put(ramp(800))
    line.run(300)
    assert line.stats.underruns == 1
    said.put(ramp(800, 801))
    said.close()
    line.run(300)
    pcm = line.outlet.pcm
    np.testing.assert_array_equal(pcm[pcm != 0], ramp(1_600))
    places = [at for at, _, _ in line.outlet.sent]
    assert np.diff(places) == pytest.approx(0.02)
    assert [first for _, _, first in line.outlet.sent].count(True) == 1
    assert said.heard() == Heard(0.2, (), True, False)
    assert line.stats.underruns == 1
    assert line.stats.seconds == pytest.approx(0.2)


async def test_a_pause_between_utterances_begins_another_spurt_on_the_same_line_of_time() -> None:
    line = Line()
    line.say(ramp(320))
    line.run(1_000)
    line.say(ramp(320))
    line.run(100)
    starts = [at for at, _, first in line.outlet.sent if first]
    assert len(starts) == 2
    assert starts[1] - starts[0] == pytest.approx(1.0, abs=0.011)


async def test_on_hold_nothing_goes_out_and_the_rest_follows() -> None:
    line = Line()
    said = line.say(ramp(3_200))
    line.run(100)
    line.outlet.ready = False
    line.run(2_000)
    assert line.outlet.sent_ms == 100
    assert not said.heard().finished
    line.outlet.ready = True
    line.run(1_000)
    np.testing.assert_array_equal(line.outlet.pcm, ramp(3_200))
    assert [first for _, _, first in line.outlet.sent].count(True) == 2
    assert line.stats.underruns == 0


async def test_what_was_held_up_is_not_sent_in_a_burst() -> None:
    line = Line()
    line.say(ramp(8_000))
    line.run(100)
    sent = len(line.outlet.sent)
    line.now += 0.5
    line.pacer.slots = 0
    line.run(15, late=100)
    assert len(line.outlet.sent) == sent + 1
    assert line.outlet.sent[-1][2]
    assert line.stats.late_s == 0.5


async def test_another_rate_in_the_middle_costs_a_packet_at_most() -> None:
    line = Line()
    said = line.say(ramp(16_000), 16_000)
    line.run(500)
    line.outlet.sample_rate_hz = 16_000
    line.run(1_000)
    assert said.heard().seconds == pytest.approx(1.0, abs=0.03)
    assert {pcm.size for _, pcm, _ in line.outlet.sent} == {160, 320}


async def test_a_peer_with_a_buffer_is_sent_ahead_and_cleared_on_stop() -> None:
    line = Line(lead_ms=200)
    said = line.say(ramp(8_000))
    line.run(10)
    assert line.outlet.sent_ms == 220
    line.run(490)
    heard = said.stop()
    assert heard.seconds == pytest.approx(0.5, abs=0.021)
    assert (line.outlet.clears, heard.interrupted) == (1, True)
    again = line.say(ramp(1_600))
    line.run(100)
    assert again.heard().seconds == pytest.approx(0.1, abs=0.021)
    line.run(1_000)
    assert again.heard() == Heard(0.2, (), True, False)


async def test_short_utterances_do_not_pile_up_in_the_buffer_of_the_peer() -> None:
    line = Line(lead_ms=200)
    for _ in range(30):
        line.say(ramp(400))
        line.run(50)
        assert line.outlet.sent_ms - line.outlet.played_ms(line.now) <= 260
    line.run(1_000)
    assert line.stats.seconds == pytest.approx(30 * 0.06)


async def test_muted_legs_are_muted_as_long_as_it_is_heard() -> None:
    line = Line()
    line.say(ramp(800), mute=("caller", "agent"))
    line.run(1_000)
    assert {leg for leg, _ in line.muted} == {"caller", "agent"}
    assert max(until for _, until in line.muted) == pytest.approx(START + 0.6, abs=0.03)


async def test_a_leg_without_a_way_back_says_so_in_one_line() -> None:
    line = Line()
    line.player.connect(None)
    with pytest.raises(NoWayBack, match=r"^call C: leg caller: there is no way back") as caught:
        line.player.speak(8_000)
    assert "\n" not in str(caught.value)
    line.player.close()
    with pytest.raises(CallEnded):
        line.player.speak(8_000)


async def test_a_peer_that_plays_nothing_ends_what_is_said_with_its_reason() -> None:
    line = Line(lead_ms=200)
    said = line.say(ramp(8_000))
    line.run(100)
    line.outlet.fault = NotPlayed("it plays nothing")
    line.run(100)
    assert (await said.wait()).error is line.outlet.fault
    assert line.stats.failed == 1
    with pytest.raises(NoWayBack):
        line.player.speak(8_000)


async def test_utterances_that_wait_are_bounded() -> None:
    line = Line()
    for _ in range(MOST_WAITING):
        line.say(ramp(160))
    with pytest.raises(PlaybackFull):
        line.player.speak(8_000)


async def test_the_end_of_the_leg_ends_what_is_said() -> None:
    line = Line()
    said = line.say(ramp(8_000))
    line.run(100)
    line.player.close()
    sent = len(line.outlet.sent)
    assert await said.wait() == Heard(0.1, (), True, True)
    line.run(100)
    assert len(line.outlet.sent) == sent
    assert line.stats.stops == line.stats.failed == 0


EVENTS = st.lists(
    st.tuples(st.sampled_from(["write", "close", "speak", "stop", "stop_all", "hold", "run"]), st.integers(1, 60)),
    max_size=40,
)


@given(EVENTS, st.sampled_from([0, 200]), st.sampled_from([10, 20, 30]))
async def test_any_order_of_events_keeps_the_invariants(
    events: list[tuple[str, int]], lead_ms: int, packet_ms: int
) -> None:
    """Audio goes out in order, once, on one line of time, and what was heard is never more than what was sent."""
    line = Line(packet_ms=packet_ms, lead_ms=lead_ms)
    said = [line.player.speak(8_000)]
    next_sample = 1
    for event, number in events:
        match event:
            case "write":
                if said[-1].put(ramp(number * 20, next_sample)):
                    next_sample += number * 20
            case "close":
                said[-1].close()
            case "speak" if len(said) < 10:
                said[-1].close()
                said.append(line.player.speak(8_000))
            case "stop":
                said[number % len(said)].stop()
            case "stop_all":
                line.player.stop_all()
                said.append(line.player.speak(8_000))
            case "hold":
                line.outlet.ready = not line.outlet.ready
        line.run(number)
    line.outlet.ready = True
    said[-1].close()
    while line.pacer.paced is not None:
        line.run(100)
    assert all(one.heard().finished for one in said)
    pcm = line.outlet.pcm
    audio = pcm[pcm != 0].astype(int)
    assert (np.diff(audio) > 0).all()
    assert sum(one.heard().seconds for one in said) <= line.stats.seconds + 1e-6
    if not lead_ms:
        places = [at for at, _, _ in line.outlet.sent]
        assert all(b - a >= packet_ms / 1000 - 1e-6 for a, b in itertools.pairwise(places))
        assert audio.size <= sum(round(one.heard().seconds * 8_000) for one in said) + 8 * packet_ms * len(said)
