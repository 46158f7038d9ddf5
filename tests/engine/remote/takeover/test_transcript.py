"""What is told of a successor's words."""

from dataclasses import replace

from engine.api import LanguageSource, Word
from engine.remote.takeover.transcript import Account


def words(*texts: str, start: float = 0.8, source: LanguageSource | None = LanguageSource.DETECTED) -> tuple[Word, ...]:
    """A word every 0.4 s."""
    language = None if source is None else "en-US"
    return tuple(
        Word(text, start + 0.4 * k, start + 0.4 * k + 0.3, 0.9, language, source) for k, text in enumerate(texts)
    )


def account(*texts: str, heard_s: float, source: LanguageSource | None = LanguageSource.DETECTED) -> Account:
    made = Account()
    made.tell(0, words(*texts, source=source))
    made.hear(heard_s)
    return made


def rewound(made: Account, start_s: float, oldest_s: float = 0.0) -> Account:
    seam, _ = made.find_seam(oldest_s)
    made.rewind(seam, start_s)
    return made


def test_a_successor_that_says_the_same_is_not_noticed() -> None:
    made = rewound(account("I", "need", "help.", heard_s=3.0), 0.0)
    assert made.tell(0, words("I", "need")) is None
    assert not made.hear(1.9), "progress does not go back"
    assert made.catch_up(1.9) is None
    assert made.tell(2, tuple(replace(word, confidence=0.8) for word in words("help.", start=1.6))) is None
    assert made.catch_up(3.0) is None
    assert not made.rehearsing
    assert made.tell(3, words("Thanks.", start=4.0)) == (3, words("Thanks.", start=4.0))


def test_words_the_lost_engine_had_not_told_are_news() -> None:
    made = rewound(account("I", "need", heard_s=1.6, source=LanguageSource.CARRIED), 0.0)
    made.tell(0, words("I", "need", "help", source=LanguageSource.CARRIED))
    assert made.catch_up(2.0) == (2, words("help", start=1.6, source=LanguageSource.CARRIED))


def test_words_before_the_seam_stay_whatever_the_successor_hears_there() -> None:
    made = account("I", "need", "help.", heard_s=12.0)
    made = rewound(made, 4.0)
    made.tell(0, words("elp.", "Now", start=0.1))
    made.catch_up(20.0)
    assert made.tell(0, words("yelp.", "Now", start=0.1)) is None or made.words >= 3
    told = made.tell(2, words("what?", start=9.0))
    assert told is not None
    assert (told[0], told[1][0].start) == (made.words - 1, 13.0)


def test_times_are_those_of_the_session() -> None:
    made = rewound(account("I", heard_s=20.0), 16.0)
    made.catch_up(4.0)
    news = made.tell(0, words("Hello.", start=4.24))
    assert news is not None
    assert (news[1][0].start, news[1][0].end) == (20.24, 20.54)
    assert made.hear(5.0)
    assert made.heard_s == 21.0


def test_the_language_before_the_seam_is_carried_until_a_tag_comes() -> None:
    made = rewound(account("Hola.", heard_s=12.0), 8.0)
    made.catch_up(4.0)
    bare = words("Qué", start=5.0, source=None)
    news = made.tell(0, bare)
    assert news is not None
    assert (news[1][0].language, news[1][0].language_source) == ("en-US", LanguageSource.CARRIED)
    assert Account().tell(0, bare) == (0, bare)


def test_a_word_not_written_yet_is_waited_for_and_then_taken_back() -> None:
    made = rewound(account("I", "need", heard_s=1.6, source=LanguageSource.CARRIED), 0.0)
    made.tell(0, words("I", source=LanguageSource.CARRIED))
    assert made.catch_up(1.6) is None
    assert made.rehearsing
    assert made.catch_up(2.8) == (1, ())
    assert not made.rehearsing


def test_the_words_of_a_final_that_ran_ahead_are_no_place_to_join() -> None:
    """The session itself may still write them otherwise."""
    made = account("I", "need", heard_s=1.6)
    made.tell(2, words("five.", start=1.6))
    made.tell_ahead(2, until_s=3.0)
    assert made.find_seam(0.0)[0].index == 2
    made.hear(3.2)
    assert made.find_seam(0.0)[0].index == 3


def test_memory_does_not_grow_with_the_session() -> None:
    made = Account()
    for index in range(3_000):
        made.tell(index, words("word", start=0.4 * index))
        made.forget(max(0.4 * index - 30.0, 0.0))
    assert len(made._words) < 300
    assert made.words == 3_000
    seam, _ = made.find_seam(1_170.0)
    assert seam.index == 3_000
