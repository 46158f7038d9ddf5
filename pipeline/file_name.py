"""Names of files as text: every name, whatever its bytes, on one line and in UTF-8, and no two alike."""

import os
from pathlib import Path

STANDARD_INPUT = Path("/dev/stdin")
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def shown(path: str | Path) -> str:
    """The name with control characters and bytes that are no UTF-8 written as `\\n` or `\\xe9`, and a backslash as two.

    Standard input is `-`.
    """
    if path == STANDARD_INPUT:
        return "-"
    text = str(path)
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as `os.fsdecode` keeps it
        return f"\\x{code - 0xDC00:02x}"
    if character.isprintable():
        return character
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def full_name(path: Path) -> str:
    """The absolute path, shown; links are kept. What it is called from another folder is the same."""
    return shown(os.path.abspath(path))  # noqa: PTH100 - `resolve` would follow links
