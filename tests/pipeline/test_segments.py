"""Cutting words into segments: the rules one by one."""

from collections.abc import Sequence
from dataclasses import replace

from engine.api import Hypothesis, Word
from pipeline.segments import KEPT_SEGMENTS, Segment, Segmenter
from tests.pipeline.scripted import CARRIED, CONFIGURED, DETECTED, SESSION, words


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


def test_punctuation_at_the_border_of_segments_that_are_written_over_goes_to_its_word() -> None:
    feed = Feed()
    feed.update(0, words("one never"), is_final=True)
    feed.update(2, words("two", start=0.64), is_final=True)
    feed.update(1, words("¿ qué", start=0.32), 1.0)
    assert {key: one.transcript for key, one in feed.finals().items()} == {"caller-0000": "one", "caller-0001": "¿qué"}
    feed.update(1, words(".", start=0.32), 1.0)
    assert {key: one.transcript for key, one in feed.finals().items()} == {"caller-0000": "one.", "caller-0001": ""}
