from engine import LanguageSource, Word
from training.grammar import Sentence, world
from training.recognize import text_of, written_tags
from training.scoring import Score, score
from trunkline.wer import WordErrors

PATTERN = world("en-US").patterns[0]
ENGLISH = Sentence("en-US", PATTERN, "That is correct.", "That is correct.")
SPANISH = Sentence("es-US", PATTERN, "Es correcto.", "Es correcto.")


def words(text: str, language: str | None, source: LanguageSource | None = LanguageSource.DETECTED) -> list[Word]:
    return [Word(word, 0.0, 0.1, 1.0, language, source) for word in text.split()]


def test_a_right_sentence_has_no_errors_and_its_tag() -> None:
    assert score([ENGLISH], words("That is correct.", "en-US")) == [Score(WordErrors(3), 1, 1)]


def test_nothing_recognised_is_all_deletions_and_no_tag() -> None:
    assert score([ENGLISH], []) == [Score(WordErrors(3, deletions=3), 1, 0)]


def test_the_last_tag_of_a_sentence_must_be_right_and_detected() -> None:
    assert score([ENGLISH], words("That is", "es-US") + words("correct.", "en-US"))[0].tags_right == 1
    assert score([ENGLISH], words("That is correct.", "es-US"))[0].tags_right == 0
    for source in (LanguageSource.CARRIED, LanguageSource.CONFIGURED):
        assert score([ENGLISH], words("That is correct.", "en-US", source))[0].tags_right == 0
    assert score([ENGLISH], words("That is correct.", "en-US") + words("No.", None, None))[0].tags_right == 0


def test_errors_of_a_call_go_to_the_language_that_was_spoken() -> None:
    recognised = words("Es correcto, so", "es-US") + words("That is right.", "en-US")
    spanish, english = score([SPANISH, ENGLISH], recognised)
    assert spanish == Score(WordErrors(2, substitutions=1, insertions=1), 1, 1)
    assert english == Score(WordErrors(3, substitutions=1), 1, 1)
    spanish, english = score([SPANISH, ENGLISH], words("Es correcto.", "es-US") + words("That correct.", "en-US"))
    assert spanish == Score(WordErrors(2), 1, 1)
    assert english == Score(WordErrors(3, deletions=1), 1, 1)


def test_a_tag_left_out_of_a_call_does_not_cost_the_others() -> None:
    recognised = words("Es correcto.", "es-US") + words("That is correct. Es correcto.", "es-US")
    assert [s.tags_right for s in score([SPANISH, ENGLISH, SPANISH], recognised)] == [1, 0, 0]
    recognised = words("Es correcto.", "es-US") + words("That is correct.", "en-US")
    assert [s.tags_right for s in score([SPANISH, ENGLISH, SPANISH], recognised)] == [1, 1, 0]


def test_in_a_call_of_one_language_the_last_word_of_each_segment_has_its_tag() -> None:
    recognised = (
        words("That is correct. That", "en-US") + words("correct.", "es-US") + words("That is correct.", "en-US")
    )
    assert [s.tags_right for s in score([ENGLISH] * 3, recognised)] == [1, 0, 1]
    assert [s.tags_right for s in score([ENGLISH] * 2, words("That is correct.", "en-US"))] in ([1, 0], [0, 1])
    carried = words("That is correct.", "en-US") + words("That is correct.", "en-US", LanguageSource.CARRIED)
    assert [s.tags_right for s in score([ENGLISH] * 2, carried)] == [1, 0]


def test_scores_add_up_to_per_cent() -> None:
    total = score([ENGLISH], words("That is right.", "en-US"))[0] + score([SPANISH], words("Es", None, None))[0]
    assert total.wer_percent == 40.0
    assert total.tags_percent == 50.0
    assert Score().tags_percent == 0.0


def test_runs_of_one_language_are_one_tag() -> None:
    assert written_tags(words("a b", "es-US") + words("c", "en-US", LanguageSource.CARRIED)) == ["es-US"]
    assert written_tags(words("a", "es-US") + words("b", "en-US") + words("c", "es-US")) == ["es-US", "en-US", "es-US"]


def test_words_that_the_model_wrote_together_stay_together() -> None:
    unspaced = Word("b", 0.0, 0.1, 1.0, None, None, spaced=False)
    assert text_of([*words("a", None), unspaced, *words("c", None)]) == "ab c"
