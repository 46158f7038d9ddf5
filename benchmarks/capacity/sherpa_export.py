"""A `.nemo` file as the files that sherpa-onnx reads, in float32: `python -m benchmarks.capacity.sherpa_export`.

    python -m benchmarks.capacity.sherpa_export MODEL.nemo FOLDER CHUNK_MS

The encoder's export carries the prompt kernel, with the language as an index; `sherpa_steps.py` makes 8 bits of it. The
graph's metadata are those that sherpa-onnx looks for in a cache-aware NeMo transducer. Needs the `oracle` extra.
"""

import importlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.capacity.model import restore
from testing.libraries import quiet

LEFT = 56
AUTO = 101
_CACHES = ("cache_last_channel", "cache_last_time", "cache_last_channel_len")


class PromptedEncoder(nn.Module):
    """Encoder step and prompt kernel in one graph."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder, self.prompt_kernel = model.encoder, model.prompt_kernel
        self.prompts = int(model.num_prompts)

    def forward(
        self, audio_signal: Tensor, length: Tensor, channel: Tensor, time: Tensor, channel_len: Tensor, prompt: Tensor
    ) -> tuple[Tensor, ...]:
        """audio_signal: (B, mels, T); prompt: int64 (B,). Returns frames (B, d, c), their number, and the caches."""
        encoded, *caches = self.encoder.forward_for_export(
            audio_signal=audio_signal,
            length=length,
            cache_last_channel=channel,
            cache_last_time=time,
            cache_last_channel_len=channel_len,
        )
        frames = encoded.transpose(1, 2)
        hot = torch.zeros(frames.shape[0], frames.shape[1], self.prompts).scatter(
            2, prompt.view(-1, 1, 1).expand(-1, frames.shape[1], 1), 1.0
        )
        return (self.prompt_kernel(torch.cat([frames, hot], -1)).transpose(1, 2), *caches)


def export(model: Any, folder: Path, chunk_ms: int) -> None:
    """Write encoder.onnx (weights beside it), decoder.onnx, joiner.onnx and tokens.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    model.set_export_config({"cache_support": True})
    encoder = model.encoder
    encoder.set_default_att_context_size([LEFT, chunk_ms // 80 - 1])
    config = encoder.streaming_cfg
    shift = _later(config.chunk_size)
    window = shift + _later(config.pre_encode_cache_size)
    layers, d_model, width = len(encoder.layers), encoder.d_model, encoder.conv_context_size[0]
    cached, mels = config.last_channel_cache_size, model.cfg.preprocessor.features
    inputs = {
        "audio_signal": (torch.zeros(1, mels, window), {0: "B", 2: "T"}),
        "length": (torch.tensor([window]), {0: "B"}),
        "cache_last_channel": (torch.zeros(1, layers, cached, d_model), {0: "B", 2: "C"}),
        "cache_last_time": (torch.zeros(1, layers, d_model, width), {0: "B", 3: "W"}),
        "cache_last_channel_len": (torch.tensor([0]), {0: "B"}),
        "prompt_index": (torch.tensor([AUTO]), {0: "B"}),
    }
    outputs = {"outputs": {0: "B"}, "encoded_lengths": {0: "B"}}
    outputs |= {
        f"{name}_next": axes for name, axes in zip(_CACHES, ({0: "B", 2: "C"}, {0: "B"}, {0: "B"}), strict=True)
    }
    metadata = {
        "vocab_size": model.decoder.vocab_size,
        "window_size": window,
        "chunk_shift": shift,
        "chunk_size_ms": chunk_ms,
        "normalize_type": "",
        "subsampling_factor": 8,
        "feat_dim": mels,
        "cache_last_channel_dim1": layers,
        "cache_last_channel_dim2": cached,
        "cache_last_channel_dim3": d_model,
        "cache_last_time_dim1": layers,
        "cache_last_time_dim2": d_model,
        "cache_last_time_dim3": width,
        "pred_rnn_layers": model.decoder.pred_rnn_layers,
        "pred_hidden": model.decoder.pred_hidden,
        "prompt_dictionary": json.dumps(dict(model.cfg.model_defaults.prompt_dictionary)),
        "auto_prompt_id": AUTO,
        "model_type": type(model).__name__,
        "version": "1",
        "model_author": "-",
        "url": "-",
        "comment": "-",
    }
    onnx = importlib.import_module("onnx")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        torch.onnx.export(
            PromptedEncoder(model).eval(),
            tuple(example for example, _ in inputs.values()),
            f"{scratch}/encoder.onnx",
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: axes for name, (_, axes) in inputs.items()} | outputs,
            opset_version=17,
            dynamo=False,
        )
        graph = onnx.load(f"{scratch}/encoder.onnx")
    for key, value in metadata.items():
        entry = graph.metadata_props.add()
        entry.key, entry.value = key, str(value)
    onnx.save(graph, str(folder / "encoder.onnx"), save_as_external_data=True, location="encoder.data")
    pieces = model.tokenizer.tokenizer
    lines = [f"{pieces.id_to_piece(index)} {index}\n" for index in range(pieces.get_piece_size())]
    (folder / "tokens.txt").write_text("".join([*lines, f"<blk> {len(lines)}\n"]))
    back = Path.cwd()
    os.chdir(folder)  # NeMo's export writes weights of a large part beside the working directory
    try:
        model.decoder.export("decoder.onnx")
        model.joint.export("joiner.onnx")
    finally:
        os.chdir(back)


def _later(value: Any) -> int:
    """The value for all chunks but the first."""
    return int(value[1] if isinstance(value, list) else value)


def main() -> None:
    path, folder, chunk_ms = sys.argv[1:4]
    model = restore(Path(path))
    with quiet(), torch.inference_mode():
        export(model, Path(folder).resolve(), int(chunk_ms))


if __name__ == "__main__":
    main()
