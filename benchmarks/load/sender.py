"""Sends media of many legs from a process of its own, so that its cost is not the server's.

`python -m benchmarks.load.sender` reads one JSON line, {"kind": "rtp", "ports": [...], "seconds": s} or
{"kind": "twilio", "port": p, "path": "/twilio", "legs": n, "seconds": s}, sends to 127.0.0.1 and prints one JSON line:
packets sent and how late they were. A leg sends 20 ms of mu-law every 20 ms; the legs are spread evenly over them.
"""

import base64
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence

HOST = "127.0.0.1"
INTERVAL_S = 0.02
PHASES = 20
SAMPLES = 160
STREAM_SID = "MZ" + "0" * 32
PAYLOAD = bytes((40 + 83 * index) % 256 for index in range(SAMPLES))

Send = Callable[[], None]


def main() -> None:
    order = json.loads(sys.stdin.readline())
    if order["kind"] == "rtp":
        legs = [_rtp_leg(port, number) for number, port in enumerate(order["ports"])]
    else:
        legs = _twilio_legs(order["port"], order["path"], order["legs"], order["seconds"])
    print("ready", flush=True)
    sent, late = pace(legs, order["seconds"])
    late.sort()
    print(json.dumps({"sent": sent, "late_p50_ms": 1e3 * late[len(late) // 2], "late_max_ms": 1e3 * late[-1]}))
    sys.stdin.readline()  # the sockets stay open until the receiver has counted


def pace(legs: Sequence[Send], seconds: float) -> tuple[int, list[float]]:
    """Call every leg once per interval, in `PHASES` groups; returns the calls made and the lateness of each group.

    The schedule is absolute: a late group is sent at once and moves nothing that comes after it.
    """
    groups = [legs[phase::PHASES] for phase in range(PHASES)]
    step, late, began = INTERVAL_S / PHASES, [], time.monotonic()
    for index in range(round(seconds / step)):
        wait = began + index * step - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        late.append(max(-wait, 0.0))
        for send in groups[index % PHASES]:
            send()
    return round(seconds / INTERVAL_S) * len(legs), late


def _rtp_leg(port: int, number: int) -> Send:
    """RFC 3550, section 5.1: version 2, payload type 0, no extension."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((HOST, 0))
    sock.connect((HOST, port))
    packet = bytearray(struct.pack(">BBHII", 0x80, 0, 0, 0, number + 1) + PAYLOAD)
    pack, send = struct.Struct(">HI").pack_into, sock.send
    seq = 0

    def leg() -> None:
        nonlocal seq
        pack(packet, 2, seq & 0xFFFF, seq * SAMPLES & 0xFFFFFFFF)
        seq += 1
        send(packet)

    return leg


def _twilio_legs(port: int, path: str, legs: int, seconds: float) -> list[Send]:
    """One WebSocket a leg. All streams say the same, so the frames are made once, before the clock starts."""
    frames = [_frame(media_message(index)) for index in range(round(seconds / INTERVAL_S) + 1)]
    return [_twilio_leg(port, path, number, iter(frames)) for number in range(legs)]


def _twilio_leg(port: int, path: str, number: int, frames: Iterator[bytes]) -> Send:
    sock = socket.create_connection((HOST, port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answer = sock.recv(4096)
    if not answer.startswith(b"HTTP/1.1 101"):
        raise ConnectionError(answer.partition(b"\r\n")[0].decode())
    start = {
        "event": "start",
        "sequenceNumber": "1",
        "streamSid": STREAM_SID,
        "start": {
            "streamSid": STREAM_SID,
            "accountSid": "AC1",
            "callSid": f"CA{number}",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {},
        },
    }
    sock.sendall(_frame(json.dumps(start)))
    send = sock.sendall

    def leg() -> None:
        send(next(frames))

    return leg


def media_message(index: int) -> str:
    return json.dumps(
        {
            "event": "media",
            "sequenceNumber": str(index + 2),
            "streamSid": STREAM_SID,
            "media": {
                "track": "inbound",
                "chunk": str(index + 1),
                "timestamp": str(20 * index),
                "payload": base64.b64encode(PAYLOAD).decode(),
            },
        }
    )


def _frame(text: str) -> bytes:
    """RFC 6455, section 5.2: a masked text frame of 126 to 65,535 bytes."""
    data, mask = text.encode(), bytes((0x37, 0xFA, 0x21, 0x3D))
    if not 126 <= len(data) < 65_536:
        raise ValueError(f"{len(data)} bytes")
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
    return struct.pack(">BBH", 0x81, 0x80 | 126, len(data)) + mask + masked


if __name__ == "__main__":
    main()
