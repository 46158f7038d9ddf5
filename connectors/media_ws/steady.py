"""A running stream whose messages are foreseen to the byte: audio in order, 20 ms a message.

A media message differs from the one before it in three numbers, which count on, and in its audio. So the next one is
known up to its audio before it comes, and one comparison stands for parsing and checking it. Whatever is not as
foreseen is parsed by the dialect, which has to be told first what went by (`Foreseen.taken`).
"""

import re
from binascii import a2b_base64
from collections.abc import Callable, Sequence

from connectors.media_ws.events import Track
from pipeline.frames import Encoding

PushPacket = Callable[[int, bytes, Encoding, float], None]

PACKET_CODES = 160
PACKET_MS = 20
MAX_RUN = 128
"""Messages after which the dialect and the peer look at one again: two seconds and a half."""

_AUDIO_CHARS = 4 * -(-PACKET_CODES // 3)
_MESSAGE = re.compile(
    rb'(.*"sequenceNumber" ?: ?")([1-9][0-9]*)(".*"chunk" ?: ?")([1-9][0-9]*)(".*"timestamp" ?: ?")([0-9]+)'
    rb'(".*"payload" ?: ?")([A-Za-z0-9+/=]{%d})(".*)' % _AUDIO_CHARS,
    re.DOTALL,
)
_MAX_CHARS = 1_024
_KEYS = (b'"sequenceNumber"', b'"chunk"', b'"timestamp"', b'"payload"')


class Foreseen:
    """The next message of one track. `numbers`: sequence number, chunk and timestamp of the last one, `steps` by how
    much they count on. `taken`: messages that were as foreseen."""

    __slots__ = (
        "_end",
        "_numbers",
        "_pattern",
        "_start",
        "_steps",
        "_suffix",
        "prefix",
        "pts",
        "size",
        "taken",
        "track",
    )

    def __init__(
        self, pattern: bytes, suffix: bytes, track: Track, numbers: Sequence[int], steps: Sequence[int], pts: int
    ) -> None:
        self.track, self.pts, self.taken = track, pts, 0
        self._pattern, self._suffix, self._steps = pattern, suffix, tuple(steps)
        self._numbers = tuple(numbers)
        self._advance()

    @classmethod
    def after(cls, message: bytes, before: bytes, track: Track, sequence_step: int, pts: int) -> "Foreseen | None":
        """`message`, `before`: the last two of this track; None where they do not tell what the next one is like."""
        if any(len(one) > _MAX_CHARS or any(one.count(key) != 1 for key in _KEYS) for one in (message, before)):
            return None  # with each key but once the search below takes no more than the message's length
        found, earlier = _MESSAGE.fullmatch(message), _MESSAGE.fullmatch(before)
        if found is None or earlier is None:
            return None
        numbers, former = ([int(match[index]) for index in (2, 4, 6)] for match in (found, earlier))
        steps = [now - then for now, then in zip(numbers, former, strict=True)]
        if steps[0] != sequence_step or steps[1] < 0 or steps[2] != PACKET_MS or str(numbers[2]).encode() != found[6]:
            return None
        pieces = [found[index].replace(b"%", b"%%") for index in (1, 3, 5, 7)]
        return cls(b"%d".join(pieces), found[9], track, numbers, steps, pts)

    def audio(self, message: bytearray) -> bytes | None:
        """The codes in this message, if it is as foreseen, in which case the one after it is foreseen now."""
        if len(message) != self.size or not message.startswith(self.prefix) or not message.endswith(self._suffix):
            return None
        try:
            codes = a2b_base64(message[self._start : self._end], strict_mode=True)
        except ValueError:
            return None
        if len(codes) != PACKET_CODES:
            return None
        self.taken += 1
        self.pts += PACKET_CODES
        self._advance()
        return codes

    def _advance(self) -> None:
        (sequence, chunk, timestamp), (a, b, c) = self._numbers, self._steps
        numbers = self._numbers = sequence + a, chunk + b, timestamp + c
        prefix = self.prefix = self._pattern % numbers
        self._start = len(prefix)
        self._end = self._start + _AUDIO_CHARS
        self.size = self._end + len(self._suffix)


class SteadyStream:
    """`foreseen`: a message of each track, in the order in which they take turns, and `push_packet` of the leg that
    gets its codes. `other` gets the first message that is not as foreseen, after which this one is done with."""

    __slots__ = ("_encoding", "_left", "_other", "_tracks", "_turn", "heard_at")

    def __init__(
        self,
        foreseen: Sequence[tuple[Foreseen, PushPacket]],
        encoding: Encoding,
        other: Callable[[bytearray, float], bool],
    ) -> None:
        self.heard_at = 0.0
        self._tracks = tuple(foreseen)
        self._encoding, self._other = encoding, other
        self._left, self._turn = MAX_RUN, 0

    @property
    def taken(self) -> dict[Track, int]:
        return {one.track: one.taken for one, _ in self._tracks}

    def take(self, message: bytearray, now: float) -> bool:
        """As `socket.AtOnce` has it."""
        turn = self._turn
        due, push = self._tracks[turn]
        pts = due.pts
        codes = due.audio(message) if self._left else None
        if codes is None:
            return self._other(message, now)
        self._left -= 1
        self.heard_at = now
        self._turn = (turn + 1) % len(self._tracks)
        push(pts, codes, self._encoding, now)
        return True
