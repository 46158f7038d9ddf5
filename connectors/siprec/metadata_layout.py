"""Where a document of recording metadata has its objects, whatever its vendor put around them.

RFC 7865 has them all right below `recording`. Its drafts and vendors wrap `recording` into an element of their own, put
the objects beside it, nest participants and streams in their session or in lists, and put what they add into an element
that names the object it belongs to. Sits below `connectors.siprec.metadata_xml`.
"""

from collections.abc import Iterator, Mapping, Sequence

from connectors.siprec.metadata import MAX_EXTENSIONS, MAX_TEXT, RsParticipant
from connectors.siprec.safe_xml import Node, XmlError, bare

_RECORDINGS = frozenset({"recording", "recordingmetadata", "rsmetadata"})
_LISTS = frozenset({"participants", "streams", "sessions", "groups", "associations"})
_OWNERS = frozenset({"session", "group"})
"""Objects that drafts and vendors nest other objects in."""

_DEEPEST = 4

CALLING_PARTY = "callingParty"
"""Extension of a participant: 'true' for the one that placed the call (Oracle's name for it)."""

_CALLING, _CALLED = ("callingpartynumber", "fromhdr"), ("calledpartynumber", "tohdr")
"""Elements that name the parties of the whole call: BroadWorks', Ribbon's."""


def find_recording(root: Node) -> Node:
    """The outermost element that holds a recording's objects. Raises `XmlError`."""
    level = [root]
    for _ in range(_DEEPEST):
        for node in level:
            if node.kind in _RECORDINGS:
                return node
        level = [child for node in level for child in node.children]
    raise XmlError("the document is no recording")


def holders(recording: Node) -> list[Node]:
    """The element itself and those below it that hold objects of the whole recording."""
    found = [recording]
    for node in found:
        found += [child for child in node.children if child.kind in _RECORDINGS | _LISTS]
    return found


def elements(recording: Node) -> list[Node]:
    """Everything that may be an object, in document order."""
    return list(_elements(recording, 0))


def _elements(holder: Node, depth: int) -> Iterator[Node]:
    for child in holder.children:
        yield child
        if depth < _DEEPEST and child.kind in _RECORDINGS | _LISTS | _OWNERS:
            yield from _elements(child, depth + 1)


def extensions(nodes: Sequence[Node], known: frozenset[str]) -> dict[str, str]:
    """Text of the elements whose names RFC 7865 does not know, also where they are wrapped in one; the first of several
    of a name. `known`: as `bare` has them."""
    found: dict[str, str] = {}
    for child in nodes:
        if child.kind in known:
            continue
        for item in child.walk():
            text = item.text.strip()
            if text and len(found) < MAX_EXTENSIONS:
                found.setdefault(item.local_name[:MAX_TEXT], text[:MAX_TEXT])
    return found


def mark_caller(participants: Sequence[RsParticipant], extended: Sequence[Mapping[str, str]]) -> str | None:
    """The identifier of the participant that placed the call, where the document names the numbers of both parties, or
    one of them, and just one participant has it. `extended`: extensions of the document and of its groups and
    sessions."""
    if any(CALLING_PARTY in participant.extensions for participant in participants):
        return None
    found = {bare(name): text for items in reversed(extended) for name, text in items.items()}
    calling, called = (_numbers(found, names) for names in (_CALLING, _CALLED))
    callers = [one for one in participants if _number(one) in calling - called]
    if len(callers) == 1:
        return callers[0].id
    others = [one for one in participants if _number(one) not in called - calling]
    if not callers and len(participants) == 2 and len(others) == 1:
        return others[0].id
    return None


def _numbers(found: Mapping[str, str], names: Sequence[str]) -> set[str]:
    numbers = {_number(RsParticipant("", found[name])) for name in names if name in found}
    return numbers - {""}


def _number(participant: RsParticipant) -> str:
    return participant.number.removeprefix("+").casefold()
