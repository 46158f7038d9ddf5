"""Samples with bytes or lines taken out, doubled, swapped and replaced."""

from collections.abc import Sequence

from hypothesis import strategies as st


@st.composite
def damaged(draw: st.DrawFn, samples: Sequence[bytes], spare: Sequence[bytes]) -> bytes:
    """A sample with a few of its lines, and then of its bytes, changed. `spare`: what may be put in."""
    lines = draw(st.sampled_from(samples)).splitlines(keepends=True)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(len(lines) - 1, 0)))
        other = draw(st.integers(0, max(len(lines) - 1, 0)))
        match draw(st.sampled_from(["drop", "double", "swap", "put"])):
            case "drop":
                del lines[at : at + 1]
            case "double":
                lines[at:at] = lines[at : at + 1] * draw(st.integers(1, 40))
            case "swap" if lines:
                lines[at], lines[other] = lines[other], lines[at]
            case _:
                lines.insert(at, draw(st.sampled_from(spare)) + b"\n")
    data = bytearray(b"".join(lines))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.sampled_from(spare) | st.binary(max_size=3))
    return bytes(data)
