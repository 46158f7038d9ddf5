"""The messages of a running Twilio stream, put in the order of their sequence numbers.

Between the state machine (`stream`) and what comes out (`output`). A message whose number is new goes through the
reordering window (`reorder`). One whose number was there is a duplicate, or the sign of a peer that counts otherwise
(`renumbered`): then what the window holds comes out, and the window begins at the new number.
"""

from collections import deque

from connectors.media_ws.config import MediaLimits
from connectors.media_ws.renumbered import OldNumbers
from connectors.media_ws.reorder import SequenceWindow, WindowVerdict
from connectors.media_ws.track import Track
from connectors.media_ws.twilio import messages as wire
from connectors.media_ws.twilio.output import NO_TIME, StreamOutput, StreamState

_REMEMBERED_KEYS = 64

Numbered = wire.MediaMessage | wire.DtmfMessage | wire.MarkMessage | wire.StopMessage
"""Messages of a running stream: each has a sequence number."""


class MessageOrder:
    """`numbered`: a message had a number. `window`, `old`: of the numbers to come, and of those that were there."""

    def __init__(self, output: StreamOutput, limits: MediaLimits) -> None:
        self.window: SequenceWindow[Numbered] = SequenceWindow(1, limits.reorder_window_ms / 1000)
        self.old: OldNumbers[Numbered] = OldNumbers(0)
        self.numbered = True
        self._output = output
        self._keys: deque[int] = deque(maxlen=_REMEMBERED_KEYS)

    def start(self, message: wire.StartMessage) -> None:
        """Numbers go on from that of a start; without one, the first message says where they begin."""
        seq = wire.number(message.sequence_number)
        self.numbered = seq is not None
        if seq is None:
            self._output.irregular("no sequence number")
        self._begin(1 if seq is None else seq + 1)

    def begin_at(self, seq: int) -> None:
        """The first message with a number."""
        self.numbered = True
        self._begin(seq)

    def _begin(self, first: int) -> None:
        self.window.begin_anew(first)
        self.old.begin(first)

    def add_media(self, message: wire.MediaMessage, seq: int | None, timestamp: int | None, now: float) -> None:
        window, track = self.window, message.media.track
        if seq is None or self.old.hopeless:
            seq = window.next_number
        elif not window.was_there(seq):
            self.old.over()
        elif timestamp is not None and self._output.tracks.is_new(track, timestamp):
            # The audio was not received yet, so the number is that of a peer which counts otherwise.
            self._output.irregular("sequence number that was there before")
            self.release(now, flush=True)
            window.begin_anew(seq)
            self.old.over()
        else:
            return self._add_old(message, seq, now)
        self._push(seq, message, now)

    def _add_old(self, message: wire.MediaMessage, seq: int, now: float) -> None:
        """A message that was sent twice, or the sign of a peer that counts anew."""
        tracks = self._output.stats.tracks
        anew = self.old.add(seq, message, self.window.next_number)
        tracks[message.media.track].duplicates += 1
        if self.old.hopeless:
            self._output.note("sequence numbers that do not count on are not looked at any more")
        if not anew:
            return
        self.release(now, flush=True)
        self.window.begin_anew(anew[0][0])
        self._output.begin_anew()
        for number, item in anew:
            assert isinstance(item, wire.MediaMessage)
            tracks[item.media.track].duplicates -= 1
            self._push(number, item, now)

    def add_other(
        self, message: wire.DtmfMessage | wire.MarkMessage | wire.StopMessage, seq: int | None, now: float
    ) -> None:
        """A message without audio."""
        if seq is not None and not self.old.hopeless and not self.window.was_there(seq):
            self._keys.append(seq)
            return self._push(seq, message, now)
        if seq in self._keys and not isinstance(message, wire.StopMessage):
            return  # sent twice
        if seq is not None:
            self._keys.append(seq)
            self._output.irregular("sequence number that was there before")
        self.release(now, flush=True)
        if self._output.state is StreamState.STREAMING:
            self._output.hand_out(message)

    def _push(self, seq: int, message: Numbered, now: float) -> None:
        track, clock, media_ms = None, None, 0
        if isinstance(message, wire.MediaMessage):
            track = message.media.track
            timestamp = wire.number(message.media.timestamp)
            clock = None if timestamp is None else track
            media_ms = NO_TIME if timestamp is None else timestamp
        verdict = self.window.push(seq, message, now, clock, media_ms)
        if verdict is not WindowVerdict.ACCEPTED:
            self._count(verdict, track)
        self.release(now)

    def _count(self, verdict: WindowVerdict, track: Track | None) -> None:
        stats = self._output.stats.tracks[track] if track is not None else None
        if verdict is WindowVerdict.IMPLAUSIBLE:
            self._output.implausible("sequence number")
        elif stats is not None:
            stats.reordered += verdict is WindowVerdict.REORDERED
            stats.duplicates += verdict is WindowVerdict.DUPLICATE
            stats.late += verdict is WindowVerdict.LATE

    def release(self, now: float, *, flush: bool = False) -> None:
        """Hand out what has its turn; with `flush` all that waits."""
        window, output = self.window, self._output
        while output.state is StreamState.STREAMING and (held := window.pop(now, flush=flush)) is not None:
            message = held.item
            if isinstance(message, wire.MediaMessage):
                output.place(message, held.media_ms, held.arrival, window.missing)
            else:
                output.hand_out(message)
