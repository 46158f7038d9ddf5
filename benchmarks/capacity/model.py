"""The model that is measured: the released dimensions with random weights that speak at the rate of speech."""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import real_dims
from benchmarks.capacity.calibrate import Calibration, calibrate, greedy_rate
from testing.audio import babble, noise
from testing.libraries import nemo_models, quiet

TOKENS_PER_SECOND = 4.0
TOLERANCE = 0.5
_SECONDS = 8.0


def checkpoint(folder: Path, layers: int) -> Path:
    """The `.nemo` file in the folder; made, with NeMo, if it is not there yet."""
    path = folder / f"random-{layers}.nemo"
    if path.exists():
        return path
    print(f"making {path}: {layers} layers of the released width, random weights", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, quiet(), torch.inference_mode():
        model = real_dims.build(layers, Path(scratch))
        found = set_rate(model)
        (folder / f"random-{layers}.json").write_text(json.dumps({"tokens_per_second": round(found.rate, 2)}))
        part = path.with_suffix(".part.nemo")
        model.save_to(str(part))
        part.rename(path)
    return path


def tokens_per_second(path: Path) -> float | None:
    """What the calibration reached; None where the file was made elsewhere."""
    note = path.with_suffix(".json")
    return float(json.loads(note.read_text())["tokens_per_second"]) if note.exists() else None


def set_rate(model: Any) -> Calibration:
    """Set the blank's bias of a NeMo model so that it emits about four tokens a second of speech-like sound."""
    encoded = _encode(model)
    bias = model.joint.joint_net[-1].bias
    middle = float(bias[-1])
    found = calibrate(
        lambda value: greedy_rate(model, encoded, value, _SECONDS),
        TOKENS_PER_SECOND,
        TOLERANCE,
        middle - 30,
        middle + 30,
    )
    bias[-1] = found.bias
    print(f"blank bias {found.bias:.3f}: {found.rate:.2f} tokens a second a stream", flush=True)
    return found


def _encode(model: Any) -> Tensor:
    """Frames of a few streams of sound, after the prompt kernel: (S, T, d_model)."""
    signals = [*(babble(_SECONDS, seed) for seed in range(1, 6)), noise(_SECONDS, 6)]
    batch = torch.stack([torch.from_numpy(signal) for signal in signals])
    length = torch.full((len(batch),), batch.shape[1])
    features, frames = model.preprocessor(input_signal=batch, length=length)
    encoded = model.encoder(audio_signal=features, length=frames)[0].transpose(1, 2)
    hot = torch.zeros(*encoded.shape[:2], model.num_prompts)
    hot[..., 101] = 1
    prompted: Tensor = model.prompt_kernel(torch.cat([encoded, hot], -1))
    return prompted


def restore(path: Path) -> Any:
    """The checkpoint in NeMo itself."""
    with quiet():
        return nemo_models().ASRModel.restore_from(str(path), map_location="cpu").eval()
