"""Greedy transducer decoding of one chunk for a batch of slots.

Label-looping: every row has its own frame pointer; a blank moves it on, a token stays and updates the prediction
network of the rows that emitted (Bataev et al., arXiv:2406.06220). At most `max_symbols` tokens a frame.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.checkpoint.weights import WeightReader
from engine.config import ModelConfig
from engine.model.linear import Linear, MakeLinear, read_linear
from engine.model.state import DecoderState, Rows


@dataclass(frozen=True, slots=True)
class Emissions:
    """Tokens of one step in order of emission. All of length E: row of the batch, token, frame of the chunk,
    probability."""

    rows: Tensor
    tokens: Tensor
    frames: Tensor
    probabilities: Tensor


class PredictionNetwork(Protocol):
    """x: (B, d); hidden, cell: (B, layers, d). Returns the new two and the projected output (B, d_joint)."""

    def __call__(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]: ...


LstmWeights = tuple[Tensor, Tensor, Tensor]
"""Of one layer: weights of its input and of its hidden state, (4 d, d), and the sum of their biases, (4 d,); gates in
torch's order: input, forget, cell, output."""


class MakePredictionNetwork(Protocol):
    """lstm: of each layer; out: weight (d_joint, d) and bias (d_joint,) of the projection into the joint network."""

    def __call__(
        self, lstm: list[LstmWeights], out: tuple[Tensor, Tensor], linear: MakeLinear, /
    ) -> PredictionNetwork: ...


@dataclass(frozen=True, slots=True)
class LstmLayer:
    inputs: Linear
    recurrent: Linear

    def __call__(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """One step; x, hidden, cell: (B, d). Returns the new hidden and cell."""
        enter, forget, update, leave = (self.inputs(x) + self.recurrent(hidden)).chunk(4, dim=-1)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(update)
        return torch.sigmoid(leave) * torch.tanh(cell), cell


class Lstm:
    """The prediction network by linear layers."""

    def __init__(self, lstm: list[LstmWeights], out: tuple[Tensor, Tensor], linear: MakeLinear) -> None:
        self._layers = [LstmLayer(linear(x, bias), linear(hidden, None)) for x, hidden, bias in lstm]
        self._out = linear(*out)

    def __call__(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hiddens, cells = [], []
        for index, layer in enumerate(self._layers):
            x, memory = layer(x, hidden[:, index], cell[:, index])
            hiddens.append(x)
            cells.append(memory)
        return torch.stack(hiddens, 1), torch.stack(cells, 1), self._out(x)


def _lstm_weights(config: ModelConfig, lstm: WeightReader) -> list[LstmWeights]:
    d = config.decoder.hidden
    return [
        (
            lstm.take(f"weight_ih_l{i}", 4 * d, d),
            lstm.take(f"weight_hh_l{i}", 4 * d, d),
            lstm.take(f"bias_ih_l{i}", 4 * d) + lstm.take(f"bias_hh_l{i}", 4 * d),
        )
        for i in range(config.decoder.layers)
    ]


class Decoder:
    """Prediction network, joint network and the greedy search."""

    def __init__(
        self, config: ModelConfig, weights: WeightReader, linear: MakeLinear, make: MakePredictionNetwork
    ) -> None:
        d, joint, blank = config.decoder.hidden, config.decoder.joint_hidden, config.decoder.vocabulary
        self.blank = blank
        self.max_symbols = config.decoder.max_symbols
        prediction = weights.under("decoder.prediction")
        self._embedding = prediction.take("embed.weight", blank + 1, d)
        network = weights.under("joint")
        out = network.take("pred.weight", joint, d), network.take("pred.bias", joint)
        self._predict = make(_lstm_weights(config, prediction.under("dec_rnn.lstm")), out, linear)
        self._encoded = read_linear(linear, network, "enc", joint, config.encoder.d_model, bias=True)
        # NeMo leaves the dropout module out of the sequence where its rate is 0.
        index = 2 if "joint_net.2.weight" in network else 1
        self._head = read_linear(linear, network, f"joint_net.{index}", blank + 1, joint, bias=True)
        zero = torch.zeros(1, config.decoder.layers, d, device=self._embedding.device, dtype=self._embedding.dtype)
        nothing = torch.zeros_like(zero[:, 0])
        self.start = DecoderState(*self._predict(nothing, zero, zero))
        """One row: the prediction network before the first token, when it has seen its padding token only."""

    def step(self, encoded: Tensor, state: DecoderState, rows: Rows) -> Emissions:
        """Decode one chunk of every row and bring the rows' state forward. Waits for the device at every turn.

        encoded: (B, c, d_model).
        """
        if rows.begins is not None:
            first = rows.slots[rows.begins]
            for tensor, start in zip(state.tensors, self.start.tensors, strict=True):
                tensor[first] = start
        return self._search(self.project(encoded), state, rows.slots)

    def project(self, encoded: Tensor) -> Tensor:
        """The encoder's share of the joint network: (B, c, d_joint) of (B, c, d_model)."""
        return self._encoded(encoded)

    def scores(self, frames: Tensor, predicted: Tensor) -> Tensor:
        """Joint network: frames and predicted, both projected, (B, d_joint). Returns logits (B, V + 1), blank last."""
        return self._head(F.relu(frames + predicted))

    def predict(self, tokens: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Prediction network after one more token: int64 (B,); hidden, cell: (B, layers, d).

        Returns the new two and the projected output (B, d_joint).
        """
        return self._predict(self._embedding.index_select(0, tokens), hidden, cell)

    def _search(self, frames: Tensor, state: DecoderState, slots: Tensor) -> Emissions:
        rows = torch.arange(len(slots), device=slots.device)
        at = torch.zeros_like(rows)
        symbols = torch.zeros_like(rows)
        found: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        while len(rows):
            selected = slots[rows]
            logits = self.scores(frames[rows, at], state.predicted[selected]).float()  # (A, V + 1)
            best = logits.argmax(-1)
            emits = best != self.blank
            if bool(emits.any()):
                tokens, speaking = best[emits], selected[emits]
                probability = torch.softmax(logits[emits], -1).gather(-1, tokens[:, None])[:, 0]
                found.append((rows[emits], tokens, at[emits], probability))
                hidden, cell, predicted = self.predict(tokens, state.hidden[speaking], state.cell[speaking])
                state.hidden[speaking], state.cell[speaking], state.predicted[speaking] = hidden, cell, predicted
            symbols = symbols + emits
            moves = ~emits | (symbols == self.max_symbols)
            at = at + moves
            symbols = symbols * ~moves
            going = at < frames.shape[1]
            rows, at, symbols = rows[going], at[going], symbols[going]
        if not found:
            nothing = slots[:0]
            return Emissions(nothing, nothing, nothing, frames.new_zeros(0, dtype=torch.float32))
        return Emissions(*(torch.cat(column) for column in zip(*found, strict=True)))
