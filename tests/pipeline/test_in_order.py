from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.api import Session
from pipeline.frames import AudioFrame, Encoding
from pipeline.g711 import ALAW_OFFSET, decode_alaw, decode_mulaw
from pipeline.in_order import MAX_PENDING, NEVER, InOrderRows, by_occurrence
from pipeline.ingest import Ingest
from pipeline.narrowband import OFFSETS
from tests.pipeline.bench import Bench, codes, frame


def packets(samples: NDArray[np.uint8]) -> list[bytes]:
    return [samples[at : at + 160].tobytes() for at in range(0, samples.size, 160)]


def arrays(*tickets: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    return np.array(tickets), np.zeros(len(tickets), np.int64), np.zeros(len(tickets))


def test_only_what_is_due_of_the_present_leg_is_taken() -> None:
    rows = InOrderRows(4)
    for _ in range(4):
        rows.allocate()
    old = rows.ticket(1)
    rows.release(1)
    rows.allocate()
    rows.due[:3] = 0
    tickets, pts, arrivals = arrays(rows.ticket(0), old, rows.ticket(2), rows.ticket(3))
    pts[2] = 160
    assert rows.take(tickets, pts, arrivals, 160).tolist() == [True, False, False, False]
    assert rows.due.tolist() == [160, 0, 0, NEVER]


def test_the_oldest_arrivals_are_forgotten() -> None:
    rows = InOrderRows(1)
    rows.due[0] = 0
    for index in range(MAX_PENDING + 5):
        rows.take(np.array([rows.ticket(0)]), np.array([160 * index]), np.array([float(index)]), 160)
    count, arrivals = rows.settle(0)
    assert count == MAX_PENDING + 5
    assert arrivals == [float(index) for index in range(5, MAX_PENDING + 5)]
    assert rows.settle(0) == (0, [])


def push(
    bench: Bench, pts: int, sent_now: Sequence[bytes], encoding: Encoding = Encoding.PCMU, arrival: float = 0.0
) -> list[bool]:
    """A packet of each of the first legs at once."""
    tickets = [intake.ticket for intake in bench.intakes[: len(sent_now)]]
    assert None not in tickets
    indices = np.array([list(packet) for packet in sent_now], np.int16) + OFFSETS[encoding]
    count = len(sent_now)
    taken = bench.ingest.push_packets(
        np.array(tickets, np.int64), np.full(count, pts), indices, np.full(count, arrival)
    )
    return cast(list[bool], taken.tolist())


def begun(sent: Sequence[NDArray[np.uint8]], batch_rows: int = 256, encoding: Encoding = Encoding.PCMU) -> Bench:
    """Legs that are steady: the first packet of each was heard."""
    bench = Bench(legs=len(sent), batch_rows=batch_rows)
    for intake, samples in zip(bench.intakes, sent, strict=True):
        intake.push(frame(0, samples[:160], encoding))
    bench.ingest.tick()
    return bench


@pytest.mark.parametrize("encoding", [Encoding.PCMU, Encoding.PCMA])
def test_packets_at_once_are_heard_as_frames_are(encoding: Encoding) -> None:
    sent = [codes(1600, seed) for seed in range(3)]
    bench, other = begun(sent, 2, encoding), begun(sent, 256, encoding)
    for number in range(1, 10):
        sent_now = [packets(samples)[number] for samples in sent]
        assert push(bench, 160 * number, sent_now, encoding, float(number)) == [True] * 3
        bench.ingest.tick()
        for intake, packet in zip(other.intakes, sent_now, strict=True):
            intake.push(frame(160 * number, np.frombuffer(packet, np.uint8), encoding, arrival=float(number)))
        other.ingest.tick()
    decode = decode_mulaw if encoding is Encoding.PCMU else decode_alaw
    for leg, (intake, pushed) in enumerate(zip(bench.intakes, other.intakes, strict=True)):
        assert intake.stats == pushed.stats
        assert intake.stats.frames == 10
        assert intake.media_s == pushed.media_s == pytest.approx(0.2)
        assert intake.timeline._arrivals == pushed.timeline._arrivals
        assert intake.timeline.arrival_of(0.05) == 2.0
        bench.ingest.close(intake)
        other.ingest.close(pushed)
        assert np.array_equal(bench.at_8k(leg), decode(sent[leg]))
        assert np.array_equal(bench.audio(leg), other.audio(leg))


def test_several_packets_of_a_leg_between_two_ticks_keep_their_order() -> None:
    sent = [codes(3200, seed) for seed in range(2)]
    bench = begun(sent)
    for number in range(1, 20):
        assert all(push(bench, 160 * number, [packets(samples)[number] for samples in sent[: 1 + number % 2]]))
        if number % 2 == 0:
            bench.intakes[1].push(frame(160 * number, sent[1][160 * number : 160 * (number + 1)]))
        if number % 4 == 0:
            bench.ingest.tick()
            continue
        bench.ingest.flush(bench.intakes[1])
    for leg, intake in enumerate(bench.intakes):
        bench.ingest.close(intake)
        assert np.array_equal(bench.at_8k(leg), decode_mulaw(sent[leg]))
        assert (intake.stats.frames, intake.stats.gaps, intake.stats.overlaps) == (20, 0, 0)


def test_nothing_is_taken_past_frames_that_wait() -> None:
    sent = codes(4800)
    bench = begun([sent])
    (intake,) = bench.intakes
    for number, packet in enumerate(packets(sent)):
        if number and (number % 7 in (3, 4) or not all(push(bench, 160 * number, [packet]))):
            intake.push(frame(160 * number, np.frombuffer(packet, np.uint8)))
            assert push(bench, 160 * (number + 1), [packet]) == [False]
        if number % 4 == 3:
            bench.ingest.tick()
    bench.ingest.close(intake)
    assert np.array_equal(bench.at_8k(), decode_mulaw(sent))
    assert (intake.stats.frames, intake.stats.gaps, intake.stats.overlaps) == (30, 0, 0)


@pytest.mark.parametrize("pts", [0, 159, 161, 320])
def test_a_packet_that_is_not_due_is_not_taken_and_nothing_has_changed(pts: int) -> None:
    sent = [codes(640, seed) for seed in range(3)]
    bench = begun(sent)
    tickets = np.array([intake.ticket for intake in bench.intakes], np.int64)
    indices = np.array([samples[160:320] for samples in sent], np.int16)
    taken = bench.ingest.push_packets(tickets, np.array([160, pts, 160]), indices, np.zeros(3))
    assert taken.tolist() == [True, False, True]
    assert [intake.stats.frames for intake in bench.intakes] == [2, 1, 2]
    assert push(bench, 160, [packets(sent[0])[1], packets(sent[1])[1]]) == [False, True]
    for leg, intake in enumerate(bench.intakes):
        bench.ingest.close(intake)
        assert np.array_equal(bench.at_8k(leg), decode_mulaw(sent[leg][:320]))


def test_a_gap_between_packets_becomes_silence() -> None:
    sent = codes(1600)
    bench = begun([sent])
    for number, packet in enumerate(packets(sent)):
        if number in (0, 5, 6):
            continue
        if not all(push(bench, 160 * number, [packet])):
            assert number == 7
            bench.intakes[0].push(frame(160 * number, np.frombuffer(packet, np.uint8)))
        bench.ingest.tick()
    bench.ingest.close(bench.intakes[0])
    expected = decode_mulaw(sent)
    expected[800:1120] = 0
    assert np.array_equal(bench.at_8k(), expected)
    assert (bench.intakes[0].stats.gaps, bench.intakes[0].stats.gap_samples) == (1, 320)


def test_frames_of_other_lengths_between_packets_are_heard_too() -> None:
    sent = codes(700)
    bench = begun([sent])
    bench.intakes[0].push(frame(160, sent[160:240]))
    bench.ingest.tick()
    assert push(bench, 240, [sent[240:400].tobytes()]) == [True]
    assert push(bench, 400, [sent[400:560].tobytes()]) == [True]
    bench.intakes[0].push(frame(560, sent[560:]))
    bench.ingest.close(bench.intakes[0])
    assert np.array_equal(bench.at_8k(), decode_mulaw(sent))


def test_packets_of_many_legs_are_heard_at_once() -> None:
    bench, sent = Bench(legs=40, batch_rows=16), [codes(640, seed) for seed in range(40)]
    for leg, intake in enumerate(bench.intakes):
        intake.push(frame(0, sent[leg][:160]))
    bench.ingest.tick()
    tickets = np.array([intake.ticket for intake in bench.intakes], np.int64)
    for number in range(1, 4):
        at = 160 * number
        indices = np.array([samples[at : at + 160] for samples in sent], np.int16)
        indices[1::2] += ALAW_OFFSET
        taken = bench.ingest.push_packets(tickets, np.full(40, at), indices, np.full(40, 7.0))
        assert taken.all()
    for leg, intake in enumerate(bench.intakes):
        decode = decode_alaw if leg % 2 else decode_mulaw
        bench.ingest.close(intake)
        assert np.array_equal(bench.at_8k(leg), [*decode_mulaw(sent[leg][:160]), *decode(sent[leg][160:])])
        assert intake.stats.frames == 4


def test_a_session_that_takes_no_audio_ends_its_own_leg_only() -> None:
    sent = [codes(640, seed) for seed in range(2)]
    bench = begun(sent)
    bench.recognizer.dead.add(bench.intakes[0].session)
    tickets = np.array([intake.ticket for intake in bench.intakes], np.int64)
    for at in (160, 320, 480):
        indices = np.array([samples[at : at + 160] for samples in sent], np.int16)
        taken = bench.ingest.push_packets(tickets, np.full(2, at), indices, np.zeros(2))
        assert taken.tolist() == [at == 160, True]
        bench.ingest.tick()
    assert [intake.closed for intake in bench.intakes] == [True, False]
    assert bench.intakes[0].ticket is None
    assert bench.audio(1).size == 4 * 320 - 48
    bench.intakes[0].push(frame(640, np.zeros(160, np.uint8)))
    bench.ingest.tick()


@pytest.mark.parametrize("want", ["tick", "flush", "close"])
def test_a_source_is_asked_before_audio_is_handed_on(want: str) -> None:
    """What it hears and what it pushes comes out then."""
    sent = [codes(640, seed) for seed in range(2)]
    bench = begun(sent)
    asked: list[str] = []

    def first() -> None:
        asked.append("first")
        if len(asked) == 1:
            assert push(bench, 160, [packets(samples)[1] for samples in sent]) == [True, True]

    def second() -> None:
        asked.append("second")
        if len(asked) == 2:
            bench.intakes[0].push(frame(320, sent[0][320:480]))

    bench.ingest.add_source(first)
    bench.ingest.add_source(second)
    if want == "tick":
        bench.ingest.tick()
    elif want == "flush":
        bench.ingest.flush(bench.intakes[0])
    else:
        bench.ingest.close(bench.intakes[0])
    assert asked == ["first", "second"]
    assert bench.audio(0).size == 3 * 320 - (0 if want == "close" else 48)
    assert bench.audio(1).size == 2 * 320 - 48
    for intake in bench.intakes:
        bench.ingest.close(intake)
    assert np.array_equal(bench.at_8k(0), decode_mulaw(sent[0][:480]))
    assert np.array_equal(bench.at_8k(1), decode_mulaw(sent[1][:320]))
    assert [intake.stats.frames for intake in bench.intakes] == [3, 2]


def test_a_closed_leg_asks_no_source_again() -> None:
    bench, asked = begun([codes(160)]), list[int]()
    bench.ingest.add_source(lambda: asked.append(1))
    for _ in range(3):
        bench.ingest.close(bench.intakes[0])
    assert asked == [1]


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60))
def test_turns_take_each_row_once_and_in_its_order(numbers: list[int]) -> None:
    rows = np.array(numbers, np.int64)
    found = by_occurrence(rows)
    assert sorted(np.concatenate(found).tolist()) == list(range(len(rows)))
    seen = dict.fromkeys(numbers, -1)
    for turn in found:
        assert turn.size
        assert len(set(rows[turn].tolist())) == turn.size
        for index in turn.tolist():
            assert index > seen[numbers[index]]
            seen[numbers[index]] = index
    counts = np.bincount(rows)
    assert [turn.size for turn in found] == [int((counts > number).sum()) for number in range(counts.max())]


def test_many_legs_get_rows() -> None:
    ingest = Ingest(Bench().recognizer)
    intakes = [ingest.open(Session(k, k, 0, 160), "c") for k in range(100)]
    for intake in intakes:
        intake.push(AudioFrame(0, np.zeros(160, np.uint8), Encoding.PCMU, 8000, 0.0))
    ingest.tick()
    assert all(intake.ticket is not None for intake in intakes)
