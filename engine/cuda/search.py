"""Greedy transducer decoding that never waits for the device: a fixed number of turns, whatever the rows emit.

At a turn every row scores the frame it stands at, a blank moves it on, a token stays and updates its prediction
network. All rows take part in all turns; a row whose chunk is done, or that emits nothing, keeps what it had. The
tokens are those of `engine.model.decoder`. A row needs as many turns as it has frames and tokens. Hardly one needs more
than `turns`; where one does, the result says so and the caller launches `proceed` before the row's next chunk, so
nothing is ever cut short.
"""

import torch
from torch import Tensor

from engine.model.decoder import Decoder
from engine.model.state import DecoderState, Rows

NOTHING = -1


def turns(frames: int) -> int:
    """Turns of a launch over chunks of so many frames: one a frame for its blank, one a frame for a token, and three
    (docs/decisions/engine.md has how often rows need more)."""
    return 2 * frames + 3


class StaticSearch:
    """Greedy search over chunks of c frames, in preallocated memory, for batches of up to `max_rows`.

    result: int32 (max_rows, 2 K + 1), K turns: first what each turn emitted, token * c + frame or `NOTHING`, then the
    probabilities' bits, last 1 where the row needs `proceed`.
    """

    def __init__(self, decoder: Decoder, frames: int, max_rows: int) -> None:
        self.turns = turns(frames)
        self.frames = frames
        self._decoder = decoder
        like = decoder.start.predicted
        self.projected = torch.zeros(max_rows, frames, like.shape[1], device=like.device, dtype=like.dtype)
        self._at = torch.zeros(max_rows, dtype=torch.int64, device=like.device)
        self._symbols = torch.zeros(max_rows, dtype=torch.int64, device=like.device)
        self.result = torch.zeros(max_rows, 2 * self.turns + 1, dtype=torch.int32, device=like.device)

    def step(self, encoded: Tensor, state: DecoderState, rows: Rows) -> None:
        """Decode one chunk of every row, (B, c, d_model), into `result[:B]`, and bring the rows' state forward."""
        count = len(encoded)
        self.projected[:count].copy_(self._decoder.project(encoded))
        self.rewind(count)
        past = []
        for tensor, start in zip(state.tensors, self._decoder.start.tensors, strict=True):
            mine = tensor.index_select(0, rows.slots)
            if rows.begins is not None:
                mine = torch.where(rows.begins.view(-1, *[1] * (mine.ndim - 1)), start, mine)
            past.append(mine)
        self._search(DecoderState(*past), state, rows)

    def proceed(self, state: DecoderState, rows: Rows) -> None:
        """The next turns of the rows that were not done; the others emit nothing more."""
        self._search(DecoderState(*(tensor.index_select(0, rows.slots) for tensor in state.tensors)), state, rows)

    def rewind(self, count: int) -> None:
        """Put the first rows before the first frame of their chunk."""
        self._at[:count].zero_()
        self._symbols[:count].zero_()

    def _search(self, past: DecoderState, state: DecoderState, rows: Rows) -> None:
        count = len(rows.slots)
        frames, at, symbols = self.projected[:count], self._at[:count], self._symbols[:count]
        hidden, cell, predicted = past.tensors
        blank, most = self._decoder.blank, self._decoder.max_symbols
        row = torch.arange(count, device=frames.device)
        emitted, probabilities = [], []
        for _ in range(self.turns):
            active = at < self.frames
            frame = at.clamp(max=self.frames - 1)
            logits = self._decoder.scores(frames[row, frame], predicted).float()  # (B, V + 1)
            best = logits.argmax(-1)
            emits = active & (best != blank)
            emitted.append(torch.where(emits, best * self.frames + at, NOTHING).int())
            probabilities.append(torch.softmax(logits, -1).gather(-1, best[:, None])[:, 0].view(torch.int32))
            new_hidden, new_cell, new_predicted = self._decoder.predict(best, hidden, cell)
            hidden = torch.where(emits[:, None, None], new_hidden, hidden)
            cell = torch.where(emits[:, None, None], new_cell, cell)
            predicted = torch.where(emits[:, None], new_predicted, predicted)
            symbols = symbols + emits
            moves = ~emits | (symbols == most)
            at = at + (moves & active)
            symbols = symbols.masked_fill(moves, 0)
        self._at[:count].copy_(at)
        self._symbols[:count].copy_(symbols)
        for tensor, new in zip(state.tensors, (hidden, cell, predicted), strict=True):
            tensor.index_copy_(0, rows.slots, new)
        unfinished = (at < self.frames).int()
        self.result[:count].copy_(torch.stack([*emitted, *probabilities, unfinished], dim=1))
