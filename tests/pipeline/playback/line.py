"""A leg's way back in virtual time: what goes out, when, and a peer that plays it."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PlaybackError
from pipeline.playback import LegPlayer, Pacer, PlaybackStats, Utterance
from pipeline.playback.pacer import SLOT_MS, Paced

START = 1_000.0


class ManualPacer(Pacer):
    """Steps when the test says so."""

    def __init__(self) -> None:
        self.paced: Paced | None = None
        self.slots = 0

    def begin(self, paced: Paced) -> None:
        assert self.paced is None
        self.paced, self.slots = paced, 0


class Outlet:
    """`sent`: (place in time, int16 packet, first of a spurt). The peer plays `delay_ms` after it is sent; with a lead
    in real time."""

    fault: PlaybackError | None = None

    def __init__(self, clock: Callable[[], float], rate_hz: int = 8_000, packet_ms: int = 20, lead_ms: int = 0) -> None:
        self.sample_rate_hz, self.packet_ms, self.lead_ms, self.ready = rate_hz, packet_ms, lead_ms, True
        self.sent: list[tuple[float, NDArray[np.int16], bool]] = []
        self.sent_ms = self.confirms = self.clears = 0
        self._clock = clock
        self._ends_at = START  # when the peer has played all

    def send(self, pcm: NDArray[np.int16], at: float, *, starts: bool) -> None:
        assert self.ready
        assert pcm.size == self.sample_rate_hz * self.packet_ms // 1000
        self.sent.append((at, pcm, starts))
        self.sent_ms += self.packet_ms
        self._ends_at = max(self._ends_at, self._clock()) + self.packet_ms / 1000

    def confirm(self) -> None:
        self.confirms += 1

    def played_ms(self, now: float) -> int:
        return self.sent_ms - round(max(self._ends_at - now, 0.0) * 1000) if self.lead_ms else self.sent_ms

    def clear(self) -> None:
        self.clears += 1
        self._ends_at = self._clock()

    @property
    def pcm(self) -> NDArray[np.int16]:
        return np.concatenate([np.zeros(0, np.int16), *(pcm for _, pcm, _ in self.sent)])


class Line:
    """A player, its outlet and the time. `muted`: legs and until when."""

    def __init__(self, rate_hz: int = 8_000, packet_ms: int = 20, lead_ms: int = 0) -> None:
        self.now = START
        self.stats = PlaybackStats()
        self.muted: list[tuple[str, float]] = []
        self.pacer = ManualPacer()
        self.outlet = Outlet(lambda: self.now, rate_hz, packet_ms, lead_ms)
        self.player = LegPlayer(
            "call C: leg caller",
            self.pacer,
            self.stats,
            lambda leg, until: self.muted.append((leg, until)),
            lambda: self.now,
        )
        self.player.connect(self.outlet)

    def say(self, pcm: NDArray[np.generic], rate_hz: int = 8_000, mute: tuple[str, ...] = ()) -> Utterance:
        """Whole."""
        utterance = self.player.speak(rate_hz, mute)
        utterance.put(pcm)
        utterance.close()
        return utterance

    def run(self, ms: int, late: int = 0) -> None:
        """Let so much time pass. `late`: slots that the first step comes too late."""
        until = round((self.now - START) * 1000) + ms
        while (passed := round((self.now - START) * 1000)) < until:
            if self.pacer.paced is None or self.pacer.slots > 0:
                self.pacer.slots -= 1
                self.now = START + (passed + SLOT_MS) / 1000
                continue
            paced = self.pacer.paced
            wait = paced.step(self.now, late)
            late = 0
            if wait is None:
                self.pacer.paced = None
            else:
                self.pacer.slots = wait


def ramp(samples: int, first: int = 1) -> NDArray[np.int16]:
    """Every sample another one, none of them 0."""
    return (np.arange(first, first + samples) % 30_000 + 1).astype(np.int16)
