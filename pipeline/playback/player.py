"""What is said on one leg: a queue of utterances, cut to packets, each sent when its time comes.

The idea
    Audio that was sent lies on a line of milliseconds that the outlet counts (`AudioOutlet.sent_ms`). Each packet of an
    utterance is noted with its end on this line. The outlet says how far the peer has played the line, and from that
    follows what was heard of each utterance, whether the connector knows it at once (RTP) or is told later (Twilio).

The invariants
    1. In a talk-spurt, the audio sent and the time passed differ by the outlet's lead at most, whatever the timer did.
    2. While an open utterance has no audio, silence goes out in its place: the spurt goes on, and the pause is counted.
       Before its first audio, and between utterances, nothing goes out.
    3. After `stop` returns, no packet of what was stopped goes out.
    4. On hold nothing goes out. What waits, waits, and what stands still is no underrun.
"""

import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CallEnded, NoWayBack, PlaybackError, PlaybackFull
from pipeline.playback.outlet import AudioOutlet
from pipeline.playback.pacer import SLOT_MS, Pacer
from pipeline.playback.utterance import Heard, Utterance
from supervision import one_line

MOST_WAITING = 64
"""Utterances of a leg; more are refused."""

ECHO_S = 0.5
"""What a muted leg may carry of us this long after it was sent: the way there and back, and jitter buffers."""

_IDLE_SLOTS = 20 // SLOT_MS

MuteUntil = Callable[[str, float], None]
"""The name of a leg, and the monotonic time until which what comes on it is not transcribed."""


@dataclass(slots=True)
class PlaybackStats:
    """`utterances` begun; `failed`: that could not be said. `seconds` of their audio sent. `stops`: interrupted.
    `underruns`: times that an open utterance had no audio when it was due. `late_s`: time passed over because the event
    loop was held up."""

    utterances: int = 0
    failed: int = 0
    seconds: float = 0.0
    stops: int = 0
    underruns: int = 0
    late_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Sent:
    """`end_ms`: on the outlet's line. `taken_ms`: of the utterance, there. `is_last`: no more of it comes."""

    end_ms: int
    utterance: Utterance
    taken_ms: int
    is_last: bool = False


class LegPlayer:
    """`name`: of the leg, for errors. All methods on the event loop's thread; none waits."""

    def __init__(
        self,
        name: str,
        pacer: Pacer,
        stats: PlaybackStats,
        mute_until: MuteUntil,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._pacer, self._stats, self._mute_until, self._clock = name, pacer, stats, mute_until, clock
        self._outlet: AudioOutlet | None = None
        self._closed = False
        self._queue: deque[Utterance] = deque()
        self._sent: deque[_Sent] = deque()
        self._paced = False
        self._began: float | None = None  # the present talk-spurt
        self._spurt_ms = 0  # sent in it, what the peer had not played of the one before included
        self._dry = False

    @property
    def outlet(self) -> AudioOutlet | None:
        """The way to the peer; None: there is none."""
        return self._outlet

    @property
    def is_playing(self) -> bool:
        """Something is being said, or the peer has not played the end of it."""
        self.settle()
        return bool(self._sent) or bool(self._queue and self._queue[0].taken_ms)

    def connect(self, outlet: AudioOutlet | None) -> None:
        """Another way to the peer from here on, as where another dialog has taken the call over."""
        if outlet is not self._outlet:
            self.settle()
            self._give_up_sent()
            self._outlet, self._began = outlet, None
            if self._queue:
                self.wake()

    def speak(self, sample_rate_hz: int, mute: Collection[str] = ()) -> Utterance:
        """An utterance behind those that wait already, to be written to. Raises `CallEnded`, `NoWayBack`,
        `PlaybackFull`, `ValueError`."""
        if self._closed:
            raise CallEnded(f"{self._name}: it has ended, nothing can be said on it")
        if self._outlet is None:
            raise NoWayBack(
                f"{self._name}: there is no way back to who is on it: only calls by SIP, by WebRTC that asks for "
                "audio, and by Twilio's <Connect><Stream> can be spoken to"
            )
        if len(self._queue) >= MOST_WAITING:
            raise PlaybackFull(f"{self._name}: {MOST_WAITING} utterances wait to be played: wait for one to end")
        utterance = Utterance(self, sample_rate_hz, mute)
        self._queue.append(utterance)
        self._stats.utterances += 1
        return utterance

    def wake(self) -> None:
        if not self._paced:
            self._paced = True
            self._pacer.begin(self)

    def stop(self, utterance: Utterance) -> None:
        """Interrupt one. What the peer was sent ahead of its time and has not played is taken back from it, with what
        it has of the utterance behind."""
        self.settle()
        if utterance.over:
            return
        is_under_way = any(sent.utterance is utterance for sent in self._sent)
        if utterance in self._queue:
            self._queue.remove(utterance)
        utterance.finish(interrupted=True)
        self._stats.stops += 1
        if is_under_way:
            self._take_back()

    def stop_all(self) -> list[Heard]:
        """Interrupt what is said and what waits; what was heard of each."""
        self.settle()
        under_way = dict.fromkeys([*(sent.utterance for sent in self._sent), *self._queue])
        self._queue.clear()
        for utterance in under_way:
            utterance.finish(interrupted=True)
        self._stats.stops += len(under_way)
        if self._sent:
            self._take_back()
        return [utterance.heard() for utterance in under_way]

    def close(self, error: PlaybackError | None = None) -> None:
        """The leg is over, or cannot be spoken on: so is what is said on it."""
        self.settle()
        for utterance in dict.fromkeys([*(sent.utterance for sent in self._sent), *self._queue]):
            self._stats.failed += error is not None
            utterance.finish(interrupted=True, error=error)
        self._queue.clear()
        self._sent.clear()
        self._outlet = None
        if error is None:
            self._closed, self._mute_until = True, _mute_nobody  # without the way back to it, the call is freed at once

    def settle(self) -> None:
        """Enter what the peer has played meanwhile."""
        if self._outlet is None or not self._sent:
            return
        played_ms = self._outlet.played_ms(self._clock())
        sent = self._sent
        while sent and sent[0].end_ms <= played_ms:
            one = sent.popleft()
            one.utterance.played(one.taken_ms)
            if one.is_last:
                one.utterance.finish(interrupted=False)
        if sent:
            one = sent[0]
            one.utterance.played(one.taken_ms - (one.end_ms - played_ms))

    def step(self, at: float, late: int) -> int | None:
        """For the pacer."""
        outlet = self._outlet
        if outlet is None:
            self._paced = False
            return None
        if outlet.fault is not None:
            self.close(outlet.fault)
        self._stats.late_s += late * SLOT_MS / 1000
        try:
            if late:
                self._began = None
            self._send_due(outlet, at)
            self.settle()
        except PlaybackError as error:
            self.close(error)
        except Exception as error:
            self._paced = False
            self.close(PlaybackError(f"nothing more can be played: {one_line(error)}"))
            raise
        if not self._queue and not self._sent:
            self._paced, self._began = False, None
            return None
        return outlet.packet_ms // SLOT_MS if self._queue else _IDLE_SLOTS

    def _send_due(self, outlet: AudioOutlet, at: float) -> None:
        """Invariant 1: packets until the spurt has sent as much as its time and the lead make."""
        if not outlet.ready:
            self._began = None
            return
        packet_ms = outlet.packet_ms
        if self._began is None:
            self._spurt_ms = outlet.sent_ms - outlet.played_ms(self._clock())
        passed_ms = packet_ms if self._began is None else round((at - self._began) * 1000) + packet_ms
        while self._spurt_ms < passed_ms + outlet.lead_ms:
            pcm = self._next_packet(outlet)
            if pcm is not None:
                self._send(outlet, pcm, at)
                self._note(outlet, self._queue[0])
            elif not self._queue or not self._queue[0].taken_ms:
                self._began = None
                return
            elif self._spurt_ms < passed_ms:
                self._stats.underruns += not self._dry
                self._dry = True
                self._send(outlet, np.zeros(outlet.sample_rate_hz * packet_ms // 1000, np.int16), at)
            else:
                return

    def _next_packet(self, outlet: AudioOutlet) -> NDArray[np.int16] | None:
        """Of the first utterance that has not ended; None: it has none yet, or there is no such utterance."""
        while self._queue:
            utterance = self._queue[0]
            pcm = utterance.take(outlet.sample_rate_hz, outlet.packet_ms)
            if pcm is not None or not utterance.exhausted:
                return pcm
            self._last_sent(outlet, utterance)
        return None

    def _send(self, outlet: AudioOutlet, pcm: NDArray[np.int16], at: float) -> None:
        starts = self._began is None
        if self._began is None:
            self._began = at
        outlet.send(pcm, self._began + self._spurt_ms / 1000, starts=starts)
        self._spurt_ms += outlet.packet_ms

    def _note(self, outlet: AudioOutlet, utterance: Utterance) -> None:
        """A packet of this utterance went out."""
        packet_ms, self._dry = outlet.packet_ms, False
        self._stats.seconds += packet_ms / 1000
        self._sent.append(_Sent(outlet.sent_ms, utterance, utterance.taken_ms))
        for leg in utterance.mute:
            self._mute_until(leg, self._clock() + (packet_ms + outlet.lead_ms) / 1000 + ECHO_S)
        if utterance.exhausted:
            self._last_sent(outlet, utterance)
        elif utterance.has_mark(utterance.taken_ms - packet_ms, utterance.taken_ms):
            outlet.confirm()

    def _last_sent(self, outlet: AudioOutlet, utterance: Utterance) -> None:
        self._queue.popleft()
        self._sent.append(_Sent(outlet.sent_ms, utterance, utterance.taken_ms, is_last=True))
        outlet.confirm()

    def _take_back(self) -> None:
        """The peer is to play nothing more of what it was sent. What ends with that is over."""
        if self._outlet is not None:
            self._outlet.clear()
        self._give_up_sent()

    def _give_up_sent(self) -> None:
        for sent in self._sent:
            if sent.is_last:
                sent.utterance.finish(interrupted=True)
        self._sent.clear()
        self._began = None


def _mute_nobody(leg: str, until: float) -> None:
    """After the end of the leg."""
