"""Secrets and credentials in the configuration: what counts as set, for every section that has some.

It is here because every room that has a section may import this one. None is the only "not set". A value that is there
and says nothing is a mistake (a variable that was never filled in, an empty secret file), never "no protection wanted",
so a server whose door it was to close does not start.
"""

from typing import Any
from urllib.parse import urlsplit


def check_credentials(section: Any, *names: str, spaces: bool = False) -> None:
    """Whether each of these fields is None or has a value that can be sent and compared. `spaces`: it may begin or end
    with one, as passwords may; what stands in an HTTP header cannot. Raises `ValueError`, never with the value."""
    for name in names:
        check_credential(name, getattr(section, name), spaces=spaces)


def check_credential(name: str, value: str | None, *, spaces: bool = False) -> None:
    """The same of one value. Raises `ValueError`."""
    if value is None:
        return
    if not value.strip():
        raise ValueError(f"{name} is empty: give it a value, or leave it out")
    if any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000 for char in value):
        raise ValueError(f"{name} holds a line break, another control character or bytes that are no UTF-8 text")
    if not spaces and value != value.strip():
        raise ValueError(f"{name} begins or ends with white space, which cannot be sent")


def check_url(name: str, url: str) -> None:
    """Whether user and password in a URL, where it names them, have values. Raises `ValueError`, never with them."""
    try:
        parts = urlsplit(url)
        user, at, _ = parts.netloc.rpartition("@")
        username, colon, password = user.partition(":")
    except ValueError as error:
        raise ValueError(f"{name} is no URL") from error
    if at and not username and not colon:
        raise ValueError(f"{name} names an empty user before its @")
    if at and colon:
        check_credential(f"the password in {name}", password, spaces=True)


def masked(value: str | None) -> str | None:
    """For the text of a section: whether a secret is set, not what it is."""
    return None if value is None else "***"
