"""Recording metadata as it comes (RFC 7865): from XML to what it says.

Sits between the parts of a SIPREC body and `connectors.siprec`. Vendors differ in order, names and namespaces, and use
the attribute names of drafts; what is understood all the same is counted in `RsMetadata.differences`.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from connectors.recording import (
    MAX_EXTENSIONS,
    MAX_OBJECTS,
    MAX_REFERENCES,
    MAX_TEXT,
    Difference,
    Item,
    RsMetadata,
    RsParticipant,
    RsSession,
    RsStream,
    SessionAssociation,
    StreamAssociation,
)
from connectors.safe_xml import Node, XmlError, parse_xml

__all__ = [
    "Difference",
    "RsMetadata",
    "RsParticipant",
    "RsSession",
    "RsStream",
    "SessionAssociation",
    "StreamAssociation",
    "XmlError",
    "parse_metadata",
]

NAMESPACE = "urn:ietf:params:xml:ns:recording:1"


def parse_metadata(xml: bytes) -> RsMetadata:
    """Read a document. Raises `XmlError` (a `ValueError`): no well-formed and harmless XML, or no recording in it."""
    root = parse_xml(xml)
    if root.local_name.lower() != "recording":
        raise XmlError("the document is no recording")
    return _Reader(root).read()


_ORDER = (
    "datamode",
    "group",
    "session",
    "participant",
    "stream",
    "sessionrecordingassoc",
    "participantsessionassoc",
    "participantstreamassoc",
)
"""The elements in the order of the schema of RFC 7865; extensions follow them."""

_NAMES = {
    "recording": "recording",
    "nameid": "nameID",
    "sipsessionid": "sipSessionID",
    "group-ref": "group-ref",
    "start-time": "start-time",
    "stop-time": "stop-time",
    "associate-time": "associate-time",
    "disassociate-time": "disassociate-time",
}


class _Reader:
    def __init__(self, root: Node) -> None:
        self._root = root
        self._differences: Counter[Difference] = Counter()

    def read(self) -> RsMetadata:
        root = self._root
        self._check_form()
        groups = [self._identifier(node, "group_id", "id") for node in root.named("group")][-MAX_OBJECTS:]
        sessions = self._objects("session", self._session)
        participants = self._objects("participant", self._participant)
        streams = self._objects("stream", self._stream)
        stream_associations = self._objects("participantstreamassoc", self._stream_association)
        if not stream_associations:
            stream_associations = self._draft_associations()
        mode = _text(root, "datamode")
        metadata = RsMetadata(
            complete=mode.lower() != "partial",
            mode_given=mode.lower() in {"complete", "partial"},
            groups=tuple(group for group in groups if group),
            sessions=sessions,
            participants=participants,
            streams=streams,
            stream_associations=stream_associations,
            session_associations=self._objects("participantsessionassoc", self._session_association),
            extensions=_extensions(root, frozenset(_ORDER)),
        )
        if not metadata.mode_given:
            self._count(Difference.NO_DATA_MODE)
        if metadata.complete:
            self._check_references(metadata)
        return replace(metadata, differences=dict(self._differences))

    def _count(self, difference: Difference, times: int = 1) -> None:
        if times:
            self._differences[difference] += times

    def _check_form(self) -> None:
        root = self._root
        prefix, colon, _ = root.name.rpartition(":")
        namespace = root.attributes.get(f"xmlns:{prefix}" if colon else "xmlns", "").strip()
        if not namespace:
            self._count(Difference.NO_NAMESPACE)
        elif namespace != NAMESPACE:
            self._count(Difference.OTHER_NAMESPACE)
        places = [
            _ORDER.index(name) for name in (child.local_name.lower() for child in root.children) if name in _ORDER
        ]
        self._count(Difference.ELEMENT_ORDER, int(places != sorted(places)))
        self._count(Difference.NAME_CASE, sum(_other_case(node) for node in root.walk()))

    def _check_references(self, metadata: RsMetadata) -> None:
        groups = set(metadata.groups)
        if not groups or any(session.group_id not in groups for session in metadata.sessions):
            self._count(Difference.NO_GROUP)
        self._count(Difference.DANGLING, metadata.dangling)

    def _objects(self, name: str, build: Callable[[Node], Item | None]) -> tuple[Item, ...]:
        found: dict[object, Item] = {}
        for node in self._root.named(name):
            item = build(node)
            if item is None:
                self._count(Difference.NO_IDENTIFIER)
                continue
            self._count(Difference.DUPLICATE, int(item.id in found))
            found[item.id] = item
        self._count(Difference.TOO_MANY, max(len(found) - MAX_OBJECTS, 0))
        return tuple(found.values())[-MAX_OBJECTS:]

    def _identifier(self, node: Node, name: str, draft: str = "") -> str | None:
        """`name` as RFC 7865 has it, or without the object's kind as its drafts had it."""
        value = node.attribute(name)
        if value is None and draft:
            value = node.attribute(draft)
            self._count(Difference.DRAFT_ATTRIBUTES, int(value is not None))
        return self._canonical(value) if value and value.strip() else None

    def _canonical(self, text: str) -> str:
        """Identifiers are base64 and compared as they are; UUIDs in hexadecimal are compared in lower case."""
        text = text.strip()[:MAX_TEXT]
        digits = text.lower().removeprefix("urn:uuid:").strip("{}").replace("-", "")
        if len(digits) != 32 or not set(digits) <= set("0123456789abcdef"):
            return text
        self._count(Difference.UPPER_CASE_UUID, int(text != text.lower()))
        return text.lower().removeprefix("urn:uuid:").strip("{}")

    def _references(self, node: Node, name: str) -> tuple[str, ...]:
        found = [self._canonical(child.text) for child in node.named(name) if child.text.strip()]
        return tuple(dict.fromkeys(found))[:MAX_REFERENCES]

    def _session(self, node: Node) -> RsSession | None:
        identifier = self._identifier(node, "session_id", "id")
        if identifier is None:
            return None
        group = _text(node, "group-ref") or node.attribute("group") or ""
        return RsSession(
            identifier,
            self._canonical(group) if group else None,
            tuple(child.text.strip()[:MAX_TEXT] for child in node.named("sipsessionid"))[:MAX_REFERENCES],
            _text(node, "start-time") or _text(node, "associate-time") or None,
            _text(node, "stop-time") or _text(node, "disassociate-time") or None,
            _extensions(node, _SESSION_ELEMENTS),
        )

    def _participant(self, node: Node) -> RsParticipant | None:
        identifier = self._identifier(node, "participant_id", "id")
        if identifier is None:
            return None
        aor = name = ""
        for name_id in node.named("nameid"):
            aor = aor or (name_id.attribute("aor") or _text(name_id, "aor"))[:MAX_TEXT].strip()
            name = name or _text(name_id, "name").strip('"')
        aor = aor or _text(node, "aor")
        return RsParticipant(identifier, aor, name, _extensions(node, _PARTICIPANT_ELEMENTS))

    def _stream(self, node: Node) -> RsStream | None:
        identifier = self._identifier(node, "stream_id", "id")
        if identifier is None:
            return None
        session = self._identifier(node, "session_id", "session")
        return RsStream(identifier, session, _text(node, "label") or node.attribute("label") or None)

    def _stream_association(self, node: Node) -> StreamAssociation | None:
        identifier = self._identifier(node, "participant_id", "participant")
        if identifier is None:
            return None
        ended = bool(_text(node, "disassociate-time"))
        return StreamAssociation(identifier, self._references(node, "send"), self._references(node, "recv"), ended)

    def _session_association(self, node: Node) -> SessionAssociation | None:
        participant = self._identifier(node, "participant_id", "participant")
        session = self._identifier(node, "session_id", "session")
        if participant is None or session is None:
            return None
        return SessionAssociation(participant, session, bool(_text(node, "disassociate-time")))

    def _draft_associations(self) -> tuple[StreamAssociation, ...]:
        """Drafts of RFC 7865 had `send` and `recv` in the participant."""
        found: list[StreamAssociation] = []
        for node in self._root.named("participant"):
            identifier = node.attribute("participant_id") or node.attribute("id")
            send, receive = self._references(node, "send"), self._references(node, "recv")
            if identifier and (send or receive):
                ended = bool(_text(node, "disassociate-time"))
                found.append(StreamAssociation(self._canonical(identifier), send, receive, ended))
        self._count(Difference.DRAFT_ASSOCIATION, len(found))
        return tuple(found)[-MAX_OBJECTS:]


_TIMES = frozenset({"associate-time", "disassociate-time", "start-time", "stop-time"})
_SESSION_ELEMENTS = _TIMES | {"sipsessionid", "group-ref", "reason"}
_PARTICIPANT_ELEMENTS = _TIMES | {"nameid", "aor", "send", "recv"}


def _other_case(node: Node) -> bool:
    name = node.local_name
    known = _NAMES.get(name.lower(), name.lower() if name.lower() in _ORDER else name)
    return name != known


def _text(node: Node, name: str) -> str:
    """The text of the first child of that name, or ''."""
    for child in node.named(name):
        return child.text.strip()[:MAX_TEXT]
    return ""


def _extensions(node: Node, known: frozenset[str]) -> dict[str, str]:
    """Text of the elements of other namespaces, also where they are wrapped in one; the first of several of a name."""
    found: dict[str, str] = {}
    for child in node.children:
        if child.local_name.lower() in known:
            continue
        for item in child.walk():
            text = item.text.strip()
            if text and len(found) < MAX_EXTENSIONS:
                found.setdefault(item.local_name[:MAX_TEXT], text[:MAX_TEXT])
    return found
