"""What the next message of a running stream will be, all but its audio.

A media message differs from the one before it in three numbers, which count on, and in its audio: audio in order, 20 ms
a message. So the next one is known up to its audio before it comes (`bulk`).
"""

import re
from dataclasses import dataclass

from connectors.media_ws.track import Track

PACKET_CODES = 160
PACKET_MS = 20

AUDIO_CHARS = 4 * -(-PACKET_CODES // 3)
MAX_CHARS = 504
"""Of a message that is foreseen."""

MAX_DIGITS = 10
"""Of a number in it."""

_MAX_LAST = MAX_CHARS - 3 * MAX_DIGITS  # leaves room for its numbers to grow
_MESSAGE = re.compile(
    rb'(.*"sequenceNumber" ?: ?")([1-9][0-9]*)(".*"chunk" ?: ?")([1-9][0-9]*)(".*"timestamp" ?: ?")([0-9]+)'
    rb'(".*"payload" ?: ?")([A-Za-z0-9+/]{%d}==)(".*)' % (AUDIO_CHARS - 2),
    re.DOTALL,
)
_KEYS = (b'"sequenceNumber"', b'"chunk"', b'"timestamp"', b'"payload"')


@dataclass(frozen=True, slots=True)
class Foreseen:
    """The next message of one track. `numbers`: its sequence number, chunk and timestamp, which count on by `steps`;
    `pieces`: the text before each of them, then up to the audio, then audio that may be any, then the rest. `pts`: of
    its audio."""

    track: Track
    pts: int
    pieces: tuple[bytes, bytes, bytes, bytes, bytes, bytes]
    numbers: tuple[int, ...]
    steps: tuple[int, ...]

    @classmethod
    def after(cls, message: bytes, before: bytes, track: Track, sequence_step: int, pts: int) -> "Foreseen | None":
        """`message`, `before`: the last two of this track; None where they do not tell what the next one is like."""
        if any(len(one) > _MAX_LAST or any(one.count(key) != 1 for key in _KEYS) for one in (message, before)):
            return None  # with each key but once the search below takes no more than the message's length
        found, earlier = _MESSAGE.fullmatch(message), _MESSAGE.fullmatch(before)
        if found is None or earlier is None:
            return None
        numbers, former = ([int(match[index]) for index in (2, 4, 6)] for match in (found, earlier))
        steps = tuple(now - then for now, then in zip(numbers, former, strict=True))
        if steps[0] != sequence_step or not 0 <= steps[1] <= sequence_step or steps[2] != PACKET_MS:
            return None
        if str(numbers[2]).encode() != found[6]:
            return None
        following = tuple(now + step for now, step in zip(numbers, steps, strict=True))
        pieces = (found[1], found[3], found[5], found[7], found[8], found[9])
        return cls(track, pts, pieces, following, steps) if max(following) < 10**MAX_DIGITS else None

    def text(self) -> tuple[bytes, list[int], int]:
        """The message, where each number ends in it, and where the audio begins."""
        text, ends = b"", []
        for piece, number in zip(self.pieces[:3], self.numbers, strict=True):
            text += piece + b"%d" % number
            ends.append(len(text))
        text += self.pieces[3]
        return text + self.pieces[4] + self.pieces[5], ends, len(text)
