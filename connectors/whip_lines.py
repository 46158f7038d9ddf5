"""Media lines of a WebRTC offer put into the form that every answerer understands, and the answer put back.

Sits between the text of an offer and `connectors.whip`. In a bundle only one line, the tagged one, need say how all of
them are transported (RFC 9143, section 7.1.3): the others inherit it, and those that are `bundle-only` have port 0 on
top. A line with port 0 that is not `bundle-only` is one that the peer does not use (RFC 3264, section 8.2); it is left
out, and stands in its place in the answer with port 0 again.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from connectors.sdp import MAX_MEDIA

_INHERITED = frozenset(
    {"ice-ufrag", "ice-pwd", "ice-options", "fingerprint", "setup", "tls-id", "rtcp-mux", "rtcp-mux-only", "rtcp-rsize"}
)
"""Attributes of the categories TRANSPORT and IDENTICAL that matter here (RFC 8859): said once for a whole bundle."""

_PORT = re.compile(r"^(m=\S+ +)0+( .*)$", re.ASCII)
_ANY_PORT = "9"


@dataclass(frozen=True, slots=True)
class MediaLines:
    """`text`: the offer with the lines in use alone, each of them saying how it is transported. `used`: how many.
    `unused`: the others, by their place among all. `unbundled`: a line in use that is `bundle-only`, in no bundle with
    one that has a port. `bundled`: all lines in use are in one bundle."""

    text: str
    used: int
    unused: tuple[tuple[int, str], ...] = ()
    unbundled: bool = False
    bundled: bool = False

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
    mids = [mid for section in used if (mid := _mid(section)) in bundle]
    if tagged is not None:
        mids.sort(key=lambda mid: (mid != _mid(tagged), bundle.index(mid)))
        session = [
            f"a=group:BUNDLE {' '.join(mids)}" if line.startswith("a=group:BUNDLE ") else line for line in session
        ]
    rows = (*session, *(row for section in used for row in section))
    written = "".join(f"{row}\r\n" for row in rows)
    return MediaLines(written, len(used), tuple(unused), unbundled, 0 < len(mids) == len(used))


def _tagged(used: Sequence[Sequence[str]], bundle: Sequence[str]) -> Sequence[str] | None:
    """The line that speaks for the bundle: the first one in it that has a port."""
    with_port = {_mid(section): section for section in reversed(used) if not _PORT.match(section[0])}
    return next((with_port[mid] for mid in bundle if mid in with_port), None)


def _sections(text: str) -> tuple[list[str], list[list[str]]]:
    """The lines of the session, and those of each media line with itself first; trailing white space is left out."""
    session: list[str] = []
    sections: list[list[str]] = []
    for line in re.split(r"\r\n|\n|\r", text.lstrip("\ufeff")):
        row = line.strip()
        if row.startswith("m="):
            sections.append([row])
        elif row:
            (sections[-1] if sections else session).append(row)
    return session, sections


def _name(line: str) -> str:
    return line[2:].partition(":")[0].strip().lower() if line.startswith("a=") else ""


def _mid(section: Sequence[str]) -> str:
    return next((line[len("a=mid:") :].strip() for line in section if line.startswith("a=mid:")), "")
