import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from training import demo_call
from training.grammar import Speaker, held_out
from training.voices import Program

LINE_FIELDS = {"leg", "role", "language", "text", "start", "end"}


@pytest.fixture(scope="module")
def script() -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = json.loads((demo_call.FOLDER / "script.json").read_text(encoding="utf-8"))
    return lines


def test_the_committed_script_is_what_its_seed_draws(script: list[dict[str, Any]]) -> None:
    assert [(line["role"], line["language"], line["text"]) for line in script] == [
        ("agent" if turn.speaker is Speaker.AGENT else "customer", turn.sentence.locale, turn.sentence.text)
        for turn in demo_call.draw()
    ]


def test_every_line_has_its_fields_and_leg(script: list[dict[str, Any]]) -> None:
    assert all(set(line) == LINE_FIELDS for line in script)
    assert {(line["leg"], line["role"]) for line in script} == {("inbound", "customer"), ("outbound", "agent")}


def test_the_agent_speaks_english_and_the_caller_switches_about_half_way(script: list[dict[str, Any]]) -> None:
    assert {line["language"] for line in script if line["role"] == "agent"} == {"en-US"}
    languages = [line["language"] for line in script if line["role"] == "customer"]
    spanish = languages.count("es-US")
    assert 3 <= spanish <= len(languages) - 3
    assert languages == ["es-US"] * spanish + ["en-US"] * (len(languages) - spanish)
    switch = next(line["start"] for line in script if line["role"] == "customer" and line["language"] == "en-US")
    assert 0.4 < switch / script[-1]["end"] < 0.6


def test_pauses_are_those_of_turn_taking_and_nobody_talks_over(script: list[dict[str, Any]]) -> None:
    assert all(0.39 < after["start"] - before["end"] < 0.91 for before, after in pairwise(script))
    assert 50 < script[-1]["end"] < 70


def test_all_but_greeting_and_goodbye_were_held_out_from_training(script: list[dict[str, Any]]) -> None:
    assert script[0]["text"] == demo_call.GREETING
    assert script[-1]["text"] == demo_call.GOODBYE
    assert all(held_out(line["text"]) for line in script[1:-1])


@pytest.mark.parametrize("seed", range(5))
def test_speakers_say_only_what_becomes_them_and_nothing_twice(seed: int) -> None:
    turns = demo_call.draw(seed)
    assert all(turn.sentence.pattern.by in (turn.speaker, Speaker.EITHER) for turn in turns)
    patterns = [turn.sentence.pattern.text for turn in turns]
    assert len(set(patterns)) == len(patterns)
    assert len({(turn.speaker, turn.voice) for turn in turns}) == 2


def test_the_committed_audio_is_two_legs_of_mu_law_that_fit_the_script(script: list[dict[str, Any]]) -> None:
    path = demo_call.FOLDER / "call.wav"
    info = soundfile.info(path)
    assert (info.samplerate, info.channels, info.subtype) == (8000, 2, "ULAW")
    assert 0.8e6 < path.stat().st_size < 1.2e6
    call, rate = soundfile.read(path, dtype="float32")
    assert len(call) / rate > script[-1]["end"]
    for line in script:
        span = call[int(line["start"] * rate) : int(line["end"] * rate)]
        speech, silence = (0, 1) if line["leg"] == "inbound" else (1, 0)
        assert np.abs(span[:, speech]).max() > 0.4
        assert np.abs(span[:, silence]).max() < 0.01
    between = call[int(script[0]["end"] * rate) : int(script[1]["start"] * rate)]
    assert 1e-4 < np.std(between) < 1e-3


@pytest.mark.skipif(not Program.ESPEAK.installed, reason="espeak-ng is not installed")
def test_the_call_can_be_spoken_again(tmp_path: Path, script: list[dict[str, Any]]) -> None:
    demo_call.write(tmp_path)
    again = json.loads((tmp_path / "script.json").read_text(encoding="utf-8"))
    assert [line["text"] for line in again] == [line["text"] for line in script]
    assert again[-1]["end"] == pytest.approx(script[-1]["end"], rel=0.2)
    assert soundfile.info(tmp_path / "call.wav").subtype == "ULAW"
