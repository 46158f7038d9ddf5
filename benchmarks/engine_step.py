"""One step of our engine against one step of NeMo, on a model of the released dimensions with random weights.

    python -m benchmarks.engine_step [--batches 1,16,32] [--chunks 80,160] [--layers 24] [--rounds 8] [--threads N]

Both run in this process, in float32 on all cores, on the same weights, the same audio and the same prompts, one per
row, with full caches (more than 56 frames of history), by turns; the figures are medians. Ours is `StepExecutor.step`:
audio to tokens, log-mel features included. NeMo's is its cache-aware step, the prompt kernel on one-hots of each row,
and its batched greedy decoding; its features are computed beforehand and not timed. At the end the outputs of both are
compared: a difference fails the run.

Needs the `oracle` extra and 12 GB of memory. Last line: JSON.
"""

import argparse
import copy
import importlib
import json
import os
import platform
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import real_dims
from engine.checkpoint.nemo_config import from_nemo
from engine.checkpoint.tokenizer import from_sentencepiece
from engine.checkpoint.weights import Checkpoint
from engine.chunking import FRAME
from engine.executor import StepExecutor
from testing.audio import Audio, babble
from testing.libraries import quiet
from testing.streams import window

LEFT = 56
CACHED_MELS = 9
TOLERANCE = 1e-4
BUSY = 0.1


class NemoStreams:
    """NeMo's cache-aware streaming of a batch in lock step, as exact as its offline forward.

    Its own buffer pads the second step of 80 ms chunks with zeros where one real frame stands; here that frame is
    passed alone, and one subsampled frame less is dropped.
    """

    def __init__(self, model: Any, chunk: int) -> None:
        model.encoder.set_default_att_context_size([LEFT, chunk - 1])
        self._model = model
        self._new = 8 * chunk
        self._first = 1 + 8 * (chunk - 1)
        self._caches: tuple[Tensor, Tensor, Tensor] = model.encoder.get_initial_cache_state(batch_size=1)
        self._hypotheses: list[Any] | None = None
        self.steps = 0

    def copies(self, rows: int) -> "NemoStreams":
        """`rows` streams with this one's past."""
        other = copy.copy(self)
        channel, time_, length = self._caches
        other._caches = (channel.repeat(1, rows, 1, 1), time_.repeat(1, rows, 1, 1), length.repeat(rows))
        if self._hypotheses is not None:
            other._hypotheses = [copy.deepcopy(self._hypotheses[0]) for _ in range(rows)]
        return other

    def inputs(self, mel: Tensor) -> tuple[Tensor, int]:
        """What the next step sees of features (B, mels, T), and how many subsampled frames it drops."""
        if self.steps == 0:
            return mel[..., : self._first], 0
        begin = self._first + (self.steps - 1) * self._new
        cached = min(CACHED_MELS, begin)
        return mel[..., begin - cached : begin + self._new], (2 if cached == CACHED_MELS else 1)

    def encode(self, inputs: tuple[Tensor, int], hot: Tensor) -> tuple[Tensor, Tensor]:
        """Encoder step and prompt: frames (B, d_model, c) and their number. hot: (B, 1, prompts)."""
        x, drop = inputs
        encoded, length, *caches = self._model.encoder.cache_aware_stream_step(
            processed_signal=x,
            processed_signal_length=torch.full((x.shape[0],), x.shape[2]),
            cache_last_channel=self._caches[0],
            cache_last_time=self._caches[1],
            cache_last_channel_len=self._caches[2],
            keep_all_outputs=False,
            drop_extra_pre_encoded=drop,
        )
        self._caches = (caches[0], caches[1], caches[2])
        self.steps += 1
        frames = encoded.transpose(1, 2)
        joined = torch.cat([frames, hot.expand(-1, frames.shape[1], -1)], -1)
        return self._model.prompt_kernel(joined).transpose(1, 2), length

    def step(self, inputs: tuple[Tensor, int], hot: Tensor) -> None:
        """Encoder step, prompt and decoding."""
        encoded, length = self.encode(inputs, hot)
        self._hypotheses = self._model.decoding.rnnt_decoder_predictions_tensor(
            encoded, length, return_hypotheses=True, partial_hypotheses=self._hypotheses
        )

    def tokens(self, row: int) -> list[int]:
        """All tokens of a row so far."""
        return [int(piece) for piece in self._hypotheses[row].y_sequence] if self._hypotheses else []


@dataclass(frozen=True, slots=True)
class Timing:
    """Median seconds of a step, and the largest relative error of our encoder frames."""

    ours: float
    nemo: float
    error: float
    tokens: int

    @property
    def ratio(self) -> float:
        return self.nemo / self.ours


class Bench:
    """One model in both engines."""

    def __init__(self, layers: int, folder: Path) -> None:
        with quiet():
            self.model = real_dims.build(layers, folder)
            config = self.model.to_config_dict()
        container = importlib.import_module("omegaconf").OmegaConf.to_container(config)
        self.checkpoint = Checkpoint(
            "random weights",
            from_nemo(container),
            dict(self.model.state_dict()),  # the same tensors, not copies
            from_sentencepiece((folder / "tokenizer.model").read_bytes(), "tokenizer"),
        )

    def features(self, signals: list[Audio]) -> Tensor:
        batch = torch.from_numpy(np.stack(signals))
        mel, _ = self.model.preprocessor(input_signal=batch, length=torch.full((len(batch),), batch.shape[1]))
        return mel  # type: ignore[no-any-return]

    def measure(self, chunk_ms: int, batches: list[int], rounds: int) -> dict[int, Timing]:
        """Warm one stream, copy its past to all rows, go on with other audio in each, by turns with NeMo."""
        chunk = chunk_ms // 80
        warm = LEFT // chunk + 3
        seconds = (warm + rounds + 3) * chunk * 0.08
        past = babble(seconds, 99)[: FRAME * chunk * warm]
        executor = StepExecutor(self.checkpoint, {chunk_ms: max(batches) + 1})
        nemo = NemoStreams(self.model, chunk)
        mel = self.features([babble(seconds, 99)])
        hot = torch.nn.functional.one_hot(torch.tensor([[101]]), self.model.num_prompts).float()
        said: list[int] = []
        for step in range(warm):
            nemo.step(nemo.inputs(mel), hot)
            audio = window(past, step, chunk)[None]
            said += [emission.token for emission in executor.step(chunk_ms, audio, [0], [step], [101])]
        found = {}
        for rows in batches:
            for row in range(rows):
                executor.copy(chunk_ms, 0, row + 1)
            found[rows] = self._turns(executor, nemo.copies(rows), chunk_ms, past, said, warm, rounds, seconds)
        return found

    def _turns(
        self,
        executor: StepExecutor,
        nemo: NemoStreams,
        chunk_ms: int,
        past: Audio,
        said: list[int],
        warm: int,
        rounds: int,
        seconds: float,
    ) -> Timing:
        rows, chunk = int(nemo._caches[2].shape[0]), chunk_ms // 80
        # What a chunk sees of the time before it is not yet past at the seam: the last chunk of history is common.
        signals = [np.concatenate([past, babble(seconds, row)])[: int(seconds * 16_000)] for row in range(rows)]
        mel = self.features(signals)
        prompts = [(7 * row) % self.model.num_prompts for row in range(rows)]
        hot = torch.nn.functional.one_hot(torch.tensor(prompts)[:, None], self.model.num_prompts).float()
        slots = list(range(1, rows + 1))
        tokens: list[list[int]] = [list(said) for _ in range(rows)]
        ours, theirs = [], []
        for step in range(warm, warm + rounds):
            inputs = nemo.inputs(mel)
            began = time.perf_counter()
            nemo.step(inputs, hot)
            theirs.append(time.perf_counter() - began)
            audio = np.stack([window(signal, step, chunk) for signal in signals])
            began = time.perf_counter()
            emissions = executor.step(chunk_ms, audio, slots, [step] * rows, prompts)
            ours.append(time.perf_counter() - began)
            for emission in emissions:
                tokens[emission.row].append(emission.token)
        if any(nemo.tokens(row) != tokens[row] for row in range(rows)):
            raise SystemExit(f"tokens differ from NeMo's at {rows} rows, {chunk_ms} ms")
        wanted = nemo.encode(nemo.inputs(mel), hot)[0].transpose(1, 2)
        audio = np.stack([window(signal, warm + rounds, chunk) for signal in signals])
        frames = executor.encode(chunk_ms, audio, slots, [warm + rounds] * rows, prompts)
        error = float(((frames - wanted).norm(dim=-1) / wanted.norm(dim=-1)).max())
        if error > TOLERANCE:
            raise SystemExit(f"encoder frames differ from NeMo's by {error:.1e} at {rows} rows, {chunk_ms} ms")
        emitted = sum(map(len, tokens)) - rows * len(said)
        # The first step of a batch size pays for allocations and the choice of kernels.
        return Timing(statistics.median(ours[1:]), statistics.median(theirs[1:]), error, emitted)


def machine() -> dict[str, object]:
    """What the figures depend on."""
    flags: set[str] = set()
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "flags":
                flags = set(value.split())
            elif key.strip() == "model name":
                name = value.strip()
    return {
        "cpu": name,
        "threads": torch.get_num_threads(),
        "avx512": "avx512f" in flags,
        "vnni": bool(flags & {"avx512_vnni", "avx_vnni"}),
        "amx": "amx_tile" in flags,
        "torch": torch.__version__,
    }


class Others:
    """How much of the processor other programs take: two threads that wait for each other suffer out of proportion."""

    def __init__(self) -> None:
        self._began = self._read()

    def share(self) -> float:
        """Share of all cores that was not ours and not idle since the start; 0 where the system does not tell."""
        now = self._read()
        elapsed, busy, ours = (after - before for after, before in zip(now, self._began, strict=True))
        return round(max(0.0, busy - ours) / elapsed, 3) if elapsed else 0.0

    @staticmethod
    def _read() -> tuple[float, float, float]:
        """Seconds of all cores together: elapsed, busy, used by this process and children that have ended."""
        times = os.times()
        stat = Path("/proc/stat")
        if not stat.exists():
            return 0.0, 0.0, 0.0
        ticks = [int(field) for field in stat.read_text().splitlines()[0].split()[1:9]]
        second = os.sysconf("SC_CLK_TCK")
        ours = times.user + times.system + times.children_user + times.children_system
        return sum(ticks) / second, (sum(ticks) - ticks[3] - ticks[4]) / second, ours


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=_numbers, default=[1, 16, 32], help="rows, comma-separated")
    parser.add_argument("--chunks", type=_numbers, default=[80, 160], help="chunks in ms, comma-separated")
    parser.add_argument("--layers", type=int, default=real_dims.RELEASED.layers)
    parser.add_argument("--rounds", type=int, default=8, help="timed steps of each, the first one not counted")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    others = Others()
    result: dict[str, object] = {"benchmark": "engine_step", "layers": arguments.layers, **machine()}
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        bench = Bench(arguments.layers, Path(folder))
        result["parameters"] = sum(weight.numel() for weight in bench.model.parameters())
        print("   chunk  rows   NeMo ms   ours ms  ratio tokens/s/row rel. error")
        for chunk_ms in arguments.chunks:
            for rows, timing in bench.measure(chunk_ms, arguments.batches, arguments.rounds).items():
                rate = timing.tokens / (rows * arguments.rounds * chunk_ms / 1_000)
                print(
                    f"{chunk_ms:>5} ms {rows:>5} {timing.nemo * 1e3:>9.1f} {timing.ours * 1e3:>9.1f} "
                    f"{timing.ratio:>6.2f} {rate:>12.1f} {timing.error:>10.1e}",
                    flush=True,
                )
                key = f"b{rows}_{chunk_ms}ms"
                result[f"ratio_{key}"] = round(timing.ratio, 2)
                result[f"ours_ms_{key}"] = round(timing.ours * 1e3, 1)
                result[f"nemo_ms_{key}"] = round(timing.nemo * 1e3, 1)
    result["busy_elsewhere"] = share = others.share()
    if share > BUSY:
        print(f"other programs took {share:.0%} of the processor: run it again on a quiet machine")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
