"""G.711, both laws (ITU-T G.711, tables 1 and 2), computed from the segment formulas.

Decoding is a look-up in a table of 256 values; encoding one in a table of 65,536. Sample values are the standard's
14-bit (mu-law) and 13-bit (A-law) values, scaled to 16 bits; full scale is therefore 32,124 and 32,256.
The live path indexes `FLOAT_TABLE`, which holds both laws and silence, so that legs of either law decode in one
look-up.
"""

import numpy as np
from numpy.typing import NDArray

_MU_BIAS = 33  # on the 14-bit scale; every segment of mu-law then begins at a power of two
_MU_CLIP = 8158  # the last interval ends here on the 14-bit scale; all above it share its code


def _mulaw_decode_table() -> NDArray[np.int16]:
    """All bits are sent inverted. Sign (set: negative), three bits of segment, four of step; on the 14-bit scale."""
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    segment, step = code >> 4 & 7, code & 15
    magnitude = ((2 * step + _MU_BIAS) << segment) - _MU_BIAS
    return (np.where(code & 0x80, -magnitude, magnitude) << 2).astype(np.int16)


def _alaw_decode_table() -> NDArray[np.int16]:
    """Even bits are sent inverted. Sign (set: positive), three bits of segment, four of step; on the 13-bit scale,
    the middle of each step. Segments 0 and 1 have the same step."""
    code = np.arange(256, dtype=np.int32) ^ 0x55
    segment, step = code >> 4 & 7, code & 15
    magnitude = np.where(segment == 0, 2 * step + 1, (2 * step + 33) << np.maximum(segment - 1, 0))
    return (np.where(code & 0x80, magnitude, -magnitude) << 3).astype(np.int16)


def _mulaw_encode_table() -> NDArray[np.uint8]:
    """Code of every int16, at index `value & 0xFFFF`. Values are cut to 14 bits towards minus infinity first."""
    value = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32) >> 2
    magnitude = np.minimum(np.abs(value), _MU_CLIP) + _MU_BIAS
    segment = np.floor(np.log2(magnitude)).astype(np.int32) - 5
    step = magnitude >> (segment + 1) & 15
    code: NDArray[np.int32] = ~(np.where(value < 0, 0x80, 0) | segment << 4 | step) & 0xFF
    return code.astype(np.uint8)


def _alaw_encode_table() -> NDArray[np.uint8]:
    """Code of every int16, at index `value & 0xFFFF`. -1 on the 13-bit scale is the first negative interval."""
    value = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32) >> 3
    magnitude = np.where(value < 0, -value - 1, value)
    segment = np.floor(np.log2(np.maximum(magnitude, 16))).astype(np.int32) - 4
    segment = np.where(magnitude < 32, 0, segment)
    step = magnitude >> np.maximum(segment, 1) & 15
    code: NDArray[np.int32] = (np.where(value < 0, 0, 0x80) | segment << 4 | step) ^ 0x55
    return code.astype(np.uint8)


MULAW_TO_INT16 = _mulaw_decode_table()
ALAW_TO_INT16 = _alaw_decode_table()
_INT16_TO_MULAW = _mulaw_encode_table()
_INT16_TO_ALAW = _alaw_encode_table()

MULAW_OFFSET, ALAW_OFFSET, SILENCE = 0, 256, 512
FLOAT_TABLE: NDArray[np.float32] = (
    np.concatenate([MULAW_TO_INT16, ALAW_TO_INT16, np.zeros(1, np.int16)]).astype(np.float32) / 32768.0
)
"""float32 (513,): mu-law codes at `MULAW_OFFSET`, A-law codes at `ALAW_OFFSET`, digital silence at `SILENCE`."""

for _table in (MULAW_TO_INT16, ALAW_TO_INT16, _INT16_TO_MULAW, _INT16_TO_ALAW, FLOAT_TABLE):
    _table.setflags(write=False)


def decode_mulaw(codes: NDArray[np.uint8]) -> NDArray[np.int16]:
    """`codes`: uint8, any shape -> int16 of that shape."""
    return MULAW_TO_INT16[codes]


def decode_alaw(codes: NDArray[np.uint8]) -> NDArray[np.int16]:
    """`codes`: uint8, any shape -> int16 of that shape."""
    return ALAW_TO_INT16[codes]


def encode_mulaw(pcm: NDArray[np.int16]) -> NDArray[np.uint8]:
    """`pcm`: int16, any shape -> uint8 codes of that shape."""
    return _INT16_TO_MULAW[pcm.view(np.uint16)]


def encode_alaw(pcm: NDArray[np.int16]) -> NDArray[np.uint8]:
    """`pcm`: int16, any shape -> uint8 codes of that shape."""
    return _INT16_TO_ALAW[pcm.view(np.uint16)]
