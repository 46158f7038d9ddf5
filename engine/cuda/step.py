"""One step of one latency class as a device likes it: one upload, one launch sequence, one download.

The host fills one pinned buffer, a row a stream: its audio, then its slot, its chunks so far and its prompt. What
follows never waits for the device and has the same shape whoever steps, so it can be captured once a batch size and
played back: `launch` copies the rows up, clears the streams that begin, runs features, encoder, prompt and decoder over
preallocated memory, and copies one small result down. Batches are padded to a few sizes; rows of padding work on a slot
that is nobody's.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.chunking import chunk_samples
from engine.cuda.search import StaticSearch
from engine.model.emission import Emission
from engine.model.model import Model
from engine.model.state import Rows, SlotState

_INDICES = 3
"""Numbers after the audio in a row of the upload: slot, chunks, prompt."""

_SPOILT = -2
"""In place of a result: no launch writes it."""


def batch_sizes(max_rows: int) -> tuple[int, ...]:
    """Sizes that batches are padded to, smallest first: powers of two, from 64 on also halfway between them."""
    sizes = {max_rows}
    size = 1
    while size < max_rows:
        sizes.add(size)
        if size >= 64 and size * 3 // 2 < max_rows:
            sizes.add(size * 3 // 2)
        size *= 2
    return tuple(sorted(sizes))


class StaticStep:
    """The step of a class with c frames a chunk, for batches of up to `max_rows`.

    `state` has one slot more than streams may use: its last one belongs to the rows of padding.
    """

    def __init__(self, model: Model, state: SlotState, frames: int, max_rows: int) -> None:
        self._model = model
        self._state = state
        self._samples = chunk_samples(frames)
        self._search = StaticSearch(model.decoder, frames, max_rows)
        self._scratch = state.mel.shape[0] - 1
        pinned = model.device.type == "cuda" and torch.cuda.is_available()
        self._staged = torch.zeros(max_rows, self._samples + _INDICES, pin_memory=pinned)
        self._uploaded = torch.zeros_like(self._staged, device=model.device)
        self._downloaded = torch.zeros(self._search.result.shape, dtype=torch.int32, pin_memory=pinned)
        self.sizes = batch_sizes(max_rows)
        width = model.config.encoder.d_model
        self.encoded = torch.zeros(max_rows, frames, width, device=model.device, dtype=model.dtype)
        """What the encoder made of the last step, before any prompt: (max_rows, c, d_model)."""

    @property
    def audio(self) -> NDArray[np.float32]:
        """Where the audio of the next batch goes: float32 (max_rows, 1280 c + 241)."""
        staged: NDArray[np.float32] = self._staged.numpy()
        return staged[:, : self._samples]

    @property
    def projected(self) -> Tensor:
        """Encoder frames of the last launch as the joint network sees them: (max_rows, c, d_joint)."""
        return self._search.projected

    def fill(
        self, audio: NDArray[np.float32], slots: Sequence[int], chunks: Sequence[int], prompts: Sequence[int]
    ) -> int:
        """Stage a batch; audio that lies in `self.audio` already is not copied. Returns the size it is padded to."""
        count = len(slots)
        size = next(size for size in self.sizes if size >= count)
        if not np.may_share_memory(audio, self.audio):
            self.audio[:count] = audio
        indices = self._staged.numpy()[:, self._samples :].view(np.int32)
        indices[:count, 0], indices[:count, 1], indices[:count, 2] = slots, chunks, prompts
        indices[count:size] = self._scratch, 0, 0
        self.audio[count:size] = 0
        return size

    def launch(self, size: int) -> None:
        """Step the first `size` staged rows."""
        uploaded = self._uploaded[:size]
        uploaded.copy_(self._staged[:size], non_blocking=True)
        rows, prompts = self._rows(size)
        encoded = self._model.encode(uploaded[:, : self._samples], rows, self._state)
        self.encoded[:size].copy_(encoded)
        self._search.step(self._model.encoder.prompted(encoded, prompts), self._state.decoder, rows)
        self._download(size)

    def proceed(self, size: int) -> None:
        """Decode on where `unfinished` says that the launch did not do."""
        rows, _ = self._rows(size)
        self._search.proceed(self._state.decoder, rows)
        self._download(size)

    def wipe(self, *, state: bool) -> None:
        """Spoil what the last launch left behind, so that a launch that does nothing is seen: for trials. `state`: zero
        all slots too."""
        self._search.result.zero_()
        self._downloaded.fill_(_SPOILT)
        if state:
            self._state.wipe()
            self.encoded.zero_()
            self.projected.zero_()

    def rewind(self, size: int) -> None:
        """Put the first `size` rows before their chunk again, so that `proceed` has something to do: for trials."""
        self._search.rewind(size)

    def unfinished(self, count: int) -> bool:
        """Whether any of the first `count` rows needs `proceed`. To be asked after the device was waited for."""
        return bool(self._downloaded.numpy()[:count, -1].any())

    def emissions(self, count: int) -> list[Emission]:
        """What the first `count` rows emitted, row by row in order of time."""
        emitted, probabilities = self.by_turn(count)
        rows, at = np.nonzero(emitted >= 0)
        tokens, frames = np.divmod(emitted[rows, at], self._search.frames)
        columns = (rows.tolist(), tokens.tolist(), frames.tolist(), probabilities[rows, at].tolist())
        return [Emission(*item) for item in zip(*columns, strict=True)]

    def by_turn(self, count: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Tokens and probabilities of the first `count` rows, (B, turns) each, as `StaticSearch.result` has them."""
        result, turns = self._downloaded.numpy()[:count], self._search.turns
        return result[:, :turns].copy(), result[:, turns:-1].view(np.float32).copy()

    def _rows(self, size: int) -> tuple[Rows, Tensor]:
        indices = self._uploaded[:size, self._samples :].view(torch.int32).T
        slots, chunks, prompts = indices.to(torch.int64, memory_format=torch.contiguous_format).unbind()
        return Rows(slots, chunks, chunks == 0), prompts

    def _download(self, size: int) -> None:
        self._downloaded[:size].copy_(self._search.result[:size], non_blocking=True)
