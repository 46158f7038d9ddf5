"""What a step brings down from the device."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Emission:
    """One token: `row` of the batch, `frame` of the chunk, `probability` of the token when it was chosen."""

    row: int
    token: int
    frame: int
    probability: float
