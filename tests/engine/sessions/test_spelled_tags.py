"""Language tags that the vocabulary has no piece for: never shown, in no part, as good as those that are one."""

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api import AUTO, LanguageSource, Session, Word
from engine.checkpoint.find import load_checkpoint
from engine.checkpoint.tokenizer import PieceKind, Tokenizer
from engine.sessions.detokenizer import Detokenizer
from engine.sessions.language_lock import LanguageLock, Move, Rewrite, SpelledTags, TimedToken
from engine.sessions.languages import Languages
from engine.sessions.stream import Stream
from engine.sessions.transcript import Transcript

CHARACTERS = [*"<>-_|/. ", *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", "ż", "世", "か"]
PIECES = [
    *("<unk>", "▁", "▁Hello", "▁<", "<mt", "-MT", ">", ".<", "T>▁Hu", "<en-US>", "▁wor", "ld", ".", "<0x3C>", "<0xC5>"),
    *("<0xBC>", "mt-MT", *CHARACTERS),
]
VOCABULARY = Tokenizer(PIECES, frozenset({0}))
DETECTED, CARRIED, CONFIGURED = LanguageSource.DETECTED, LanguageSource.CARRIED, LanguageSource.CONFIGURED


class Reader:
    """A transcript, and what its reader has seen of it at every look."""

    def __init__(self, configured: str | None = None) -> None:
        self.transcript = Transcript(VOCABULARY, configured)
        self.words: list[Word] = []
        self.seen: list[str] = []
        self.frame = 0

    def say(self, *pieces: str) -> "Reader":
        """Pieces, one a step."""
        for piece in pieces:
            self.transcript.add(PIECES.index(piece), self.frame, 0.9)
            self.frame += 1
            self.look()
        return self

    def look(self, *, last: bool = False) -> None:
        changed = self.transcript.take(last=last)
        if changed is not None:
            self.words[changed[0] :] = changed[1]
        self.seen.append(text_of(self.words))

    @property
    def text(self) -> str:
        return text_of(self.words)


def text_of(words: Sequence[Word]) -> str:
    return "".join(" " * word.spaced + word.text for word in words).strip()


SPELLINGS = {
    "characters": list("<mt-MT>"),
    "pieces": ["<mt", "-MT", ">"],
    "after a space": ["▁<", *"mt-MT>"],
    "a space of its own": ["▁", *"<mt-MT>"],
    "a byte": ["<0x3C>", *"mt-MT>"],
    "brackets unknown": ["<unk>", "mt-MT", "<unk>"],
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_a_spelled_tag_is_never_shown_and_gives_the_words_before_it_their_language(spelling: list[str]) -> None:
    reader = Reader().say("▁Hello", "▁wor", "ld", ".", *spelling)
    assert reader.seen[3:] == ["Hello world."] * (1 + len(spelling))
    assert [(word.language, word.language_source) for word in reader.words] == [("mt-MT", DETECTED)] * 2
    reader.say("▁Hello")
    assert reader.text == "Hello world. Hello"
    assert (reader.words[2].language, reader.words[2].language_source) == ("mt-MT", CARRIED)


def test_all_pieces_of_a_tag_in_one_step_are_as_good_as_one_a_step() -> None:
    reader = Reader()
    for frame, piece in enumerate(("▁Hello", *"<mt-MT>", "▁wor")):
        reader.transcript.add(PIECES.index(piece), frame, 0.9)
    reader.look()
    assert reader.text == "Hello wor"
    assert [word.language_source for word in reader.words] == [DETECTED, CARRIED]


def test_a_misspelled_tag_names_the_dictionarys_locale() -> None:
    reader = Reader().say("▁Hello", *"<sl-SL>")
    assert [(word.text, word.language) for word in reader.words] == [("Hello", "sl-SI")]


def test_the_misspelled_tag_as_one_piece_names_it_too() -> None:
    tokenizer = Tokenizer(["▁Hello", "<sl-SL>", "<zh-ZH>"])
    assert [piece.kind for piece in tokenizer.pieces[1:]] == [PieceKind.TAG] * 2
    assert tokenizer.tags == {"sl-SI", "zh-CN"}


def test_a_tag_after_a_configured_language_says_otherwise() -> None:
    reader = Reader("es-US").say("▁Hello", *"<mt-MT>", "▁wor")
    assert [(w.language, w.language_source) for w in reader.words] == [("mt-MT", DETECTED), ("es-US", CONFIGURED)]


def test_text_in_the_piece_of_a_bracket_is_kept() -> None:
    reader = Reader().say("▁Hello", ".<", "mt-MT"[:1], *"t-M", "T>▁Hu")
    assert reader.text == "Hello. Hu"
    assert [word.language_source for word in reader.words] == [DETECTED, CARRIED]


@pytest.mark.parametrize("length", range(1, len("<mt-MT>")))
def test_a_stream_that_ends_in_a_tag_shows_no_part_of_it(length: int) -> None:
    reader = Reader().say("▁Hello", ".", *"<mt-MT>"[:length])
    reader.look(last=True)
    assert set(reader.seen) == {"Hello", "Hello."}
    assert reader.words[0].language_source is None


@pytest.mark.parametrize("symbol", ["<unk>", "<pad>", "<s>", "</s>", "<blank>", "<|endoftext|>", "<xx-YY>", "<auto>"])
def test_symbols_that_are_spelled_out_are_never_shown(symbol: str) -> None:
    reader = Reader().say("▁Hello", *symbol, ".", "▁wor")
    assert not any("<" in text for text in reader.seen)
    assert reader.text.replace(".", "") == "Hello wor"


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["▁", "a", "▁<", "▁", "b"], "a < b"),
        (["▁", "a", "<", "b", "▁", "b"], "a<b b"),
        (["▁", "a", "▁<", "3"], "a <3"),
        (["▁<", "<", "3"], "<<3"),
        (["▁", *"x<es", "t", "."], "x<est."),
        (["▁", *"x<mt-MT", "▁", "b"], "x<mt-MT b"),
        (["▁", *"i<html>"], "i<html>"),
        (["▁", "a", "<unk>", "b", "▁", "c"], "ab c"),
        (["▁", *"a<mt-", "<0xC5>", "<0xBC>"], "a<mt-ż"),
    ],
)
def test_what_does_not_become_a_tag_is_text(pieces: list[str], text: str) -> None:
    assert Reader().say(*pieces).text == text


def test_held_text_keeps_its_times_and_confidence() -> None:
    reader = Reader().say("▁", "a", "▁<", "▁", "b")
    assert [(word.text, word.start) for word in reader.words] == [("a", 0.08), ("<", 0.16), ("b", 0.32)]


def test_a_final_in_the_middle_of_a_tag_shows_no_part_and_the_stream_goes_on_in_it() -> None:
    reader = Reader().say("▁Hello", *"<mt")
    twin = reader.transcript.clone()
    for offset, piece in enumerate("-M"):
        twin.add(PIECES.index(piece), reader.frame + offset, 0.9)
    assert twin.take(last=True) is None
    reader.transcript.expect([(PIECES.index(piece), reader.frame + offset) for offset, piece in enumerate("-M")])
    reader.say(*"-MT>", "▁wor")
    assert set(reader.seen) == {"Hello", "Hello wor"}
    assert [word.language_source for word in reader.words] == [DETECTED, CARRIED]


@pytest.mark.parametrize("tag", ["<mt-MT>", "<en-US>"])
def test_a_language_that_a_final_told_in_vain_is_taken_back_from_all_its_words(tag: str) -> None:
    reader = Reader().say("▁Hello", "▁wor")
    spelled = [tag] if tag in PIECES else list(tag)
    twin, steps = reader.transcript.clone(), []
    for offset, piece in enumerate(spelled):
        steps.append((PIECES.index(piece), reader.frame + offset))
        twin.add(*steps[-1], 0.9)
    first, words = twin.take(last=True) or (0, ())
    reader.words[first:] = words
    assert [word.language_source for word in reader.words] == [DETECTED] * 2
    reader.transcript.expect(steps)
    reader.say("ld")
    assert [(word.text, word.language) for word in reader.words] == [("Hello", None), ("world", None)]


def test_text_that_a_final_gave_up_comes_when_it_is_no_tag() -> None:
    reader = Reader().say("▁", "a", "▁<")
    assert reader.transcript.clone().take(last=True) is None
    reader.transcript.expect([])
    reader.say("▁", "b")
    assert reader.text == "a < b"


def test_a_rewrite_forgets_what_was_held_and_reads_the_tags_in_its_own_tokens() -> None:
    reader = Reader()
    reader.transcript.unsettled_after = -1
    reader.say("▁wor", *"<mt-")
    said = tuple(TimedToken(PIECES.index(piece), frame, 0.5) for frame, piece in enumerate(["▁Hello", *"<sl-SL>"]))
    reader.transcript.rewrite(Rewrite(-1, "en-US", said))
    reader.look()
    assert [(word.text, word.language) for word in reader.words] == [("Hello", "sl-SI")]
    assert reader.say("▁wor").text == "Hello wor"


written = st.lists(
    st.one_of(
        st.sampled_from(
            ["<mt-MT>", "<en-US>", "<sl-SL>", "<es>", "</s>", "<|x|>", "<", "<mt-", "▁", "▁ab", "c", ">", "世"]
        ),
        st.text("<>-/|esmtMTUS ▁", max_size=5),
    ),
    max_size=12,
).map("".join)
TAG = re.compile(r"<mt-MT>|<en-US>|<sl-SL>|</s>|<s>|<\|x\|>")


@given(written, st.data())
def test_what_is_shown_never_depends_on_how_it_was_cut(text: str, data: st.DataObject) -> None:
    """A vocabulary of the cuts themselves: all text that is no tag is shown, in the end, whatever the pieces."""
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=8)))
    parts = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    def shown(pieces: list[str]) -> tuple[str, list[str | None], list[str]]:
        transcript = Transcript(Tokenizer([piece.replace(" ", "▁") for piece in pieces]), None)
        words: list[Word] = []
        seen = []
        for token in range(len(pieces) + 1):
            last = token == len(pieces)
            if not last:
                transcript.add(token, token, 0.9)
            changed = transcript.take(last=last)
            if changed is not None:
                words[changed[0] :] = changed[1]
            seen.append("".join(" " * word.spaced + word.text for word in words))
        return text_of(words), [word.language for word in words for _ in word.text], seen

    parts = [piece for part in parts for piece in re.split("(?=[▁ ])", part) if piece]
    in_parts, in_characters = shown(parts), shown(list(text))
    assert in_parts[0] == in_characters[0]
    assert in_parts[1] == in_characters[1]
    for text_shown in in_parts[2] + in_characters[2]:
        assert TAG.search(text_shown) is None


# The lock ------------------------------------------------------------------------------------------------------------

PROMPTS = {"mt-MT": 102, "sl-SI": 62, "en-US": 0}


def lock() -> LanguageLock:
    tags = {PIECES.index("<en-US>"): ("en-US", 0)}
    return LanguageLock(tags, SpelledTags(Detokenizer(VOCABULARY), PROMPTS))


def add_tokens(subject: LanguageLock, frame: int, *pieces: str) -> list[TimedToken]:
    said = [TimedToken(PIECES.index(piece), frame + offset, 0.5) for offset, piece in enumerate(pieces)]
    for one in said:
        subject.add(one)
    return said


def test_a_spelled_tag_locks_when_it_is_complete() -> None:
    subject = lock()
    add_tokens(subject, 0, "▁Hello", *"<mt-")
    assert subject.decide() == (None, None)
    add_tokens(subject, 5, *"MT>")
    assert subject.decide() == (Move.START_WATCHER, None)
    assert (subject.prompt, subject.since) == (102, 7)


def test_a_spelled_tag_of_another_language_moves_the_lock_with_the_words_since_the_last() -> None:
    subject = lock()
    add_tokens(subject, 0, "▁Hello", "<en-US>")
    assert subject.decide() == (Move.START_WATCHER, None)
    early = add_tokens(subject, 2, "▁wor", *"<sl")
    assert subject.decide() == (None, None)
    late = add_tokens(subject, 6, *"-SL>", "▁Hello")
    assert subject.decide() == (Move.ADOPT_WATCHER, Rewrite(1, "en-US", tuple(early + late)))
    assert (subject.prompt, subject.since) == (62, 9)


def test_a_fork_of_a_lock_goes_on_within_a_tag() -> None:
    subject = lock()
    add_tokens(subject, 0, *"<mt-")
    twin = subject.clone()
    add_tokens(twin, 4, *"MT>")
    assert twin.decide()[0] is Move.START_WATCHER
    assert subject.decide() == (None, None)
    add_tokens(subject, 4, "▁Hello")
    assert subject.decide() == (None, None)
    assert not subject.is_locked


def test_a_stream_locks_by_a_tag_that_its_model_spells_out_and_moves_by_another() -> None:
    checkpoint = replace(load_checkpoint(), tokenizer=VOCABULARY)
    languages = Languages(checkpoint)
    stream = Stream(Session(0, 0, 1, 160), 0, languages.prompt(AUTO), Transcript(VOCABULARY, None))
    own = stream.lock = languages.lock(AUTO)
    assert own is not None
    moves = []
    for pieces in (["▁Hello", *"<es-"], [*"US>", "▁wor"]):
        stream.chunks += 1
        for piece in pieces:
            stream.add_token(PIECES.index(piece), int(piece == "▁wor"), 0.9)
        moves.append(stream.update_lock())
    assert moves == [None, Move.START_WATCHER]
    assert stream.prompt == languages.prompt("es-US")
    for pieces in (["▁Hello", *"<en_"], [*"us>"]):
        stream.chunks += 1
        stream.add_token(PIECES.index("ld"), 0, 0.9)
        for piece in pieces:
            stream.add_watcher_token(own, PIECES.index(piece), 0, 0.9)
        moves.append(stream.update_lock())
    assert moves[2:] == [None, Move.ADOPT_WATCHER]
    assert stream.prompt == languages.prompt("en-US")
    _, words = stream.transcript.take() or (0, ())
    assert [(word.text, word.language) for word in words] == [("Hello", "es-US"), ("wor", "en-US"), ("Hello", "en-US")]
