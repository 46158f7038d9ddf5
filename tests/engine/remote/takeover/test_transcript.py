"""What is published of a successor's words."""

from dataclasses import replace

from engine.api import LanguageSource, Word
from engine.remote.takeover.transcript import PublishedTranscript


def words(*texts: str, start: float = 0.8, source: LanguageSource | None = LanguageSource.DETECTED) -> tuple[Word, ...]:
    """A word every 0.4 s."""
    language = None if source is None else "en-US"
    return tuple(
        Word(text, start + 0.4 * k, start + 0.4 * k + 0.3, 0.9, language, source) for k, text in enumerate(texts)
    )


def transcript(
    *texts: str, consumed_s: float, source: LanguageSource | None = LanguageSource.DETECTED
) -> PublishedTranscript:
    made = PublishedTranscript()
    made.update(0, words(*texts, source=source))
    made.advance(consumed_s)
    return made


def rewound(made: PublishedTranscript, start_s: float, oldest_s: float = 0.0) -> PublishedTranscript:
    splice, _ = made.find_splice(oldest_s)
    made.rewind(splice, start_s)
    return made


def test_a_successor_that_says_the_same_is_not_noticed() -> None:
    made = rewound(transcript("I", "need", "help.", consumed_s=3.0), 0.0)
    assert made.update(0, words("I", "need")) is None
    assert not made.advance(1.9), "progress does not go back"
    assert made.catch_up(1.9) is None
    assert made.update(2, tuple(replace(word, confidence=0.8) for word in words("help.", start=1.6))) is None
    assert made.catch_up(3.0) is None
    assert not made.catching_up
    assert made.update(3, words("Thanks.", start=4.0)) == (3, words("Thanks.", start=4.0))


def test_words_the_lost_engine_had_not_sent_are_published() -> None:
    made = rewound(transcript("I", "need", consumed_s=1.6, source=LanguageSource.CARRIED), 0.0)
    made.update(0, words("I", "need", "help", source=LanguageSource.CARRIED))
    assert made.catch_up(2.0) == (2, words("help", start=1.6, source=LanguageSource.CARRIED))


def test_words_before_the_splice_stay_whatever_the_successor_writes_there() -> None:
    made = transcript("I", "need", "help.", consumed_s=12.0)
    made = rewound(made, 4.0)
    made.update(0, words("elp.", "Now", start=0.1))
    made.catch_up(20.0)
    assert made.update(0, words("yelp.", "Now", start=0.1)) is None or made.end >= 3
    published = made.update(2, words("what?", start=9.0))
    assert published is not None
    assert (published[0], published[1][0].start) == (made.end - 1, 13.0)


def test_times_are_those_of_the_session() -> None:
    made = rewound(transcript("I", consumed_s=20.0), 16.0)
    made.catch_up(4.0)
    update = made.update(0, words("Hello.", start=4.24))
    assert update is not None
    assert (update[1][0].start, update[1][0].end) == (20.24, 20.54)
    assert made.advance(5.0)
    assert made.consumed_s == 21.0


def test_the_language_before_the_splice_is_carried_until_a_tag_comes() -> None:
    made = rewound(transcript("Hola.", consumed_s=12.0), 8.0)
    made.catch_up(4.0)
    bare = words("Qué", start=5.0, source=None)
    update = made.update(0, bare)
    assert update is not None
    assert (update[1][0].language, update[1][0].language_source) == ("en-US", LanguageSource.CARRIED)
    assert PublishedTranscript().update(0, bare) == (0, bare)


def test_a_word_not_written_yet_is_waited_for_and_then_taken_back() -> None:
    made = rewound(transcript("I", "need", consumed_s=1.6, source=LanguageSource.CARRIED), 0.0)
    made.update(0, words("I", source=LanguageSource.CARRIED))
    assert made.catch_up(1.6) is None
    assert made.catching_up
    assert made.catch_up(2.8) == (1, ())
    assert not made.catching_up


def test_the_words_of_a_final_that_ran_ahead_are_no_place_to_join() -> None:
    """The session itself may still write them otherwise."""
    made = transcript("I", "need", consumed_s=1.6)
    made.update(2, words("five.", start=1.6))
    made.mark_ahead(2, until_s=3.0)
    assert made.find_splice(0.0)[0].index == 2
    made.advance(3.2)
    assert made.find_splice(0.0)[0].index == 3


def test_memory_does_not_grow_with_the_session() -> None:
    made = PublishedTranscript()
    for index in range(3_000):
        made.update(index, words("word", start=0.4 * index))
        made.drop_before(max(0.4 * index - 30.0, 0.0))
    assert len(made._words) < 300
    assert made.end == 3_000
    splice, _ = made.find_splice(1_170.0)
    assert splice.index == 3_000
