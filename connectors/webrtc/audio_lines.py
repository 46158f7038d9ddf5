"""Media lines of a WebRTC offer put into the form that every answerer understands, and the answer put back.

Sits between the text of an offer and `connectors.webrtc.whip`. In a bundle only one line, the tagged one, need say how
all of them are transported (RFC 9143, section 7.1.3): the others inherit it, and those that are `bundle-only` have port
0 on top. A line with port 0 that is not `bundle-only` is one that the peer does not use (RFC 3264, section 8.2); it is
left out, and stands in its place in the answer with port 0 again.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from connectors.sdp.description import MAX_MEDIA

_INHERITED = frozenset(
    {"ice-ufrag", "ice-pwd", "ice-options", "fingerprint", "setup", "tls-id", "rtcp-mux", "rtcp-mux-only", "rtcp-rsize"}
)
"""Attributes of the categories TRANSPORT and IDENTICAL that matter here (RFC 8859): said once for a whole bundle."""

_DIRECTIONS = frozenset({"sendrecv", "sendonly", "recvonly", "inactive"})

_FORMS = {
    "fmtp": r"[0-9]{1,3} \S.*",
    "group": r"\S.*",
    "ice-options": r"\S.*",
    "msid": r"\S.*",
    "msid-semantic": r"\S.*",
    "rtcp": r"[0-9]{1,5}( IN IP[46] \S+)?",
    "rtcp-fb": r"(\*|[0-9]{1,3}) \S.*",
    "rtpmap": r"[0-9]{1,3} [^/ ]+/[0-9]{1,9}(/[0-9]{1,3})?",
    "ssrc": r"[0-9]{1,10} [^: ]+:.*",
    "ssrc-group": r"\S+( [0-9]{1,10})+",
}
"""Values of the attributes that an answer can do without, as far as their readers rely on it (RFC 8866, RFC 5576, RFC
4585, RFC 3605). One that is not like this is left out."""

_FORM = {name: re.compile(form) for name, form in _FORMS.items()}

_PORT = re.compile(r"^(m=\S+ +)0+( .*)$", re.ASCII)
_ANY_PORT = "9"
_SPACED = re.compile(r"^(a=(?:ice-ufrag|ice-pwd|fingerprint|setup|mid|rtpmap|fmtp|candidate)) ?: ?")
_PROTOCOL = re.compile(r"^(m=\S+ \S+ )(\S+)")


@dataclass(frozen=True, slots=True)
class MediaLines:
    """`text`: the offer with the lines in use alone, each of them saying how it is transported. `used`: how many.
    `unused`: the others, by their place among all. `unbundled`: a line in use that is `bundle-only`, in no bundle with
    one that has a port. `bundled`: all lines in use are in one bundle. `ambiguous`: two of them have one name (`mid`).
    `ignored`: attributes left out as they cannot be read and are not needed."""

    text: str
    used: int
    unused: tuple[tuple[int, str], ...] = ()
    unbundled: bool = False
    bundled: bool = False
    ambiguous: bool = False
    ignored: int = 0

    def complete(self, answer: str) -> str:
        """An answer to `text` with the unused lines in their places."""
        if not self.unused:
            return answer
        session, sections = _sections(answer)
        for index, line in self.unused:
            sections.insert(index, [line, "c=IN IP4 0.0.0.0", "a=inactive"])
        return "".join(f"{row}\r\n" for row in (*session, *(row for section in sections for row in section)))


def media_lines(text: str) -> MediaLines:
    """Never raises: what is malformed stays as it is, for the parser to judge."""
    session, sections = _sections(text)
    count = len(session) + sum(map(len, sections))
    session, sections = _readable(session), [_readable(section) for section in sections]
    ignored = count - len(session) - sum(map(len, sections))
    if len(sections) > MAX_MEDIA:
        return MediaLines(text, len(sections))
    bundle = next((line.split()[1:] for line in session if line.startswith("a=group:BUNDLE ")), [])
    used: list[list[str]] = []
    unused: list[tuple[int, str]] = []
    for index, section in enumerate(sections):
        if _PORT.match(section[0]) and "a=bundle-only" not in section:
            unused.append((index, section[0]))
        else:
            used.append(section)
    tagged = _tagged(used, bundle)
    said = {_name(line) for line in session}
    unbundled = False
    for place, section in enumerate(used):
        if _mid(section) not in bundle or tagged is None:
            unbundled = unbundled or _PORT.match(section[0]) is not None
            continue
        own = said | {_name(line) for line in section}
        inherited = [line for line in tagged if _name(line) in _INHERITED - own]
        head = _PORT.sub(rf"\g<1>{_ANY_PORT}\g<2>", section[0])
        used[place] = [head, *(line for line in section[1:] if line != "a=bundle-only"), *inherited]
    direction = next((line for line in session if _name(line) in _DIRECTIONS), "a=sendrecv")  # RFC 8866, section 6.7
    for section in used:
        if not any(_name(line) in _DIRECTIONS for line in section):
            section.append(direction)
    names = [mid for section in used if (mid := _mid(section))]
    mids = [mid for section in used if (mid := _mid(section)) in bundle]
    if tagged is not None:
        mids.sort(key=lambda mid: (mid != _mid(tagged), bundle.index(mid)))
        session = [
            f"a=group:BUNDLE {' '.join(mids)}" if line.startswith("a=group:BUNDLE ") else line for line in session
        ]
    rows = (*session, *(row for section in used for row in section))
    written = "".join(f"{row}\r\n" for row in rows)
    bundled, ambiguous = 0 < len(mids) == len(used), len(set(names)) < len(names)
    return MediaLines(written, len(used), tuple(unused), unbundled, bundled, ambiguous, ignored)


def _readable(section: Sequence[str]) -> list[str]:
    """The lines of a section without attributes that nobody needs and nobody can read."""
    kept = [line for line in section if (form := _FORM.get(_name(line))) is None or form.fullmatch(_value(line))]
    mapped = {_value(line).partition(" ")[0] for line in kept if _name(line) == "rtpmap"}
    return [line for line in kept if _name(line) != "fmtp" or _value(line).partition(" ")[0] in mapped]


def _tagged(used: Sequence[Sequence[str]], bundle: Sequence[str]) -> Sequence[str] | None:
    """The line that speaks for the bundle: the first one in it that has a port."""
    with_port = {_mid(section): section for section in reversed(used) if not _PORT.match(section[0])}
    return next((with_port[mid] for mid in bundle if mid in with_port), None)


def _sections(text: str) -> tuple[list[str], list[list[str]]]:
    """The lines of the session, and those of each media line with itself first. White space is one space between two
    words, and none after the name of an attribute that is needed."""
    session: list[str] = []
    sections: list[list[str]] = []
    for line in re.split(r"\r\n|\n|\r", text.lstrip("\ufeff")):
        row = _SPACED.sub(r"\1:", " ".join(line.split()))
        if row.startswith("m="):
            sections.append([_PROTOCOL.sub(lambda head: head[1] + head[2].upper(), row)])
        elif row:
            (sections[-1] if sections else session).append(row)
    return session, sections


def _name(line: str) -> str:
    return line[2:].partition(":")[0].strip().lower() if line.startswith("a=") else ""


def _value(line: str) -> str:
    return line.partition(":")[2].strip()


def _mid(section: Sequence[str]) -> str:
    return next((line[len("a=mid:") :].strip() for line in section if line.startswith("a=mid:")), "")
