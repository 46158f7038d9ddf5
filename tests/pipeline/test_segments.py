"""Cutting words into segments: the rules one by one, then properties over random streams."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.api import Hypothesis, LanguageSource, Session, Word
from pipeline.segments import KEPT_SEGMENTS, Segment, Segmenter
from tests.pipeline.scripted import words

SESSION = Session(0, 0, 0, 80)
CARRIED, DETECTED, CONFIGURED = LanguageSource.CARRIED, LanguageSource.DETECTED, LanguageSource.CONFIGURED


class Feed:
    """A segmenter with short names, and everything it said."""

    def __init__(self, **options: float) -> None:
        self.segmenter = Segmenter("caller", **options)  # type: ignore[arg-type]
        self.said: list[Segment] = []

    def update(
        self, first: int, said: Sequence[Word], progress_s: float | None = None, is_final: bool = False
    ) -> list[Segment]:
        at = progress_s if progress_s is not None else said[-1].end
        return self._keep(self.segmenter.update([Hypothesis(SESSION, first, tuple(said), is_final)], at))

    def wait(self, progress_s: float) -> list[Segment]:
        return self._keep(self.segmenter.update([], progress_s))

    def close(self) -> list[Segment]:
        return self._keep(self.segmenter.close())

    def finals(self) -> dict[str, Segment]:
        return {segment.segment_id: segment for segment in self.said if segment.is_final}

    def _keep(self, segments: list[Segment]) -> list[Segment]:
        self.said += segments
        return segments


def briefly(segments: Sequence[Segment]) -> list[tuple[str, int, bool, str]]:
    return [(one.segment_id, one.revision, one.is_final, one.transcript) for one in segments]


def test_a_sentence_grows_as_partials_and_settles_after_silence() -> None:
    feed, sentence = Feed(), words("I need help.")
    assert briefly(feed.update(0, sentence[:1])) == [("caller-0000", 0, False, "I")]
    assert briefly(feed.update(1, sentence[1:])) == [("caller-0000", 1, False, "I need help.")]
    assert feed.wait(sentence[-1].end + 0.3) == []
    (final,) = feed.wait(sentence[-1].end + 0.4)
    assert briefly([final]) == [("caller-0000", 2, True, "I need help.")]
    assert final.speech_final
    assert (final.start, final.end) == (0.0, sentence[-1].end)
    assert feed.wait(60.0) == []


def test_the_silence_is_found_on_the_80_ms_grid() -> None:
    feed = Feed()
    feed.update(0, [Word("Yes.", 1.04, 1.2, 0.9, "en-US", DETECTED)])
    (final,) = feed.wait(1.6)  # 1.6 - 1.2 is a little less than 0.4 in floating point
    assert final.is_final


def test_words_without_punctuation_stay_open_in_a_pause() -> None:
    feed = Feed()
    feed.update(0, words("one moment"))
    assert feed.wait(10.0) == []


def test_the_next_word_closes_a_settled_sentence_at_once() -> None:
    feed, first = Feed(), words("Hello there.")
    feed.update(0, first)
    said = feed.update(2, words("How", start=0.64))
    assert briefly(said) == [("caller-0000", 1, True, "Hello there."), ("caller-0001", 0, False, "How")]
    assert not said[0].speech_final  # speech went on


def test_a_pause_before_the_next_word_makes_the_sentence_speech_final() -> None:
    feed = Feed()
    said = feed.update(0, words("Hello there.") + words("How", start=2.0))
    assert said[0].is_final
    assert said[0].speech_final


def test_a_sentence_without_its_tag_waits_for_it() -> None:
    feed = Feed()
    feed.update(0, words("Sí claro.", language="en-US", source=CARRIED))
    partial = feed.update(2, words("Yo", start=0.64, language="en-US", source=CARRIED))
    assert briefly(partial) == [("caller-0000", 1, False, "Sí claro. Yo")]
    assert partial[0].language_source is CARRIED
    told = words("Sí claro.", language="es-US") + words("Yo", start=0.64, language="es-US", source=CARRIED)
    said = feed.update(0, told, 1.0)
    assert briefly(said) == [("caller-0000", 2, True, "Sí claro."), ("caller-0001", 0, False, "Yo")]
    assert (said[0].language, said[0].language_source) == ("es-US", DETECTED)
    assert (said[1].language, said[1].language_source) == ("es-US", CARRIED)


def test_a_sentence_whose_tag_never_comes_is_closed_before_the_next_ends() -> None:
    feed = Feed()
    said = feed.update(0, words("One two. Three four.", source=CARRIED), 10.0)
    assert briefly(said) == [("caller-0000", 0, True, "One two."), ("caller-0001", 0, True, "Three four.")]
    assert [one.speech_final for one in said] == [False, True]


def test_a_tag_after_the_final_makes_a_new_final_never_a_partial() -> None:
    feed = Feed()
    feed.update(0, words("Sí claro.", source=CARRIED))
    (final,) = feed.wait(2.0)
    assert (final.language, final.language_source) == ("en-US", CARRIED)
    (again,) = feed.update(0, words("Sí claro.", language="es-US"), 2.1)
    assert briefly([again]) == [("caller-0000", 2, True, "Sí claro.")]
    assert (again.language, again.language_source, again.speech_final) == ("es-US", DETECTED, True)


def test_a_tag_that_changes_nothing_says_nothing() -> None:
    feed = Feed()
    feed.update(0, words("Hello there.", source=CONFIGURED))
    assert feed.update(0, words("Hello there.", source=CONFIGURED), 0.8) == []


def test_a_segment_is_cut_before_the_word_that_makes_it_too_long() -> None:
    feed, long = Feed(max_segment_s=2.0), words("a b c d e f g h", pace=0.4)
    said = feed.update(0, long)
    assert briefly(said) == [("caller-0000", 0, True, "a b c d e"), ("caller-0001", 0, False, "f g h")]
    assert not said[0].speech_final
    assert said[0].end - said[0].start <= 2.0


def test_the_word_still_growing_at_the_cut_goes_to_the_next_segment() -> None:
    feed, text = Feed(max_segment_s=2.0), words("a b c d e", pace=0.4)
    assert not any(one.is_final for one in feed.update(0, text))
    grown = replace(text[4], text="elephant", end=2.3)
    assert briefly(feed.update(4, [grown])) == [
        ("caller-0000", 1, True, "a b c d"),
        ("caller-0001", 0, False, "elephant"),
    ]


def test_an_open_segment_is_cut_in_a_pause_when_its_time_is_up() -> None:
    feed = Feed(max_segment_s=2.0)
    feed.update(0, words("one moment"))
    assert feed.wait(1.9) == []
    (final,) = feed.wait(2.0)
    assert final.is_final
    assert not final.speech_final


def test_a_single_word_is_never_cut() -> None:
    feed = Feed(max_segment_s=2.0)
    assert not any(one.is_final for one in feed.update(0, [Word("aaah", 0.0, 9.0, 0.5, None, None)]))


def test_the_end_of_the_leg_closes_what_is_open() -> None:
    feed = Feed()
    feed.update(0, words("I would like to ord"))
    (final,) = feed.close()
    assert briefly([final]) == [("caller-0000", 1, True, "I would like to ord")]
    assert final.speech_final
    assert feed.segmenter.final_words == 5


def test_an_answer_to_finalize_closes_what_is_open_and_the_leg_goes_on() -> None:
    feed = Feed()
    said = feed.update(0, words("I would like to ord"), is_final=True)
    assert briefly(said) == [("caller-0000", 0, True, "I would like to ord")]
    said = feed.update(4, words("order it", start=1.28))
    assert briefly(said) == [
        ("caller-0000", 1, True, "I would like to order"),
        ("caller-0001", 0, False, "it"),
    ]
    assert feed.segmenter.final_words == 5


def test_words_taken_back_by_the_session_leave_their_final() -> None:
    feed = Feed()
    feed.update(0, words("to order a"), is_final=True)
    assert briefly(feed.update(2, (), 1.0)) == [("caller-0000", 1, True, "to order")]
    assert briefly(feed.update(2, words("two", start=0.64))) == [("caller-0001", 0, False, "two")]
    assert feed.segmenter.final_words == 2


def test_a_partial_whose_words_are_taken_back_settles_as_an_empty_final() -> None:
    feed = Feed()
    feed.update(0, words("uh"))
    assert briefly(feed.update(0, (), 1.0)) == [("caller-0000", 1, False, "")]
    assert briefly(feed.close()) == [("caller-0000", 2, True, "")]


def test_a_leg_without_words_ends_with_one_empty_final() -> None:
    feed = Feed()
    feed.wait(3.0)
    (final,) = feed.close()
    assert briefly([final]) == [("caller-0000", 0, True, "")]
    assert (final.language, final.languages, final.language_source, final.confidence) == (None, (), None, 0.0)
    assert (final.start, final.end, final.stability) == (0.0, 0.0, 1.0)


def test_a_leg_without_audio_ends_without_a_final() -> None:
    assert Segmenter("caller").close(had_audio=False) == []


def test_numbers_go_on_where_an_earlier_leg_of_the_name_stopped() -> None:
    segmenter = Segmenter("caller", first_number=7)
    segmenter.update([Hypothesis(SESSION, 0, words("Hi."), False)], 5.0)
    assert segmenter.next_number == 8
    assert segmenter.close() == []


def test_punctuation_alone_joins_the_word_before_it() -> None:
    feed = Feed()
    feed.update(0, words("Hello there"))
    (partial,) = feed.update(2, words(".", start=0.64))
    assert partial.transcript == "Hello there."
    assert len(partial.words) == 2
    (final,) = feed.wait(2.0)
    assert (final.transcript, final.speech_final) == ("Hello there.", True)


def test_opening_punctuation_alone_joins_the_word_after_it() -> None:
    feed = Feed()
    assert feed.update(0, words("¿")) == []
    (partial,) = feed.update(1, words("Qué tal?", start=0.32))
    assert [word.text for word in partial.words] == ["¿Qué", "tal?"]


def test_punctuation_that_leaks_over_a_cut_goes_back_to_its_sentence() -> None:
    feed = Feed()
    feed.update(0, words("to order"), is_final=True)
    assert feed.update(2, words(".", start=0.64)) == []  # may yet grow into a word
    said = feed.update(3, words("Thanks", start=0.96))
    assert briefly(said) == [("caller-0000", 1, True, "to order."), ("caller-0001", 0, False, "Thanks")]


def test_punctuation_is_not_doubled_and_none_of_it_makes_a_segment() -> None:
    feed = Feed()
    assert feed.update(0, words(". ,")) == []
    feed.update(2, words("Yes. .", start=1.0), 5.0)
    assert briefly(feed.close()) == []
    assert [one.transcript for one in feed.said] == ["Yes."]


def test_titles_and_initials_do_not_end_a_sentence_while_speech_goes_on() -> None:
    feed = Feed()
    said = feed.update(0, words("I am Dr. J. Smith. Yes"))
    assert [one.transcript for one in said] == ["I am Dr. J. Smith.", "Yes"]


def test_language_is_that_of_most_words_and_languages_are_in_order() -> None:
    feed = Feed()
    feed.update(0, words("el cheque", language="es-US") + words("is in the mail", 0.64, language="en-US"))
    segment = feed.said[-1]
    assert segment.language == "en-US"
    assert segment.languages == ("es-US", "en-US")


def test_confidence_is_the_mean_of_the_words() -> None:
    feed = Feed()
    said = feed.update(0, [replace(word, confidence=c) for word, c in zip(words("a b"), (0.5, 1.0), strict=True)])
    assert said[0].confidence == 0.75


def test_stability_is_the_share_of_words_that_cannot_grow() -> None:
    feed = Feed()
    assert feed.update(0, words("a b c d"))[0].stability == 0.75
    assert feed.close()[0].stability == 1.0


def test_words_without_a_space_before_them_are_joined() -> None:
    feed = Feed()
    text = [replace(word, spaced=not k) for k, word in enumerate(words("今日 は 晴れ。", language="ja-JP"))]
    assert feed.update(0, text)[0].transcript == "今日は晴れ。"


def test_indices_stay_true_where_words_never_came() -> None:
    feed = Feed()
    feed.update(0, words("one"))
    feed.update(3, words("four", start=1.0))
    assert feed.update(3, words("forty", start=1.0))[0].transcript == "one forty"


def test_memory_is_bounded_over_a_long_call() -> None:
    segmenter, index = Segmenter("caller"), 0
    for k in range(5000):
        said = words("This is one more of them.", start=k * 4.0)
        segmenter.update([Hypothesis(SESSION, index, said, False)], k * 4.0 + 3.0)
        index += len(said)
        assert len(segmenter._words) <= 6 * (KEPT_SEGMENTS + 1)
        assert len(segmenter._closed) <= KEPT_SEGMENTS
    assert segmenter.next_number == 5000
    assert segmenter.final_words == 30_000


# Random speech, heard in random portions ---------------------------------------------------------------------------

FRAME_S = 0.08


@dataclass(frozen=True)
class Update:
    """At `frame` the words from `first` on became `words`."""

    frame: int
    first: int
    words: tuple[Word, ...]


@dataclass
class Speech:
    """What was heard when, and the words in the end."""

    events: list[Update]
    final: list[Word]
    frames: int


def stamp(frame: int) -> float:
    return frame * FRAME_S


@st.composite
def speech(draw: st.DrawFn) -> Speech:
    """Sentences whose words grow over a few frames, punctuation a frame late, the tag late or never."""
    events: list[Update] = []
    final: list[Word] = []
    frame, carried = 0, draw(st.sampled_from([None, "en-US"]))
    for _ in range(draw(st.integers(1, 6))):
        first, language = len(final), draw(st.sampled_from(["en-US", "es-US", "de-DE"]))
        known = (carried, CARRIED if carried else None)
        count = draw(st.integers(1, 7))
        for k in range(count):
            index, length = len(final), draw(st.integers(1, 4))
            text = draw(st.sampled_from(["ja", "nein", "Dr", "si", "¿qué", "20%"]))
            start, end = stamp(frame), stamp(frame + length)
            if length > 1:
                events.append(Update(frame, index, (Word(text[:1] + "x", start, stamp(frame + 1), 0.4, *known),)))
            whole = Word(text, start, end, 0.8, *known)
            events.append(Update(frame + length - 1, index, (whole,)))
            frame += length
            if k == count - 1 and draw(st.booleans()):
                whole = replace(whole, text=text + draw(st.sampled_from([".", "?", "。", '."'])))
                events.append(Update(frame, index, (whole,)))
                frame += 1
            final.append(whole)
            frame += draw(st.sampled_from([0, 0, 1, 3, 5, 12, 60]))
        if draw(st.booleans()):  # the tag, before the next sentence's first word
            told = tuple(replace(word, language=language, language_source=DETECTED) for word in final[first:])
            final[first:] = told
            events.append(Update(frame, first, told))
            carried = language
            frame += 1
    return Speech(events, final, frame + draw(st.integers(0, 40)))


def play(speech: Speech, steps: Sequence[int], merge: bool, max_segment_s: float) -> list[Segment]:
    """The speech in steps of so many frames, over and over, the events of a step one by one or as one."""
    segmenter, said, done, frame, turn = Segmenter("leg", max_segment_s=max_segment_s), [], 0, 0, 0
    row: list[Word] = []
    while frame < speech.frames:
        frame = min(frame + steps[turn % len(steps)], speech.frames)
        turn += 1
        hypotheses = []
        lowest = len(row)
        while done < len(speech.events) and speech.events[done].frame < frame:
            event = speech.events[done]
            row[event.first :] = event.words
            lowest = min(lowest, event.first)
            hypotheses.append(Hypothesis(SESSION, event.first, event.words, False))
            done += 1
        if merge and hypotheses:
            hypotheses = [Hypothesis(SESSION, lowest, tuple(row[lowest:]), False)]
        said += segmenter.update(hypotheses, stamp(frame))
    return said + segmenter.close()


def last_finals(said: Sequence[Segment]) -> dict[str, Segment]:
    return {segment.segment_id: segment for segment in said if segment.is_final}


def check_revisions(said: Sequence[Segment]) -> None:
    """Revisions count from 0 without a hole; no partial after a final; nothing is said twice; ids grow."""
    by_segment: dict[str, list[Segment]] = {}
    for segment in said:
        by_segment.setdefault(segment.segment_id, []).append(segment)
    assert list(by_segment) == sorted(by_segment)
    for revisions in by_segment.values():
        assert [one.revision for one in revisions] == list(range(len(revisions)))
        kinds = [one.is_final for one in revisions]
        assert kinds == sorted(kinds)
        assert kinds[-1]
        for before, after in pairwise(revisions):
            assert (before.words, before.is_final) != (after.words, after.is_final)


def expected_cuts(final: Sequence[Word], max_segment_s: float) -> list[list[Word]]:
    """The rule once more, on the whole text: greedy, at the first sentence end or before the word that is too long."""
    segments: list[list[Word]] = []
    rest = list(final)
    while rest:
        size = len(rest)
        for k, word in enumerate(rest):
            if k and word.end - rest[0].start > max_segment_s + 1e-6:
                size = k
                break
            last = k + 1 == len(rest)
            pause = last or rest[k + 1].start - word.end >= 0.4 - 1e-6
            if word.text.rstrip('"')[-1] in ".?。" and (pause or word.text != "Dr."):
                size = k + 1
                break
        segments.append(rest[:size])
        rest = rest[size:]
    return segments


@settings(max_examples=300, deadline=None)
@given(
    speech=speech(),
    steps=st.lists(st.sampled_from([1, 2, 4, 7, 14]), min_size=1, max_size=6),
    merge=st.booleans(),
    max_segment_s=st.sampled_from([1.0, 3.0, 15.0]),
)
def test_finals_do_not_depend_on_how_the_words_were_cut(
    speech: Speech, steps: list[int], merge: bool, max_segment_s: float
) -> None:
    said = play(speech, steps, merge, max_segment_s)
    check_revisions(said)
    finals = last_finals(said)
    assert [list(one.words) for one in finals.values()] == expected_cuts(speech.final, max_segment_s)
    reference = last_finals(play(speech, [1], False, max_segment_s))
    assert {name: replace(one, revision=0) for name, one in finals.items()} == {
        name: replace(one, revision=0) for name, one in reference.items()
    }


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_hypotheses_at_all_keep_the_rules(data: st.DataObject) -> None:
    """Words rewritten, taken back and finalised at random: every word ends in exactly one final."""
    segmenter, at = Segmenter("leg", max_segment_s=2.0), 0.0
    row: list[Word] = []
    said: list[Segment] = []
    for _ in range(data.draw(st.integers(1, 15))):
        at += data.draw(st.sampled_from([0.08, 0.16, 0.56, 2.4]))
        first = data.draw(st.integers(max(0, len(row) - 3), len(row)))
        texts = data.draw(st.lists(st.sampled_from(["a", "b", "Ja.", "Dr."]), max_size=4))
        source = data.draw(st.sampled_from([CARRIED, DETECTED, CONFIGURED]))
        new = tuple(
            Word(text, at + k * 0.08, at + k * 0.08 + 0.08, 0.5, "de-DE", source) for k, text in enumerate(texts)
        )
        row[first:] = new
        is_final = data.draw(st.booleans())
        said += segmenter.update([Hypothesis(SESSION, first, new, is_final)], at)
        if segmenter._base > max(len(row) - 3, 0):  # a later rewrite could reach words that are gone for good
            break
    else:
        said += segmenter.close()
        check_revisions(said)
        finals = last_finals(said)
        assert [word for one in finals.values() for word in one.words] == row
        assert segmenter.final_words == len(row)


@pytest.mark.parametrize("merge", [True, False])
def test_every_partial_is_a_prefix_of_what_follows_or_a_correction(merge: bool) -> None:
    text = words("We are here to help you with that today")
    events = [Update(k * 4, k, (word,)) for k, word in enumerate(text)]
    said = play(Speech(events, list(text), 60), [2], merge, 15.0)
    partials = [one.transcript for one in said if not one.is_final]
    assert all(after.startswith(before) for before, after in pairwise(partials))
    assert len(partials) == len(text)
