"""Segments of random speech, heard in random portions, and of any hypotheses at all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.api import Hypothesis, Word
from pipeline.segments import Segment, Segmenter
from tests.pipeline.scripted import CARRIED, CONFIGURED, DETECTED, SESSION, words

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
