"""Configuration of the pipeline: section `[pipeline]` of the configuration file."""

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from engine.chunking import DEFAULT_CHUNK_MS, FRAME_MS
from pipeline.turns.config import TurnConfig

if TYPE_CHECKING:
    ChunkMs = int
else:
    # A chunk is whole encoder frames; which of these sizes there are is the checkpoint's to say.
    ChunkMs = Literal[tuple(range(FRAME_MS, 100 * FRAME_MS + 1, FRAME_MS))]


class PipelineConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`chunk_ms`: latency class of every leg, one of the checkpoint's. `language`: where a connector names none.
    `language_lock`: under `auto`, go on with the prompt of the language that a leg turned out to speak. `silence_ms`:
    pause that ends a sentence.
    `queue_ms`: audio a leg may have waiting for a tick. `max_gap_ms`: longest silence made up for missing audio.
    `flush_timeout_s`: wait for the last words at the end of a leg. `answer_timeout_s`: wait for the engine's word on a
    leg before its peer is answered. `turns`: how they are detected."""

    chunk_ms: ChunkMs = DEFAULT_CHUNK_MS
    language: str = "auto"
    language_lock: bool = False
    silence_ms: Annotated[int, msgspec.Meta(ge=80, le=10_000)] = 400
    max_segment_s: Annotated[float, msgspec.Meta(ge=1, le=120)] = 15.0
    tick_ms: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10
    queue_ms: Annotated[int, msgspec.Meta(ge=100, le=60_000)] = 10_000
    max_gap_ms: Annotated[int, msgspec.Meta(ge=0, le=30_000)] = 2_000
    flush_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=120)] = 10.0
    answer_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=30)] = 2.0
    max_call_s: Annotated[float, msgspec.Meta(gt=0)] = 14_400.0
    max_calls: Annotated[int, msgspec.Meta(ge=1)] = 10_000
    turns: TurnConfig = TurnConfig()
