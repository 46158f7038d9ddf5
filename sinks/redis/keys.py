"""Names of the live view's keys in Redis, and its two hashes' form.

Keys, with the configured prefix (`trunkline:` by default); the braces are Redis Cluster hash tags and part of the key,
so that all of a call is in one slot. In `ID` the characters `{`, `}` and `%` are written `%7B`, `%7D` and `%25`:

    calls                 sorted set of call ids by start, in ms since 1970
    call:{ID}             hash: the fields of `CallSnapshot.call` (`metadata`, `legs`, `statistics` as JSON; absent
                          where null), `dtmf` (JSON list of records), `version`, `former` (the newest runs of the
                          call id before this one)
    segments:{ID}         hash: segment id -> newest transcript record of it, JSON
    events:{ID}           stream, field `record`: every record but partials, JSON; the newest 1,000
    live:{ID}             channel: every record, JSON

Keys of a running call expire when the server that writes them is gone for `lease_s`, keys of an ended call after
`retain_s`. Members of `calls` whose call hash is gone are leftovers, which readers ignore and the sink removes.
"""

from collections.abc import Iterator

import msgspec

from sinks.calls import MirroredCall
from sinks.subscription import JsonRecord

_JSON_FIELDS = frozenset({"metadata", "legs", "statistics"})
_ESCAPES = str.maketrans({"%": "%25", "{": "%7B", "}": "%7D"})


class Keys:
    def __init__(self, prefix: str) -> None:
        self.calls = f"{prefix}calls"
        self._prefix = prefix

    def call(self, call_id: str) -> str:
        return f"{self._prefix}call:{_tag(call_id)}"

    def segments(self, call_id: str) -> str:
        return f"{self._prefix}segments:{_tag(call_id)}"

    def of_call(self, call_id: str) -> tuple[str, str, str]:
        """Call hash, segments hash and event stream."""
        tag = _tag(call_id)
        return f"{self._prefix}call:{tag}", f"{self._prefix}segments:{tag}", f"{self._prefix}events:{tag}"

    def channel(self, call_id: str) -> str:
        return f"{self._prefix}live:{_tag(call_id)}"

    def every_channel(self) -> str:
        """Pattern of all channels; characters of the prefix that mean something in a pattern are escaped."""
        return "".join(f"\\{char}" if char in "*?[]\\" else char for char in self._prefix) + "live:*"


def _tag(call_id: str) -> str:
    """The call id as a hash tag. An empty one would be none, so that of an empty call id is `%`."""
    return "{" + (call_id.translate(_ESCAPES) or "%") + "}"


def to_hash(state: MirroredCall) -> Iterator[str]:
    """Names and values in turn, without `version`."""
    for name, value in state.call.items():
        if value is not None:
            yield name
            yield msgspec.json.encode(value).decode() if name in _JSON_FIELDS else str(value)
    yield "dtmf"
    yield msgspec.json.encode(list(state.dtmf.values())).decode()


def from_hash(fields: dict[bytes, bytes]) -> tuple[JsonRecord, list[JsonRecord], int]:
    """The call, its key presses and its version."""
    texts = {name.decode(): value.decode() for name, value in fields.items()}
    version = int(texts.pop("version"))
    texts.pop("former", None)
    dtmf: list[JsonRecord] = msgspec.json.decode(texts.pop("dtmf"))
    call: JsonRecord = dict.fromkeys(("run", "from", "to", "ended_at", "reason", "statistics"))
    for name, text in texts.items():
        call[name] = msgspec.json.decode(text) if name in _JSON_FIELDS else text
    return call, dtmf, version
