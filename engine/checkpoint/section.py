"""Reading a checkpoint's configuration, a section at a time, with errors for people.

A setting that is missing or broken is a `DamagedCheckpoint`, a value that this engine does not run an
`UnsupportedCheckpoint`. Each names the setting by its path in the file.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.errors import DamagedCheckpoint, UnsupportedCheckpoint

FAMILY = (
    "this engine runs cache-aware streaming FastConformer transducers, such as nvidia/nemotron-3.5-asr-streaming-0.6b"
)
"""What to give instead of a model of another family."""


class Section:
    """One mapping of a configuration file, with the path that names it in errors."""

    def __init__(self, data: Any, where: str) -> None:
        if not isinstance(data, Mapping):
            raise DamagedCheckpoint(f"{where}: expected a section of settings, found {type(data).__name__}")
        self._data = data
        self._where = where

    def __contains__(self, key: str) -> bool:
        return self._data.get(key) is not None

    def name(self, key: str) -> str:
        return f"{self._where}.{key}"

    def section(self, key: str) -> "Section":
        return Section(self._value(key), self.name(key))

    def _value(self, key: str) -> Any:
        if key not in self:
            raise DamagedCheckpoint(f"{self.name(key)} is missing: the checkpoint's configuration is incomplete")
        return self._data[key]

    def integer(self, key: str, default: int | None = None) -> int:
        if key not in self and default is not None:
            return default
        value = self._value(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise UnsupportedCheckpoint(f"{self.name(key)} = {value!r}: expected a whole number")
        return value

    def number(self, key: str, default: float) -> float:
        value = self._data.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UnsupportedCheckpoint(f"{self.name(key)} = {value!r}: expected a number")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self._data.get(key, default)
        if not isinstance(value, bool):
            raise UnsupportedCheckpoint(f"{self.name(key)} = {value!r}: expected true or false")
        return value

    def raw(self, key: str) -> Any:
        return self._value(key)

    def heads(self, key: str, d_model: int, default: int | None = None) -> int:
        """Number of attention heads, which must share `d_model` evenly."""
        heads = self.integer(key, default)
        if not heads or d_model % heads:
            raise UnsupportedCheckpoint(f"{self.name(key)} = {heads} does not divide the model's width {d_model}")
        return heads

    def require(self, key: str, *supported: Any, default: Any = None) -> None:
        """Refuse a value this engine does not run. `default` is what an absent key means."""
        value = self._data.get(key, default)
        if value not in supported:
            names = " or ".join(repr(item) for item in supported)
            raise UnsupportedCheckpoint(f"{self.name(key)} = {value!r} is not {names}: {FAMILY}")


def prompt_dictionary(data: Any, count: int, where: str) -> Mapping[str, int]:
    """The languages of a prompt, checked: names to indices below `count`. Raises `DamagedCheckpoint`."""
    if not isinstance(data, Mapping) or not data:
        raise DamagedCheckpoint(f"{where} is missing or empty: the checkpoint names no languages")
    # YAML reads an unquoted `no` (Norwegian) as false.
    named = {"no" if name is False else name: index for name, index in data.items()}
    for name, index in named.items():
        if not isinstance(name, str) or isinstance(index, bool) or not isinstance(index, int):
            raise DamagedCheckpoint(f"{where}: {name!r}: {index!r} is not a language and its index")
        if not 0 <= index < count:
            raise DamagedCheckpoint(f"{where}.{name} = {index} is outside 0..{count - 1}")
    return named


def check_contexts(left: int, lookaheads: Sequence[int], where: str) -> None:
    """The left context is whole chunks, as NeMo demands of `chunked_limited`. Raises `UnsupportedCheckpoint`."""
    for lookahead in lookaheads:
        if left < 0 or left % (lookahead + 1):
            raise UnsupportedCheckpoint(
                f"{where}: a left context of {left} frames is not a whole number of chunks of {lookahead + 1} frames "
                f"(lookahead {lookahead}), which the model was trained with: correct the contexts"
            )
