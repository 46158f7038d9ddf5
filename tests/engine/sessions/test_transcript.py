"""Tokens to words: times, confidence, languages, and what has been told already."""

from dataclasses import dataclass, field

import pytest

from engine.api import LanguageSource, Word
from engine.checkpoint.tokenizer import Tokenizer
from engine.sessions.language_lock import Rewrite, TimedToken
from engine.sessions.transcript import Transcript

PIECES = [
    "<unk>",
    "<en-US>",
    "<es-US>",
    "▁Hello",
    "▁wor",
    "ld",
    ".",
    "▁Hola",
    ",",
    "▁",
    "a",
    "世",
    "界",
    "<0xC3>",
    "<0xB1>",
]
VOCABULARY = Tokenizer(PIECES, frozenset({0}))
DETECTED, CARRIED, CONFIGURED = LanguageSource.DETECTED, LanguageSource.CARRIED, LanguageSource.CONFIGURED


@dataclass
class Told:
    """A transcript and a reader of its news."""

    transcript: Transcript
    words: list[Word] = field(default_factory=list)
    frame: int = 0

    def say(self, *pieces: str, probability: float = 0.9) -> None:
        """Emit pieces, one a frame, all before the reader looks."""
        for piece in pieces:
            self.transcript.add(PIECES.index(piece), self.frame, probability)
            self.frame += 1

    def look(self, *, last: bool = False) -> tuple[int, int] | None:
        """Take the news: (index of the first word told, how many)."""
        news = self.transcript.take(last=last)
        if news is None:
            return None
        assert news[0] <= len(self.words)
        self.words[news[0] :] = news[1]
        return news[0], len(news[1])

    @property
    def text(self) -> str:
        return "".join(" " * word.spaced + word.text for word in self.words).strip()


@pytest.fixture
def told() -> Told:
    return Told(Transcript(VOCABULARY, None))


def test_words_have_the_time_of_their_pieces_and_the_lowest_confidence(told: Told) -> None:
    told.say("▁Hello")
    told.say("▁wor", probability=0.8)
    told.say("ld", probability=0.3)
    told.say(".", probability=0.7)
    told.look()
    hello, world = told.words
    assert (hello.text, hello.start, hello.end, hello.confidence) == ("Hello", 0.0, 0.08, 0.9)
    assert (world.text, world.start, world.end, world.confidence) == ("world.", 0.08, 0.32, 0.3)


def test_only_what_changed_is_told(told: Told) -> None:
    assert told.look() is None
    told.say("▁Hello", "▁wor")
    assert told.look() == (0, 2)
    assert told.look() is None
    told.say("ld")
    assert told.look() == (1, 1)
    assert told.text == "Hello world"


def test_a_tag_is_no_word_and_gives_the_words_before_it_their_language(told: Told) -> None:
    told.say("▁Hola", ".")
    told.look()
    assert not any(word.language or word.language_source for word in told.words)
    told.say("<es-US>")
    assert told.look() == (0, 1)
    assert (told.words[0].language, told.words[0].language_source) == ("es-US", DETECTED)
    told.say("▁Hello", "▁wor")
    told.look()
    assert [(w.language, w.language_source) for w in told.words[1:]] == [("es-US", CARRIED)] * 2
    told.say("ld", ".", "<en-US>")
    assert told.look() == (1, 2)
    assert [(w.language, w.language_source) for w in told.words] == [
        ("es-US", DETECTED),
        ("en-US", DETECTED),
        ("en-US", DETECTED),
    ]
    assert told.text == "Hola. Hello world."


def test_a_configured_language_stands_until_a_tag_says_otherwise() -> None:
    told = Told(Transcript(VOCABULARY, "es-US"))
    told.say("▁Hello", ".")
    told.look()
    assert (told.words[0].language, told.words[0].language_source) == ("es-US", CONFIGURED)
    told.say("<en-US>")
    told.look()
    assert (told.words[0].language, told.words[0].language_source) == ("en-US", DETECTED)
    told.say("▁Hola")
    told.look()
    assert (told.words[1].language, told.words[1].language_source) == ("es-US", CONFIGURED)


@pytest.mark.parametrize("tags", [("<en-US>",), ("<en-US>", "<es-US>", "<en-US>")])
def test_tags_without_words_say_nothing(told: Told, tags: tuple[str, ...]) -> None:
    told.say(*tags)
    assert told.look() is None
    told.say("▁Hello")
    told.look()
    assert (told.words[0].language, told.words[0].language_source) == ("en-US", CARRIED)


def test_unspaced_scripts_make_a_word_a_character(told: Told) -> None:
    told.say("▁Hello", "世", "界", ".")
    told.look()
    assert [(word.text, word.spaced) for word in told.words] == [("Hello", True), ("世", False), ("界.", False)]


def test_bytes_join_the_word_they_stand_in(told: Told) -> None:
    told.say("▁", "a", "<0xC3>", "<0xB1>", "a")
    told.look()
    assert told.text == "aña"


def test_a_fork_goes_its_own_way(told: Told) -> None:
    told.say("▁Hello", "▁wor")
    told.look()
    twin = Told(told.transcript.clone(), list(told.words), told.frame)
    twin.say("ld", "<es-US>")
    twin.look()
    told.say(".", "<en-US>")
    told.look()
    assert (twin.text, twin.words[0].language) == ("Hello world", "es-US")
    assert (told.text, told.words[0].language) == ("Hello wor.", "en-US")


def test_the_words_kept_open_are_bounded_when_no_tag_comes(told: Told) -> None:
    for _ in range(5_000):
        told.say("▁Hello")
        told.look()
    assert len(told.words) == told.transcript.words == 5_000
    assert len(told.transcript._tail) < 600
    told.say("<en-US>")
    first, count = told.look() or (0, 0)
    assert first + count == 5_000
    assert 0 < count < 600


def test_a_word_that_no_space_ends_is_cut_and_reads_on(told: Told) -> None:
    told.say("▁Hello")
    for _ in range(5_000):
        told.say("ld")
        told.look()
    told.say(".")
    told.look()
    assert told.text == "Hello" + 5_000 * "ld" + "."
    assert max(len(word.tokens) for word in told.transcript._tail) <= 64
    assert len(told.transcript._tail) < 600
    assert [word.spaced for word in told.words[:3]] == [True, False, False]


def test_punctuation_right_after_a_cut_is_kept(told: Told) -> None:
    told.say("▁Hello", *["ld"] * 63)
    told.say(".")
    told.look()
    assert told.text == "Hello" + 63 * "ld" + "."


def test_a_character_in_bytes_is_not_cut(told: Told) -> None:
    told.say("▁", *["a"] * 63, "<0xC3>", "<0xB1>", "a")
    told.look()
    assert told.text == 63 * "a" + "ña"
    for _ in range(5_000):
        told.say("<0xC3>")
        told.look()
    assert max(len(word.tokens) for word in told.transcript._tail) <= 128


# Words that are written again ----------------------------------------------------------------------------------------


def rewritten(after: int, language: str, *pieces: tuple[str, int]) -> Rewrite:
    return Rewrite(after, language, tuple(TimedToken(PIECES.index(piece), frame, 0.5) for piece, frame in pieces))


def test_a_rewrite_replaces_the_words_after_its_frame_and_tells_them(told: Told) -> None:
    told.transcript.unsettled_after = -1
    told.say("▁Hola", ".", "<es-US>")
    told.transcript.unsettled_after = 2
    told.look()
    told.say("▁wor", ",", "a", "<es-US>", "▁wor")
    told.look()
    assert told.text == "Hola. wor,a wor"
    told.transcript.rewrite(rewritten(2, "es-US", ("▁Hello", 3), (".", 5), ("<en-US>", 6), ("▁wor", 8)))
    assert told.look() == (1, 2)
    assert told.text == "Hola. Hello. wor"
    assert [(w.language, w.language_source) for w in told.words] == [
        ("es-US", DETECTED),
        ("en-US", DETECTED),
        ("en-US", CARRIED),
    ]
    assert told.words[1].start == pytest.approx(0.24)


def test_words_before_a_rewrite_have_the_language_that_was_locked(told: Told) -> None:
    told.transcript.unsettled_after = -1
    told.say("▁Hola", ".")
    told.look()
    told.transcript.rewrite(rewritten(1, "es-US", ("▁Hello", 3), ("<en-US>", 6)))
    assert told.look() == (0, 2)
    assert [(w.language, w.language_source) for w in told.words] == [("es-US", DETECTED), ("en-US", DETECTED)]


def test_a_rewrite_with_fewer_words_takes_the_others_back(told: Told) -> None:
    told.transcript.unsettled_after = -1
    told.say("▁Hello", "▁wor", "▁wor")
    told.look()
    told.transcript.rewrite(rewritten(-1, "en-US", ("▁Hola", 1), ("<es-US>", 2)))
    told.look()
    assert told.text == "Hola"
    assert told.transcript.words == 1


def test_what_may_be_rewritten_is_kept_but_bounded(told: Told) -> None:
    told.transcript.unsettled_after = -1
    for _ in range(3_000):
        told.say("▁Hello", "<en-US>")
        told.look()
    assert len(told.words) == 3_000
    assert len(told.transcript._tail) < 600


# What a final told before the session itself came to it --------------------------------------------------------------


def foretell(told: Told, *pieces: str) -> None:
    """A flushed clone emits pieces and tells; the session will be there later."""
    twin = told.transcript.clone()
    for offset, piece in enumerate(pieces):
        twin.add(PIECES.index(piece), told.frame + offset, 0.9)
    first, words = twin.take(last=True) or (twin.words, ())
    told.words[first:] = words
    told.transcript.expect([(PIECES.index(piece), told.frame + offset) for offset, piece in enumerate(pieces)])


def test_what_was_foretold_is_not_told_again(told: Told) -> None:
    told.say("▁Hello")
    told.look()
    foretell(told, "▁wor", "ld", ".", "<en-US>")
    assert told.text == "Hello world."
    told.say("▁wor", "ld", ".", "<en-US>")
    assert told.look() is None
    told.say("▁Hola")
    assert told.look() == (2, 1)
    assert told.text == "Hello world. Hola"


def test_a_foretold_token_at_another_time_is_corrected(told: Told) -> None:
    told.say("▁Hello")
    told.look()
    foretell(told, "▁wor", "ld")
    told.frame += 1
    told.say("▁wor", "ld")
    told.look()
    assert told.text == "Hello world"
    assert told.words[1].start == pytest.approx(0.16)


def test_what_was_foretold_in_vain_is_taken_back(told: Told) -> None:
    told.say("▁Hello")
    told.look()
    foretell(told, ".", "<en-US>")
    assert told.text == "Hello."
    told.say("▁wor", "ld")
    told.look()
    assert told.text == "Hello world"
    assert told.words[0].language is None


def test_at_the_end_what_was_foretold_and_never_came_is_taken_back(told: Told) -> None:
    told.say("▁Hello")
    told.look()
    foretell(told, "ld", "▁wor")
    assert told.text == "Hellold wor"
    told.look(last=True)
    assert told.text == "Hello"


def test_a_rewrite_that_was_foretold_is_not_told_again(told: Told) -> None:
    told.transcript.unsettled_after = -1
    told.say("▁Hola", "<es-US>", "▁wor")
    told.transcript.unsettled_after = 1
    told.look()
    rewrite = rewritten(1, "es-US", ("▁Hello", 2), ("<en-US>", 4))
    twin = told.transcript.clone()
    twin.add(PIECES.index("ld"), 3, 0.9)
    twin.rewrite(rewrite)
    first, words = twin.take(last=True) or (0, ())
    told.words[first:] = words
    assert told.text == "Hola Hello"
    told.transcript.expect([(PIECES.index("ld"), 3), rewrite])
    told.say("ld")
    assert told.look() is None
    told.transcript.rewrite(rewrite)
    assert told.look() is None
    told.frame = 9
    told.say("▁Hola")
    assert told.look() == (2, 1)
    assert told.text == "Hola Hello Hola"


def test_a_foretold_rewrite_that_does_not_come_is_taken_back(told: Told) -> None:
    told.transcript.unsettled_after = -1
    told.say("▁Hola", "<es-US>", "▁wor")
    told.transcript.unsettled_after = 1
    told.look()
    rewrite = rewritten(1, "es-US", ("▁Hello", 2), ("<en-US>", 4))
    twin = told.transcript.clone()
    twin.rewrite(rewrite)
    first, words = twin.take(last=True) or (0, ())
    told.words[first:] = words
    told.transcript.expect([rewrite])
    told.say("ld")
    told.look()
    assert told.text == "Hola world"
    assert told.words[1].language_source is CARRIED
