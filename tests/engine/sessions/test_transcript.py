"""Tokens to words: times, confidence, languages, and what has been reported already."""

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
class Reader:
    """A transcript and a reader of what it reports."""

    transcript: Transcript
    words: list[Word] = field(default_factory=list)
    frame: int = 0

    def say(self, *pieces: str, probability: float = 0.9) -> None:
        """Emit pieces, one a frame, all before the reader looks."""
        for piece in pieces:
            self.transcript.add(PIECES.index(piece), self.frame, probability)
            self.frame += 1

    def look(self, *, last: bool = False) -> tuple[int, int] | None:
        """Take what changed: (index of the first word reported, how many)."""
        changed = self.transcript.take(last=last)
        if changed is None:
            return None
        assert changed[0] <= len(self.words)
        self.words[changed[0] :] = changed[1]
        return changed[0], len(changed[1])

    @property
    def text(self) -> str:
        return "".join(" " * word.spaced + word.text for word in self.words).strip()


@pytest.fixture
def reader() -> Reader:
    return Reader(Transcript(VOCABULARY, None))


def test_words_have_the_time_of_their_pieces_and_the_lowest_confidence(reader: Reader) -> None:
    reader.say("▁Hello")
    reader.say("▁wor", probability=0.8)
    reader.say("ld", probability=0.3)
    reader.say(".", probability=0.7)
    reader.look()
    hello, world = reader.words
    assert (hello.text, hello.start, hello.end, hello.confidence) == ("Hello", 0.0, 0.08, 0.9)
    assert (world.text, world.start, world.end, world.confidence) == ("world.", 0.08, 0.32, 0.3)


def test_only_what_changed_is_told(reader: Reader) -> None:
    assert reader.look() is None
    reader.say("▁Hello", "▁wor")
    assert reader.look() == (0, 2)
    assert reader.look() is None
    reader.say("ld")
    assert reader.look() == (1, 1)
    assert reader.text == "Hello world"


def test_a_tag_is_no_word_and_gives_the_words_before_it_their_language(reader: Reader) -> None:
    reader.say("▁Hola", ".")
    reader.look()
    assert not any(word.language or word.language_source for word in reader.words)
    reader.say("<es-US>")
    assert reader.look() == (0, 1)
    assert (reader.words[0].language, reader.words[0].language_source) == ("es-US", DETECTED)
    reader.say("▁Hello", "▁wor")
    reader.look()
    assert [(w.language, w.language_source) for w in reader.words[1:]] == [("es-US", CARRIED)] * 2
    reader.say("ld", ".", "<en-US>")
    assert reader.look() == (1, 2)
    assert [(w.language, w.language_source) for w in reader.words] == [
        ("es-US", DETECTED),
        ("en-US", DETECTED),
        ("en-US", DETECTED),
    ]
    assert reader.text == "Hola. Hello world."


def test_a_configured_language_stands_until_a_tag_says_otherwise() -> None:
    reader = Reader(Transcript(VOCABULARY, "es-US"))
    reader.say("▁Hello", ".")
    reader.look()
    assert (reader.words[0].language, reader.words[0].language_source) == ("es-US", CONFIGURED)
    reader.say("<en-US>")
    reader.look()
    assert (reader.words[0].language, reader.words[0].language_source) == ("en-US", DETECTED)
    reader.say("▁Hola")
    reader.look()
    assert (reader.words[1].language, reader.words[1].language_source) == ("es-US", CONFIGURED)


@pytest.mark.parametrize("tags", [("<en-US>",), ("<en-US>", "<es-US>", "<en-US>")])
def test_tags_without_words_say_nothing(reader: Reader, tags: tuple[str, ...]) -> None:
    reader.say(*tags)
    assert reader.look() is None
    reader.say("▁Hello")
    reader.look()
    assert (reader.words[0].language, reader.words[0].language_source) == ("en-US", CARRIED)


def test_unspaced_scripts_make_a_word_a_character(reader: Reader) -> None:
    reader.say("▁Hello", "世", "界", ".")
    reader.look()
    assert [(word.text, word.spaced) for word in reader.words] == [("Hello", True), ("世", False), ("界.", False)]


def test_bytes_join_the_word_they_stand_in(reader: Reader) -> None:
    reader.say("▁", "a", "<0xC3>", "<0xB1>", "a")
    reader.look()
    assert reader.text == "aña"


def test_a_fork_goes_its_own_way(reader: Reader) -> None:
    reader.say("▁Hello", "▁wor")
    reader.look()
    twin = Reader(reader.transcript.clone(), list(reader.words), reader.frame)
    twin.say("ld", "<es-US>")
    twin.look()
    reader.say(".", "<en-US>")
    reader.look()
    assert (twin.text, twin.words[0].language) == ("Hello world", "es-US")
    assert (reader.text, reader.words[0].language) == ("Hello wor.", "en-US")


def test_the_words_kept_open_are_bounded_when_no_tag_comes(reader: Reader) -> None:
    for _ in range(5_000):
        reader.say("▁Hello")
        reader.look()
    assert len(reader.words) == reader.transcript.words == 5_000
    assert len(reader.transcript._tail) < 600
    reader.say("<en-US>")
    first, count = reader.look() or (0, 0)
    assert first + count == 5_000
    assert 0 < count < 600


def test_a_word_that_no_space_ends_is_cut_and_reads_on(reader: Reader) -> None:
    reader.say("▁Hello")
    for _ in range(5_000):
        reader.say("ld")
        reader.look()
    reader.say(".")
    reader.look()
    assert reader.text == "Hello" + 5_000 * "ld" + "."
    assert max(len(word.tokens) for word in reader.transcript._tail) <= 64
    assert len(reader.transcript._tail) < 600
    assert [word.spaced for word in reader.words[:3]] == [True, False, False]


def test_punctuation_right_after_a_cut_is_kept(reader: Reader) -> None:
    reader.say("▁Hello", *["ld"] * 63)
    reader.say(".")
    reader.look()
    assert reader.text == "Hello" + 63 * "ld" + "."


def test_a_character_in_bytes_is_not_cut(reader: Reader) -> None:
    reader.say("▁", *["a"] * 63, "<0xC3>", "<0xB1>", "a")
    reader.look()
    assert reader.text == 63 * "a" + "ña"
    for _ in range(5_000):
        reader.say("<0xC3>")
        reader.look()
    assert max(len(word.tokens) for word in reader.transcript._tail) <= 128


# Words that are written again ----------------------------------------------------------------------------------------


def rewritten(after: int, language: str, *pieces: tuple[str, int]) -> Rewrite:
    return Rewrite(after, language, tuple(TimedToken(PIECES.index(piece), frame, 0.5) for piece, frame in pieces))


def test_a_rewrite_replaces_the_words_after_its_frame_and_tells_them(reader: Reader) -> None:
    reader.transcript.unsettled_after = -1
    reader.say("▁Hola", ".", "<es-US>")
    reader.transcript.unsettled_after = 2
    reader.look()
    reader.say("▁wor", ",", "a", "<es-US>", "▁wor")
    reader.look()
    assert reader.text == "Hola. wor,a wor"
    reader.transcript.rewrite(rewritten(2, "es-US", ("▁Hello", 3), (".", 5), ("<en-US>", 6), ("▁wor", 8)))
    assert reader.look() == (1, 2)
    assert reader.text == "Hola. Hello. wor"
    assert [(w.language, w.language_source) for w in reader.words] == [
        ("es-US", DETECTED),
        ("en-US", DETECTED),
        ("en-US", CARRIED),
    ]
    assert reader.words[1].start == pytest.approx(0.24)


def test_words_before_a_rewrite_have_the_language_that_was_locked(reader: Reader) -> None:
    reader.transcript.unsettled_after = -1
    reader.say("▁Hola", ".")
    reader.look()
    reader.transcript.rewrite(rewritten(1, "es-US", ("▁Hello", 3), ("<en-US>", 6)))
    assert reader.look() == (0, 2)
    assert [(w.language, w.language_source) for w in reader.words] == [("es-US", DETECTED), ("en-US", DETECTED)]


def test_a_rewrite_with_fewer_words_takes_the_others_back(reader: Reader) -> None:
    reader.transcript.unsettled_after = -1
    reader.say("▁Hello", "▁wor", "▁wor")
    reader.look()
    reader.transcript.rewrite(rewritten(-1, "en-US", ("▁Hola", 1), ("<es-US>", 2)))
    reader.look()
    assert reader.text == "Hola"
    assert reader.transcript.words == 1


def test_what_may_be_rewritten_is_kept_but_bounded(reader: Reader) -> None:
    reader.transcript.unsettled_after = -1
    for _ in range(3_000):
        reader.say("▁Hello", "<en-US>")
        reader.look()
    assert len(reader.words) == 3_000
    assert len(reader.transcript._tail) < 600


# What a final reported before the session itself came to it -----------------------------------------------------------


def report_ahead(reader: Reader, *pieces: str) -> None:
    """A flushed clone takes pieces and reports; the session will be there later."""
    twin = reader.transcript.clone()
    for offset, piece in enumerate(pieces):
        twin.add(PIECES.index(piece), reader.frame + offset, 0.9)
    first, words = twin.take(last=True) or (twin.words, ())
    reader.words[first:] = words
    reader.transcript.expect([(PIECES.index(piece), reader.frame + offset) for offset, piece in enumerate(pieces)])


def test_what_was_foretold_is_not_told_again(reader: Reader) -> None:
    reader.say("▁Hello")
    reader.look()
    report_ahead(reader, "▁wor", "ld", ".", "<en-US>")
    assert reader.text == "Hello world."
    reader.say("▁wor", "ld", ".", "<en-US>")
    assert reader.look() is None
    reader.say("▁Hola")
    assert reader.look() == (2, 1)
    assert reader.text == "Hello world. Hola"


def test_a_foretold_token_at_another_time_is_corrected(reader: Reader) -> None:
    reader.say("▁Hello")
    reader.look()
    report_ahead(reader, "▁wor", "ld")
    reader.frame += 1
    reader.say("▁wor", "ld")
    reader.look()
    assert reader.text == "Hello world"
    assert reader.words[1].start == pytest.approx(0.16)


def test_what_was_foretold_in_vain_is_taken_back(reader: Reader) -> None:
    reader.say("▁Hello")
    reader.look()
    report_ahead(reader, ".", "<en-US>")
    assert reader.text == "Hello."
    reader.say("▁wor", "ld")
    reader.look()
    assert reader.text == "Hello world"
    assert reader.words[0].language is None


def test_at_the_end_what_was_foretold_and_never_came_is_taken_back(reader: Reader) -> None:
    reader.say("▁Hello")
    reader.look()
    report_ahead(reader, "ld", "▁wor")
    assert reader.text == "Hellold wor"
    reader.look(last=True)
    assert reader.text == "Hello"


def test_a_rewrite_that_was_foretold_is_not_told_again(reader: Reader) -> None:
    reader.transcript.unsettled_after = -1
    reader.say("▁Hola", "<es-US>", "▁wor")
    reader.transcript.unsettled_after = 1
    reader.look()
    rewrite = rewritten(1, "es-US", ("▁Hello", 2), ("<en-US>", 4))
    twin = reader.transcript.clone()
    twin.add(PIECES.index("ld"), 3, 0.9)
    twin.rewrite(rewrite)
    first, words = twin.take(last=True) or (0, ())
    reader.words[first:] = words
    assert reader.text == "Hola Hello"
    reader.transcript.expect([(PIECES.index("ld"), 3), rewrite])
    reader.say("ld")
    assert reader.look() is None
    reader.transcript.rewrite(rewrite)
    assert reader.look() is None
    reader.frame = 9
    reader.say("▁Hola")
    assert reader.look() == (2, 1)
    assert reader.text == "Hola Hello Hola"


def test_a_foretold_rewrite_that_does_not_come_is_taken_back(reader: Reader) -> None:
    reader.transcript.unsettled_after = -1
    reader.say("▁Hola", "<es-US>", "▁wor")
    reader.transcript.unsettled_after = 1
    reader.look()
    rewrite = rewritten(1, "es-US", ("▁Hello", 2), ("<en-US>", 4))
    twin = reader.transcript.clone()
    twin.rewrite(rewrite)
    first, words = twin.take(last=True) or (0, ())
    reader.words[first:] = words
    reader.transcript.expect([rewrite])
    reader.say("ld")
    reader.look()
    assert reader.text == "Hola world"
    assert reader.words[1].language_source is CARRIED
