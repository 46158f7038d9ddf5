"""The TwiML that makes Twilio stream a call to this server.

`listen` copies the audio with `<Start><Stream>`, and the call goes on with the verb after it: what a call between a
caller and an agent needs. `converse` hands the call over with `<Connect><Stream>`: what a voice bot needs, which also
answers on the same socket. Source: Twilio's "TwiML Voice: <Stream>".
"""

import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit
from xml.sax.saxutils import escape, quoteattr

from connectors.errors import InvalidStreamUrl
from connectors.media_ws.config import MediaLimits

TrackOption = Literal["inbound_track", "outbound_track", "both_tracks"]
Mode = Literal["listen", "converse"]

MAX_PARAMETERS = MediaLimits().max_parameters
MAX_PARAMETER_CHARS = 500

_NOUNS = {
    "client": "Client",
    "sip": "Sip",
    "sips": "Sip",
    "queue": "Queue",
    "conference": "Conference",
    "sim": "Sim",
    "whatsapp": "WhatsApp",
    "app": "Application",
    "application": "Application",
    "tel": "Number",
}
"""Nouns of `<Dial>` (Twilio's "TwiML Voice: <Dial>") by the scheme of what is dialled."""

_WHOLE = frozenset({"sip", "sips", "whatsapp"})
"""Schemes that stay in the noun's text."""

_MAX_DIALLED = 256
_NUMBER = re.compile(r"\+?[0-9*#][0-9*#().\- w]*|\{\{[A-Za-z0-9_.]+\}\}")
"""What Twilio dials, with the marks that people put between digits, or a template of a TwiML Bin."""

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML document may hold, not even escaped (XML 1.0, section 2.2)."""


def twiml(
    url: str,
    *,
    track: TrackOption = "both_tracks",
    parameters: Mapping[str, str] | None = None,
    mode: Mode = "listen",
    dial: str | None = None,
) -> str:
    """The document, ending in a newline.

    `url`: `wss://...`, without a query, which Twilio drops. `parameters`: become the call's metadata; `from`, `to` and
    `language` (or `language_inbound`, `language_outbound`) are understood. In a TwiML Bin their values may be templates
    such as `{{From}}`, since Twilio does not give a stream the numbers. `dial`: where the call goes on: a number, or
    `client:`, `sip:`, `sips:`, `queue:`, `conference:`, `sim:`, `whatsapp:`, `app:` and a name; without it a comment
    marks the place, since a call with nothing after `<Start>` is hung up.

    Raises `InvalidStreamUrl`, and `ValueError` for what Twilio would not take or no XML can hold, in one line.
    """
    if mode == "converse" and dial is not None:
        raise ValueError("a call that is handed over to a bot is not dialled on: leave one of them out")
    stream = "\n".join(_stream(url, track if mode == "listen" else None, parameters or {}))
    if mode == "converse":
        body = f"  <Connect>\n{stream}\n  </Connect>"
    else:
        after = (
            f"<Dial>{_dial(dial)}</Dial>"
            if dial is not None
            else "<!-- The call goes on here: <Dial>, <Enqueue>, ... -->"
        )
        body = f"  <Start>\n{stream}\n  </Start>\n  {after}"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Response>\n{body}\n</Response>\n'


def _stream(url: str, track: TrackOption | None, parameters: Mapping[str, str]) -> list[str]:
    _check_url(url)
    attributes = f"url={quoteattr(url)}" + (f" track={quoteattr(track)}" if track else "")
    if not parameters:
        return [f"    <Stream {attributes}/>"]
    if len(parameters) > MAX_PARAMETERS:
        raise ValueError(f"more than {MAX_PARAMETERS} parameters: this server takes no more")
    lines = [f"    <Stream {attributes}>"]
    for name, value in parameters.items():
        if not name or len(name) + len(value) >= MAX_PARAMETER_CHARS:
            raise ValueError(f"parameter {name!r}: name and value must be under {MAX_PARAMETER_CHARS} characters")
        _check_xml(f"parameter {name!r}", name + value)
        lines.append(f"      <Parameter name={quoteattr(name)} value={quoteattr(value)}/>")
    return [*lines, "    </Stream>"]


def _check_url(url: str) -> None:
    """Raises `InvalidStreamUrl`."""
    shown = url if url.isprintable() else repr(url)
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise InvalidStreamUrl(f"{shown}: {error}") from None
    if parts.scheme != "wss" or not host or port == 0:
        raise InvalidStreamUrl(f"{shown}: Twilio streams to wss:// URLs only")
    if not url.isprintable() or any(sign.isspace() for sign in url):
        raise InvalidStreamUrl(f"{shown}: white space and control characters do not belong into a URL")
    if parts.query or parts.fragment:
        raise InvalidStreamUrl(f"{shown}: Twilio drops everything after ? in a stream URL; use parameters")


def _check_xml(what: str, text: str) -> None:
    found = _NO_XML.search(text)
    if found:
        raise ValueError(f"{what}: no XML may hold the character {found.group()!a}")


def _dial(target: str) -> str:
    """The noun for what is dialled. Raises `ValueError`."""
    what = f"dial {target[:80]!r}"
    _check_xml(what, target)
    scheme, colon, rest = target.strip().partition(":")
    noun = _NOUNS.get(scheme.lower()) if colon else "Number"
    if noun is None:
        raise ValueError(f"{what}: known are a number, {', '.join(f'{name}:' for name in _NOUNS)}")
    name = (f"{scheme.lower()}:{rest}" if scheme.lower() in _WHOLE else rest) if colon else scheme
    if noun == "Number" and not _NUMBER.fullmatch(name):
        raise ValueError(
            f"{what}: no number; write client:NAME, sip:NAME@HOST, queue:NAME or conference:NAME for others"
        )
    if not (rest if colon else name).strip() or len(name) > _MAX_DIALLED:
        raise ValueError(f"{what}: a name of 1 to {_MAX_DIALLED} characters must follow")
    if noun not in ("Number", "Queue", "Conference") and any(sign.isspace() for sign in name):
        raise ValueError(f"{what}: white space does not belong into it")
    if noun == "Sip" and not rest.partition("@")[2].strip():
        raise ValueError(f"{what}: a SIP address is sip:NAME@HOST")
    return f"<{noun}>{escape(name)}</{noun}>"
