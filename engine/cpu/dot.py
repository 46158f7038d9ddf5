"""The innermost loop of an 8-bit product: dot products of a few rows with a block of outputs, held in registers.

Quantisation
------------
A weight is rounded to signed numbers v of -127 to 127, an output's row by its own largest magnitude (`product.pack`).
A row of activations is rounded to numbers of -STEPS to STEPS by its own largest magnitude (`product.quantise`). Both
are symmetric. The instructions multiply unsigned by signed numbers only, so ZERO is added to each activation: the
zero point, which is the same for all of them. What it adds to a sum depends on the weight alone and is taken off again:

    sum((n + ZERO) * v) = sum(n * v) + ZERO * sum(v)            `Weight.shift` is ZERO * sum(v)

    output = (sum - shift) * (largest weight / 127 / STEPS) * (largest activation)

Example, STEPS 127 and ZERO 128:

    activations   0.5  -1.0  0.25  0.0       largest 1.0        n + ZERO   192    1  160  128
    weights       0.1  -0.4  0.3   0.15      largest 0.4               v    32 -127   95   48

    sum = 27,361; shift = 128 * 48 = 6,144; output = 21,217 * 0.4 / 127 / 127 * 1.0 = 0.5262, exactly it is 0.525.

Instructions
------------
`vpdpbusd` (AVX-512 VNNI) multiplies four neighbouring bytes each, adds the four products to an int32 and does so for
16 of them at once. Without it (AVX2) there are two: `vpmaddubsw` adds pairs of products in 16 bits and saturates,
`vpmaddwd` by ones adds pairs of those in 32. Two products of 8-bit activations reach 2 * 255 * 127 = 64,770, more than
the 32,767 of 16 bits; those of 7 bits reach 2 * 127 * 127 = 32,258. So without VNNI activations have 7 bits: STEPS 63,
ZERO 64. Sums are exact in both: 32 bits hold those of 66,000 inputs.

Order in memory and registers
-----------------------------
Four inputs (a quad) of each of LANES outputs fill a cache line, which is loaded as it is needed. Four activations of a
row are loaded as one int32 and copied to all lanes. A turn of the loop is one quad: BLOCKS lines of weights, and for
each row one activation register and one multiplication a weight register. Sums stay in registers:

    VNNI   32 of 64 bytes:  12 rows * 2 sums + 2 of weights + 1 of activations = 27
    AVX2   16 of 32 bytes:   6 rows * 2 sums + 2 of weights + 1 of activations + 1 of ones = 16

Written in LLVM's own language, because Numba has neither vectors nor these instructions. Measurements are in
docs/decisions/engine.md.

Intel 64 and IA-32 Architectures Software Developer's Manual, vol. 2.
"""

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from engine.precision import has_vnni

VNNI = has_vnni()

STEPS, ZERO = (127, 128) if VNNI else (63, 64)
"""Activations, as part of the largest magnitude of their row, are the numbers ZERO - STEPS to ZERO + STEPS."""

LINE = 64
"""Bytes of a cache line."""

LANES = 16
"""Outputs that lie side by side in memory; four inputs of each fill a cache line."""

BLOCKS = 2 if VNNI else 1
"""Blocks of `LANES` outputs that are summed at a time."""

ROWS = 12 if VNNI else 6
"""Rows that are summed at a time: with it sums, weights and one activation fill the registers."""

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_WIDE = 16 if VNNI else 8
_PARTS = LANES // _WIDE


def _at(builder: Any, address: Any, kind: Any) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


def _everywhere(builder: Any, number: Any) -> Any:
    vector = ir.VectorType(_I32, _WIDE)
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, number, _I32(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(vector, [0] * _WIDE))


def _call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(builder.module.globals.get(name) or ir.Function(builder.module, kind, name), arguments)


def _add_products(builder: Any, total: Any, numbers: Any, weights: Any) -> Any:
    """total + the sums over four neighbours of numbers (unsigned) times weights (signed), for each of `_WIDE`."""
    vector = total.type
    if VNNI:
        return _call(builder, "llvm.x86.avx512.vpdpbusd.512", vector, total, numbers, weights)
    octets, pairs = ir.VectorType(_I8, 4 * _WIDE), ir.VectorType(ir.IntType(16), 2 * _WIDE)
    numbers, weights = builder.bitcast(numbers, octets), builder.bitcast(weights, octets)
    sums = _call(builder, "llvm.x86.avx2.pmadd.ub.sw", pairs, numbers, weights)
    ones = ir.Constant(pairs, [1] * (2 * _WIDE))
    return builder.add(total, _call(builder, "llvm.x86.avx2.pmadd.wd", vector, sums, ones))


def _prefetch(builder: Any, address: Any) -> None:
    """Into the second cache, for reading."""
    place = _at(builder, address, _I8)
    _call(builder, "llvm.prefetch.p0", ir.VoidType(), place, _I32(0), _I32(2), _I32(1))


def _sum(
    builder: Any, rows: int, x: Any, stride: Any, weights: Any, quads: Any, sums: Any, ahead: Any, pace: Any
) -> None:
    """`dot` for so many rows; leaves the builder after the loop."""
    vector = ir.VectorType(_I32, _WIDE)
    columns = range(BLOCKS * _PARTS)
    starts = [builder.add(x, builder.mul(stride, _I64(row))) for row in range(rows)]
    before, loop, after = builder.block, builder.append_basic_block("quads"), builder.append_basic_block("summed")
    builder.branch(loop)
    builder.position_at_end(loop)
    index = builder.phi(_I64)
    totals = [[builder.phi(vector) for _ in columns] for _ in range(rows)]
    line = builder.add(weights, builder.mul(index, _I64(BLOCKS * LINE)))
    places = [builder.add(line, _I64(4 * _WIDE * column)) for column in columns]
    loaded = [builder.load(_at(builder, place, vector), align=4 * _WIDE) for place in places]
    for line_ahead in range(BLOCKS):
        _prefetch(builder, builder.add(ahead, builder.add(builder.mul(index, pace), _I64(LINE * line_ahead))))
    quad, following = builder.mul(index, _I64(4)), builder.add(index, _I64(1))
    index.add_incoming(_I64(0), before)
    index.add_incoming(following, loop)
    added = []
    for start, row in zip(starts, totals, strict=True):
        numbers = _everywhere(builder, builder.load(_at(builder, builder.add(start, quad), _I32), align=1))
        for total, of in zip(row, loaded, strict=True):
            new = _add_products(builder, total, numbers, of)
            total.add_incoming(ir.Constant(vector, [0] * _WIDE), before)
            total.add_incoming(new, loop)
            added.append(new)
    builder.cbranch(builder.icmp_signed("<", following, quads), loop, after)
    builder.position_at_end(after)
    for place, total in enumerate(added):
        builder.store(total, _at(builder, builder.add(sums, _I64(4 * _WIDE * place)), vector), align=4)


def _dot(
    _context: Any, rows: Any, x: Any, stride: Any, weights: Any, quads: Any, sums: Any, ahead: Any, pace: Any
) -> Any:
    """Sums over inputs of a few rows times a group of outputs.

    rows: 1 to ROWS; x: address of uint8 (rows, 4 quads), ZERO + a number each, rows `stride` bytes apart; weights:
    address of int8 (quads, BLOCKS, LANES, 4) on a cache line; sums: address of int32 (rows, BLOCKS, LANES), is
    overwritten. Meanwhile what lies at `ahead` is fetched from memory, `pace` bytes for each of the quads.
    """

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        count, *others = arguments
        done = builder.append_basic_block("done")
        choice = builder.switch(count, done)
        for number in range(1, ROWS + 1):
            block = builder.append_basic_block(f"rows_{number}")
            choice.add_case(_I64(number), block)
            builder.position_at_end(block)
            _sum(builder, number, *others)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(rows, x, stride, weights, quads, sums, ahead, pace), generate


dot = cast(Callable[[int, int, int, int, int, int, int, int], None], intrinsic(_dot))
