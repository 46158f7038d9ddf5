"""RTP of all calls at once, paced by one timer: 20 ms of mu-law a packet (RFC 3550, RFC 3551 payload type 0).

A timer a stream would cost more than its packets. Streams are dealt out over the phases of an interval, as real calls
are, so that a server does not get them all at the same instant.
"""

import asyncio
import secrets
import socket
import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

INTERVAL_S = 0.02
PHASES = 4
SAMPLES = 160
HEADER = 12
_COUNTERS = struct.Struct(">HI")


def open_socket(address: str) -> socket.socket:
    """A UDP socket on an even port, as RTP has it (RFC 3550, section 11); the kernel chooses."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    odd: list[socket.socket] = []
    try:
        for _ in range(32):
            sock = socket.socket(family, socket.SOCK_DGRAM)
            sock.setblocking(False)
            sock.bind((address, 0))
            if sock.getsockname()[1] % 2 == 0:
                return sock
            odd.append(sock)
        return odd.pop()
    finally:
        for sock in odd:
            sock.close()


@dataclass(slots=True, eq=False)
class PacedRtpStream:
    """One stream to `remote`; `codes`: uint8 (T,). `sent` packets; `failed`: those the system did not take.
    `done` is set after the last packet."""

    sock: socket.socket
    remote: tuple[str, int]
    codes: NDArray[np.uint8]
    sent: int = 0
    failed: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)
    _at: int = 0
    _packet: bytearray = field(default_factory=bytearray)
    _seq: int = field(default_factory=lambda: secrets.randbelow(1 << 16))
    _timestamp: int = field(default_factory=lambda: secrets.randbelow(1 << 32))

    def __post_init__(self) -> None:
        ssrc = secrets.randbelow(1 << 32)
        # The marker stands at the beginning of a talk spurt (RFC 3551, section 4.1).
        self._packet = bytearray(struct.pack(">BBHII", 0x80, 0x80, 0, 0, ssrc) + bytes(SAMPLES))
        self.sock.connect(self.remote)

    def step(self) -> bool:
        """Send the next packet; False once all are out."""
        codes, at, packet = self.codes, self._at, self._packet
        if at + SAMPLES > codes.size:
            self.done.set()
            return False
        _COUNTERS.pack_into(packet, 2, self._seq, self._timestamp)
        packet[HEADER:] = codes[at : at + SAMPLES].data
        try:
            self.sock.send(packet)
            self.sent += 1
        except OSError:  # nobody listens there any more, or the system's buffers are full
            self.failed += 1
        packet[1] = 0
        self._at = at + SAMPLES
        self._seq = self._seq + 1 & 0xFFFF
        self._timestamp = self._timestamp + SAMPLES & 0xFFFFFFFF
        return True


class PacedRtpSender:
    """Owns the timer. `behind_s`: how late the latest packets went out against their schedule."""

    def __init__(self) -> None:
        self.behind_s = 0.0
        self._phases: list[list[PacedRtpStream]] = [[] for _ in range(PHASES)]
        self._awake = asyncio.Event()

    def add(self, stream: PacedRtpStream) -> None:
        """Begin to send; the emptiest phase takes it."""
        min(self._phases, key=len).append(stream)
        self._awake.set()

    def remove(self, stream: PacedRtpStream) -> None:
        """Stop sending."""
        for phase in self._phases:
            if stream in phase:
                phase.remove(stream)

    async def run(self) -> None:
        """Until cancelled; sleeps while there is nothing to send. The schedule is absolute: what is late is sent at
        once, and nothing after it moves."""
        loop = asyncio.get_running_loop()
        step_s = INTERVAL_S / PHASES
        due, turn = loop.time(), 0
        while True:
            if not any(self._phases):
                self._awake.clear()
                await self._awake.wait()
                due = loop.time()
            await asyncio.sleep(max(due - loop.time(), 0.0))
            self.behind_s = max(self.behind_s, loop.time() - due)
            streams = self._phases[turn]
            self._phases[turn] = [stream for stream in streams if stream.step()]
            turn = (turn + 1) % PHASES
            due += step_s
