"""Sequence numbers that were there already: messages sent twice, or a sender that counts anew.

Sits beside the reordering window. Copies of Twilio's protocol begin again at 0 or 1 in the middle of a socket, when
they reconnect to their own source, or they always say the same number. A WebSocket brings everything once and in
order, so a number that was there says little by itself. Audio whose timestamp lies after what was received of its
track is new, which the core sees; where timestamps begin anew, too, it takes a run of messages to be sure.
"""

from typing import Generic, TypeVar

T = TypeVar("T")

CONFIRMED_BY = 2
"""Messages in a row that count on from the first number of the stream are a new beginning."""

FAR_BEHIND = 8
"""Only this far behind the number that is due: the first messages of a stream may just have been sent twice."""

HOPELESS = 50
"""So many messages in a row with numbers that were there, a second of one track: numbers are not looked at any more."""


class OldNumbers(Generic[T]):
    """`first`: the highest number with which the sender may begin again. `streak`: messages in a row."""

    def __init__(self, first: int) -> None:
        self.streak = 0
        self._first = first
        self._run: list[tuple[int, T]] = []

    def begin(self, first: int) -> None:
        """Numbers begin at another `first`."""
        self.over()
        self._first = first

    @property
    def hopeless(self) -> bool:
        return self.streak >= HOPELESS

    def over(self) -> None:
        """A message came that was due."""
        self._run.clear()
        self.streak = 0

    def add(self, seq: int, item: T, due: int) -> list[tuple[int, T]]:
        """A message with a number below the one that is `due`. Returns the messages of a new beginning, in order; none
        while there is no certainty, and the message counts as a duplicate until then."""
        self.streak += 1
        if self._run and seq != self._run[-1][0] + 1:
            self._run.clear()
        begins = seq <= self._first and due - seq >= FAR_BEHIND
        if self._run or begins:
            self._run.append((seq, item))
        if len(self._run) < CONFIRMED_BY:
            return []
        anew = list(self._run)
        self.over()
        return anew
