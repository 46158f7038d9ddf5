"""XML from a peer, without its dangers: no document type, so no entities to expand and nothing to fetch, and limits on
size, depth and number.

Namespaces are not resolved: vendors use prefixes that they do not declare. Names are kept as written.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from connectors.errors import ConnectorError

MAX_BYTES = 262_144
MAX_DEPTH = 32
MAX_NODES = 10_000
MAX_ATTRIBUTES = 64


class XmlError(ConnectorError, ValueError):
    """The document is malformed, dangerous, too large, or not what was expected. The message is one line."""


@dataclass(slots=True)
class Node:
    """An element. `name` and the attributes' names with their prefix; `text`: its own, without that of its children."""

    name: str
    attributes: dict[str, str]
    text: str = ""
    children: list["Node"] = field(default_factory=list)
    kind: str = field(init=False)
    """The local name as `bare` has it, by which elements are distinguished."""

    def __post_init__(self) -> None:
        self.kind = bare(self.name)

    @property
    def local_name(self) -> str:
        return self.name.rpartition(":")[2]

    def named(self, name: str) -> list["Node"]:
        """The children of this local name, however it is written."""
        kind = bare(name)
        return [child for child in self.children if child.kind == kind]

    def attribute(self, name: str) -> str | None:
        """The attribute of this local name, however it is written."""
        kind = bare(name)
        for key, value in self.attributes.items():
            if bare(key) == kind:
                return value
        return None

    def walk(self) -> Iterator["Node"]:
        """This element and all below it, in document order."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))


def bare(name: str) -> str:
    """A name without its prefix, in lower case, without `_` and `-`: vendors write `streamId` for `stream_id`."""
    return name.rpartition(":")[2].lower().replace("_", "").replace("-", "")


class _Builder:
    """Handlers of the parser; the tree grows under `top`."""

    def __init__(self) -> None:
        self.top = Node("", {})
        self._open = [self.top]
        self._texts: list[list[str]] = [[]]
        self._nodes = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._nodes += 1
        if len(self._open) > MAX_DEPTH:
            raise XmlError(f"the document is nested deeper than {MAX_DEPTH}")
        if self._nodes > MAX_NODES:
            raise XmlError(f"the document has more than {MAX_NODES} elements")
        if len(attributes) > MAX_ATTRIBUTES:
            raise XmlError(f"an element has more than {MAX_ATTRIBUTES} attributes")
        node = Node(name, attributes)
        self._open[-1].children.append(node)
        self._open.append(node)
        self._texts.append([])

    def text(self, data: str) -> None:
        self._texts[-1].append(data)

    def end(self, _: str) -> None:
        self._open.pop().text = "".join(self._texts.pop())


def _refuse(*_: object) -> int:
    raise XmlError("the document has a document type or an entity")


def parse_xml(data: bytes) -> Node:
    """The document's root element. Raises `XmlError`.

    The encoding that the document claims is not looked at: the parser is given text, and loads no codec of the peer's
    choice.
    """
    if len(data) > MAX_BYTES:
        raise XmlError(f"the document is longer than {MAX_BYTES} bytes")
    builder = _Builder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.ExternalEntityRefHandler = _refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    try:
        parser.Parse(_text(data).strip("\0\ufeff \t\r\n"), True)
    except expat.ExpatError as error:
        raise XmlError(f"the document is no well-formed XML: {expat.ErrorString(error.code)}") from error
    return builder.top.children[0]


def _text(data: bytes) -> str:
    """UTF-16 with a byte order mark or known by its first sign, UTF-8, or Latin-1 where it is none of them."""
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return data.decode("utf-16", "replace")
    start = data.lstrip(b"\r\n\t \0")[:1]
    if start == b"<" and data.count(b"\0") > len(data) // 3:
        return data.decode("utf-16-be" if data.index(b"<") % 2 else "utf-16-le", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")
