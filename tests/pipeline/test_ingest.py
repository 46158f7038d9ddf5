import logging

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.api import Session
from pipeline.frames import Encoding
from pipeline.g711 import decode_alaw, decode_mulaw
from pipeline.intake import Intake
from tests.pipeline.bench import Bench, codes, frame


def test_frames_wait_in_their_codec_until_the_tick() -> None:
    bench = Bench()
    bench.intakes[0].push(frame(0, codes(160)))
    assert bench.audio().size == 0
    bench.ingest.tick()
    assert bench.audio().size == 320 - 48


@pytest.mark.parametrize("encoding", [Encoding.PCMU, Encoding.PCMA])
def test_both_laws_are_decoded(encoding: Encoding) -> None:
    bench, sent = Bench(), codes(1000)
    for at in range(0, 1000, 90):
        bench.intakes[0].push(frame(at, sent[at : at + 90], encoding))
        bench.ingest.tick()
    bench.ingest.close(bench.intakes[0])
    decode = decode_mulaw if encoding is Encoding.PCMU else decode_alaw
    assert np.array_equal(bench.at_8k(), decode(sent))


def test_linear_samples_keep_their_scale() -> None:
    bench, pcm = Bench(), np.array([-32768, -1, 0, 1, 32767] * 100, np.int16)
    bench.intakes[0].push(frame(0, pcm, Encoding.L16))
    bench.ingest.close(bench.intakes[0])
    assert np.array_equal(bench.at_8k(), pcm)


def test_a_codec_change_mid_stream_keeps_the_order() -> None:
    bench, sent = Bench(), codes(480)
    bench.intakes[0].push(frame(0, sent[:160], Encoding.PCMU))
    bench.intakes[0].push(frame(160, decode_mulaw(sent[160:320]), Encoding.L16))
    bench.intakes[0].push(frame(320, sent[320:], Encoding.PCMA))
    bench.ingest.tick()
    bench.ingest.close(bench.intakes[0])
    assert np.array_equal(bench.at_8k(), np.concatenate([decode_mulaw(sent[:320]), decode_alaw(sent[320:])]))


def test_legs_of_a_batch_never_mix() -> None:
    sent = [codes(1600, seed) for seed in range(20)]
    bench = Bench(legs=20, batch_rows=7)  # far fewer rows than a tick needs
    for at in range(0, 1600, 160):
        for leg, intake in enumerate(bench.intakes):
            if (at // 160 + leg) % 3:  # legs deliver at different ticks, some two frames at once
                for late in range(intake.stats.frames * 160, at + 160, 160):
                    intake.push(frame(late, sent[leg][late : late + 160]))
        bench.ingest.tick()
    for leg, intake in enumerate(bench.intakes):
        for late in range(intake.stats.frames * 160, 1600, 160):
            intake.push(frame(late, sent[leg][late : late + 160]))
        bench.ingest.close(intake)
        assert np.array_equal(bench.at_8k(leg), decode_mulaw(sent[leg]))


@pytest.mark.parametrize("died", [False, True])
def test_a_recycled_row_remembers_nothing_of_the_former_leg(died: bool) -> None:
    bench = Bench()
    if died:
        bench.recognizer.dead.add(bench.intakes[0].session)
    bench.intakes[0].push(frame(0, codes(320)))
    bench.ingest.tick()
    bench.ingest.close(bench.intakes[0])
    second = bench.ingest.open(Session(9, 0, 1, 160), "later")
    second.push(frame(0, np.full(320, 0xFF, np.uint8)))
    bench.ingest.tick()
    bench.ingest.close(second)
    audio = bench.recognizer.audio(second.session)
    assert audio.size == 640
    assert not audio.any()


def test_rows_are_recycled() -> None:
    bench = Bench(legs=0)
    for k in range(100):
        intake = bench.ingest.open(Session(k, 0, k, 160), "c")
        assert bench.ingest.legs == 1
        bench.ingest.close(intake)
        bench.ingest.close(intake)
    assert bench.ingest.legs == 0
    assert len(bench.ingest._batch) == 16


def test_a_gap_becomes_silence_and_is_counted() -> None:
    bench, sent = Bench(), codes(320)
    bench.intakes[0].push(frame(0, sent[:160]))
    bench.intakes[0].push(frame(460, sent[160:]))
    bench.ingest.tick()
    bench.ingest.close(bench.intakes[0])
    decoded = decode_mulaw(sent)
    assert np.array_equal(bench.at_8k(), np.concatenate([decoded[:160], np.zeros(300), decoded[160:]]))
    assert (bench.intakes[0].stats.gaps, bench.intakes[0].stats.gap_samples) == (1, 300)
    assert bench.intakes[0].media_s == pytest.approx(620 / 8000)


def test_an_overlap_is_trimmed_and_counted() -> None:
    bench, sent = Bench(), codes(320)
    bench.intakes[0].push(frame(0, sent[:160]))
    bench.intakes[0].push(frame(100, sent[100:260]))
    bench.intakes[0].push(frame(20, sent[20:180]))
    bench.intakes[0].push(frame(260, sent[260:]))
    bench.ingest.tick()
    bench.ingest.close(bench.intakes[0])
    assert np.array_equal(bench.at_8k(), decode_mulaw(sent))
    assert (bench.intakes[0].stats.overlaps, bench.intakes[0].stats.overlap_samples) == (2, 60 + 160)


def test_a_gap_too_long_to_fill_makes_leg_time_jump() -> None:
    bench = Bench(max_gap_s=2.0)
    intake = bench.intakes[0]
    intake.push(frame(0, codes(8000)))
    intake.push(frame(8000 * 301, codes(8000)))
    bench.ingest.tick()
    bench.ingest.close(intake)
    assert bench.audio().size == 16_000 * 4
    assert intake.stats.gap_samples == 8000 * 300
    assert intake.stats.resyncs == 1
    assert intake.timeline.leg_time(1.0) == 1.0
    assert intake.timeline.leg_time(3.5) == pytest.approx(301.5)


def test_time_stamps_that_fall_back_go_on_from_there() -> None:
    bench = Bench(max_gap_s=2.0)
    intake, sent = bench.intakes[0], codes(16_320)
    intake.push(frame(8000 * 600, sent[:16_000]))
    intake.push(frame(0, sent[16_000:16_160]))
    intake.push(frame(160, sent[16_160:]))
    bench.ingest.tick()
    bench.ingest.close(intake)
    assert np.array_equal(bench.at_8k()[-16_320:], decode_mulaw(sent))
    assert intake.stats.resyncs == 2
    assert intake.stats.overlaps == 0


def test_a_full_queue_drops_the_oldest_and_counts() -> None:
    bench, sent = Bench(queue_s=0.1), codes(1600)
    for at in range(0, 1600, 160):
        bench.intakes[0].push(frame(at, sent[at : at + 160]))
    assert bench.intakes[0].stats.dropped_frames == 5
    bench.ingest.tick()
    bench.ingest.close(bench.intakes[0])
    assert np.array_equal(bench.at_8k(), np.concatenate([np.zeros(800), decode_mulaw(sent[800:])]))
    assert bench.intakes[0].stats.gap_samples == 800


def test_a_single_frame_longer_than_the_queue_is_kept() -> None:
    bench = Bench(queue_s=0.1)
    bench.intakes[0].push(frame(0, codes(8000)))
    bench.ingest.tick()
    assert bench.intakes[0].stats.dropped_frames == 0
    assert bench.audio().size == 16_000 - 48


def test_a_change_of_rate_keeps_media_time() -> None:
    bench = Bench()
    intake = bench.intakes[0]
    intake.push(frame(0, codes(1600)))
    tone = np.linspace(-0.5, 0.5, 3200, dtype=np.float32)
    intake.push(frame(3200, tone, Encoding.FLOAT32, 16_000))
    intake.push(frame(19_200, np.zeros(4800, np.float32), Encoding.FLOAT32, 48_000))
    bench.ingest.tick()
    bench.ingest.close(intake)
    assert bench.audio().size == 3200 + 3200 + 1600
    assert np.array_equal(bench.audio()[3200:6400], tone)
    assert intake.media_s == pytest.approx(0.5)
    assert intake.stats.gaps == 0


def test_a_session_that_takes_no_audio_ends_its_own_leg_only(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(legs=2)
    bench.recognizer.dead.add(bench.intakes[0].session)
    with caplog.at_level(logging.WARNING):
        for k in range(3):
            for intake in bench.intakes:
                intake.push(frame(k * 160, codes(160)))
            bench.ingest.tick()
    assert bench.audio(0).size == 0
    assert bench.audio(1).size == 3 * 320 - 48
    assert [record.getMessage() for record in caplog.records] == [
        "call call-0: session takes no audio: session 0 has ended"
    ]
    bench.ingest.close(bench.intakes[0])
    assert bench.ingest.legs == 1


def test_frames_after_close_are_ignored() -> None:
    bench = Bench()
    bench.ingest.close(bench.intakes[0])
    bench.intakes[0].push(frame(0, codes(160)))
    bench.ingest.tick()
    assert bench.audio().size == 0


def test_arrival_is_known_by_media_time() -> None:
    bench = Bench()
    for k in range(10):
        bench.intakes[0].push(frame(k * 160, codes(160), arrival=100.0 + k))
    bench.ingest.tick()
    timeline = bench.intakes[0].timeline
    assert timeline.arrival_of(0.02) == 100.0
    assert timeline.arrival_of(0.05) == 102.0
    assert timeline.arrival_of(0.2) == 109.0
    assert timeline.arrival_of(9.9) == 109.0


def entries(intake: Intake) -> int:
    """Number of things a leg holds on to."""
    return len(intake.timeline._arrivals) + len(intake.timeline._jumps) + len(intake._queue)


def test_a_long_call_needs_no_more_memory_than_a_short_one() -> None:
    bench = Bench(max_gap_s=0.0)
    intake, sizes, at = bench.intakes[0], [], 0
    for hour in range(2):
        for k in range(3600):  # one frame a second, a jump after every tenth
            at += 8000 if k % 10 else 16_000
            intake.push(frame(at, codes(160)))
            bench.ingest.tick()
            bench.recognizer.pushes.clear()
        sizes.append(entries(intake))
        assert intake.stats.frames == 3600 * (hour + 1)
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize(
    ("samples", "encoding", "rate"),
    [
        (np.zeros(160, np.int16), Encoding.PCMU, 8000),
        (np.zeros(160, np.uint8), Encoding.L16, 8000),
        (np.zeros(160, ">i2"), Encoding.L16, 8000),
        (np.zeros((2, 80), np.float32), Encoding.FLOAT32, 16_000),
        (np.zeros(160, np.float32), Encoding.FLOAT32, 0),
    ],
)
def test_a_frame_whose_type_and_encoding_disagree_is_refused(
    samples: NDArray[np.generic], encoding: Encoding, rate: int
) -> None:
    with pytest.raises(ValueError, match=r"takes a flat array|sample rate 0"):
        frame(0, samples, encoding, rate)
