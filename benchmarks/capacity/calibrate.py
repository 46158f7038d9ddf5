"""The blank's bias at which a model with random weights emits tokens at the rate of speech."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Calibration:
    """`rate`: tokens a second that `bias` gives."""

    bias: float
    rate: float


def calibrate(
    rate_at: Callable[[float], float], wanted: float, tolerance: float, low: float, high: float, rounds: int = 24
) -> Calibration:
    """Bisect for the bias at which `rate_at` is `wanted` give or take `tolerance`.

    `rate_at` falls with the bias; `low` gives too many, `high` too few. Where the rate jumps over what is wanted, the
    nearest that was met is returned.
    """
    best = Calibration(high, rate_at(high))
    for _ in range(rounds):
        bias = (low + high) / 2
        rate = rate_at(bias)
        if abs(rate - wanted) < abs(best.rate - wanted):
            best = Calibration(bias, rate)
        if abs(rate - wanted) <= tolerance:
            break
        if rate > wanted:
            low = bias
        else:
            high = bias
    return best


def greedy_rate(model: Any, encoded: Tensor, bias: float, seconds: float) -> float:
    """Tokens a second a stream under this bias of the blank, at one token a frame at most.

    model: NeMo's; encoded: (S, T, d_model), after the prompt; seconds: length of each stream.
    """
    joint, prediction = model.joint, model.decoder.prediction
    lstm, blank = prediction["dec_rnn"].lstm, model.joint.joint_net[-1].out_features - 1
    scores_bias = joint.joint_net[-1].bias.clone()
    scores_bias[-1] = bias
    frames = joint.enc(encoded)  # (S, T, J)
    streams = len(encoded)
    state = tuple(torch.zeros(lstm.num_layers, streams, lstm.hidden_size) for _ in range(2))
    out, state = lstm(torch.zeros(1, streams, lstm.input_size), state)
    predicted = joint.pred(out[0])  # (S, J)
    emitted = 0
    for at in range(frames.shape[1]):
        hidden = torch.relu(frames[:, at] + predicted)
        best = (hidden @ joint.joint_net[-1].weight.T + scores_bias).argmax(-1)  # (S,)
        emits = best != blank
        if not bool(emits.any()):
            continue
        emitted += int(emits.sum())
        out, after = lstm(prediction["embed"](best.clamp(max=blank - 1))[None], state)
        state = tuple(torch.where(emits[None, :, None], new, old) for new, old in zip(after, state, strict=True))
        predicted = torch.where(emits[:, None], joint.pred(out[0]), predicted)
    return emitted / streams / seconds
