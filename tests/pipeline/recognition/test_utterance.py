"""Interim and final texts of one session, against sessions that write over what they said."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.api import Word
from pipeline.recognition.utterance import LONGEST_S, Said, Utterances
from tests.pipeline.scripted import words


def texts(said: Sequence[Said], *, final: bool = True) -> list[str]:
    return [one.text for one in said if one.is_final is final and one.words]


def test_interims_replace_each_other_and_a_final_takes_what_was_asked_for() -> None:
    row, one = words("I need help now", start=1.0), Utterances()
    said = [*one.update(0, row[:1], final=False), *one.update(1, row[1:3], final=False)]
    assert texts(said, final=False) == ["I", "I need help"]
    assert one.update(3, (), final=True) == [Said(row[:3], is_final=True, finalized=True)]
    assert one.update(3, (), final=True) == [Said((), is_final=True, finalized=True)]
    assert texts(one.update(3, row[3:], final=False), final=False) == ["now"]
    assert one.end().text == "now"


def test_a_sentence_is_final_after_its_pause_without_being_asked_for() -> None:
    one = Utterances()
    row = words("Yes. And", start=0.0)
    assert texts(one.update(0, row[:1], final=False), final=False) == ["Yes."]
    assert one.advance(0.6) == []
    assert not one.quiet
    (said,) = one.advance(0.64)
    assert one.quiet
    assert said == Said(row[:1], is_final=True, paused=True)
    assert one.update(1, row[1:], final=False) == [Said(row[1:], is_final=False)]
    assert one.advance(5.0) == []  # no sentence has ended


def test_speech_without_a_pause_is_said_in_pieces_at_sentences_where_there_are_any() -> None:
    long = words(" ".join(f"w{k}." if k == 10 else f"w{k}" for k in range(120)))
    one = Utterances()
    said = [said for k, word in enumerate(long) for said in one.update(k, (word,), final=False)]
    finals = [said for said in said if said.is_final]
    assert finals[0].text.endswith("w10.")
    assert all(final.words[-1].end - final.words[0].start <= LONGEST_S + 0.4 for final in finals)
    assert " ".join([*texts(finals), one.end().text]) == " ".join(word.text for word in long)


def test_what_a_fork_said_is_not_said_again_when_the_session_goes_on_otherwise() -> None:
    row = words("this is le")
    one = Utterances()
    assert texts(one.update(0, row, final=True)) == ["this is le"]
    going_on = words("leer est", start=0.64)
    assert texts(one.update(2, going_on, final=False), final=False) == ["est"]
    assert one.end().text == "est"


def test_what_a_fork_said_may_be_taken_back_and_written_again() -> None:
    row = words("one two three")
    one = Utterances()
    one.update(0, row, final=True)
    assert one.update(2, (), final=False) == []
    assert one.update(2, row[2:], final=False) == []
    four = words("four", start=0.96)
    assert texts(one.update(3, four, final=False), final=False) == ["four"]


def test_two_words_of_a_fork_become_one_and_the_next_is_not_lost() -> None:
    one = Utterances()
    one.update(0, words("num ber"), final=True)
    number = Word("number", 0.0, 0.56, 0.9, "en-US", None)
    five = words("five", start=0.64)
    assert texts(one.update(0, (number, *five), final=True)) == ["five"]


def test_a_mark_that_comes_after_its_word_was_said_is_no_text() -> None:
    one = Utterances()
    one.update(0, words("yes"), final=True)
    dot = Word(".", 0.32, 0.4, 0.9, "en-US", None, spaced=False)
    assert one.update(1, (dot,), final=False) == []
    assert one.update(2, words("and", start=0.64), final=True)[0].text == "and"


def test_words_that_never_came_leave_the_numbers_right() -> None:
    one = Utterances()
    assert one.update(3, words("late", start=1.0), final=True)[0].text == "late"
    assert one.update(4, words("later", start=2.0), final=True)[0].text == "later"


SPOKEN = [f"w{k}" for k in range(40)]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_word_is_lost_or_doubled_whatever_the_order(data: st.DataObject) -> None:
    """The session writes 40 words, in any pieces, with finals at any place. A fork may write the last word otherwise,
    as one or as two, which the session then takes back at once or later."""
    spoken = words(" ".join(SPOKEN))
    one, said, at = Utterances(), list[Said](), 0
    while at < len(spoken):
        count = data.draw(st.integers(2, 4))
        said += one.update(at, spoken[at : at + count], final=False)
        at = min(at + count, len(spoken))
        if at == len(spoken) or not data.draw(st.booleans()):
            continue
        last = spoken[at - 1]
        fork: tuple[Word, ...] = ()
        match data.draw(st.sampled_from(["same", "other", "two"])):
            case "other":
                fork = (Word(last.text + "x", last.start, last.end, 0.5, None, None),)
            case "two":
                middle = last.start + 0.08
                fork = (
                    Word(last.text, last.start, middle, 0.5, None, None),
                    Word("uh", middle, last.end, 0.5, None, None),
                )
        if not fork:
            said += one.update(at, (), final=True)
            continue
        said += one.update(at - 1, fork, final=True)
        if data.draw(st.booleans()):
            said += one.update(at - 1, (), final=False)
            said += one.update(at - 1, (last,), final=False)
        else:
            at -= 1
    said.append(one.end())
    heard = [word.text.rstrip("x") for final in said if final.is_final for word in final.words if word.text != "uh"]
    assert heard == SPOKEN
