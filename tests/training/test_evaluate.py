import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import training.evaluate as subject
from tests.training.recognizer import EchoBatch, EchoRecognizer
from training import telephone
from training.evaluation_set import SpokenCall, single_sentences, switching_calls
from training.grammar import LOCALES, Sentence
from training.voices import Program, Voice, VoiceError


def hum(voice: Voice, sentence: Sentence) -> NDArray[np.float32]:
    return np.resize(np.array([0.2, 0.6, -0.2, -0.6], np.float32), 8000)


def test_the_true_prompt_is_the_language_of_each_segment() -> None:
    (call,) = switching_calls(False, 1, 3, hum)
    parts = subject.parts(call, subject.TRUE_PROMPT)
    assert [part.language for part in parts] == [segment.locale for segment in call.segments]
    whole = telephone.received(call.recording.codes)
    assert np.array_equal(np.concatenate([part.pcm for part in parts]), whole)
    assert len(parts[0].pcm) == round(call.recording.starts_s[1] * 16_000)


@pytest.mark.parametrize("prompt", ["auto", "locked"])
def test_auto_hears_the_call_in_one_part_with_the_lock_or_without(prompt: str) -> None:
    (call,) = switching_calls(False, 1, 3, hum)
    (part,) = subject.parts(call, prompt)
    assert part.language == "auto"
    assert part.language_lock == (prompt == "locked")


def test_every_setting_scores_every_language() -> None:
    calls = single_sentences(Program.ESPEAK, 2, 1, hum) + switching_calls(True, 6, 1, hum)
    results = subject.evaluate(EchoBatch(EchoRecognizer()), calls, [80, 160])
    assert len(results) == 2 * 2 * 3
    for setting, scores in results.items():
        assert scores["all"].sentences == (8 if setting.group.startswith("sentences") else 18)
        assert sum(scores[locale].sentences for locale in LOCALES) == scores["all"].sentences
        assert scores["all"].errors.errors > 0
    right = {setting.prompt: scores["all"].tags_percent for setting, scores in results.items()}
    assert right == {"auto": 0.0, "locked": 0.0, "true": 100.0}


def test_tables_and_json_show_the_same_figures() -> None:
    calls: list[SpokenCall] = single_sentences(Program.ESPEAK, 1, 1, hum)
    results = subject.evaluate(EchoBatch(EchoRecognizer()), calls, [160])
    text = subject.tables(results)
    assert text.startswith("sentences, espeak-ng: 4 sentences,")
    assert "| 160 ms, true | " in text
    entries = subject.as_json(results)
    assert len(entries) == 3 * 5
    french = next(entry for entry in entries if entry["prompt"] == "true" and entry["language"] == "fr-FR")
    assert f"{french['wer_percent']:.1f} / {french['tags_percent']:.1f}" in text
    assert french["sentences"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--chunk-ms", "80,100"], "100 is not one of 80, 160, 320, 560, 1120"),
        (["--sentences", "0"], "0 is not a positive number"),
        (["--at-once", "many"], "invalid"),
    ],
)
def test_wrong_options_are_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        subject.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_without_espeak_the_evaluation_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(VoiceError, match="apt-get install espeak-ng"):
        subject.main(["--sentences", "1"])


@pytest.mark.skipif(not Program.ESPEAK.installed, reason="espeak-ng is not installed")
def test_the_demo_model_knows_its_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    written = tmp_path / "figures.json"
    subject.main(["--sentences", "4", "--chunk-ms", "160", "--at-once", "8", "--json", str(written)])
    printed = capsys.readouterr().out
    report = json.loads(printed.splitlines()[-1])
    assert report == json.loads(written.read_text())
    assert "| 160 ms, auto | " in printed
    groups = {entry["group"]: entry for entry in report["results"] if entry["language"] == "all"}
    assert {"sentences, espeak-ng", "one language", "switching, one voice", "switching, several voices"} <= set(groups)
    assert groups["sentences, espeak-ng"]["sentences"] == 16
    assert groups["sentences, espeak-ng"]["wer_percent"] < 30
    assert groups["sentences, espeak-ng"]["tags_percent"] > 80
