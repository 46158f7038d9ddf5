"""How often speakers are cut off, how long answers wait, and what it costs: turn ends on the telephone.

`python -m benchmarks.turns [--quick] [--legs 10] [--seed 2] [--traces FOLDER] [--plot FILE]`

Callers with known turns, generated ones in four languages and Debian's telephone prompts in three, go over telephone
lines (300 to 3,400 Hz, mu-law; clean, noise at 20 and 10 dB, 3 % of the packets lost) into voice activity detection,
Smart Turn and the demo model; eot-bench's policies are swept over what five systems make of it, each with the policy
that was best on other speakers and sentences. Then legs are played in real time, for when the records come, and a
hundred at once, for what that costs. Needs espeak-ng, flite, festival with festvox-kallpc16k and
festvox-us-slt-hts, and asterisk-core-sounds-en-wav, -es-wav, -fr-wav. The last line is JSON.
"""

import argparse
import asyncio
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import turn_records
from benchmarks.turn_plot import plot, table
from benchmarks.turn_policy import Pause
from benchmarks.turn_systems import Figures, figures, said, systems
from pipeline.turns import fusion
from pipeline.turns.config import TurnConfig
from pipeline.turns.models import SmartTurn
from training import turn_prompts
from training.grammar import LOCALES
from training.turn_dialogues import Split
from training.turn_traces import Trace
from training.turns import CHUNK_MS, load_traces
from training.voices import VoiceError

QUICK_LEGS = 2
_PROMPTS = "prompts"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few legs, a few minutes")
    parser.add_argument("--legs", type=int, default=10, help="generated ones a language and split")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--traces", type=Path, help="folder that keeps traces for the next run")
    parser.add_argument("--plot", type=Path, help="SVG file to write")
    options = parser.parse_args(arguments)
    count = QUICK_LEGS if options.quick else options.legs
    smart = SmartTurn()
    chosen_on = load_traces(Split.DEVELOPMENT, count, options.seed, options.traces)
    tried_on = load_traces(Split.TEST, count, options.seed, options.traces)
    by_group = _compare(chosen_on, tried_on, smart)
    for group, by_system in by_group.items():
        one = next(iter(by_system.values()))
        print(f"\n### {group}: {one.holds} pauses in turns, {one.ends} ends\n\n{table(by_system)}")
    if options.plot is not None:
        panels = {name: {system: one.outcomes for system, one in found.items()} for name, found in by_group.items()}
        options.plot.write_text(plot(panels), encoding="utf-8")
    legs = [trace.leg for trace in tried_on]
    records = _records(legs, options.quick)
    spent = asyncio.run(turn_records.cost(legs, 100, 8.0 if options.quick else 20.0))
    of_fusion = by_group["all"]["fusion"]
    print(
        json.dumps(
            {
                "benchmark": "turns",
                "machine": platform.processor() or platform.machine(),
                "cutoff_at_300ms_pct": _cutoffs(of_fusion),
                "latency_at_5pct_ms": _latency(of_fusion),
                **records,
                "core_pct_per_leg": round(spent.core_pct_per_leg, 3),
                "mb_per_leg": round(spent.mb_per_leg, 3),
                "groups": {
                    group: {
                        system: {"cutoff_at_300ms_pct": _cutoffs(one), "latency_at_5pct_ms": _latency(one)}
                        for system, one in by_system.items()
                    }
                    for group, by_system in by_group.items()
                },
            }
        )
    )


def _compare(chosen_on: Sequence[Trace], tried_on: Sequence[Trace], smart: SmartTurn) -> dict[str, dict[str, Figures]]:
    """By group of legs and system. Policies are chosen on all generated legs, and on all prompts: not by language."""
    found: dict[str, dict[str, Figures]] = {}
    for system in systems(fusion.shipped()):
        chosen, tried = ([(_group(t), p) for t, p in said(system, ts, smart)] for ts in (chosen_on, tried_on))
        for group in ("all", *LOCALES, _PROMPTS):
            of_chosen = (
                []
                if group == "all"
                else [p for name, ps in chosen if (name == _PROMPTS) == (group == _PROMPTS) for p in ps]
            )
            of_chosen = of_chosen or _flat(chosen)
            of_tried = [pause for name, ps in tried if group in ("all", name) for pause in ps]
            found.setdefault(group, {})[system.name] = figures(of_chosen, of_tried)
    return found


def _flat(of_legs: Sequence[tuple[str, list[Pause]]]) -> list[Pause]:
    return [pause for _, pauses in of_legs for pause in pauses]


def _group(trace: Trace) -> str:
    return _PROMPTS if trace.leg.voice in turn_prompts.FOLDERS.values() else trace.leg.locale


def _cutoffs(one: Figures) -> float | None:
    return None if one.at_latency is None else round(one.at_latency.cutoff_pct, 1)


def _latency(one: Figures) -> float | None:
    return None if one.at_cutoffs is None else round(one.at_cutoffs.latency_ms, 0)


def _records(legs: Sequence[Any], quick: bool) -> dict[str, Any]:
    """Of eight legs, two of each locale, at the settings of the release."""
    some = [leg for locale in LOCALES for leg in [one for one in legs if one.locale == locale][:2]]
    seconds = 20.0 if quick else 60.0
    told = asyncio.run(turn_records.play(some, TurnConfig(), CHUNK_MS, seconds))
    found = turn_records.delays(some, told, seconds)
    return {
        "final_p50_ms": turn_records.percentile_ms(found.final, 50),
        "final_p95_ms": turn_records.percentile_ms(found.final, 95),
        "end_p50_ms": turn_records.percentile_ms(found.end, 50),
        "end_p95_ms": turn_records.percentile_ms(found.end, 95),
        "start_p50_ms": turn_records.percentile_ms(found.start, 50),
        "start_p95_ms": turn_records.percentile_ms(found.start, 95),
        "records_cutoff_pct": round(100 * found.cut / max(found.holds, 1), 1),
        "ends_told_pct": round(100 * len(found.end) / max(found.ends, 1), 1),
    }


if __name__ == "__main__":
    try:
        main()
    except VoiceError as error:
        raise SystemExit(f"error: {error}") from None
