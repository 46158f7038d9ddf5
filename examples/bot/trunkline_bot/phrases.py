"""What the bot says and the words it understands, by language. Sentences that the demo model knows where there is one.

Words are lower-case, without punctuation.
"""

from dataclasses import dataclass

DEFAULT = "en-US"


@dataclass(frozen=True, slots=True)
class Phrases:
    """`voice`: of espeak-ng. `rest` and `read_back` have a place for `{digits}`. `numbers`: the words of 0 to 9, the
    usual one first. `back_channels`: said to show that one listens; what begins with them may go on otherwise."""

    voice: str
    greeting: str
    question: str
    rest: str
    read_back: str
    confirm: str
    done: str
    goodbye: str
    numbers: tuple[frozenset[str], ...]
    yes: frozenset[str]
    no: frozenset[str]
    back_channels: frozenset[str]


def _numbers(words: str) -> tuple[frozenset[str], ...]:
    """`zero/oh one two ...`."""
    return tuple(frozenset(one.split("/")) for one in words.split())


def _words(words: str) -> frozenset[str]:
    return frozenset(words.split())


PHRASES = {
    "en-US": Phrases(
        voice="en-us",
        greeting="Good morning, thank you for calling.",
        question="May I have your order number, please?",
        rest="It is {digits}. Could you please repeat that?",
        read_back="Your order number is {digits}.",
        confirm="That is correct?",
        done="Thank you, your order will arrive on Monday.",
        goodbye="Thank you for calling, have a nice day.",
        numbers=_numbers("zero/oh one two three four five six seven eight nine"),
        yes=_words("yes yeah yep correct right sure exactly okay ok mhm"),
        no=_words("no nope not wrong isn't incorrect"),
        back_channels=_words("mhm mm hmm uh huh uh-huh okay ok yeah right"),
    ),
    "es-US": Phrases(
        voice="es-la",
        greeting="Buenos días, gracias por llamar.",
        question="¿Me da su número de pedido, por favor?",
        rest="Es el {digits}. ¿Puede repetir, por favor?",
        read_back="Su número de pedido es {digits}.",
        confirm="¿Es correcto?",
        done="Gracias, su pedido llega el lunes.",
        goodbye="Gracias por llamar, que tenga un buen día.",
        numbers=_numbers("cero uno dos tres cuatro cinco seis siete ocho nueve"),
        yes=_words("sí si correcto claro exacto vale mhm"),
        no=_words("no incorrecto mal"),
        back_channels=_words("mhm mm ajá aja vale ya"),
    ),
    "fr-FR": Phrases(
        voice="fr-fr",
        greeting="Bonjour, merci de votre appel.",
        question="Quel est votre numéro de commande, s'il vous plaît?",
        rest="C'est le {digits}. Pouvez-vous répéter, s'il vous plaît?",
        read_back="Votre numéro de commande est le {digits}.",
        confirm="C'est exact?",
        done="Merci, votre commande arrive lundi.",
        goodbye="Merci de votre appel, bonne journée.",
        numbers=_numbers("zéro un deux trois quatre cinq six sept huit neuf"),
        yes=_words("oui ouais exact d'accord correct mhm"),
        no=_words("non pas faux n'est"),
        back_channels=_words("mhm mm hum ouais d'accord"),
    ),
    "de-DE": Phrases(
        voice="de",
        greeting="Guten Morgen, vielen Dank für Ihren Anruf.",
        question="Wie lautet Ihre Bestellnummer, bitte?",
        rest="Es ist die {digits}. Können Sie das bitte wiederholen?",
        read_back="Ihre Bestellnummer ist {digits}.",
        confirm="Das ist richtig?",
        done="Vielen Dank, Ihre Bestellung kommt am Montag an.",
        goodbye="Vielen Dank für Ihren Anruf, schönen Tag noch.",
        numbers=_numbers("null eins zwei/zwo drei vier fünf sechs sieben acht neun"),
        yes=_words("ja jawohl genau richtig stimmt korrekt okay mhm"),
        no=_words("nein nicht falsch nee"),
        back_channels=_words("mhm mm hm aha okay genau"),
    ),
}
"""By the locale that the bot speaks it in."""

_BY_LANGUAGE = {locale.partition("-")[0]: locale for locale in PHRASES}


def spoken_locale(tag: str | None) -> str | None:
    """The bot's locale for a record's language tag; None where it does not speak it."""
    return None if tag is None else _BY_LANGUAGE.get(tag.partition("-")[0])
