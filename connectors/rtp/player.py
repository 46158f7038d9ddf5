"""Sends a bot's audio at the pace of its media time."""

import asyncio
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from connectors.rtp.sender import RtpSender
from connectors.sdp.rtp_codec import RtpCodec


class RtpPlayer:
    """`sender`: what is to be sent, and when. `send`: puts a packet on the network. `on_fault`: called with what
    ended the playing."""

    def __init__(
        self, sender: RtpSender, send: Callable[[bytes], None], on_fault: Callable[[Exception], None] | None = None
    ) -> None:
        self._sender, self._send, self._on_fault = sender, send, on_fault
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def rate_hz(self) -> int:
        """Of the audio that `play` takes."""
        return self._sender.sample_rate_hz

    def update(self, codec: RtpCodec, ptime_ms: int) -> None:
        """Another codec from the next packet on. Raises `CodecError`."""
        self._sender.update(codec, ptime_ms)

    def play(self, pcm: NDArray[np.int16]) -> None:
        """After what was to be said before. `pcm`: int16 (T,) at `rate_hz`."""
        self._sender.push(pcm)
        if self._timer is None:
            self._go_on()

    def stop(self) -> None:
        """Play nothing more."""
        self._sender.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def sent(self, now: float) -> tuple[int, int, int] | None:
        """For the sender report: RTP time of now, packets and octets; None before the first packet."""
        sender = self._sender
        return (sender.timestamp(now), sender.packets, sender.octets) if sender.packets else None

    def _go_on(self) -> None:
        try:
            self._send_due()
        except Exception as error:
            self._timer = None
            self._sender.clear()
            if self._on_fault is None:
                raise
            self._on_fault(error)

    def _send_due(self) -> None:
        now = time.monotonic()
        for packet in self._sender.due(now):
            self._send(packet)
        due = self._sender.next_timer(now)
        self._timer = None if due is None else self._loop.call_later(max(due - now, 0.0), self._go_on)
