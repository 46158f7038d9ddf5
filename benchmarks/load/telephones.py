"""Many telephones in a process of their own: they talk and note when what is said to them arrives.

`python -m benchmarks.load.telephones` binds one socket, prints its port, reads one JSON line, {"ports": [...],
"seconds": s, "clock_hz": of what it hears}, lets every leg talk for so long, and, after one line more, prints one JSON
line: for each stream (by SSRC) its packets, those missing, its talk-spurts, when the last packet came (`time.time`),
and how late each packet was against the timestamps, in ms, sorted. Times are those at which the kernel had the packet.
"""

import json
import socket
import struct
import sys
import threading
from collections import defaultdict

from benchmarks.load.sender import HOST, PAYLOAD, SAMPLES, Send, pace

SO_TIMESTAMPNS = 35
"""Linux; absent from `socket`."""

_HEADER = struct.Struct("!BBHII")


def main() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.bind((HOST, 0))
    print(sock.getsockname()[1], flush=True)
    order = json.loads(sys.stdin.readline())
    streams: dict[int, list[tuple[int, int, int, float]]] = defaultdict(list)
    threading.Thread(target=_receive, args=(sock, streams), daemon=True).start()
    pace([_leg(sock, port, number) for number, port in enumerate(order["ports"])], order["seconds"])
    sys.stdin.readline()
    print(json.dumps([_report(packets, order["clock_hz"]) for packets in streams.values()]))


def _leg(sock: socket.socket, port: int, number: int) -> Send:
    packet = bytearray(_HEADER.pack(0x80, 0, 0, 0, number + 1) + PAYLOAD)
    pack, sequence = struct.Struct("!HI").pack_into, 0

    def leg() -> None:
        nonlocal sequence
        pack(packet, 2, sequence & 0xFFFF, sequence * SAMPLES & 0xFFFFFFFF)
        sequence += 1
        sock.sendto(packet, (HOST, port))

    return leg


def _receive(sock: socket.socket, streams: dict[int, list[tuple[int, int, int, float]]]) -> None:
    while True:
        data, ancillary, _, _ = sock.recvmsg(2_048, 64)
        if 192 <= data[1] <= 223:  # RTCP would be on the next port
            continue
        seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
        _, kind, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
        streams[ssrc].append((sequence, timestamp, kind >> 7, seconds + nanoseconds / 1e9))


def _report(packets: list[tuple[int, int, int, float]], clock_hz: int) -> dict[str, object]:
    first_sequence, first_timestamp = packets[0][:2]
    against = [at - (timestamp - first_timestamp) % 2**32 / clock_hz for _, timestamp, _, at in packets]
    on_time = min(against)
    return {
        "packets": len(packets),
        "missing": (packets[-1][0] - first_sequence) % 2**16 + 1 - len(packets) % 2**16,
        "spurts": sum(marker for _, _, marker, _ in packets),
        "last": packets[-1][3],
        "late_ms": sorted(round(1e3 * (one - on_time), 2) for one in against),
    }


if __name__ == "__main__":
    main()
