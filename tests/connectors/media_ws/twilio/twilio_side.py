"""Messages as Twilio sends them, for the tests: plain JSON, written without the project's own structs."""

import base64
import json
from typing import Any

ACCOUNT, CALL, STREAM = "AC" + "a" * 32, "CA" + "b" * 32, "MZ" + "c" * 32


def connected() -> str:
    return json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"})


def start_fields(
    tracks: tuple[str, ...] = ("inbound", "outbound"),
    *,
    call: str = CALL,
    stream: str = STREAM,
    account: str = ACCOUNT,
    parameters: dict[str, str] | None = None,
) -> dict[str, Any]:
    return {
        "event": "start",
        "sequenceNumber": "1",
        "start": {
            "accountSid": account,
            "streamSid": stream,
            "callSid": call,
            "tracks": list(tracks),
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": parameters or {},
        },
        "streamSid": stream,
    }


def start(tracks: tuple[str, ...] = ("inbound", "outbound"), **fields: Any) -> str:
    return json.dumps(start_fields(tracks, **fields))


def media(
    seq: int,
    timestamp_ms: int,
    codes: bytes = b"\x00" * 160,
    *,
    track: str = "inbound",
    chunk: int = 1,
    stream: str = STREAM,
) -> str:
    payload = base64.b64encode(codes).decode()
    body = {"track": track, "chunk": str(chunk), "timestamp": str(timestamp_ms), "payload": payload}
    return json.dumps({"event": "media", "sequenceNumber": str(seq), "media": body, "streamSid": stream})


def dtmf(seq: int, digit: str = "5", *, track: str = "inbound_track") -> str:
    body = {"track": track, "digit": digit}
    return json.dumps({"event": "dtmf", "streamSid": STREAM, "sequenceNumber": str(seq), "dtmf": body})


def mark(seq: int, name: str = "greeting") -> str:
    body = {"name": name}
    return json.dumps({"event": "mark", "sequenceNumber": str(seq), "streamSid": STREAM, "mark": body})


def stop(seq: int, *, call: str = CALL, stream: str = STREAM) -> str:
    body = {"accountSid": ACCOUNT, "callSid": call}
    return json.dumps({"event": "stop", "sequenceNumber": str(seq), "stop": body, "streamSid": stream})
