"""What is read as a tag, and what locale it names."""

import pytest

from engine.checkpoint.language_tags import UNKNOWN, LanguageTags, TagText, released_prompts

RELEASED = LanguageTags()


@pytest.mark.parametrize(
    ("name", "locale"),
    [
        ("en-US", "en-US"),
        ("mt-MT", "mt-MT"),
        ("sl-SL", "sl-SI"),  # the released vocabulary's slip
        ("sl-SI", "sl-SI"),
        ("zh-ZH", "zh-CN"),
        ("ja-JA", "ja-JP"),
        ("ko-KO", "ko-KR"),
        ("hi-HI", "hi-IN"),
        ("zh-TW", "zh-TW"),
        ("es", "es-US"),
        ("pt", "pt-PT"),
        ("mt", "mt-MT"),
        ("zh", "zh-CN"),
        ("no", "no-NO"),
        ("nb", "nb-NO"),
        ("EN-us", "en-US"),
        ("fr_CA", "fr-CA"),
        ("pt_br", "pt-BR"),
        ("enGB", "en-GB"),
        ("zh-Hans-CN", "zh-CN"),
        ("en-AU", "en-US"),
        ("es-419", "es-US"),
        ("haw-US", "haw-US"),
        ("xx-YY", "xx-YY"),
        ("xx_yy", "xx-YY"),
        ("|de-DE|", "de-DE"),
        ("|fr|", "fr-FR"),
    ],
)
def test_a_tag_names_the_dictionarys_locale(name: str, locale: str) -> None:
    assert RELEASED.read(f"<{name}>") == TagText(locale)


@pytest.mark.parametrize("name", ["unk", "s", "/s", "pad", "blank", "auto", "|endoftext|", "|0.00|", "mask"])
def test_a_symbol_is_no_text_and_names_nothing(name: str) -> None:
    assert RELEASED.read(f"<{name}>") == TagText(None)


@pytest.mark.parametrize(
    "text", ["<>", "<b>", "<xx>", "<html>", "<3>", "<en-US", "en-US>", "< en-US>", "<a b>", "<e-mail>"]
)
def test_other_text_in_brackets_is_text(text: str) -> None:
    assert RELEASED.read(text) is None


def test_every_locale_of_the_dictionary_is_read_and_every_beginning_of_it_held() -> None:
    for name in released_prompts():
        text = f"<{name}>"
        assert RELEASED.read(text) is not None
        assert all(RELEASED.may_become(text[:length]) for length in range(1, len(text)))


@pytest.mark.parametrize("text", ["< ", "<3", "<-", "<html", "<en-US ", "<en-USxyz", "<mt-M.", "<|a b", "<<"])
def test_what_cannot_become_a_tag_is_known_at_once(text: str) -> None:
    assert not RELEASED.may_become(text)


def test_locales_are_those_of_the_checkpoints_own_dictionary() -> None:
    tags = LanguageTags({"en-GB": 0, "en": 0, "fr-FR": 1, "fr-CA": 1, "zh-TW": 2, "auto": 3})
    wanted = {"en": "en-GB", "en-US": "en-GB", "fr-FR": "fr-FR", "fr-CA": "fr-CA", "zh-ZH": "zh-TW", "de-DE": "de-DE"}
    assert {name: tags.locale(name) for name in wanted} == wanted


def test_brackets_that_the_vocabulary_does_not_have_are_read_around_a_locale_only() -> None:
    assert RELEASED.read(f"{UNKNOWN}mt-MT{UNKNOWN}") == TagText("mt-MT")
    assert RELEASED.read(f"<mt-MT{UNKNOWN}") == TagText("mt-MT")
    assert RELEASED.read(f"{UNKNOWN}es{UNKNOWN}") is None
    assert RELEASED.read(f"{UNKNOWN}xx-YY{UNKNOWN}") is None
