"""What the pipeline counts, read by whoever exports it."""

import logging
from dataclasses import dataclass, field

from pipeline.intake import IntakeStats
from pipeline.playback import PlaybackStats
from sinks.record import CallStatistics

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class PipelineStats:
    """Counters since the start. `skipped_ticks`: left out because the loop was busy. `unflushed_legs`: the recogniser
    did not flush them in time. `failed_legs`: ended by a fault of ours, or lacking something for one. `audio`: summed
    over the legs of ended calls. `playback`: what was said on the legs."""

    calls_started: int = 0
    calls_refused: int = 0
    calls_ended: int = 0
    unflushed_legs: int = 0
    failed_legs: int = 0
    skipped_ticks: int = 0
    audio: IntakeStats = field(default_factory=IntakeStats)
    playback: PlaybackStats = field(default_factory=PlaybackStats)


def log_end(call_id: str, duration_s: float, reason: str, statistics: CallStatistics) -> None:
    """The one line of the log on the end of a call."""
    logger.info(
        "call %s ended after %.1f s (%s): %d packets, %d lost, %d late, %d words, latency p50 %s p95 %s ms",
        call_id,
        duration_s,
        reason,
        statistics.packets,
        statistics.lost,
        statistics.late,
        statistics.words,
        statistics.p50_latency_ms,
        statistics.p95_latency_ms,
        extra={"call_id": call_id},
    )
