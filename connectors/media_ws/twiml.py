"""The TwiML that makes Twilio stream a call to this server.

`listen` forks the audio with `<Start><Stream>`, and the call goes on with the verb after it: what a call between a
caller and an agent needs. `converse` hands the call over with `<Connect><Stream>`: what a voice bot needs, which also
answers on the same socket. Source: Twilio's "TwiML Voice: <Stream>".
"""

from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit
from xml.sax.saxutils import escape, quoteattr

from connectors.errors import InvalidStreamUrl

TrackOption = Literal["inbound_track", "outbound_track", "both_tracks"]
Mode = Literal["listen", "converse"]

MAX_PARAMETER_CHARS = 500


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
    such as `{{From}}`, since Twilio does not tell a stream the numbers. `dial`: number or SIP address of the agent;
    without it a comment marks the place, since a call with nothing after `<Start>` is hung up.

    Raises `InvalidStreamUrl`, and `ValueError` for a parameter that Twilio would not take.
    """
    stream = "\n".join(_stream(url, track if mode == "listen" else None, parameters or {}))
    if mode == "converse":
        body = f"  <Connect>\n{stream}\n  </Connect>"
    else:
        after = f"<Dial>{_dial(dial)}</Dial>" if dial else "<!-- The call goes on here: <Dial>, <Enqueue>, ... -->"
        body = f"  <Start>\n{stream}\n  </Start>\n  {after}"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Response>\n{body}\n</Response>\n'


def _stream(url: str, track: TrackOption | None, parameters: Mapping[str, str]) -> list[str]:
    parts = urlsplit(url)
    if parts.scheme != "wss" or not parts.hostname:
        raise InvalidStreamUrl(f"{url}: Twilio streams to wss:// URLs only")
    if parts.query or parts.fragment:
        raise InvalidStreamUrl(f"{url}: Twilio drops everything after ? in a stream URL; use parameters")
    attributes = f"url={quoteattr(url)}" + (f" track={quoteattr(track)}" if track else "")
    if not parameters:
        return [f"    <Stream {attributes}/>"]
    lines = [f"    <Stream {attributes}>"]
    for name, value in parameters.items():
        if not name or len(name) + len(value) >= MAX_PARAMETER_CHARS:
            raise ValueError(f"parameter {name!r}: name and value must be under {MAX_PARAMETER_CHARS} characters")
        lines.append(f"      <Parameter name={quoteattr(name)} value={quoteattr(value)}/>")
    return [*lines, "    </Stream>"]


def _dial(target: str) -> str:
    noun = "Sip" if target.startswith(("sip:", "sips:")) else "Number"
    return f"<{noun}>{escape(target)}</{noun}>"
