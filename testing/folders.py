"""A Hugging Face folder of the demo model, written without transformers: the files that it would write, by hand."""

import json
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from engine.checkpoint.weights import Checkpoint
from testing.hf_export import hf_name


def hf_weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The weights under transformers' names."""
    return {
        hf_name(name): tensor.clone()
        for name, tensor in checkpoint.weights.items()
        if not name.startswith("preprocessor.")
    }


def write_folder(checkpoint: Checkpoint, pieces: list[str], folder: Path) -> Path:
    """The folder; `pieces`: the vocabulary as it is written in `tokenizer.json`."""
    folder.mkdir()
    config = checkpoint.config
    assert config.prompt is not None
    encoder = config.encoder
    files: dict[str, dict[str, Any]] = {
        "config.json": {
            "model_type": "nemotron3_5_asr",
            "decoder_hidden_size": config.decoder.hidden,
            "num_decoder_layers": config.decoder.layers,
            "blank_token_id": config.decoder.vocabulary,
            "max_symbols_per_step": config.decoder.max_symbols,
            "num_prompts": config.prompt.count,
            "encoder_config": {
                "hidden_size": encoder.d_model,
                "num_attention_heads": encoder.heads,
                "num_key_value_heads": encoder.heads,
                "num_hidden_layers": encoder.layers,
                "intermediate_size": encoder.d_ff,
                "conv_kernel_size": encoder.conv_kernel,
                "subsampling_conv_channels": encoder.subsampling_channels,
                "attention_bias": encoder.use_bias,
                "convolution_bias": encoder.use_bias,
                "scale_input": encoder.xscaling,
                "num_mel_bins": config.features.mels,
                "sliding_window": encoder.left_context + 1,
            },
        },
        "processor_config.json": {
            "supported_num_lookahead_tokens": list(encoder.lookaheads),
            "prompt_dictionary": dict(config.prompt.dictionary),
            "feature_extractor": {"feature_size": config.features.mels},
        },
        "tokenizer.json": {
            "model": {"type": "BPE", "unk_token": "<unk>", "vocab": {piece: i for i, piece in enumerate(pieces)}},
            "added_tokens": [],
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    safetensors.torch.save_file(hf_weights(checkpoint), folder / "model.safetensors", {"format": "pt"})
    return folder
