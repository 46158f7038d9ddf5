"""Messages of Twilio's copies: what is needed is taken out of them in every form that has one plain meaning.

The typed decoder (`messages`) knows the messages as Twilio writes them; what it does not take comes here. Copies
write numbers as numbers, leave out what they do not have, and write keys in other cases (`stream_sid`, `streamId`).
Fields that are not needed are not looked at.
"""

import base64
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from connectors.media_ws.track import Track
from connectors.media_ws.twilio import messages as wire

_ALIASES = {
    "streamid": "streamsid",
    "callid": "callsid",
    "callcontrolid": "callsid",
    "accountid": "accountsid",
    "userid": "accountsid",
    "parameters": "customparameters",
}
_DIGITS = frozenset(get_args(wire.Digit))
_URL_SAFE = str.maketrans("-_", "+/")


class NotAMessage(ValueError):
    """No JSON object with an event. The message says what it is."""


class Unusable(ValueError):
    """Something that is needed is missing or has no plain meaning. The message is its path, such as
    `$.media.payload`."""


@dataclass(frozen=True, slots=True)
class JsonFields:
    """A JSON object of a message, its keys in lower case without `_` and `-`. `event`: of the message."""

    values: Mapping[str, Any]
    event: str = ""

    @classmethod
    def of(cls, value: object) -> "JsonFields":
        items = value if isinstance(value, dict) else {}
        values: dict[str, Any] = {}
        for key, item in items.items():
            name = key.lower().replace("_", "").replace("-", "")
            values.setdefault(_ALIASES.get(name, name), item)
        return cls(values)

    def text(self, name: str) -> str:
        """A string, or a number as one; '' for everything else."""
        return _text(self.values.get(name))

    def body(self, name: str) -> "JsonFields":
        return JsonFields.of(self.values.get(name))


@dataclass(slots=True)
class LenientReader:
    """`tracks`: of the stream, now. `odd`: what the message read last lacked, where that is more
    than a matter of form; ''. `unannounced`: it was a start that named no tracks, and others than the one it is taken
    for may come."""

    tracks: Collection[Track]
    odd: str = ""
    unannounced: bool = False

    def message(self, fields: JsonFields) -> wire.TwilioMessage:
        """The message of a known event. Raises `Unusable`."""
        self.odd = ""
        sequence, stream = fields.text("sequencenumber"), fields.text("streamsid")
        body = fields.body(fields.event)
        match fields.event:
            case "start":
                return wire.StartMessage(sequence, stream, self._start(body, stream)) if body.values else _no("$.start")
            case "media":
                return wire.MediaMessage(sequence, stream, self._media(body))
            case "dtmf":
                return wire.DtmfMessage(sequence, stream, self._dtmf(body))
            case "mark":
                return wire.MarkMessage(sequence, stream, wire.MarkBody(body.text("name") or _no("$.mark.name")))
            case "stop":
                return wire.StopMessage(sequence, stream, wire.StopBody(body.text("accountsid"), body.text("callsid")))
        return wire.ConnectedMessage()

    def _start(self, body: JsonFields, stream: str) -> wire.StartBody:
        tracks = self._announced(body.values.get("tracks"))
        media = body.body("mediaformat")
        if not media.values:
            self.odd = "start without a media format, taken as mu-law"
        form = wire.MediaFormatBody(
            media.text("encoding") or wire.ENCODING,
            _number(media.values.get("samplerate"), wire.SAMPLE_RATE_HZ),
            _number(media.values.get("channels"), 1),
        )
        account, call = body.text("accountsid"), body.text("callsid")
        parameters = self._parameters(body.values.get("customparameters"))
        for name in ("from", "to"):  # Twilio itself gives a stream no numbers
            if number := body.text(name):
                parameters.setdefault(name, number)
        return wire.StartBody(body.text("streamsid") or stream, account, call, tracks, form, parameters)

    def _announced(self, value: object) -> tuple[str, ...]:
        if value is None:
            self.odd, self.unannounced = "start without tracks, taken as inbound until there is audio of others", True
            return (Track.INBOUND.value,)
        names = value if isinstance(value, list) else [value]
        return tuple(_text(name) for name in names)

    def _parameters(self, value: object) -> dict[str, str]:
        """Custom parameters are the user's own: numbers and structures as JSON, what has no value left out."""
        if isinstance(value, list):
            pairs = [JsonFields.of(item) for item in value]
            value = {pair.text("name"): pair.values.get("value") for pair in pairs if pair.text("name")}
        if not isinstance(value, dict):
            if value is not None:
                self.odd = "custom parameters left out: no object"
            return {}
        found: dict[str, str] = {}
        for name, item in value.items():
            if item is None:
                self.odd = "custom parameter without a value left out"
            else:
                found[_clean(name)] = _clean(item) if isinstance(item, str) else _clean(_json(item))
        return found

    def _media(self, body: JsonFields) -> wire.MediaBody:
        payload = decode_payload(body.values.get("payload"))
        if payload is None:
            raise Unusable("$.media.payload")
        return wire.MediaBody(
            track=self._track(body, "$.media.track"), timestamp=body.text("timestamp"), payload=payload
        )

    def _dtmf(self, body: JsonFields) -> wire.DtmfBody:
        digit = body.text("digit").strip().upper()
        if digit not in _DIGITS:
            raise Unusable("$.dtmf.digit")
        if not body.text("track") and Track.INBOUND in self.tracks:  # where Twilio detects keys
            return wire.DtmfBody(Track.INBOUND.value, digit)  # type: ignore[arg-type]
        return wire.DtmfBody(self._track(body, "$.dtmf.track").value, digit)  # type: ignore[arg-type]

    def _track(self, body: JsonFields, path: str) -> Track:
        """Of the only track of a stream a message need not say that it is."""
        name = track_name(body.text("track"))
        if not name and body.values.get("track") is None and len(self.tracks) == 1:
            return next(iter(self.tracks))
        if name not in tuple(Track):
            raise Unusable(path)
        return Track(name)


def read_fields(data: str) -> JsonFields:
    """The object of a message, with the name of its event. Lone surrogates and control characters in strings are no
    obstacle, and of two equal keys the last one counts. Raises `NotAMessage`."""
    try:
        value = json.loads(data.lstrip("\ufeff"), strict=False)
    except (ValueError, RecursionError):
        raise NotAMessage("not JSON") from None
    event = value.get("event") if isinstance(value, dict) else None
    if not isinstance(event, str):
        raise NotAMessage("not a message with an event")
    return JsonFields(JsonFields.of(value).values, event.strip().lower())


def track_name(text: str) -> str:
    """A track as Twilio's `start` names it, also where it is written as in TwiML."""
    return text.strip().lower().removesuffix("_track")


def decode_payload(value: object) -> bytes | None:
    """Base64 with line breaks, in the alphabet for URLs or without its padding, too; None where it is none."""
    if not isinstance(value, str):
        return None
    text = "".join(value.split()).translate(_URL_SAFE).rstrip("=")
    if len(text) % 4 == 1:
        return None
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return None


def _text(value: object) -> str:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**15:
        return str(value)
    return ""


def _number(value: object, default: int) -> int:
    if value is None:
        return default
    number = wire.number(_text(value).strip())
    return -1 if number is None else number


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _clean(text: str) -> str:
    """Without lone surrogates, which no UTF-8 can carry on."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _no(path: str) -> Any:
    raise Unusable(path)
