"""How many streams a machine carries, and how that compares with the peers.

    python -m benchmarks.capacity [--demo-model] [--device cpu] [--precision int8] [--classes 80,160,1120]
                                  [--part step,sessions,nemo,transformers,sherpa] [--results FILE]

The model has the released dimensions (0.6 B) and random weights that emit about four tokens a second a stream; it is
made once (`--models`: the folder). `--demo-model`: the shipped model, `sessions` only.

- step: our step by batch size, and the weight products alone.
- sessions: callers in this process push 20 ms packets in real time to an engine process; streams are ramped until the
  95th percentile of the lag exceeds a chunk (`--deadline-ms`) or audio is dropped.
- nemo, transformers, sherpa: the peers' steps and ours on the same weights, device and batch sizes, in one run.
  sherpa-onnx runs in the Python given by `--peer-python`; without one that has it, it is skipped.

Parts can be measured one at a time: `--results` keeps what the parts before have found. Last line: JSON; what was not
measured is null, and so is all that needs a GPU where there is none.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.capacity import model as models
from benchmarks.capacity import peers
from benchmarks.capacity.sessions import HEAD, sessions
from benchmarks.capacity.steps import OurSteps
from benchmarks.engine_step import LEFT, Others, machine
from engine.api import Precision
from engine.checkpoint.find import load_checkpoint
from engine.precision import default_precision, has_vnni

KEYS = (
    "sessions_80ms",
    "sessions_160ms",
    "sessions_1120ms",
    "ratio_nemo_80ms",
    "ratio_buffered_80ms",
    "ratio_transformers_80ms",
    "p95_step_ms_b1_80ms",
    "step_over_matmul_b8_80ms",
    "cpu_sessions_80ms",
    "cpu_sessions_160ms",
    "cpu_sessions_1120ms",
    "ratio_nemo_int8_b32_80ms",
    "ratio_sherpa_b8_80ms",
    "vnni",
)
PARTS = ("step", "sessions", "nemo", "transformers", "sherpa")
_CHUNK_MS = 80
"""Class in which the peers are compared."""


class Run:
    """The parts; each puts what it finds into `found`."""

    def __init__(self, options: argparse.Namespace, found: dict[str, Any]) -> None:
        self._options = options
        self._found = found
        self._on_gpu = options.device.startswith("cuda")
        self._precision: Precision = options.precision or default_precision(options.device)
        found |= {"device": options.device, "model": "demo" if options.demo_model else "0.6B, random"}
        found |= {"precision": str(self._precision), "vnni": int(has_vnni())}

    @property
    def _checkpoint(self) -> Path:
        path = models.checkpoint(self._options.models, self._options.layers)
        self._found["tokens_per_second"] = models.tokens_per_second(path)
        return path

    def step(self) -> None:
        ours = OurSteps(load_checkpoint(self._checkpoint), self._precision, 32, self._options.device)
        print(
            f"our step, {self._precision}, {self._options.device}\n  class rows  median ms  p95 ms  products ms  ratio"
        )
        for chunk_ms in self._options.classes:
            for rows in (1, 8, 32):
                if rows * chunk_ms > self._options.largest * 80:
                    continue
                rounds = 60 if rows == 1 and chunk_ms == _CHUNK_MS else self._options.rounds
                steps, products = ours.measure(chunk_ms, rows, rounds), None
                if not self._on_gpu:
                    products = ours.products(chunk_ms, rows, self._options.rounds)
                    self._found[f"step_over_matmul_b{rows}_{chunk_ms}ms"] = round(steps.median / products, 2)
                self._found[f"step_ms_{self._precision}_b{rows}_{chunk_ms}ms"] = round(1000 * steps.median, 1)
                self._found[f"p95_step_ms_b{rows}_{chunk_ms}ms"] = round(1000 * steps.p95, 1)
                beside = f"{1000 * products:>12.1f} {steps.median / products:>6.2f}" if products else ""
                print(
                    f"{chunk_ms:>4} ms {rows:>4} {1000 * steps.median:>10.1f} {1000 * steps.p95:>7.1f} {beside}",
                    flush=True,
                )

    def sessions(self) -> None:
        demo = self._options.demo_model
        settings = {
            "checkpoint": None if demo else str(self._checkpoint),
            "device": self._options.device,
            "precision": str(self._precision),
        }
        print(HEAD)
        for chunk_ms in self._options.classes:
            most = self._options.most or (2048 if demo or self._on_gpu else 128)
            found = sessions(
                settings,
                chunk_ms,
                start=self._options.start,
                deadline_ms=self._options.deadline_ms or chunk_ms,
                seconds=self._options.seconds,
                most=most,
            )
            key = f"sessions_{chunk_ms}ms"
            self._found[key if demo or self._on_gpu else f"cpu_{key}"] = found.streams
            if found.level is not None:
                level = found.level
                self._found[f"at_{key}"] = {
                    "p50_ms": round(level.p50, 1),
                    "p95_ms": round(level.p95, 1),
                    "p99_ms": round(level.p99, 1),
                    "step_ms": round(level.step, 1),
                    "rows_a_step": round(level.rows, 1),
                    "device_busy": round(level.busy, 2),
                    "engine_cpu": round(level.engine_cpu, 2),
                    "callers_cpu": round(level.callers_cpu, 2),
                    "memory_mb_a_stream": round(found.memory_mb, 1),
                }
            print(f"{chunk_ms:>4} ms: {found.streams} streams, {found.memory_mb:.1f} MB a stream", flush=True)

    def nemo(self) -> None:
        rounds, chunk = self._options.rounds, _CHUNK_MS // 80
        model = models.restore(self._checkpoint).to(self._options.device)
        with torch.inference_mode():
            for rows in self._options.batches:
                self._beside("nemo", rows, peers.nemo_step(model, chunk, rows, rounds))
            rows = self._options.buffered_rows
            self._beside("buffered", rows, peers.buffered_step(model, chunk, rows, 2))
        del model
        self._ratios({"nemo": self._options.batches, "buffered": [self._options.buffered_rows]})
        largest = self._options.batches[-1]
        self._found["ratio_nemo_80ms"] = self._found[f"ratio_nemo_b{largest}_80ms"]
        self._found["ratio_buffered_80ms"] = self._found[f"ratio_buffered_b{rows}_80ms"]

    def transformers(self) -> None:
        model = models.restore(self._checkpoint)
        with torch.inference_mode():
            hf = peers.hugging_face(model, self._options.models / f"hf-{self._options.layers}").to(self._options.device)
            mels = {rows: peers.features(model, rows, LEFT + 4) for rows in self._options.batches}
            del model
            for rows, mel in mels.items():
                mel = mel.to(self._options.device)  # noqa: PLW2901
                self._beside("transformers", rows, peers.transformers_step(hf, mel, 1, rows, self._options.rounds))
        del hf
        self._ratios({"transformers": self._options.batches})
        self._found["ratio_transformers_80ms"] = self._found[f"ratio_transformers_b{self._options.batches[-1]}_80ms"]

    def sherpa(self) -> None:
        folder = self._options.models / f"sherpa-{_CHUNK_MS}"
        python, script = self._options.peer_python, Path(__file__).with_name("sherpa_steps.py")
        has = subprocess.run([python, "-c", "import sherpa_onnx"], capture_output=True, check=False).returncode == 0
        if self._on_gpu or not has:
            print(f"sherpa-onnx is not measured: {python} does not have it (--peer-python)", flush=True)
            return
        if not (folder / "joiner.onnx").exists():
            module = [sys.executable, "-m", "benchmarks.capacity.sherpa_export"]
            subprocess.run([*module, str(self._checkpoint), str(folder), str(_CHUNK_MS)], check=True)
        threads, steps = str(torch.get_num_threads()), str(self._options.rounds)
        arguments = [python, str(script), str(folder), str(_CHUNK_MS), threads, steps, "1,8"]
        done = subprocess.run(arguments, capture_output=True, text=True, check=True)
        for rows, milliseconds in json.loads(done.stdout.splitlines()[-1]).items():
            self._beside("sherpa", int(rows), milliseconds / 1000)
        self._ratios({"sherpa": [1, 8]}, [Precision.INT8])
        self._found["ratio_sherpa_b8_80ms"] = self._found["ratio_sherpa_int8_b8_80ms"]

    def _beside(self, peer: str, rows: int, seconds: float) -> None:
        print(f"{peer}: {1000 * seconds:.1f} ms a step of {rows} rows, {_CHUNK_MS} ms", flush=True)
        self._found[f"{peer}_step_ms_b{rows}_80ms"] = round(1000 * seconds, 1)

    def _ratios(self, batches: dict[str, list[int]], precisions: list[Precision] | None = None) -> None:
        """Peers' step times over ours, in float32 and in the precision that the engine takes by itself."""
        sizes = sorted({rows for of_peer in batches.values() for rows in of_peer})
        for precision in precisions or sorted({Precision.FLOAT32, self._precision}):
            ours = OurSteps(load_checkpoint(self._checkpoint), precision, max(sizes), self._options.device)
            name = "" if precision is Precision.FLOAT32 else f"{precision}_"
            for rows in sizes:
                seconds = ours.measure(_CHUNK_MS, rows, self._options.rounds).median
                self._found[f"step_ms_{precision}_b{rows}_80ms"] = round(1000 * seconds, 1)
                for peer, of_peer in batches.items():
                    if rows in of_peer:
                        ratio = self._found[f"{peer}_step_ms_b{rows}_80ms"] / 1000 / seconds
                        self._found[f"ratio_{peer}_{name}b{rows}_80ms"] = round(ratio, 2)
                        print(
                            f"{peer} / ours in {precision}, {rows} rows: {ratio:.2f} ({1000 * seconds:.1f} ms)",
                            flush=True,
                        )


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", type=Precision, choices=list(Precision), help="(default: the engine's own)")
    parser.add_argument("--classes", type=_numbers, default=[80, 160, 1120], help="chunks in ms (default: 80,160,1120)")
    parser.add_argument("--part", type=lambda text: text.split(","), default=list(PARTS), help="(default: all)")
    parser.add_argument("--demo-model", action="store_true", help="the shipped model; measures sessions only")
    parser.add_argument("--layers", type=int, default=24, help="encoder layers (default: 24, as released)")
    parser.add_argument("--models", type=Path, default=Path.home() / ".cache" / "trunkline-benchmarks")
    parser.add_argument("--results", type=Path, help="file that keeps what other parts have found")
    parser.add_argument("--start", type=int, default=4, help="streams that the ramp begins with (default: 4)")
    parser.add_argument("--most", type=int, help="streams that are tried at most")
    parser.add_argument("--deadline-ms", type=float, help="of the lag's 95th percentile (default: the chunk)")
    parser.add_argument("--seconds", type=float, default=6.0, help="window of one number of streams (default: 6)")
    parser.add_argument("--rounds", type=int, default=6, help="timed steps (default: 6)")
    parser.add_argument("--batches", type=_numbers, default=[1, 8, 32], help="rows (default: 1,8,32)")
    parser.add_argument("--buffered-rows", type=int, default=8, help="rows of the buffered peer (default: 8)")
    parser.add_argument("--largest", type=int, default=128, help="frames of the largest step (default: 128)")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python with sherpa-onnx and onnxruntime")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    if unknown := set(options.part) - set(PARTS):
        parser.error(f"no part {', '.join(unknown)}: there are {', '.join(PARTS)}")
    return options


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    kept = options.results is not None and options.results.exists()
    found: dict[str, Any] = json.loads(options.results.read_text()) if kept else dict.fromkeys(KEYS)
    found |= {"benchmark": "capacity", **machine()}
    run, others = Run(options, found), Others()
    parts: dict[str, Callable[[], None]] = {name: getattr(run, name) for name in PARTS}
    for name in ["sessions"] if options.demo_model else options.part:
        parts[name]()
        if options.results is not None:
            options.results.write_text(json.dumps(found))
    found["busy_elsewhere"] = others.share()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
