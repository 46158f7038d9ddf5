"""What stands between the 8-bit products of a conformer layer on a CPU, compiled by Numba.

Torch takes some hundred calls a layer for this, more time than the products of a small batch. Each kernel takes what a
product left (`raw`, to be multiplied by a `scale` for each row, plus a `shift` for each column) and leaves what the
next one wants: rows of 8-bit numbers and the magnitude that each was divided by (`product.quantise`). T: rows,
which are the frames of all streams; arrays are float32 and contiguous unless said otherwise. The threads of a
step share the rows: each does `part` of so many `parts`.
"""

from typing import NamedTuple

import numpy as np

from engine.cpu.jit import F32, I32, U16, U32, Array, Bytes, Halves, Index, inner, share
from engine.cpu.product import quantise

_EPSILON = F32(1e-5)
_LOG2E, _LN2 = F32(1.4426950408889634), F32(0.6931471805599453)
_C2, _C3, _C4, _C5, _C6 = F32(1 / 2), F32(1 / 6), F32(1 / 24), F32(1 / 120), F32(1 / 720)


class NormWeights(NamedTuple):
    """LayerNorm's weight and bias: (d,)."""

    weight: Array
    bias: Array


@inner
def _exp(x: np.float32) -> np.float32:
    """e to the x for |x| <= 87, to 3.2e-5 of itself: a power of two put into the exponent, times a polynomial."""
    t = x * _LOG2E
    whole = I32(t)
    f = (t - F32(whole)) * _LN2
    p = F32(1) + f * (F32(1) + f * (_C2 + f * (_C3 + f * (_C4 + f * (_C5 + f * _C6)))))
    return p * I32(I32(whole + I32(127)) << I32(23)).view(F32)


@inner
def _to_bfloat16(x: np.float32) -> np.uint16:
    """The upper half of a float32, rounded to the nearest, to even between two."""
    bits = F32(x).view(U32)
    return U16((bits + U32(0x7FFF) + ((bits >> U32(16)) & U32(1))) >> U32(16))


@inner
def _from_bfloat16(x: np.uint16) -> np.float32:
    return U32(U32(x) << U32(16)).view(F32)


@inner
def _sigmoid(x: np.float32) -> np.float32:
    y = -x
    y = y if y < F32(80) else F32(80)
    y = y if y > F32(-80) else F32(-80)
    return F32(1) / (F32(1) + _exp(y))


@inner
def _normalise(row: Array, by: NormWeights, out: Array) -> None:
    """LayerNorm of a row into `out`, which may be the row."""
    weight, bias = by
    size = row.shape[0]
    total = F32(0)
    for i in range(size):
        total += row[i]
    mean = total / F32(size)
    squares = F32(0)
    for i in range(size):
        distance = row[i] - mean
        squares += distance * distance
    factor = F32(1) / np.sqrt(squares / F32(size) + _EPSILON)
    for i in range(size):
        out[i] = (row[i] - mean) * factor * weight[i] + bias[i]


@inner
def norm(x: Array, by: NormWeights, out: Bytes, scale: Array, part: int, parts: int) -> None:
    """LayerNorm of x (T, d) into out: uint8 (T, d), with its scale: (T,)."""
    line, scratch = np.empty(x.shape[1], F32), np.empty(x.shape[1], F32)
    for row in share(x.shape[0], part, parts):
        _normalise(x[row], by, line)
        scale[row] = quantise(line, scratch, out[row])


@inner
def add_norm(
    x: Array, raw: Array, shift: Array, by: NormWeights, out: Bytes, scale: Array, part: int, parts: int
) -> None:
    """Add a product to x (T, d) in place; LayerNorm of the sum into out: uint8 (T, d). scale: (T,), of the product, is
    overwritten with that of out."""
    line, scratch = np.empty(x.shape[1], F32), np.empty(x.shape[1], F32)
    for row in share(x.shape[0], part, parts):
        into, of, factor = x[row], raw[row], scale[row]
        for i in range(x.shape[1]):
            into[i] += of[i] * factor + shift[i]
        _normalise(into, by, line)
        scale[row] = quantise(line, scratch, out[row])


@inner
def add_norm_out(x: Array, raw: Array, shift: Array, scale: Array, by: NormWeights, part: int, parts: int) -> None:
    """Add a product to x (T, d), then LayerNorm, both in place: the end of a layer."""
    for row in share(x.shape[0], part, parts):
        into, of, factor = x[row], raw[row], scale[row]
        for i in range(x.shape[1]):
            into[i] += of[i] * factor + shift[i]
        _normalise(into, by, into)


@inner
def swish(raw: Array, shift: Array, out: Bytes, scale: Array, part: int, parts: int) -> None:
    """x * sigmoid(x) of a product raw (T, d_ff), which is overwritten, into out: uint8 (T, d_ff); `scale` is read and
    written."""
    scratch = np.empty(raw.shape[1], F32)
    for row in share(raw.shape[0], part, parts):
        of, by = raw[row], scale[row]
        for i in range(raw.shape[1]):
            x = of[i] * by + shift[i]
            of[i] = x * _sigmoid(x)
        scale[row] = quantise(of, scratch, out[row])


@inner
def _score(
    query_u: Array, query_v: Array, keys: Halves, order: Index, table: Array, column: Index, scores: Array
) -> None:
    """Scores (R,) of one query by content and by position, for the places in `order`. Four of them at a time share
    what is loaded of the query."""
    ring, size = keys.shape
    for at in range(0, ring - 3, 4):
        k0, k1, k2, k3 = keys[order[at]], keys[order[at + 1]], keys[order[at + 2]], keys[order[at + 3]]
        p0, p1, p2, p3 = table[column[at]], table[column[at + 1]], table[column[at + 2]], table[column[at + 3]]
        s0, s1, s2, s3 = F32(0), F32(0), F32(0), F32(0)
        for i in range(size):
            u, v = query_u[i], query_v[i]
            s0 += u * _from_bfloat16(k0[i]) + v * p0[i]
            s1 += u * _from_bfloat16(k1[i]) + v * p1[i]
            s2 += u * _from_bfloat16(k2[i]) + v * p2[i]
            s3 += u * _from_bfloat16(k3[i]) + v * p3[i]
        scores[at], scores[at + 1], scores[at + 2], scores[at + 3] = s0, s1, s2, s3
    for at in range(ring - ring % 4, ring):
        k0, p0, s0 = keys[order[at]], table[column[at]], F32(0)
        for i in range(size):
            s0 += query_u[i] * _from_bfloat16(k0[i]) + query_v[i] * p0[i]
        scores[at] = s0


@inner
def _mix(weights: Array, values: Halves, order: Index, out: Array) -> None:
    """The weighted sum of values (R, d_head) in `order` into out (d_head,), four at a time."""
    ring, size = values.shape
    for i in range(size):
        out[i] = F32(0)
    for at in range(0, ring - 3, 4):
        v0, v1, v2, v3 = values[order[at]], values[order[at + 1]], values[order[at + 2]], values[order[at + 3]]
        w0, w1, w2, w3 = weights[at], weights[at + 1], weights[at + 2], weights[at + 3]
        for i in range(size):
            near = w0 * _from_bfloat16(v0[i]) + w1 * _from_bfloat16(v1[i])
            out[i] += near + w2 * _from_bfloat16(v2[i]) + w3 * _from_bfloat16(v3[i])
    for at in range(ring - ring % 4, ring):
        v0, w0 = values[order[at]], weights[at]
        for i in range(size):
            out[i] += w0 * _from_bfloat16(v0[i])


@inner
def attend(
    raw: Array,
    shift: Array,
    bias_u: Array,
    bias_v: Array,
    table: Array,
    keys: Halves,
    values: Halves,
    slots: Index,
    chunks: Index,
    mixed: Array,
    scale: Array,
    part: int,
    parts: int,
) -> None:
    """Write a chunk's keys and values into the rings and attend over them; equal to `engine.model.attention`. Sums go
    from the oldest frame to the newest, so that it does not matter where in the ring they lie.

    raw: (B c, 3 d) the projections; bias_u, bias_v: (h, d_head); table: (h, R + c - 1, d_head), row m stands for
    query - key = R - 1 - m; keys, values: bfloat16 as uint16 (S, h, R, d_head); slots, chunks: int64 (B,); mixed:
    (B c, d), to be quantised; scale: (B c,), of raw.
    """
    heads, ring, d_head = keys.shape[1], keys.shape[2], keys.shape[3]
    size, streams = heads * d_head, slots.shape[0]
    frames = raw.shape[0] // streams
    count = ring // frames
    query_u, query_v = np.empty(d_head, F32), np.empty(d_head, F32)
    scores = np.empty(ring, F32)
    order = np.empty(ring, np.int64)
    column = np.empty((frames, ring), np.int64)
    known, mask = np.empty(ring, F32), np.empty(ring, F32)
    prepared = -1
    for which in share(streams * heads, part, parts):
        stream, head = which // heads, which % heads
        write, past, first, at = chunks[stream] % count, chunks[stream], stream * frames, head * d_head
        if stream != prepared:
            for index in range(ring):
                age = count - 1 - index // frames
                order[index] = (write - age) % count * frames + index % frames
                known[index] = F32(0) if age > past else F32(1)
                mask[index] = F32(-1e30) * (F32(1) - known[index])
                for frame in range(frames):
                    column[frame, index] = ring - 1 - age * frames - frame + index % frames
            prepared = stream
        ring_keys, ring_values = keys[slots[stream], head], values[slots[stream], head]
        for frame in range(frames):
            of, by = raw[first + frame], scale[first + frame]
            key, value = ring_keys[write * frames + frame], ring_values[write * frames + frame]
            for i in range(d_head):
                key[i] = _to_bfloat16(of[size + at + i] * by + shift[size + at + i])
                value[i] = _to_bfloat16(of[2 * size + at + i] * by + shift[2 * size + at + i])
        for frame in range(frames):
            of, by = raw[first + frame], scale[first + frame]
            for i in range(d_head):
                x = of[at + i] * by + shift[at + i]
                query_u[i] = x + bias_u[head, i]
                query_v[i] = x + bias_v[head, i]
            _score(query_u, query_v, ring_keys, order, table[head], column[frame], scores)
            best = F32(-1e30)
            for place in range(ring):
                scores[place] += mask[place]
                best = max(best, scores[place])
            total = F32(0)
            for place in range(ring):
                weight = scores[place] - best
                scores[place] = _exp(weight if weight > F32(-80) else F32(-80)) * known[place]
                total += scores[place]
            total = F32(1) / total
            for place in range(ring):
                scores[place] *= total
            _mix(scores, ring_values, order, mixed[first + frame, at : at + d_head])


@inner
def convolve(  # noqa: PLR0912 - one loop nest
    raw: Array,
    shift: Array,
    cache: Array,
    slots: Index,
    chunks: Index,
    taps: Array,
    taps_bias: Array,
    by: NormWeights,
    out: Bytes,
    scale: Array,
    part: int,
    parts: int,
) -> None:
    """Gate, causal depthwise convolution, LayerNorm and swish; what `engine.model.conformer` computes.

    raw: (B c, 2 d); cache: (S, k - 1, d), the last inputs of each slot's convolution, brought forward; slots, chunks:
    int64 (B,); taps: (k, d); taps_bias: (d,); out: uint8 (B c, d); scale: (B c,), read and written.
    """
    size, kernel, streams = taps.shape[1], taps.shape[0], slots.shape[0]
    frames, past = raw.shape[0] // streams, kernel - 1
    joined = np.empty((past + frames, size), F32)
    line, scratch = np.empty(size, F32), np.empty(size, F32)
    for stream in share(streams, part, parts):
        first, kept = stream * frames, cache[slots[stream]]
        for time in range(past):
            of, into = kept[time], joined[time]
            known = F32(1) if chunks[stream] > 0 else F32(0)
            for i in range(size):
                into[i] = of[i] * known
        for frame in range(frames):
            of, factor, into = raw[first + frame], scale[first + frame], joined[past + frame]
            for i in range(size):
                into[i] = of[i] * factor + shift[i]
            for i in range(size):
                into[i] *= _sigmoid(of[size + i] * factor + shift[size + i])
        for time in range(past):
            of, into = joined[frames + time], kept[time]
            for i in range(size):
                into[i] = of[i]
        for frame in range(frames):
            for i in range(size):
                line[i] = taps_bias[i]
            for tap in range(kernel):
                of, by_tap = joined[frame + tap], taps[tap]
                for i in range(size):
                    line[i] += of[i] * by_tap[i]
            _normalise(line, by, line)
            for i in range(size):
                line[i] *= _sigmoid(line[i])
            scale[first + frame] = quantise(line, scratch, out[first + frame])
