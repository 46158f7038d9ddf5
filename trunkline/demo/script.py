"""The bundled call: two tracks of mu-law audio and what is said on them."""

from importlib import resources
from typing import Literal

import msgspec
import numpy as np
import soundfile
from numpy.typing import NDArray

from pipeline.g711 import encode_mulaw


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One sentence of the script; `start`, `end`: seconds of the call."""

    leg: Literal["inbound", "outbound"]
    role: Literal["customer", "agent"]
    language: str
    text: str
    start: float
    end: float


def load_script() -> list[Line]:
    data = resources.files("trunkline.demo").joinpath("script.json").read_bytes()
    return msgspec.json.decode(data, type=list[Line])


def load_audio() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Mu-law codes of the inbound (customer) and the outbound (agent) track, 8 kHz."""
    with resources.as_file(resources.files("trunkline.demo").joinpath("call.wav")) as path:
        samples, _ = soundfile.read(path, dtype="int16", always_2d=True)
    return encode_mulaw(samples[:, 0]), encode_mulaw(samples[:, 1])
