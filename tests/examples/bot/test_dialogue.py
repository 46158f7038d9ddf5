"""The dialogue by text alone."""

import pytest

from trunkline_bot.dialogue import DICTATION_PATIENCE_S, MOST_SILENCES, PATIENCE_S, Dialogue, State
from trunkline_bot.phrases import PHRASES

ENGLISH = PHRASES["en-US"]
DIALOGUES = {
    "en-US": ("Where is my order?", "My order number is 4712.", "It is 8356.", "Yes, that is correct."),
    "es-US": ("¿Dónde está mi pedido?", "Mi número de pedido es 4712.", "Es el 8356.", "Sí, es correcto."),
    "fr-FR": ("Où est ma commande?", "Mon numéro de commande est le 4712.", "C'est le 8356.", "Oui, c'est exact."),
    "de-DE": ("Wo ist meine Bestellung?", "Meine Bestellnummer ist 4712.", "Es ist die 8356.", "Ja, das ist richtig."),
}


@pytest.mark.parametrize("language", DIALOGUES)
def test_an_order_is_taken_in_the_language_of_the_caller(language: str) -> None:
    question, first, second, yes = DIALOGUES[language]
    phrases, one = PHRASES[language], Dialogue()
    assert one.begin().sentences == (ENGLISH.greeting, ENGLISH.question)
    reply = one.heard(question, language)
    assert (reply.sentences, reply.language) == ((phrases.question,), language)
    assert one.heard(first, language).sentences == ()
    read_back = one.heard(second, language)
    assert read_back.sentences == (phrases.read_back.format(digits="4 7 1 2 8 3 5 6"), phrases.confirm)
    end = one.heard(yes, language)
    assert (end.sentences, end.hangs_up, one.order) == ((phrases.done, phrases.goodbye), True, "47128356")


def test_a_number_comes_digit_by_digit_and_nobody_is_cut_off() -> None:
    one = Dialogue()
    one.begin()
    for said in ("It is four,", "seven", "uh", "one", "okay", "2", "8 3", "five."):
        reply = one.heard(said, "en-US")
        assert (reply.sentences, reply.patience_s) == ((), DICTATION_PATIENCE_S), said
    assert one.heard("six", "en-US").sentences[0] == "Your order number is 4 7 1 2 8 3 5 6."


def test_a_language_that_the_bot_does_not_speak_and_none_change_nothing() -> None:
    one = Dialogue(language="de-DE")
    assert one.heard("Hallo?", "it-IT").language == "de-DE"
    assert one.heard("Hallo?", None).language == "de-DE"
    assert one.heard("Hallo?", "es-ES").language == "es-US"


def test_a_language_may_change_at_any_time() -> None:
    one = Dialogue(4)
    one.heard("My order number is 4712.", "en-US")
    reply = one.heard("¿Puede repetir, por favor?", "es-US")
    assert reply.sentences == ("Su número de pedido es 4 7 1 2.", "¿Es correcto?")
    assert one.heard("Ja, das ist richtig.", "de-DE").sentences[0] == PHRASES["de-DE"].done


def test_a_number_that_is_not_right_is_taken_again() -> None:
    one = Dialogue(4)
    one.heard("4712", "en-US")
    assert one.heard("No, that is not correct.", "en-US").sentences == (ENGLISH.question,)
    one.heard("4713", "en-US")
    assert one.heard("No, it is 4715.", "en-US").sentences[0] == "Your order number is 4 7 1 5."
    assert one.order is None
    one.heard("That is correct.", "en-US")
    assert one.order == "4715"


def test_too_many_digits_are_asked_for_again_and_a_no_begins_a_number_anew() -> None:
    one = Dialogue(4)
    assert one.heard("It is 47123.", "en-US").sentences == (ENGLISH.question,)
    assert one.heard("It is 99.", "en-US").sentences == ()
    assert one.heard("No, it is 47.", "en-US").sentences == ()
    assert one.heard("12", "en-US").sentences[0] == "Your order number is 4 7 1 2."


def test_a_number_that_is_said_again_takes_the_place_of_what_was_misheard() -> None:
    one = Dialogue()
    one.heard("It is 4712836.", "en-US")
    one.silent()
    assert one.heard("4 7 1 2.", "en-US").sentences == ()
    assert one.heard("8 3 5 6.", "en-US").sentences[0] == "Your order number is 4 7 1 2 8 3 5 6."
    two = Dialogue()
    two.heard("It is 4712.", "en-US")
    assert two.heard("It is 47128356.", "en-US").sentences[0] == "Your order number is 4 7 1 2 8 3 5 6."


def test_keys_are_digits_then_yes_and_no() -> None:
    one = Dialogue(4)
    assert [one.pressed(key).sentences for key in "99*"][-1] == (ENGLISH.question,)
    assert [one.pressed(key).sentences for key in "4#71"] == [(), (), (), ()]
    assert one.pressed("2").sentences[0] == "Your order number is 4 7 1 2."
    assert one.pressed("9").sentences[0] == "Your order number is 4 7 1 2."
    assert one.pressed("2").sentences == (ENGLISH.question,)
    one.heard("It is 47.", "en-US")
    one.pressed("1")
    one.pressed("2")
    assert one.pressed("1").hangs_up
    assert one.order == "4712"


def test_silence_is_asked_about_and_then_the_bot_gives_up() -> None:
    one = Dialogue()
    one.begin()
    replies = [one.silent() for _ in range(MOST_SILENCES)]
    assert [reply.sentences for reply in replies[:-1]] == [(ENGLISH.question,)] * (MOST_SILENCES - 1)
    assert (replies[-1].sentences, replies[-1].hangs_up) == ((ENGLISH.goodbye,), True)
    assert one.order is None


def test_silence_in_a_number_says_what_is_known_and_a_word_makes_patience_new() -> None:
    one = Dialogue(4)
    one.heard("It is 47.", "en-US")
    reply = one.silent()
    assert (reply.sentences[0][:10], reply.patience_s) == ("It is 4 7.", DICTATION_PATIENCE_S)
    one.silent()
    one.heard("1", "en-US")
    assert not one.silent().hangs_up
    one.heard("2", "en-US")
    assert one.silent().sentences == ("Your order number is 4 7 1 2.", ENGLISH.confirm)


def test_after_the_goodbye_nothing_is_said() -> None:
    one = Dialogue(4)
    one.heard("4712", "en-US")
    one.heard("Yes.", "en-US")
    assert one.state is State.OVER
    for reply in (one.heard("It is 4713.", "en-US"), one.pressed("2"), one.silent()):
        assert (reply.sentences, reply.hangs_up) == ((), False)
    assert one.order == "4712"


def test_a_back_channel_is_no_answer_and_is_not_answered() -> None:
    one = Dialogue()
    reply = one.heard("Mhm.", "en-US")
    assert (reply.sentences, reply.patience_s) == ((), PATIENCE_S)
