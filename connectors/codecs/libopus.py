"""libopus, found and bound once, when the first Opus stream asks.

Calls keep the interpreter's lock: they take microseconds, and to win the lock back from a busy thread may take
milliseconds.
"""

import ctypes
import ctypes.util
from collections.abc import Iterator
from ctypes import POINTER, c_char_p, c_int, c_int32, c_void_p
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from connectors.codecs.errors import CodecUnavailable

_FUNCTIONS: dict[str, tuple[object, list[object]]] = {
    "opus_decoder_get_size": (c_int, [c_int]),
    "opus_decoder_init": (c_int, [c_void_p, c_int32, c_int]),
    "opus_decode": (c_int, [c_void_p, c_char_p, c_int32, c_void_p, c_int, c_int]),
    "opus_packet_get_nb_samples": (c_int, [c_char_p, c_int32, c_int32]),
    "opus_packet_parse": (c_int, [c_char_p, c_int32, c_void_p, c_void_p, c_void_p, POINTER(c_int)]),
    "opus_encoder_get_size": (c_int, [c_int]),
    "opus_encoder_init": (c_int, [c_void_p, c_int32, c_int, c_int]),
    "opus_encode": (c_int32, [c_void_p, c_void_p, c_int, c_void_p, c_int32]),
    "opus_encoder_ctl": (c_int, [c_void_p, c_int]),  # variadic: a setting's value follows
}


@cache
def libopus() -> ctypes.PyDLL:
    """The library with its functions bound. Raises `CodecUnavailable`."""
    for place in _places():
        try:
            library = ctypes.PyDLL(place)
            for name, (result, arguments) in _FUNCTIONS.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError):  # not there, or without one of the functions
            continue
        return library
    raise CodecUnavailable("Opus needs libopus: install it (Debian: libopus0; Homebrew: opus)")


def _places() -> Iterator[str]:
    """The system's library, then the one that PyAV brings along, which is not imported for that."""
    yield "libopus.so.0"
    yield "libopus.0.dylib"
    if found := ctypes.util.find_library("opus"):
        yield found
    spec = find_spec("av")
    for package in (spec and spec.submodule_search_locations) or ():
        for folder in (Path(package).with_name("av.libs"), Path(package) / ".dylibs"):
            yield from (str(path) for path in sorted(folder.glob("libopus[-.]*")))
