"""Where a successor begins and where its words count."""

import pytest

from engine.api import LanguageSource, Word
from engine.remote.takeover.splice import Splice, find_join, find_splice, find_start

DETECTED, CARRIED, CONFIGURED = LanguageSource.DETECTED, LanguageSource.CARRIED, LanguageSource.CONFIGURED


def words(*items: tuple[str, float, float], source: LanguageSource | None = DETECTED) -> list[Word]:
    return [Word(text, start, end, 0.9, "en-US", source) for text, start, end in items]


SENTENCE = words(("How", 1.0, 1.2), ("are", 1.2, 1.4), ("you?", 1.4, 2.0))
NEXT = words(("I", 8.0, 8.2), ("am", 8.2, 8.4), source=CARRIED)


def test_the_splice_is_after_the_last_word_a_tag_was_written_for() -> None:
    assert find_splice(SENTENCE + NEXT, 0, 5, consumed_s=9.0, oldest_s=0.0) == Splice(3, 5.0)


def test_after_the_last_word_it_is_late_in_the_silence() -> None:
    assert find_splice(SENTENCE, 10, 3, consumed_s=9.0, oldest_s=0.0) == Splice(13, 8.52)


def test_words_of_a_final_that_ran_ahead_are_no_splice() -> None:
    ahead = words(("Fine.", 2.8, 3.2))
    assert find_splice(SENTENCE + ahead, 0, 3, consumed_s=3.0, oldest_s=0.0) == Splice(3, 2.4)


@pytest.mark.parametrize("source", [None, CARRIED, CONFIGURED])
def test_where_no_tag_came_it_is_in_the_last_pause(source: LanguageSource | None) -> None:
    published = words(
        ("a", 1.0, 1.2), ("b", 2.0, 2.2), ("c", 2.3, 2.5), ("d", 3.5, 3.6), ("e", 3.7, 3.8), source=source
    )
    assert find_splice(published, 0, 5, consumed_s=4.0, oldest_s=0.0) == Splice(3, 3.0)


def test_without_any_it_is_at_the_oldest_word_that_can_be_trusted() -> None:
    published = words(*((str(k), 0.4 * k, 0.4 * k + 0.3) for k in range(100)), source=CARRIED)
    splice = find_splice(published, 0, 100, consumed_s=40.0, oldest_s=10.0)
    assert published[splice.index - 1].start < 11.0 <= published[splice.index].start
    assert splice.at_s <= published[splice.index].start


def test_with_no_words_all_that_comes_counts() -> None:
    assert find_splice([], 0, 0, consumed_s=3.0, oldest_s=0.0).index == 0
    assert find_splice([], 7, 0, consumed_s=3.0, oldest_s=1.0).index == 7


def test_audio_lost_before_it_was_heard_moves_the_splice_behind_it() -> None:
    assert find_splice(SENTENCE, 0, 3, consumed_s=3.0, oldest_s=20.0) == Splice(3, 21.0)


def test_a_successor_begins_in_a_pause_well_before_the_splice() -> None:
    published = words(("a", 1.0, 2.0), ("b", 4.0, 6.0), ("c", 6.1, 9.0), ("d", 10.0, 11.0))
    assert find_start(published, 0, 11.0, 0.0, Splice(3, 9.5)) == 3.0
    assert find_start(published, 0, 11.0, 3.5, Splice(3, 9.5)) == 3.5, "where no pause is left, at the oldest audio"


def test_a_young_session_begins_anew() -> None:
    published = words(("a", 1.0, 2.0), ("b", 2.1, 4.0))
    assert find_start(published, 0, 4.0, 0.0, Splice(2, 4.0)) == 0.0


def test_in_a_long_silence_it_begins_in_the_silence() -> None:
    assert find_start(SENTENCE, 20, 30.0, 5.0, Splice(23, 29.5)) == 25.5


def test_words_heard_again_are_told_apart_at_the_splice_although_they_moved() -> None:
    published = SENTENCE + words(("Very", 2.0, 2.2), ("well.", 2.2, 2.6))
    for shift in (-0.16, 0.0, 0.16):
        renewed = [
            Word(word.text, word.start + shift, word.end + shift, 0.9, "en-US", DETECTED) for word in published[1:]
        ]
        assert find_join(published, 3, renewed, at_s=2.0) == 2


def test_a_word_the_successor_hears_at_the_splice_for_the_first_time_counts() -> None:
    renewed = words(("you?", 1.4, 2.0), ("Very", 2.08, 2.2))
    assert find_join(SENTENCE, 3, renewed, at_s=2.04) == 1
