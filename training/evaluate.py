"""Word error rate and language tags of a checkpoint on the demo model's world: `python -m training.evaluate`.

Draws sentences that training never saw, speaks them in voices it never heard, sends them through the product's own
telephone path (mu-law at 8 kHz, half-band filter, engine) and prints tables in Markdown and, as the last line, JSON.
Case and punctuation count. Needs espeak-ng; pico2wave is added where it is installed.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import AUTO, Engine
from engine.api import Precision
from engine.chunking import FRAME_MS
from engine.errors import EngineError
from training import voices
from training.evaluation_set import SpeechCache, SpokenCall, single_sentences, steady_calls, switching_calls
from training.grammar import LOCALES
from training.recognize import Batch, Part
from training.scoring import Score, score
from training.telephone import received
from training.voices import SAMPLE_RATE_HZ, Program, VoiceError

LOCKED = "locked"
TRUE_PROMPT = "true"
PROMPTS = (AUTO, LOCKED, TRUE_PROMPT)
ALL = "all"
CHUNKS_MS = (80, 160, 320, 560, 1120)
"""Of the released checkpoint and the demo model; another one may have others."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of a table. `prompt`: `auto`, `locked` for `auto` with the language lock, or `true` for the language that
    is being spoken."""

    group: str
    chunk_ms: int
    prompt: str


Results = dict[Setting, dict[str, Score]]


def draw_calls(sentences: int, seed: int) -> list[SpokenCall]:
    """The calls to play: `sentences` a language and synthesiser, and as many calls of several sentences in one
    language and of such that switch language.

    Raises `VoiceError` without espeak-ng.
    """
    voices.require(Program.ESPEAK)
    speak = SpeechCache.of_seed(seed).speak
    calls = single_sentences(Program.ESPEAK, sentences, seed, speak)
    if Program.PICO.installed:
        calls += single_sentences(Program.PICO, sentences, seed, speak)
    calls += steady_calls(sentences, seed, speak)
    calls += switching_calls(True, sentences // 2, seed, speak)
    calls += switching_calls(False, sentences - sentences // 2, seed, speak)
    return calls


def parts(call: SpokenCall, prompt: str) -> list[Part]:
    """The call as the engine hears it, cut where the true prompt changes: as the next speaker begins."""
    pcm = received(call.recording.codes)
    if prompt != TRUE_PROMPT:
        return [Part(pcm, AUTO, language_lock=prompt == LOCKED)]
    starts = [0, *(round(start * SAMPLE_RATE_HZ) for start in call.recording.starts_s[1:]), len(pcm)]
    return [
        Part(pcm[start:end], segment.locale)
        for segment, start, end in zip(call.segments, starts, starts[1:], strict=False)
    ]


def evaluate(batch: Batch, calls: Sequence[SpokenCall], chunks_ms: Iterable[int]) -> Results:
    """Score every call in every setting."""
    results: Results = {}
    for chunk_ms in chunks_ms:
        for prompt in PROMPTS:
            began = time.monotonic()
            recognised = batch.run([parts(call, prompt) for call in calls], chunk_ms)
            print(f"{chunk_ms} ms, {prompt} prompt: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            for call, words in zip(calls, recognised, strict=True):
                scores = results.setdefault(Setting(call.group, chunk_ms, prompt), defaultdict(Score))
                for segment, segment_score in zip(call.segments, score(call.segments, words), strict=True):
                    scores[segment.locale] += segment_score
                    scores[ALL] += segment_score
    return results


def tables(results: Results) -> str:
    """One Markdown table a group: WER % / right tags %."""
    lines = []
    for group in dict.fromkeys(setting.group for setting in results):
        rows = {setting: scores for setting, scores in results.items() if setting.group == group}
        total = next(iter(rows.values()))[ALL]
        lines += [f"{group}: {total.sentences} sentences, {total.errors.words} words (WER % / right tags %)", ""]
        lines += [f"| chunk, prompt | {' | '.join((*LOCALES, ALL))} |", "|---|" + "---|" * (len(LOCALES) + 1)]
        for setting, scores in rows.items():
            cells = (f"{scores[key].wer_percent:.1f} / {scores[key].tags_percent:.1f}" for key in (*LOCALES, ALL))
            lines.append(f"| {setting.chunk_ms} ms, {setting.prompt} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def as_json(results: Results) -> list[dict[str, Any]]:
    """One entry for each setting and language."""
    return [
        {
            "group": setting.group,
            "chunk_ms": setting.chunk_ms,
            "prompt": setting.prompt,
            "language": language,
            "sentences": scores[language].sentences,
            "words": scores[language].errors.words,
            "wer_percent": round(scores[language].wer_percent, 2),
            "substitutions": scores[language].errors.substitutions,
            "deletions": scores[language].errors.deletions,
            "insertions": scores[language].errors.insertions,
            "tags_percent": round(scores[language].tags_percent, 2),
        }
        for setting, scores in results.items()
        for language in (*LOCALES, ALL)
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    calls = draw_calls(options.sentences, options.seed)
    if not Program.PICO.installed:
        print(f"pico2wave is not installed ({Program.PICO.package}): its group is left out", file=sys.stderr)
    audio_s = sum(call.recording.duration_s for call in calls)
    print(f"{len(calls)} calls, {audio_s:.0f} s of audio", file=sys.stderr)
    with Engine.load(
        options.checkpoint, device=options.device, precision=options.precision, max_sessions=options.at_once
    ) as engine:
        results = evaluate(Batch(engine, options.at_once), calls, options.chunk_ms)
    report = {
        "checkpoint": options.checkpoint or "demo",
        "seed": options.seed,
        "sentences_per_language": options.sentences,
        "audio_s": round(audio_s),
        "results": as_json(results),
    }
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(tables(results))
    print(json.dumps(report))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("--sentences", type=_positive, default=100, help="a language; and calls that switch")
    parser.add_argument("--chunk-ms", type=_chunks, default=(80, 160, 1120), help="latency classes, by commas")
    parser.add_argument("--checkpoint", help="file, folder or Hugging Face id (the demo model)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", type=Precision, choices=list(Precision), help="(the default of the device)")
    parser.add_argument("--seed", type=int, default=1, help="of sentences, voices and lines")
    parser.add_argument("--at-once", type=_positive, default=32, help="sessions side by side")
    parser.add_argument("--json", type=Path, help="also write the last line's JSON to this file")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _chunks(text: str) -> tuple[int, ...]:
    chunks = tuple(int(part) for part in text.split(","))
    if unknown := [chunk for chunk in chunks if chunk <= 0 or chunk % FRAME_MS]:
        known = ", ".join(map(str, CHUNKS_MS))
        raise argparse.ArgumentTypeError(f"{unknown[0]} is not one of {known} or another multiple of {FRAME_MS}")
    return chunks


if __name__ == "__main__":
    try:
        main()
    except (VoiceError, EngineError) as error:
        raise SystemExit(f"error: {error}") from None
