"""Turns of telephone prompts."""

import random
from itertools import combinations
from pathlib import Path

import pytest

from tests.services.missing import missing
from training import turn_prompts
from training.turn_dialogues import Split
from training.turn_legs import Line
from training.turn_prompts import FOLDERS, draw, prompts
from training.voices import VoiceError


def needs(locale: str) -> None:
    if not (turn_prompts.SOUNDS / FOLDERS[locale]).is_dir():
        missing(f"asterisk-core-sounds-{locale[:2]}-wav is not installed: run `python -m tests.services.install`")


@pytest.mark.parametrize("locale", ["en-US", "es-US"])
def test_splits_share_no_prompts(locale: str) -> None:
    needs(locale)
    of_split = [set(prompts(split, locale)) for split in Split]
    assert all(not one & other for one, other in combinations(of_split, 2))
    assert min(map(len, of_split)) > 10


def test_a_leg_has_its_turns() -> None:
    needs("es-US")
    leg = draw(Split.TEST, "es-US", Line.NOISE_20, random.Random(2))
    assert sum(one.ends_turn for one in leg.speech) == turn_prompts.TURNS
    assert len(leg.speech) > turn_prompts.TURNS
    assert all(one.start_s < one.end_s for one in leg.speech)


def test_missing_prompts_name_their_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(turn_prompts, "SOUNDS", tmp_path)
    with pytest.raises(VoiceError, match="apt-get install asterisk-core-sounds-fr-wav"):
        prompts.__wrapped__(Split.TEST, "fr-FR")
