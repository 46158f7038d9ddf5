"""The secrets of a configuration, which no line of output may hold.

Checks do not print any. But they pass on what libraries say, so every line is looked through once more at the end.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec

from trunkline.config import Config

_HOLDS_SECRET = re.compile(r"^headers$|(^|_)(token|password|secret|credentials?|options|command)$")

_SHORTEST = 4
"""Characters. In place of a shorter one every line would be full of marks, which tell it sooner than they hide it."""


def secrets_of(config: Config) -> list[str]:
    """Every value that is one by its name, and what URLs hold of user, password and query; the longest first."""
    found = set(_within(msgspec.to_builtins(config), secret=False))
    found |= {quote(one, safe="") for one in found}
    return sorted((one for one in found if len(one) >= _SHORTEST), key=len, reverse=True)


def masked(text: str, secrets: Iterable[str]) -> str:
    """`secrets`: the longest first."""
    for one in secrets:
        text = text.replace(one, "***")
    return text


def _within(value: Any, *, secret: bool) -> Iterator[str]:
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _within(one, secret=secret or _HOLDS_SECRET.search(str(name)) is not None)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _within(one, secret=secret)
    elif isinstance(value, str):
        if secret:
            yield value
        elif "://" in value:
            yield from _of_url(value)


def _of_url(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    password = parts.netloc.rpartition("@")[0].partition(":")[2]
    yield from (password, unquote(password))
    yield from (value for _, value in parse_qsl(parts.query))
