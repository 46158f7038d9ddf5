"""What the next message of a running stream will be, all but its audio.

The idea
    In a stream in order a media message differs from the one of its track before it in a few numbers, which count on by
    fixed steps, and in its audio, which is always 20 ms and so always as long. Two messages therefore say what the
    third will be: its text with a gap of 216 characters where its audio goes. Whoever compares what came with that text
    (`bulk`) need not parse it: equal bytes mean the same.

The invariant
    A message that equals the foreseen text outside the gap, and has base64 of 160 codes in the gap, is one that the
    dialect's core would take with `receive_next`, as `Packet(track, pts, codes)`. A message that differs is not judged
    here: the core decides. So the text may be too strict, and never too lenient. That is why the core forgets its last
    messages with everything that it takes in another way, and why the tracks must have taken turns: only then is the
    number of the next message of a track as many ahead as there are tracks.

An example
    One track, its last two messages, shortened:

        {"sequenceNumber": "11", "media": {"chunk": "8", "timestamp": "160", "payload": "..."}}
        {"sequenceNumber": "12", "media": {"chunk": "9", "timestamp": "180", "payload": "..."}}

    `numbers` of the second are (12, 9, 180), the `steps` (1, 1, 20), so the next message has (13, 10, 200):

        {"sequenceNumber": "13", "media": {"chunk": "10", "timestamp": "200", "payload": "~~~"}}

    `pieces` are the text before each number, up to the audio, the audio itself and what is behind it. They are of the
    latest message. The text is one character longer than before, as a number has gained a digit. `bulk` goes on from
    here by counting in the bytes of the text.

What cannot be foreseen
    Audio of another size than 160 codes; numbers that begin with zeros or have more than ten digits; messages of more
    than `MAX_CHARS`; a key that stands in a message twice. Each dialect adds what its numbers must do (for Twilio:
    `twilio.template`).

Source: base64 and its padding, RFC 4648, section 4.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from connectors.media_ws.track import Track

PACKET_CODES = 160
PACKET_MS = 20

AUDIO_CHARS = 4 * -(-PACKET_CODES // 3)
AUDIO = rb"[A-Za-z0-9+/]{%d}==" % (AUDIO_CHARS - 2)
"""Of `PACKET_CODES` codes, as a regular expression."""

NUMBERS = 3
"""In a message that is foreseen."""

MAX_CHARS = 504
"""Of a message that is foreseen."""

MAX_DIGITS = 10
"""Of a number in it."""

_MAX_LAST = MAX_CHARS - NUMBERS * MAX_DIGITS  # leaves room for its numbers to grow

RecentMessage = tuple[Track, int, bytes]
"""A message that was taken in order: its track, the pts behind its audio, its text."""


@dataclass(frozen=True, slots=True)
class Foreseen:
    """The next message of one track. `numbers` count on by `steps`; `pieces`: the text before each of them, then up to
    the audio, then audio that may be any, then what is behind it. `pts`: of its audio."""

    track: Track
    pts: int
    pieces: tuple[bytes, bytes, bytes, bytes, bytes, bytes]
    numbers: tuple[int, ...]
    steps: tuple[int, ...]

    def text(self) -> tuple[bytes, list[int], int]:
        """The message, where each number ends in it, and where the audio begins."""
        text, ends = b"", []
        for piece, number in zip(self.pieces[:NUMBERS], self.numbers, strict=True):
            text += piece + b"%d" % number
            ends.append(len(text))
        text += self.pieces[3]
        return text + self.pieces[4] + self.pieces[5], ends, len(text)


@dataclass(frozen=True, slots=True)
class MessageTemplate:
    """The form of a dialect's audio messages. `pattern` is of a whole one; its groups are text and number by turns,
    `NUMBERS` of each, then the text up to the audio, the audio (`AUDIO`) and the text behind it. `keys`: what a message
    has once each; with that the search takes no longer than the message is."""

    pattern: re.Pattern[bytes]
    keys: tuple[bytes, ...]

    def foresee(self, message: bytes, before: bytes, track: Track, pts: int) -> Foreseen | None:
        """`message`, `before`: the last two of this track. None where one of them is not of this form, or a number
        cannot be counted on. Whether the steps are those of a stream in order is for the dialect to say."""
        if any(len(one) > _MAX_LAST or any(one.count(key) != 1 for key in self.keys) for one in (message, before)):
            return None
        found, earlier = self.pattern.fullmatch(message), self.pattern.fullmatch(before)
        if found is None or earlier is None:
            return None
        numbers, former = ([int(match[index]) for index in (2, 4, 6)] for match in (found, earlier))
        if any(b"%d" % number != found[index] for number, index in zip(numbers, (2, 4, 6), strict=True)):
            return None
        steps = tuple(now - then for now, then in zip(numbers, former, strict=True))
        following = tuple(now + step for now, step in zip(numbers, steps, strict=True))
        pieces = (found[1], found[3], found[5], found[7], found[8], found[9])
        return Foreseen(track, pts, pieces, following, steps) if max(following) < 10**MAX_DIGITS else None


def last_two_of_each(recent: Iterable[RecentMessage], tracks: int) -> list[tuple[RecentMessage, RecentMessage]]:
    """The last two messages of each track, in the order of their turns; empty where the tracks did not take turns."""
    last = list(recent)[-2 * tracks :]
    first, second = last[:tracks], last[tracks:]
    in_turns = len(last) == 2 * tracks and len({one[0] for one in last}) == tracks
    return list(zip(first, second, strict=True)) if in_turns and _tracks(first) == _tracks(second) else []


def _tracks(messages: Iterable[RecentMessage]) -> list[Track]:
    return [track for track, _, _ in messages]
