"""WHIP (RFC 9725) without HTTP and without media: what an offer, an answer, an ICE fragment and a URL must be.

Each refusal is a `WhipRefused` with the HTTP status that answers it; its message is one line, without content of the
call.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from connectors.errors import ConnectorError
from connectors.sdp import description as sdp
from connectors.sdp.rtp_codec import RtpCodec
from connectors.webrtc.audio_lines import MediaLines, media_lines
from connectors.webrtc.config import WebRtcLimits
from pipeline.records import SpeakerRole

OFFER_TYPE = "application/sdp"
FRAGMENT_TYPE = "application/trickle-ice-sdpfrag"

_OPUS_WISHES = {"useinbandfec": "1", "maxplaybackrate": "16000", "stereo": "0", "minptime": "10"}
"""What we ask of a sender of Opus (RFC 7587, section 6.1): redundancy against loss, and no more than we use."""


class WhipRefused(ConnectorError):
    """The request is answered with `status`. `retry_after_s`: where the same request may succeed later."""

    def __init__(self, status: int, reason: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.retryable = retry_after_s is not None


class WebRtcUnavailable(ConnectorError):
    """WebRTC is configured, but its library is not installed."""


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """What the URL of a POST says: `call_id`, `from`, `to`, `language`; `listen=1` where the peer wants audio back;
    `role` and `leg`, each a list with commas for sessions of several tracks; every other parameter becomes metadata of
    the call."""

    call_id: str | None = None
    from_: str | None = None
    to: str | None = None
    language: str | None = None
    listens: bool = False
    roles: tuple[SpeakerRole, ...] = ()
    legs: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, query: Sequence[tuple[str, str]], limits: WebRtcLimits) -> "SessionRequest":
        """Raises `WhipRefused` (400)."""
        given = dict(query)
        if len(query) > limits.max_parameters or len(given) < len(query):
            raise WhipRefused(400, f"parameters come once, and at most {limits.max_parameters} of them")
        if any(len(name) + len(value) > limits.max_parameter_chars for name, value in query):
            raise WhipRefused(400, f"a parameter is longer than {limits.max_parameter_chars} characters")
        if not all(name.isprintable() and value.isprintable() for name, value in query):
            raise WhipRefused(400, "parameters must be printable")
        given = {name: value for name, value in given.items() if value}
        try:
            roles = tuple(SpeakerRole(name) for name in _list(given.pop("role", "")))
        except ValueError:
            raise WhipRefused(400, f"role must be one of {', '.join(SpeakerRole)}") from None
        return cls(
            call_id=given.pop("call_id", None),
            from_=given.pop("from", None),
            to=given.pop("to", None),
            language=given.pop("language", None),
            listens=given.pop("listen", "") == "1",
            roles=roles,
            legs=_list(given.pop("leg", "")),
            metadata=given,
        )

    def track(self, index: int, default: SpeakerRole) -> tuple[str | None, SpeakerRole]:
        """Name of the leg, where the URL has one for it, and role of the speaker of the n-th track. The last role that
        is given holds for the tracks after it."""
        role = self.roles[min(index, len(self.roles) - 1)] if self.roles else default
        return self.legs[index] if index < len(self.legs) else None, role


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer that we can take. `text`: without the candidates that are of no use here, names (mDNS) among them, for
    the peer's own checks make its addresses known, and without lines that the peer does not use. `tracks`: audio lines.
    `ice`: (ufrag, pwd) of its lines. `lines`: how the answer has to be put back. `listens`: lines that are `sendrecv`
    are answered so: WHIP alone goes one way (section 4.4.2)."""

    text: str
    tracks: int
    ice: frozenset[tuple[str, str]]
    lines: MediaLines
    listens: bool = False

    @classmethod
    def parse(cls, text: str, codecs: Sequence[str], limits: WebRtcLimits) -> "Offer":
        """Raises `WhipRefused`: 400 for what is no offer of WebRTC, 422 for one that we cannot take; no line of an
        offer is refused alone (section 4.4.3)."""
        lines = media_lines(text)
        try:
            offer = sdp.parse(lines.text)
        except sdp.SdpError as error:
            raise WhipRefused(400, str(error)) from None
        if not offer.media:
            raise WhipRefused(400, "the offer has no media" + (" in use" if lines.unused else ""))
        if lines.unbundled:
            raise WhipRefused(400, "a bundle-only line is in no bundle with a line that has a port")
        if lines.ambiguous:
            raise WhipRefused(400, "two lines in use have the same mid")
        named = {item.name for item in offer.attributes}
        for media in offer.media:
            _check_media(media, named, codecs)
        if len(offer.media) > limits.max_tracks:
            raise WhipRefused(422, f"more than {limits.max_tracks} audio tracks")
        if len(offer.media) > 1 and not lines.bundled:
            raise WhipRefused(422, "several audio lines must be bundled")
        kept, candidates = [], 0
        for line in _lines(lines.text):
            if line.startswith("a=candidate:"):
                candidates += 1
                if candidates > limits.max_candidates or candidate_address(line) is None:
                    continue
            kept.append(line)
        ice = set()
        for attributes in (offer.attributes, *(media.attributes for media in offer.media)):
            values = {item.name: (item.value or "").strip() for item in attributes}
            if "ice-ufrag" in values and "ice-pwd" in values:
                ice.add((values["ice-ufrag"], values["ice-pwd"]))
        return cls("\r\n".join(kept), len(offer.media), frozenset(ice), lines)


def _check_media(media: sdp.MediaLine, named: set[str], codecs: Sequence[str]) -> None:
    """`named`: attributes of the session, which hold for every line."""
    if not isinstance(media, sdp.AudioMedia):
        raise WhipRefused(422, f"only audio is taken, not {media.kind[:20]}")
    names = named | {item.name for item in media.attributes}
    missing = [name for name in ("ice-ufrag", "ice-pwd", "fingerprint", "setup") if name not in names]
    if missing or "SAVPF" not in media.protocol:
        raise WhipRefused(400, f"an audio line lacks {', '.join(missing) or 'the protocol of WebRTC'}")
    if not media.rtcp_mux:
        raise WhipRefused(422, "an audio line does not put RTP and RTCP on one port")
    if not media.direction.sends:
        raise WhipRefused(422, f"an audio line is {media.direction}: nothing would be sent")
    if not any(codec.name in codecs for codec in media.codecs):
        raise WhipRefused(422, f"an audio line has none of {', '.join(codecs)}")


def finish_answer(text: str) -> str:
    """The answer with what WHIP and our decoders ask for: `rtcp-mux-only` (section 4.4.1), and Opus as we like it."""
    lines = []
    for line in text.splitlines():
        lines.append(line)
        if line == "a=rtcp-mux":
            lines.append("a=rtcp-mux-only")
        elif line.startswith("a=rtpmap:") and "opus/" in line.lower():
            wishes = ";".join(f"{name}={value}" for name, value in _OPUS_WISHES.items())
            lines.append(f"a=fmtp:{line[len('a=rtpmap:') :].split()[0]} {wishes}")
    return "\r\n".join(lines) + "\r\n"


def answered_codecs(text: str) -> list[tuple[RtpCodec, ...]]:
    """What each audio line of an answer lets the peer send."""
    return [media.codecs for media in _audio(text)]


def sent_codecs(offer: str, answer: str) -> list[RtpCodec | None]:
    """What is sent to the peer on each audio line, with its number and its wishes; None: it does not listen."""
    sent: list[RtpCodec | None] = []
    for theirs, ours in zip(_audio(offer), _audio(answer), strict=True):
        chosen = {codec.payload_type for codec in ours.codecs if codec.is_audio}
        known = [codec for codec in theirs.codecs if codec.payload_type in chosen]
        sent.append(known[0] if known and ours.direction.sends else None)
    return sent


def _audio(text: str) -> list[sdp.AudioMedia]:
    return [media for media in sdp.parse(text).media if isinstance(media, sdp.AudioMedia)]


@dataclass(frozen=True, slots=True)
class IceFragment:
    """`candidates`: (mid, value of `a=candidate`) as far as they are UDP and have an address. `complete`: there will
    be no more. `ufrag`, `pwd`: of the peer's ICE session."""

    ufrag: str
    pwd: str
    candidates: tuple[tuple[str, str], ...] = ()
    complete: bool = False

    @classmethod
    def parse(cls, text: str, limits: WebRtcLimits) -> "IceFragment":
        """RFC 8840, section 9. Candidates that are of no use to us are left out, as RFC 9725, section 4.3.2, says.
        Raises `WhipRefused` (400)."""
        values: dict[str, str] = {}
        candidates: list[tuple[str, str]] = []
        mid = None
        complete = False
        for line in _lines(text.lstrip("\ufeff")):
            if not line.strip():
                continue
            kind, equals, value = line.strip().partition("=")
            if len(kind) != 1 or not equals:
                raise WhipRefused(400, "the fragment has a line that is no SDP")
            name, _, detail = value.partition(":")
            if kind == "m":
                mid = ""
            elif kind != "a":
                continue
            elif name == "mid":
                mid = detail
            elif name == "candidate":
                if len(candidates) >= limits.max_candidates:
                    raise WhipRefused(400, f"more than {limits.max_candidates} candidates")
                if candidate_address(line) is not None:
                    candidates.append((mid or "", detail))
            elif name == "end-of-candidates":
                complete = True
            else:
                values.setdefault(name.strip(), detail.strip())
        ufrag, pwd = values.get("ice-ufrag"), values.get("ice-pwd")
        if not ufrag or not pwd:
            raise WhipRefused(400, "the fragment lacks ice-ufrag or ice-pwd")
        return cls(ufrag, pwd, tuple(candidates), complete)


def candidate_address(line: str) -> str | None:
    """The address of an `a=candidate` line, None where it is of no use: no UDP, a name, malformed (RFC 8839, section
    5.1)."""
    parts = line.strip().removeprefix("a=").removeprefix("candidate:").split()
    if len(parts) < 8 or parts[2].lower() != "udp" or parts[6] != "typ":
        return None
    if not all(part.isascii() and part.isdigit() and len(part) <= 10 for part in (parts[1], parts[3], parts[5])):
        return None
    try:
        ip_address(parts[4])
    except ValueError:
        return None
    related = dict(zip(parts[8::2], parts[9::2], strict=False)).get("rport", "0")
    return parts[4] if 0 < int(parts[5]) < 65_536 and related.isdigit() and len(related) <= 5 else None


def check_entity_tag(if_match: str | None, etag: str) -> None:
    """Section 4.3.1 and RFC 9110, section 13.1.1. Raises `WhipRefused`: 428 where there is none, 412 where it is of
    another ICE session."""
    if if_match is None:
        raise WhipRefused(428, "If-Match is missing")
    tags = [tag.strip() for tag in if_match.split(",")]
    if "*" not in tags and f'"{etag}"' not in tags:  # comparison is strong: W/"..." never matches
        raise WhipRefused(412, "If-Match is of another ICE session")


def accepts(header: str | None, media_type: str) -> bool:
    """Whether an `Accept` header lets an answer of this type through."""
    if header is None:
        return True
    kind = media_type.partition("/")[0]
    for item in header.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        if name in (media_type, f"{kind}/*", "*/*") and "q=0" not in parameters:
            return True
    return False


def _lines(text: str) -> list[str]:
    return re.split(r"\r\n|\n|\r", text)


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
