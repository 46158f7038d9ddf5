"""Drives `engine.executor.StepExecutor` directly: whole signals through slots, chunk by chunk, many at once."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from engine.chunking import chunk_begin, chunk_end, chunk_samples
from engine.executor import StepExecutor
from testing.audio import Audio
from testing.oracle import Token


@dataclass
class Stream:
    """A signal, the slot it goes through, its prompt index, and the tick at which it joins."""

    audio: Audio
    slot: int
    prompt: int
    chunks: int
    joins: int = 0
    tokens: list[Token] = field(default_factory=list)
    encoded: list[Tensor] = field(default_factory=list)


def window(audio: Audio, chunk: int, frames: int) -> Audio:
    """The samples that chunk number `chunk` looks at, silence outside of the audio."""
    begin, end = chunk_begin(chunk, frames), chunk_end(chunk, frames)
    part = audio[max(begin, 0) : end]
    return np.pad(part, (max(0, -begin), chunk_samples(frames) - max(0, -begin) - len(part)))


def run(executor: StepExecutor, chunk_ms: int, streams: Sequence[Stream], *, encode_only: bool = False) -> None:
    """Step all streams that are there, tick by tick, until each has had its chunks."""
    frames = chunk_ms // 80
    done: dict[int, int] = defaultdict(int)
    tick = 0
    while any(done[id(stream)] < stream.chunks for stream in streams):
        rows = [s for s in streams if s.joins <= tick and done[id(s)] < s.chunks]
        tick += 1
        if not rows:
            continue
        audio = np.stack([window(s.audio, done[id(s)], frames) for s in rows])
        slots, prompts = [s.slot for s in rows], [s.prompt for s in rows]
        counts = [done[id(s)] for s in rows]
        if encode_only:
            encoded = executor.encode(chunk_ms, audio, slots, counts, prompts)
            for stream, row in zip(rows, encoded, strict=True):
                stream.encoded.append(row)
        else:
            for emission in executor.step(chunk_ms, audio, slots, counts, prompts):
                stream = rows[emission.row]
                stream.tokens.append(Token(emission.token, counts[emission.row] * frames + emission.frame))
        for stream in rows:
            done[id(stream)] += 1


def frames_of(stream: Stream) -> Tensor:
    """All encoder frames of a stream that was run with `encode_only`: (T, d_model)."""
    return torch.cat(stream.encoded)
