"""The dialogue as a state machine of text, without I/O: what was said goes in, what is to be said comes out.

The idea
    The order number has a known length. While it is incomplete the bot has nothing to say, whatever pauses the caller
    makes, so it cuts nobody off; only a long silence makes it speak. What is complete is read back and confirmed.

The invariants
    1. Nothing is confirmed but a number of full length that was read back as it is confirmed.
    2. After a reply that hangs up nothing more is said.
"""

from dataclasses import dataclass
from enum import Enum

from trunkline_bot.phrases import DEFAULT, PHRASES, Phrases, spoken_locale
from trunkline_bot.understanding import agrees, digits, interrupts

PATIENCE_S = 6.0
"""The caller may be silent for so long before the bot asks again."""

DICTATION_PATIENCE_S = 4.0
"""As above, in the middle of a number."""

MOST_SILENCES = 3
"""In a row; with the last the bot gives up."""

YES_KEY, NO_KEY, CLEAR_KEY = "1", "2", "*"


class State(Enum):
    NUMBER = "number"
    CONFIRM = "confirm"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Reply:
    """`sentences` to be said in `language`, none: the bot waits. `patience_s`: how long, from their end, it waits for
    the caller. `hangs_up`: after them the call is over."""

    sentences: tuple[str, ...]
    language: str
    patience_s: float = PATIENCE_S
    hangs_up: bool = False


class Dialogue:
    """With one caller. `length`: of an order number, in digits. `order`: the number that was confirmed; None before."""

    def __init__(self, length: int = 8, language: str = DEFAULT) -> None:
        self.language = language
        self.state = State.NUMBER
        self.order: str | None = None
        self._length = length
        self._digits = ""
        self._silences = 0

    @property
    def phrases(self) -> Phrases:
        return PHRASES[self.language]

    def begin(self) -> Reply:
        """The caller is there."""
        return self._say(self.phrases.greeting, self.phrases.question)

    def heard(self, text: str, language: str | None = None) -> Reply:
        """What the caller said in a turn. `language`: its tag in the records; the bot goes on in it if it can."""
        self.language = spoken_locale(language) or self.language
        self._silences = 0
        if self.state is State.OVER:
            return self._wait()
        answer, found = agrees(text, self.phrases), digits(text, self.phrases)
        if self.state is State.CONFIRM and not found:
            if answer is None:
                return self._read_back()
            return self._finish() if answer else self._ask_anew()
        if self.state is State.CONFIRM or answer is False:
            self._digits, self.state = "", State.NUMBER
        if found:
            return self._add(found)
        if answer is not False and (self._digits or not interrupts(text, self.phrases)):
            return self._wait()
        return self._say(self.phrases.question)

    def pressed(self, key: str) -> Reply:
        """A key of the telephone: digits of the number, `*` begins it anew; then 1 is yes, 2 is no."""
        self._silences = 0
        if self.state is State.OVER:
            return self._wait()
        if key == CLEAR_KEY:
            return self._ask_anew()
        if self.state is State.CONFIRM:
            if key == YES_KEY:
                return self._finish()
            return self._ask_anew() if key == NO_KEY else self._read_back()
        return self._add(key) if key.isascii() and key.isdecimal() else self._wait()

    def silent(self) -> Reply:
        """The caller has said nothing for as long as the last reply had patience."""
        self._silences += 1
        if self.state is State.OVER:
            return self._wait()
        if self._silences >= MOST_SILENCES:
            return self._hang_up(self.phrases.goodbye)
        if self.state is State.CONFIRM:
            return self._read_back()
        if self._digits:
            return self._say(self.phrases.rest.format(digits=" ".join(self._digits)), patience_s=DICTATION_PATIENCE_S)
        return self._say(self.phrases.question)

    def _add(self, found: str) -> Reply:
        """More digits; where they are too many with those before, the number is being said anew."""
        whole = self._digits + found
        self._digits, self.state = whole if len(whole) <= self._length else found, State.NUMBER
        if len(self._digits) < self._length:
            return self._wait()
        if len(self._digits) > self._length:
            return self._ask_anew()
        self.state = State.CONFIRM
        return self._read_back()

    def _read_back(self) -> Reply:
        return self._say(self.phrases.read_back.format(digits=" ".join(self._digits)), self.phrases.confirm)

    def _ask_anew(self) -> Reply:
        self._digits, self.state = "", State.NUMBER
        return self._say(self.phrases.question)

    def _finish(self) -> Reply:
        self.order = self._digits
        return self._hang_up(self.phrases.done, self.phrases.goodbye)

    def _hang_up(self, *sentences: str) -> Reply:
        self.state = State.OVER
        return Reply(sentences, self.language, hangs_up=True)

    def _say(self, *sentences: str, patience_s: float = PATIENCE_S) -> Reply:
        return Reply(sentences, self.language, patience_s)

    def _wait(self) -> Reply:
        return Reply((), self.language, DICTATION_PATIENCE_S if self._digits else PATIENCE_S)
