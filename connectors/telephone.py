"""Telephone numbers as signalling writes them: SIP users, SIPREC addresses."""

import re
from ipaddress import IPv4Address

LEAST_DIGITS = 7
"""So many make a text of digits and separators a telephone number."""

_SEPARATORS = re.compile(r"[\-.() ]")
_DIALLED = re.compile(r"\+?[0-9*#\-.() ]*[0-9*#][0-9*#\-.() ]*")


def is_dialled(text: str) -> bool:
    """Digits, `*` and `#`, and visual separators (RFC 3966, section 3), at least one of the former."""
    return _DIALLED.fullmatch(text) is not None


def plain_number(text: str, *, is_phone: bool = False) -> str:
    """A telephone number without visual separators; any other text as it is. `is_phone`: the peer calls it a number,
    so that few digits are enough."""
    if not is_dialled(text):
        return text
    if is_phone or text[0] == "+" or (sum(map(str.isdigit, text)) >= LEAST_DIGITS and not _is_address(text)):
        return _SEPARATORS.sub("", text)
    return text


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True
