"""Bodies of the INVITEs: an SDP offer of PCMU, and for a recording session the metadata beside it. Pure."""

import base64
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

PAYLOAD_TYPE = 0


@dataclass(frozen=True, slots=True)
class Body:
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Participant:
    """Who speaks on a recorded stream; `aor`: sip: or tel: URI."""

    name: str
    aor: str


def offer(address: str, ports: Sequence[int], *, labels: Sequence[str] = ()) -> Body:
    """PCMU on every port; labelled streams only send, as a recording client's do (RFC 7866, section 7.1)."""
    family = "IP6" if ":" in address else "IP4"
    lines = ["v=0", f"o=- 1 1 IN {family} {address}", "s=-", f"c=IN {family} {address}", "t=0 0"]
    for index, port in enumerate(ports):
        lines += [f"m=audio {port} RTP/AVP {PAYLOAD_TYPE}", f"a=rtpmap:{PAYLOAD_TYPE} PCMU/8000", "a=ptime:20"]
        lines += [f"a=label:{labels[index]}", "a=sendonly"] if labels else ["a=sendrecv"]
    return Body("application/sdp", "\r\n".join([*lines, ""]).encode())


def recording(sdp: Body, metadata: bytes, boundary: str) -> Body:
    """`multipart/mixed` of SDP and metadata (RFC 7866, section 9.1)."""
    parts = [(sdp.content_type, "session", sdp.content), ("application/rs-metadata+xml", "recording-session", metadata)]
    content = b"".join(
        f"--{boundary}\r\nContent-Type: {kind}\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + data + b"\r\n"
        for kind, disposition, data in parts
    )
    return Body(f"multipart/mixed;boundary={boundary}", content + f"--{boundary}--\r\n".encode())


def metadata(session: str, participants: Sequence[Participant], labels: Sequence[str], at: str) -> bytes:
    """Complete rs-metadata (RFC 7865, section 6): participant n sends the stream with label n and receives the others.

    `session` seeds the ids, so one session's are the same whenever they are made. `at`: RFC 3339.
    """
    ids = {name: _id(session, name) for name in ("group", "session", *(f"p{label}" for label in labels))}
    ids |= {f"s{label}": _id(session, f"s{label}") for label in labels}
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<recording xmlns="urn:ietf:params:xml:ns:recording:1">',
        "<datamode>complete</datamode>",
        f'<group group_id="{ids["group"]}"><associate-time>{at}</associate-time></group>',
        f'<session session_id="{ids["session"]}"><sipSessionID>{escape(session)}</sipSessionID>'
        f"<group-ref>{ids['group']}</group-ref><start-time>{at}</start-time></session>",
    ]
    for label, who in zip(labels, participants, strict=True):
        lines.append(
            f'<participant participant_id="{ids[f"p{label}"]}"><nameID aor={quoteattr(who.aor)}>'
            f'<name xml:lang="en">{escape(who.name)}</name></nameID></participant>'
        )
    for label in labels:
        lines.append(
            f'<stream stream_id="{ids[f"s{label}"]}" session_id="{ids["session"]}"><label>{escape(label)}</label>'
            "</stream>"
        )
    for label in labels:
        lines.append(
            f'<participantsessionassoc participant_id="{ids[f"p{label}"]}" session_id="{ids["session"]}">'
            f"<associate-time>{at}</associate-time></participantsessionassoc>"
        )
    for label in labels:
        received = "".join(f"<recv>{ids[f's{other}']}</recv>" for other in labels if other != label)
        lines.append(
            f'<participantstreamassoc participant_id="{ids[f"p{label}"]}"><send>{ids[f"s{label}"]}</send>{received}'
            "</participantstreamassoc>"
        )
    return "\n".join([*lines, "</recording>", ""]).encode()


def _id(session: str, name: str) -> str:
    """RFC 7865, section 4: base64 of a UUID."""
    return base64.b64encode(uuid.uuid5(uuid.NAMESPACE_URL, f"{session}/{name}").bytes).decode()
