import numpy as np
import pytest
from numpy.typing import NDArray

from engine.session import Session
from pipeline.frames import AudioFrame, Encoding
from pipeline.g711 import ALAW_OFFSET, decode_alaw, decode_mulaw
from pipeline.ingest import Ingest
from pipeline.steady import MAX_PENDING, NEVER, SteadyRows
from tests.pipeline.test_ingest import Bench, codes, frame


def packets(samples: NDArray[np.uint8]) -> list[bytes]:
    return [samples[at : at + 160].tobytes() for at in range(0, samples.size, 160)]


def arrays(*tickets: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    return np.array(tickets), np.zeros(len(tickets), np.int64), np.zeros(len(tickets))


def test_only_what_is_due_of_the_present_leg_is_taken() -> None:
    rows = SteadyRows(4)
    old = rows.ticket(1)
    rows.begin(1)
    rows.due[:3] = 0
    tickets, pts, arrivals = arrays(rows.ticket(0), old, rows.ticket(2), rows.ticket(3))
    pts[2] = 160
    assert rows.take(tickets, pts, arrivals, 160).tolist() == [True, False, False, False]
    assert rows.due.tolist() == [160, 0, 0, NEVER]


def test_the_oldest_arrivals_are_forgotten() -> None:
    rows = SteadyRows(1)
    rows.due[0] = 0
    for index in range(MAX_PENDING + 5):
        rows.take(np.array([rows.ticket(0)]), np.array([160 * index]), np.array([float(index)]), 160)
    count, arrivals = rows.settle(0)
    assert count == MAX_PENDING + 5
    assert arrivals == [float(index) for index in range(5, MAX_PENDING + 5)]
    assert rows.settle(0) == (0, [])


@pytest.mark.parametrize("encoding", [Encoding.PCMU, Encoding.PCMA])
def test_packets_one_by_one_are_heard_as_frames_are(encoding: Encoding) -> None:
    bench, sent = Bench(legs=3, batch_rows=2), [codes(1600, seed) for seed in range(3)]
    for number in range(10):
        for intake, samples in zip(bench.intakes, sent, strict=True):
            intake.push_packet(160 * number, packets(samples)[number], encoding, float(number))
        bench.ingest.tick()
    decode = decode_mulaw if encoding is Encoding.PCMU else decode_alaw
    for leg, intake in enumerate(bench.intakes):
        assert intake.stats.frames == 10
        assert intake.media_s == pytest.approx(0.2)
        assert intake.timeline.arrival_of(0.05) == 2.0
        bench.ingest.close(intake)
        assert np.array_equal(bench.at_8k(leg), decode(sent[leg]))


def test_several_packets_of_a_leg_between_two_ticks_keep_their_order() -> None:
    bench, sent = Bench(legs=2), codes(3200)
    waiting = packets(sent)
    for number, packet in enumerate(waiting):
        for intake in bench.intakes[: 1 + number % 2]:
            intake.push_packet(160 * number, packet, Encoding.PCMU, 0.0)
        if number % 5 == 4:
            bench.ingest.tick()
    bench.ingest.close(bench.intakes[0])
    assert np.array_equal(bench.at_8k(), decode_mulaw(sent))
    assert bench.intakes[0].stats.gaps == 0


def test_frames_and_packets_keep_their_order() -> None:
    bench, sent = Bench(), codes(4800)
    intake = bench.intakes[0]
    for number, packet in enumerate(packets(sent)):
        if number % 7 in (3, 4):
            intake.push(frame(160 * number, np.frombuffer(packet, np.uint8)))
        else:
            intake.push_packet(160 * number, packet, Encoding.PCMU, 0.0)
        if number % 4 == 3:
            bench.ingest.tick()
    bench.ingest.close(intake)
    assert np.array_equal(bench.at_8k(), decode_mulaw(sent))
    assert (intake.stats.frames, intake.stats.gaps, intake.stats.overlaps) == (30, 0, 0)


def test_a_gap_between_packets_becomes_silence() -> None:
    bench, sent = Bench(), codes(1600)
    for number, packet in enumerate(packets(sent)):
        if number not in (5, 6):
            bench.intakes[0].push_packet(160 * number, packet, Encoding.PCMU, 0.0)
            bench.ingest.tick()
    bench.ingest.close(bench.intakes[0])
    expected = decode_mulaw(sent)
    expected[800:1120] = 0
    assert np.array_equal(bench.at_8k(), expected)
    assert (bench.intakes[0].stats.gaps, bench.intakes[0].stats.gap_samples) == (1, 320)


def test_packets_that_wait_are_bounded_and_the_oldest_are_dropped() -> None:
    bench, sent = Bench(queue_s=0.1), codes(160 * 50)
    intake = bench.intakes[0]
    for number, packet in enumerate(packets(sent)):
        intake.push_packet(160 * number, packet, Encoding.PCMU, 0.0)
    assert intake.stats.dropped_frames == 50 - 5 - 5
    bench.ingest.tick()
    bench.ingest.close(intake)
    assert intake.media_s == pytest.approx(1.0)


def test_packets_of_other_lengths_are_heard_too() -> None:
    bench, sent = Bench(), codes(700)
    at = 0
    for size in (160, 160, 80, 160, 140):
        bench.intakes[0].push_packet(at, sent[at : at + size].tobytes(), Encoding.PCMU, 0.0)
        bench.ingest.tick()
        at += size
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
        taken = bench.ingest.hear(tickets, np.full(40, at), indices, np.full(40, 7.0))
        assert taken.all()
    for leg, intake in enumerate(bench.intakes):
        decode = decode_alaw if leg % 2 else decode_mulaw
        bench.ingest.close(intake)
        assert np.array_equal(bench.at_8k(leg), [*decode_mulaw(sent[leg][:160]), *decode(sent[leg][160:])])
        assert intake.stats.frames == 4


def test_a_session_that_takes_no_audio_ends_its_own_leg_only() -> None:
    bench = Bench(legs=2)
    for number in range(4):
        for intake in bench.intakes:
            intake.push_packet(160 * number, bytes(160), Encoding.PCMU, 0.0)
        if number == 2:
            bench.recognizer.dead.add(bench.intakes[0].session)
        bench.ingest.tick()
    assert [intake.closed for intake in bench.intakes] == [True, False]
    assert bench.intakes[0].ticket is None
    assert bench.audio(1).size == 4 * 320 - 48
    bench.intakes[0].push_packet(640, bytes(160), Encoding.PCMU, 0.0)
    bench.ingest.tick()


def test_what_waits_of_a_leg_is_heard_before_it_ends_or_is_flushed() -> None:
    bench, sent = Bench(legs=2), codes(320)
    for intake in bench.intakes:
        for number, packet in enumerate(packets(sent)):
            intake.push_packet(160 * number, packet, Encoding.PCMU, 0.0)
    bench.ingest.flush(bench.intakes[0])
    assert bench.audio(0).size == 640 - 48
    bench.ingest.close(bench.intakes[1])
    assert np.array_equal(bench.at_8k(1), decode_mulaw(sent))


def test_many_legs_get_rows() -> None:
    ingest = Ingest(Bench().recognizer)
    intakes = [ingest.open(Session(k, k, 0, 160), "c") for k in range(100)]
    for intake in intakes:
        intake.push(AudioFrame(0, np.zeros(160, np.uint8), Encoding.PCMU, 8000, 0.0))
    ingest.tick()
    assert all(intake.ticket is not None for intake in intakes)
