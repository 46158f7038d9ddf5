"""Text in all scripts comes out of the words as it went into the pieces: letters, marks, joiners, bytes."""

import io
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.api import Word
from engine.checkpoint.tokenizer import Tokenizer, from_sentencepiece
from engine.sessions.transcript import Transcript

SENTENCES = {
    "ar-AR": "مَرْحَبًا، كَيْفَ حَالُكَ؟ رقم الطلب ٤٧١١.",
    "bg-BG": "Здравейте, къде е поръчка 4711?",
    "cs-CZ": "Příliš žluťoučký kůň úpěl.",
    "da-DK": "Blåbærgrød på æblekage.",
    "de-DE": "„Straße für schöne Grüße“, sagte er.",
    "el-GR": "Πού είναι η παραγγελία μου;",
    "en-GB": "It's £5.50 – isn't it?",
    "en-US": "Hello, that's $12 (plus tax).",
    "es-ES": "¿Dónde está mi pedido? ¡Aquí!",
    "es-US": "Mañana a las 9:30, ¿sí?",
    "et-EE": "Õhtul sõin šokolaadi.",
    "fi-FI": "Älä syö hyvää yötä.",
    "fr-CA": "« C'est ça », dit-il à Noël.",
    "fr-FR": "Où est l'œuf ? À l'hôtel.",
    "he-IL": "שָׁלוֹם, מָה שְׁלוֹמְךָ?",
    "hi-IN": "नमस्ते, मेरा ऑर्डर ४७११ कहाँ है।",
    "hr-HR": "Čašća đačka žlica.",
    "hu-HU": "Árvíztűrő tükörfúrógép.",
    "it-IT": "Perché l'ordine è così?",
    "ja-JP": "「注文番号は４７１１です。」ガラスとコーヒー、がぎぐ。",
    "ko-KR": "안녕하세요, 주문 4711은 어디에 있나요?",
    "lt-LT": "Žąsys įžengė į ežerą.",
    "lv-LV": "Šķūnī ir ļoti ātri.",
    "mt-MT": "Il-ħanżir għandu żaqq ċkejkna.",
    "nb-NO": "Jeg så på sjøen.",
    "nl-NL": "Eén reünie, twee cafés.",
    "nn-NO": "Eg høyrde ikkje noko.",
    "pl-PL": "Zażółć gęślą jaźń.",
    "pt-BR": "Não, amanhã às três.",
    "pt-PT": "Então, é à tua avó?",
    "ro-RO": "Țară, știință și înțelegere.",
    "ru-RU": "Где мой заказ № 4711?",
    "sk-SK": "Kŕdeľ ďatľov učí koňa.",
    "sl-SI": "Žival čaka šest ur.",
    "sv-SE": "Åh, en älg på ön.",
    "th-TH": "สวัสดีครับ ที่นี่น้ำดื่ม ๑๐ บาท ฿10",
    "tr-TR": "Şu ılık içeceği çöğür.",
    "uk-UA": "Де моє замовлення, п'ять?",
    "vi-VN": "Đơn hàng của tôi ở đâu?",
    "zh-CN": "你好，我的订单号是4711。“好的”！",
    "km-KH": "ខ្ញុំស្រឡាញ់ភាសាខ្មែរ។",
    "lo-LA": "ສະບາຍດີ ຂ້ອຍຢູ່ທີ່ນີ້ ເດີ້",
    "my-MM": "မြန်မာဘာသာစကား၊ မင်္ဂလာပါ။",
    "fa-IR": "می\u200cخواهم کتاب\u200cها را ببینم؟",
    "emoji": "👩\u200d👩\u200d👧 ❤\ufe0f 👍🏽 🇩🇪",
}


def words_of(tokenizer: Tokenizer, tokens: Sequence[int]) -> tuple[list[Word], list[str]]:
    """The words of tokens that come one a step, and all texts that were shown on the way."""
    transcript, words, seen = Transcript(tokenizer, None), list[Word](), list[str]()
    for frame in range(len(tokens) + 1):
        last = frame == len(tokens)
        if not last:
            transcript.add(tokens[frame], frame, 0.9)
        news = transcript.take(last=last)
        if news is not None:
            words[news[0] :] = news[1]
        seen.append(text_of(words))
    return words, seen


def text_of(words: Sequence[Word]) -> str:
    return "".join(" " * word.spaced + word.text for word in words).strip()


def begins_with_a_mark(word: Word) -> bool:
    return unicodedata.category(word.text[0])[0] == "M"


def trained(lines: Sequence[str], pieces: int, **settings: Any) -> tuple[bytes, Tokenizer]:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=pieces,
        normalization_rule_name="identity",
        byte_fallback=True,
        bos_id=-1,
        eos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
        **settings,
    )
    return model.getvalue(), from_sentencepiece(model.getvalue(), "trained")


@pytest.fixture(scope="module", params=["bpe", "characters", "bytes"])
def vocabulary(request: pytest.FixtureRequest) -> tuple[sentencepiece.SentencePieceProcessor, Tokenizer]:
    """Pieces of several characters; one a character, so that every mark stands alone; bytes but for ASCII."""
    lines = [form for text in SENTENCES.values() for form in (text, unicodedata.normalize("NFD", text))]
    if request.param == "bytes":
        lines = ["plain words in ascii 0123456789 and no more"]
    pieces = {"bpe": 2_400, "characters": 1_100, "bytes": 300}[request.param]
    kind = "char" if request.param == "characters" else "bpe"
    model, tokenizer = trained(lines, pieces, model_type=kind, character_coverage=1.0)
    return sentencepiece.SentencePieceProcessor(model_proto=model), tokenizer


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("locale", SENTENCES)
def test_every_locales_text_comes_out_as_it_went_in(
    vocabulary: tuple[sentencepiece.SentencePieceProcessor, Tokenizer], locale: str, form: Literal["NFC", "NFD"]
) -> None:
    pieces, tokenizer = vocabulary
    text = unicodedata.normalize(form, SENTENCES[locale])
    words, seen = words_of(tokenizer, pieces.encode(text))
    assert text_of(words) == text
    assert not any(begins_with_a_mark(word) for word in words)
    assert not any("\ufffd" in shown for shown in seen), "a part of a character was shown"


ALPHABETS = [
    st.characters(min_codepoint=first, max_codepoint=last, categories=["L", "M", "N", "P", "S"])
    for first, last in (
        *((0x20, 0x24F), (0x300, 0x36F), (0x370, 0x52F), (0x590, 0x6FF), (0x900, 0x97F), (0xE00, 0xEFF)),
        *((0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xAD00), (0x1F300, 0x1F64F)),
    )
]
JOINERS = st.sampled_from("\u200c\u200d\u200b\u200e\u200f\ufe0f\u0301\u0e31\u17d2")


@settings(max_examples=150)
@given(st.lists(st.text(st.one_of(*ALPHABETS, JOINERS), min_size=1, max_size=8), min_size=1, max_size=6))
def test_any_text_comes_out_as_it_went_in(
    vocabulary: tuple[sentencepiece.SentencePieceProcessor, Tokenizer], chunks: list[str]
) -> None:
    text = " ".join(chunks).replace("<", "").replace("\u2581", "")
    text = " ".join(text.split())
    pieces, tokenizer = vocabulary
    tokens = pieces.encode(text)
    if pieces.decode(tokens) != text:  # SentencePiece itself drops what it takes for a space
        return
    words, _ = words_of(tokenizer, tokens)
    assert text_of(words) == text
    starts = {index for index, character in enumerate(text) if not index or text[index - 1] == " "}
    at = 0
    for word in words:
        at += word.spaced and at > 0
        assert at in starts or not begins_with_a_mark(word), f"{word.text!r} in {text!r}"
        at += len(word.text)


def pieces_of(*pieces: str) -> Tokenizer:
    return Tokenizer(["<unk>", "<th-TH>", *pieces], frozenset({0}))


def spoken(*pieces: str) -> list[Word]:
    return words_of(pieces_of(*pieces), range(2, 2 + len(pieces)))[0]


@pytest.mark.parametrize(
    "pieces",
    [
        ("▁ก", "\u0e31", "น"),
        ("▁น", "\u0e49", "\u0e33"),
        ("▁ខ", "\u17d2", "ញ", "\u17bb", "\u17c6"),
        ("▁ສ", "\u0eb0", "ບ", "\u0ecd"),
        ("▁မ", "\u103c", "န", "\u103a", "မ", "\u102c"),
        ("▁मे", "ऑ", "\u0902"),
        ("▁م", "\u064e", "ر", "\u0652"),
        ("▁ש", "\u05c1", "\u05b8"),
        ("▁か", "\u3099"),
        ("▁コ", "ー", "ヒ", "ー", "・"),
        ("▁e", "\u0301"),
        ("▁می", "\u200c", "خواهم"),
        ("▁👩", "\u200d", "👧"),
        ("▁❤", "\ufe0f"),
    ],
)
def test_marks_that_are_a_piece_of_their_own_are_kept_and_never_begin_a_word(pieces: tuple[str, ...]) -> None:
    words = spoken(*pieces)
    assert text_of(words) == "".join(pieces).removeprefix("▁")
    assert not any(begins_with_a_mark(word) or word.text[0] in "\u200c\u200d\ufe0fー・" for word in words)


@pytest.mark.parametrize("mark", ["\u0e31", "\u0e33", "\u17d2", "\u064e", "\u0301", "\u200d"])
def test_a_mark_right_after_a_tag_belongs_to_the_word_before_it(mark: str) -> None:
    tokenizer = pieces_of("▁ก", mark, "▁น")
    transcript, words = Transcript(tokenizer, None), list[Word]()
    for frame, token in enumerate((2, 1, 3, 4)):
        transcript.add(token, frame, 0.9)
        news = transcript.take()
        if news is not None:
            words[news[0] :] = news[1]
    assert [(word.text, word.language) for word in words] == [("ก" + mark, "th-TH"), ("น", "th-TH")]


@pytest.mark.parametrize(
    "opening",
    [
        "¿",
        "¡",
        '"',
        "'",
        "“",
        "«",
        "„",
        "(",
        "[",
        "「",
        "『",
        "$",
        "€",
        "£",
        "฿",
        "₹",
        "#",
        "@",
        "+",
        "-",
        "–",
        "👍",
        "%",
    ],
)
def test_what_begins_a_sentence_right_after_a_tag_is_kept(opening: str) -> None:
    tokenizer = pieces_of("▁A", ".", opening, "B")
    words, _ = words_of(tokenizer, [2, 3, 1, 4, 5])
    assert [word.text for word in words] == ["A.", opening + "B"]
    assert words[1].spaced is False


@pytest.mark.parametrize(
    "leaked", [".", ",", "?", "!", "...", "。", "？", "！", "、", "؟", "،", "۔", "।", "။", "។", "።", ")", "」", '."']
)
def test_what_ended_the_sentence_before_the_tag_does_not_come_again_after_it(leaked: str) -> None:
    tokenizer = pieces_of("▁A", ".", leaked, "▁B")
    words, _ = words_of(tokenizer, [2, 3, 1, 4, 5])
    assert [word.text for word in words] == ["A.", "B"]


@pytest.mark.parametrize("ending", ["。", "、", "？", "！", "។", "။", "၊", "ๆ", "ฯ", "฿", "」", "・", "ー", "\u3099"])
def test_punctuation_and_signs_of_unspaced_scripts_stay_where_they_were_written(ending: str) -> None:
    assert [word.text for word in spoken("▁ก", "世", ending, "界")] == ["ก", "世" + ending, "界"]


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        (("▁你", "好", "世"), ["你", "好", "世"]),
        (("▁เ", "ก", "า", "ก"), ["เกา", "ก"]),
        (("▁น", "\u0e49", "\u0e33", "ด"), ["น้ำ", "ด"]),
        (("▁น", "\u0e49", "\u0e4d", "\u0e32", "ด"), ["น\u0e49\u0e4d\u0e32", "ด"]),
        (("▁ກ", "ະ", "ນ", "ຳ"), ["ກະ", "ນຳ"]),
        (("▁き", "ょ", "う", "フ", "ァ", "ン"), ["きょ", "う", "ファ", "ン"]),
        (("▁ស", "\u17d2", "រ", "ក"), ["ស្រ", "ក"]),
        (("▁说", "「", "好", "」", "吗"), ["说", "「好」", "吗"]),
        (("▁私", "は", "A", "B", "で"), ["私", "はAB", "で"]),
    ],
)
def test_words_of_unspaced_scripts_begin_with_a_letter_that_can(pieces: tuple[str, ...], words: list[str]) -> None:
    assert [word.text for word in spoken(*pieces)] == words


def each_byte(text: str) -> Iterator[str]:
    yield from (f"<0x{byte:02X}>" for byte in text.encode())


@pytest.mark.parametrize("text", ["ñ", "世", "\u0e31", "👍", "€"])
def test_a_character_in_bytes_is_shown_when_it_is_whole(text: str) -> None:
    tokenizer = pieces_of("▁a", *each_byte(text), "b")
    words, seen = words_of(tokenizer, range(2, 2 + len(tokenizer) - 2))
    assert seen[0] == "a"
    assert set(seen[1 : len(text.encode())]) == {"a"}
    assert text_of(words) == f"a{text}b"


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        (("▁", "北", "東", "<0xE7>", "<0x88>", "<0xBF>", "，"), ["北", "東", "爿，"]),
        (("▁K", "<0x64>", "<0x79>", "ť", "▁a", "<0x75>", "to"), ["Kdyť", "auto"]),
        (("▁d", "<0x20>", "<0x76>", "oda"), ["d", "voda"]),
    ],
)
def test_pieces_of_bytes_that_are_ordinary_pieces_are_written_as_characters(
    pieces: tuple[str, ...], words: list[str]
) -> None:
    assert [word.text for word in spoken(*pieces)] == words


def test_bytes_that_make_no_character_are_replaced() -> None:
    tokenizer = pieces_of("▁a", "<0xE4>", "b", "<0xB8>", "<0xE4>")
    words, _ = words_of(tokenizer, range(2, 7))
    assert text_of(words) == "a\ufffdb\ufffd\ufffd"


def test_a_mark_written_in_bytes_right_after_a_tag_is_one() -> None:
    tokenizer = pieces_of("▁ก", *each_byte("\u0e31"))
    words, _ = words_of(tokenizer, [2, 1, 3, 4, 5])
    assert [word.text for word in words] == ["ก\u0e31"]
