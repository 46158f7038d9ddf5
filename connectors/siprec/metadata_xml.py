"""Recording metadata as it comes (RFC 7865): from XML to what it says.

Sits between the parts of a SIPREC body and `connectors.siprec.recording_session`. Vendors differ in order, names and
namespaces, and use the attribute names of drafts; what is understood all the same is counted in
`RsMetadata.differences`.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from connectors.siprec import metadata_layout as rs_layout
from connectors.siprec.metadata import (
    MAX_OBJECTS,
    MAX_REFERENCES,
    MAX_TEXT,
    Difference,
    RsMetadata,
    RsObject,
    RsParticipant,
    RsSession,
    RsStream,
    SessionAssociation,
    StreamAssociation,
    address_of,
)
from connectors.siprec.safe_xml import Node, XmlError, bare, parse_xml

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
    """Read a document. An ampersand that begins no entity is one. Raises `XmlError` (a `ValueError`): no well-formed
    and harmless XML, or no recording in it."""
    bare_ampersands = 0
    try:
        root = parse_xml(xml)
    except XmlError:
        escaped, bare_ampersands = _BARE_AMPERSAND.subn(b"&amp;", xml)
        if not bare_ampersands:
            raise
        root = parse_xml(escaped)
    reader = _Reader(root, rs_layout.find_recording(root))
    reader.count(Difference.BARE_AMPERSAND, bare_ampersands)
    return reader.read()


_BARE_AMPERSAND = re.compile(rb"&(?![A-Za-z_:#\x80-\xff][\w:.\-\x80-\xff]*;)")


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
    bare(name): name
    for name in (
        *_ORDER,
        "recording",
        "nameID",
        "sipSessionID",
        "group-ref",
        "start-time",
        "stop-time",
        "associate-time",
        "disassociate-time",
    )
}
_TIMES = frozenset({"associatetime", "disassociatetime", "starttime", "stoptime"})
_DOCUMENT_ELEMENTS = frozenset({*_ORDER, "recording", "recordingmetadata", "rsmetadata"})
_SESSION_ELEMENTS = _TIMES | {"sipsessionid", "groupref", "reason", "participant", "stream"}
_PARTICIPANT_ELEMENTS = _TIMES | {"nameid", "aor", "name", "send", "recv"}


class _Reader:
    """`root`: of the document; `recording`: the element in it that holds the objects."""

    def __init__(self, root: Node, recording: Node) -> None:
        self._root, self._recording = root, recording
        self._elements = rs_layout.elements(recording)
        self._differences: Counter[Difference] = Counter()
        self._extensions_of: dict[str, dict[str, str]] = {}
        self._streams: frozenset[str] = frozenset()

    def read(self) -> RsMetadata:
        self._check_form()
        self._read_extension_data()
        groups = [self._identifier(node, "group_id", "id") for node in self._named("group")][-MAX_OBJECTS:]
        sessions = self._objects("session", self._session)
        participants = self._objects("participant", self._participant)
        streams = self._objects("stream", self._stream)
        self._streams = frozenset(stream.id for stream in streams)
        mode = next((text for node in self._named("datamode") if (text := node.text.strip()[:MAX_TEXT])), "")
        metadata = RsMetadata(
            complete=mode.lower() != "partial",
            mode_given=mode.lower() in {"complete", "partial"},
            groups=tuple(group for group in groups if group),
            sessions=sessions,
            participants=participants,
            streams=streams,
            stream_associations=self._associations(),
            session_associations=self._objects("participantsessionassoc", self._session_association),
            extensions=self._document_extensions(),
        )
        metadata = self._with_caller(metadata)
        if not metadata.mode_given:
            self.count(Difference.NO_DATA_MODE)
        if metadata.complete:
            self._check_references(metadata)
        return replace(metadata, differences=dict(self._differences))

    def count(self, difference: Difference, times: int = 1) -> None:
        if times:
            self._differences[difference] += times

    def _named(self, name: str) -> list[Node]:
        return [node for node in self._elements if node.kind == name]

    def _check_form(self) -> None:
        top = self._recording
        prefix, colon, _ = top.name.rpartition(":")
        attributes = self._root.attributes | top.attributes
        namespace = attributes.get(f"xmlns:{prefix}" if colon else "xmlns", "").strip()
        if not namespace:
            self.count(Difference.NO_NAMESPACE)
        elif namespace != NAMESPACE:
            self.count(Difference.OTHER_NAMESPACE)
        objects = [node.kind for node in self._elements if node.kind in _ORDER]
        direct = [child.kind for child in top.children if child.kind in _ORDER]
        self.count(Difference.WRAPPED, int(self._root.kind != "recording" or len(direct) != len(objects)))
        places = [_ORDER.index(kind) for kind in direct]
        self.count(Difference.ELEMENT_ORDER, int(places != sorted(places)))
        self.count(Difference.NAME_CASE, sum(_other_case(node) for node in self._root.walk()))

    def _check_references(self, metadata: RsMetadata) -> None:
        groups = set(metadata.groups)
        if not groups or any(session.group_id not in groups for session in metadata.sessions):
            self.count(Difference.NO_GROUP)
        self.count(Difference.DANGLING, metadata.dangling)

    def _read_extension_data(self) -> None:
        """Extension data that name the object they belong to (drafts of RFC 7865)."""
        for node in self._named("extensiondata"):
            parent = node.attribute("parent")
            if parent and parent.strip():
                found = rs_layout.extensions(node.children, frozenset())
                self._extensions_of.setdefault(self._canonical(parent), {}).update(found)

    def _extensions(self, node: Node, identifier: str, known: frozenset[str]) -> dict[str, str]:
        return self._extensions_of.get(identifier, {}) | rs_layout.extensions(node.children, known)

    def _document_extensions(self) -> dict[str, str]:
        nodes = [child for holder in rs_layout.holders(self._recording) for child in holder.children]
        own = [child for child in nodes if child.kind != "extensiondata" or not child.attribute("parent")]
        return rs_layout.extensions(own, _DOCUMENT_ELEMENTS)

    def _with_caller(self, metadata: RsMetadata) -> RsMetadata:
        """The participant marked that placed the call, where the document says so of the whole call."""
        extended = [metadata.extensions, *(session.extensions for session in metadata.sessions)]
        extended += [rs_layout.extensions(node.children, _TIMES) for node in self._named("group")]
        caller = rs_layout.mark_caller(metadata.participants, extended)
        if caller is None:
            return metadata
        marked = (
            replace(one, extensions={**one.extensions, rs_layout.CALLING_PARTY: str(one.id == caller).lower()})
            for one in metadata.participants
        )
        return replace(metadata, participants=tuple(marked))

    def _objects(self, name: str, build: Callable[[Node], RsObject | None]) -> tuple[RsObject, ...]:
        found: dict[object, RsObject] = {}
        for node in self._named(name):
            item = build(node)
            if item is None:
                self.count(Difference.NO_IDENTIFIER)
                continue
            self.count(Difference.DUPLICATE, int(item.id in found))
            found[item.id] = _merged(found.get(item.id), item)
        self.count(Difference.TOO_MANY, max(len(found) - MAX_OBJECTS, 0))
        return tuple(found.values())[-MAX_OBJECTS:]

    def _identifier(self, node: Node, name: str, draft: str = "") -> str | None:
        """`name` as RFC 7865 has it, or without the object's kind as its drafts had it."""
        value = node.attribute(name)
        if value is None and draft:
            value = node.attribute(draft)
            self.count(Difference.DRAFT_ATTRIBUTES, int(value is not None))
        return self._canonical(value) if value and value.strip() else None

    def _canonical(self, text: str) -> str:
        """Identifiers are base64 and compared as they are, but for white space and what URNs and Windows put around
        them; UUIDs in hexadecimal are compared in lower case."""
        text = "".join(text.split())[:MAX_TEXT]
        inner = (text[9:] if text[:9].lower() == "urn:uuid:" else text).strip("{}<>")
        digits = inner.lower().replace("-", "")
        if len(digits) != 32 or not set(digits) <= set("0123456789abcdef"):
            return inner or text
        self.count(Difference.UPPER_CASE_UUID, int(inner != inner.lower()))
        return inner.lower()

    def _references(self, node: Node, name: str) -> tuple[str, ...]:
        """Streams that an association names: in the text of its element, in elements within (`<send><id>`), or in an
        attribute."""
        found: list[str] = []
        for child in node.named(name):
            texts = [child.text] if child.text.strip() else []
            nested = [item.text for item in child.walk() if item is not child and item.text.strip()]
            if not texts and not nested:
                nested = [text for key in _REFERENCES if (text := child.attribute(key) or "").strip()][:1]
            self.count(Difference.NESTED_REFERENCE, len(nested))
            for text in texts + nested:
                found += self._one_or_more(text)
        return tuple(dict.fromkeys(found))[:MAX_REFERENCES]

    def _one_or_more(self, text: str) -> list[str]:
        """An identifier, or a list of them: white space may also stand within one."""
        whole = self._canonical(text)
        parts = text.split()
        if len(parts) == 1 or whole in self._streams:
            return [whole]
        several = [self._canonical(part) for part in parts]
        return several if any(one in self._streams for one in several) else [whole]

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
            self._extensions(node, identifier, _SESSION_ELEMENTS),
        )

    def _participant(self, node: Node) -> RsParticipant | None:
        named = node.named("nameid")
        addresses = [(one.attribute("aor") or _text(one, "aor") or one.text).strip()[:MAX_TEXT] for one in named]
        names = [name for one in named if (name := _text(one, "name") or one.attribute("name") or "")]
        if not any(addresses) and not names and not named:
            self.count(Difference.NAME_OUTSIDE, int(bool(_outside(node, "aor") or _outside(node, "name"))))
        addresses += [_outside(node, "aor")]
        names += [_outside(node, "name")]
        known = [address for address in addresses if address]
        aor = next((one for one in known if RsParticipant("", one).number), known[0] if known else "")
        names += [address.partition("<")[0] for address in known if "<" in address]
        name = next((name for one in names if (name := one.strip().strip('"').strip())), "")[:MAX_TEXT]
        aor = address_of(aor) if "<" in aor else aor
        identifier = self._identifier(node, "participant_id", "id")
        if identifier is None and (node.named("send") or node.named("recv")) and (aor or name):
            identifier = self._nameless(node, aor or name)
        if identifier is None:
            return None
        return RsParticipant(identifier, aor, name, self._extensions(node, identifier, _PARTICIPANT_ELEMENTS))

    def _nameless(self, node: Node, identifier: str) -> str:
        """Give a participant without an identifier, who names their streams themselves, one."""
        self.count(Difference.NO_IDENTIFIER)
        node.attributes["participant_id"] = identifier
        return self._canonical(identifier)

    def _stream(self, node: Node) -> RsStream | None:
        identifier = self._identifier(node, "stream_id", "id")
        if identifier is None:
            return None
        session = self._identifier(node, "session_id", "session")
        return RsStream(identifier, session, _text(node, "label") or node.attribute("label") or None)

    def _session_association(self, node: Node) -> SessionAssociation | None:
        participant = self._identifier(node, "participant_id", "participant")
        session = self._identifier(node, "session_id", "session")
        if participant is None or session is None:
            return None
        return SessionAssociation(participant, session, bool(_text(node, "disassociate-time")))

    def _associations(self) -> tuple[StreamAssociation, ...]:
        """Who sends and receives what: by associations, and for whom they say nothing, as drafts of RFC 7865 had it, by
        `send` and `recv` in the participant."""
        stated = self._objects("participantstreamassoc", self._stream_association)
        speaking = {one.participant_id for one in stated if one.send or one.receive}
        drafted: list[StreamAssociation] = []
        for node in self._named("participant"):
            identifier = node.attribute("participant_id") or node.attribute("id")
            send, receive = self._references(node, "send"), self._references(node, "recv")
            if identifier and (send or receive) and self._canonical(identifier) not in speaking:
                ended = bool(_text(node, "disassociate-time"))
                drafted.append(StreamAssociation(self._canonical(identifier), send, receive, ended))
        self.count(Difference.DRAFT_ASSOCIATION, len(drafted))
        known = {one.participant_id for one in drafted}
        return (*(one for one in stated if one.participant_id not in known), *drafted)[-MAX_OBJECTS:]

    def _stream_association(self, node: Node) -> StreamAssociation | None:
        identifier = self._identifier(node, "participant_id", "participant")
        if identifier is None:
            return None
        ended = bool(_text(node, "disassociate-time"))
        return StreamAssociation(identifier, self._references(node, "send"), self._references(node, "recv"), ended)


_REFERENCES = ("stream_id", "id", "ref", "stream")


def _merged(known: object, item: RsObject) -> RsObject:
    """Two objects of one identifier in one document: the later one, which does not take away what the former says of a
    participant's name or of the streams that they still send."""
    if isinstance(known, StreamAssociation) and isinstance(item, StreamAssociation):
        return _joint(known, item)
    if isinstance(known, RsParticipant) and isinstance(item, RsParticipant):
        extended = {**known.extensions, **item.extensions}
        return replace(item, aor=item.aor or known.aor, name=item.name or known.name, extensions=extended)
    return item


def _joint(known: StreamAssociation, item: StreamAssociation) -> StreamAssociation:
    if item.ended != known.ended:
        return known if item.ended else item
    send, receive = dict.fromkeys((*known.send, *item.send)), dict.fromkeys((*known.receive, *item.receive))
    return StreamAssociation(item.participant_id, tuple(send), tuple(receive), item.ended)


def _other_case(node: Node) -> bool:
    return node.local_name != _NAMES.get(node.kind, node.local_name)


def _outside(node: Node, name: str) -> str:
    """An element's or attribute's text, where RFC 7865 has it in the `nameID`."""
    return (_text(node, name) or node.attribute(name) or "").strip()[:MAX_TEXT]


def _text(node: Node, name: str) -> str:
    """The text of the first child of that name that has one, or ''."""
    for child in node.named(name):
        if text := child.text.strip():
            return text[:MAX_TEXT]
    return ""
