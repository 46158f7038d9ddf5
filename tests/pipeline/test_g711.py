import warnings

import numpy as np
import pytest

from pipeline.g711 import (
    ALAW_OFFSET,
    FLOAT_TABLE,
    MULAW_OFFSET,
    SILENCE,
    decode_alaw,
    decode_mulaw,
    encode_alaw,
    encode_mulaw,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

CODES = np.arange(256, dtype=np.uint8)
SAMPLES = np.arange(-32768, 32768, dtype=np.int32).astype(np.int16)


def mulaw_of_the_standard(code: int) -> int:
    """Table 2 of G.711, 14-bit scale: the value that lies midway in the code's interval."""
    sent = code ^ 0xFF
    segment, step = (sent >> 4) & 7, sent & 15
    first = 0 if segment == 0 else 2 ** (segment + 5) - 33
    width = 2 ** (segment + 1)
    low = first + step * width - (1 if segment == 0 and step else 0)
    high = first + (step + 1) * width - (1 if segment == 0 else 0)
    magnitude = 0 if segment == 0 and step == 0 else (low + high) // 2
    return -magnitude if sent & 0x80 else magnitude


def alaw_of_the_standard(code: int) -> int:
    """Table 1 of G.711, 13-bit scale: the value that lies midway in the code's interval."""
    sent = code ^ 0x55
    segment, step = (sent >> 4) & 7, sent & 15
    width = 2 if segment == 0 else 2**segment
    first = 0 if segment == 0 else 2 ** (segment + 4)
    magnitude = first + step * width + width // 2
    return magnitude if sent & 0x80 else -magnitude


@pytest.mark.parametrize("code", range(256))
def test_every_code_of_both_laws_is_the_standards_value(code: int) -> None:
    one = np.array([code], np.uint8)
    assert decode_mulaw(one)[0] == 4 * mulaw_of_the_standard(code)
    assert decode_alaw(one)[0] == 8 * alaw_of_the_standard(code)


def test_decoding_equals_audioop_for_all_codes() -> None:
    assert decode_mulaw(CODES).tobytes() == audioop.ulaw2lin(CODES.tobytes(), 2)
    assert decode_alaw(CODES).tobytes() == audioop.alaw2lin(CODES.tobytes(), 2)


def test_encoding_equals_audioop_for_all_samples() -> None:
    assert encode_mulaw(SAMPLES).tobytes() == audioop.lin2ulaw(SAMPLES.tobytes(), 2)
    assert encode_alaw(SAMPLES).tobytes() == audioop.lin2alaw(SAMPLES.tobytes(), 2)


def test_encoding_a_decoded_code_gives_the_code_back() -> None:
    again = encode_mulaw(decode_mulaw(CODES))
    assert again[CODES != 0x7F].tolist() == CODES[CODES != 0x7F].tolist()
    assert again[0x7F] == 0xFF  # mu-law has two zeros; the positive one is sent
    assert encode_alaw(decode_alaw(CODES)).tolist() == CODES.tolist()


def test_known_values() -> None:
    assert decode_mulaw(np.array([0x00, 0x80, 0xFF, 0x7F], np.uint8)).tolist() == [-32124, 32124, 0, 0]
    assert decode_alaw(np.array([0x2A, 0xAA, 0xD5, 0x55], np.uint8)).tolist() == [-32256, 32256, 8, -8]


def test_float_table_holds_both_laws_and_silence() -> None:
    assert FLOAT_TABLE.dtype == np.float32
    assert np.array_equal(FLOAT_TABLE[CODES.astype(int) + MULAW_OFFSET] * 32768, decode_mulaw(CODES))
    assert np.array_equal(FLOAT_TABLE[CODES.astype(int) + ALAW_OFFSET] * 32768, decode_alaw(CODES))
    assert FLOAT_TABLE[SILENCE] == 0.0


def test_any_shape_is_kept() -> None:
    grid = CODES.reshape(16, 16)
    assert encode_alaw(decode_alaw(grid)).shape == (16, 16)
    assert encode_mulaw(decode_mulaw(grid)[::2, ::4]).shape == (8, 4)
