"""What is known of what a peer has played, against what it has played: any order of events, in virtual time."""

import heapq
import itertools
from collections import deque

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from connectors.media_ws.outlet import LEAD_MS, MarkedOutlet
from connectors.media_ws.twilio import messages as wire
from connectors.media_ws.twilio.stream import TwilioStream
from pipeline.playback import LegPlayer, PlaybackStats
from tests.connectors.media_ws.twilio import twilio_side as twilio
from tests.pipeline.playback.line import START, ManualPacer

STEP_MS = 5


class BufferingPeer:
    """Twilio as it is described: a buffer played in real time, marks that come back in their turn, `clear`. Messages
    take `there_ms`, marks `back_ms`."""

    def __init__(self, there_ms: int, back_ms: int) -> None:
        self.now_ms = 0
        self.played_ms = 0  # audio that is not silence of ours is not told apart: all that was sent
        self.dropped_ms = 0
        self._there_ms, self._back_ms = there_ms, back_ms
        self._buffer: deque[str | int] = deque()  # names of marks, and milliseconds of audio
        self._order = itertools.count()
        self._under_way: list[tuple[int, int, wire.ServerMessage | str]] = []
        self.core = TwilioStream()
        self.core.receive(twilio.connected(), self.now)
        self.core.receive(twilio.start(("inbound",)), self.now)
        self.outlet = MarkedOutlet(self.core, self._take, lambda: self.now)

    @property
    def now(self) -> float:
        return START + self.now_ms / 1000

    def _take(self, text: str) -> None:
        self._deliver(self._there_ms, wire.decode_server(text))

    def _deliver(self, after_ms: int, message: wire.ServerMessage | str) -> None:
        heapq.heappush(self._under_way, (self.now_ms + after_ms, next(self._order), message))

    def step(self) -> None:
        """`STEP_MS` pass."""
        self.now_ms += STEP_MS
        while self._under_way and self._under_way[0][0] <= self.now_ms:
            self._receive(heapq.heappop(self._under_way)[2])
        left = STEP_MS
        while self._buffer and (left or isinstance(self._buffer[0], str)):
            one = self._buffer.popleft()
            if isinstance(one, str):
                self._deliver(self._back_ms, one)
                continue
            played = min(one, left)
            self.played_ms += played
            left -= played
            if played < one:
                self._buffer.appendleft(one - played)

    def _receive(self, message: wire.ServerMessage | str) -> None:
        match message:
            case str():
                self.outlet.mark_received(message)
            case wire.PlayMessage():
                self._buffer.append(len(message.media.payload) // 8)
            case wire.PlayMarkMessage():
                self._buffer.append(message.mark.name)
            case wire.ClearMessage():
                for one in self._buffer:
                    if isinstance(one, str):
                        self._deliver(self._back_ms, one)
                    else:
                        self.dropped_ms += one
                self._buffer.clear()


EVENTS = st.lists(
    st.tuples(st.sampled_from(["write", "write", "close", "stop", "wait"]), st.integers(1, 400)),
    min_size=1,
    max_size=25,
)


@given(EVENTS, st.integers(0, 30), st.integers(0, 30))
async def test_what_is_known_is_what_was_played_but_for_the_way(
    events: list[tuple[str, int]], there: int, back: int
) -> None:
    """The line of the outlet and that of the peer, which lacks what was cleared, differ by the way there and back."""
    there_ms, back_ms = there * STEP_MS, back * STEP_MS
    peer, pacer = BufferingPeer(there_ms, back_ms), ManualPacer()
    player = LegPlayer("leg", pacer, PlaybackStats(), lambda leg, until: None, lambda: peer.now)
    player.connect(peer.outlet)
    allowed_ms = there_ms + back_ms + 2 * STEP_MS + 20

    def run(ms: int) -> None:
        for _ in range(-(-ms // STEP_MS)):
            if pacer.paced is not None and pacer.slots <= 0:
                wait = pacer.paced.step(peer.now, 0)
                if wait is None:
                    pacer.paced = None
                else:
                    pacer.slots = wait
            pacer.slots -= 1
            peer.step()

    said = player.speak(8_000)
    for event, number in events:
        if said.over:
            said = player.speak(8_000)
        match event:
            case "write":
                said.put(np.full(8 * 2 * number, 1_000, np.int16))
            case "close":
                said.close()
            case "stop":
                known_ms, played_ms = peer.outlet.played_ms(peer.now), peer.played_ms + peer.dropped_ms
                assert abs(known_ms - played_ms) <= allowed_ms
                heard = said.stop()
                assert heard.seconds * 1000 <= said.taken_ms
                run(there_ms + back_ms + 2 * STEP_MS)  # `clear` gets there
                assert peer.outlet.sent_ms == peer.played_ms + peer.dropped_ms
        run(number)
        assert peer.outlet.sent_ms - peer.played_ms - peer.dropped_ms <= LEAD_MS + 20 + there_ms + 2 * STEP_MS
    said.close()
    while pacer.paced is not None:
        run(100)
    run(there_ms + back_ms)
    assert said.heard().finished
    assert peer.outlet.played_ms(peer.now) == peer.outlet.sent_ms == peer.played_ms + peer.dropped_ms
    assert peer.outlet.fault is None
