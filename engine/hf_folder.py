"""Reading a Hugging Face folder: `config.json`, safetensors, `processor_config.json`, `tokenizer.json`.

The classes are transformers' `Nemotron3_5AsrForRNNT` and `NemotronAsrStreamingForRNNT`; the names of their weights map
one to one to NeMo's. Defaults of absent keys are those of transformers 5.24.
"""

import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import safetensors
import safetensors.torch
from torch import Tensor

from engine.config import DecoderConfig, EncoderConfig, FeatureConfig, ModelConfig, PromptConfig, Section, dictionary
from engine.errors import DamagedCheckpoint, UnsupportedCheckpoint
from engine.tokenizer import Tokenizer
from engine.weights import Checkpoint

_PROMPTED = "nemotron3_5_asr"
_ENGLISH = "nemotron_asr_streaming"
_LOOKAHEADS = (13, 6, 1, 0)

_RENAMED = (
    (re.compile(r"^encoder\.subsampling\.conv_in\."), "encoder.pre_encode.conv.0."),
    (re.compile(r"^encoder\.subsampling\.layers\.0\.depthwise_conv\."), "encoder.pre_encode.conv.2."),
    (re.compile(r"^encoder\.subsampling\.layers\.0\.pointwise_conv\."), "encoder.pre_encode.conv.3."),
    (re.compile(r"^encoder\.subsampling\.layers\.1\.depthwise_conv\."), "encoder.pre_encode.conv.5."),
    (re.compile(r"^encoder\.subsampling\.layers\.1\.pointwise_conv\."), "encoder.pre_encode.conv.6."),
    (re.compile(r"^encoder\.subsampling\.linear\."), "encoder.pre_encode.out."),
    (re.compile(r"\.self_attn\.([qkv])_proj\."), r".self_attn.linear_\1."),
    (re.compile(r"\.self_attn\.o_proj\."), ".self_attn.linear_out."),
    (re.compile(r"\.self_attn\.relative_k_proj\."), ".self_attn.linear_pos."),
    (re.compile(r"\.self_attn\.bias_([uv])$"), r".self_attn.pos_bias_\1"),
    (re.compile(r"\.conv\.norm\."), ".conv.batch_norm."),
    (re.compile(r"^decoder\.embedding\."), "decoder.prediction.embed."),
    (re.compile(r"^decoder\.lstm\."), "decoder.prediction.dec_rnn.lstm."),
    (re.compile(r"^encoder_projector\."), "joint.enc."),
    (re.compile(r"^decoder\.decoder_projector\."), "joint.pred."),
    (re.compile(r"^joint\.head\."), "joint.joint_net.2."),
    (re.compile(r"^prompt_projector\.linear_1\."), "prompt_kernel.0."),
    (re.compile(r"^prompt_projector\.linear_2\."), "prompt_kernel.2."),
)


class _AddedToken(msgspec.Struct, frozen=True):
    id: int
    content: str


def read_folder(folder: Path, source: str) -> Checkpoint:
    """Load the checkpoint in `folder`; `source` names it in errors. Raises `CheckpointError`."""
    config = _config(_json(folder, "config.json", source), _json(folder, "processor_config.json", source))
    tokenizer = _tokenizer(
        _json(folder, "tokenizer.json", source), config.decoder.vocabulary, f"{source}/tokenizer.json"
    )
    weights = {_nemo_name(name): tensor for name, tensor in _tensors(folder, source).items()}
    return Checkpoint(source, config, weights, tokenizer)


def _json(folder: Path, name: str, source: str) -> dict[str, Any]:
    try:
        data = json.loads((folder / name).read_bytes())
    except FileNotFoundError as error:
        raise DamagedCheckpoint(f"{source} has no {name}: it is not a complete checkpoint folder") from error
    except (OSError, ValueError) as error:
        raise DamagedCheckpoint(f"{source}/{name} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise DamagedCheckpoint(f"{source}/{name} is not a JSON object")
    return data


def _config(model: dict[str, Any], processor: dict[str, Any]) -> ModelConfig:
    root, processing = Section(model, "config"), Section(processor, "processor_config")
    root.require("model_type", _PROMPTED, _ENGLISH)
    root.require("hidden_act", "relu", default="relu")
    prompted = root.raw("model_type") == _PROMPTED
    mels, encoder = _encoder(root.section("encoder_config"), _lookaheads(processing))
    hidden = root.integer("decoder_hidden_size", 640)
    return ModelConfig(
        features=_features(processing, mels),
        encoder=encoder,
        prompt=_prompt(root, processing) if prompted else None,
        decoder=DecoderConfig(
            vocabulary=root.integer("blank_token_id", 13087 if prompted else 1024),
            hidden=hidden,
            layers=root.integer("num_decoder_layers", 2),
            joint_hidden=hidden,
            max_symbols=root.integer("max_symbols_per_step", 10),
        ),
    )


def _lookaheads(processing: Section) -> tuple[int, ...]:
    key = "supported_num_lookahead_tokens"
    value = processing.raw(key) if key in processing else _LOOKAHEADS
    if not isinstance(value, list | tuple) or not value or not all(type(n) is int and n >= 0 for n in value):
        raise UnsupportedCheckpoint(f"{processing.name(key)} = {value!r}: expected a list of whole numbers")
    return tuple(value)


def _features(processing: Section, mels: int) -> FeatureConfig:
    section = processing.section("feature_extractor")
    section.require("sampling_rate", 16000, default=16000)
    section.require("hop_length", 160, default=160)
    section.require("win_length", 400, default=400)
    section.require("n_fft", 512, default=512)
    section.require("padding_value", 0.0, default=0.0)
    section.require("mel_filters_dtype", "float32", default="float32")
    section.require("feature_size", mels, default=mels)
    return FeatureConfig(mels=mels, preemphasis=section.number("preemphasis", 0.97))


def _encoder(section: Section, lookaheads: tuple[int, ...]) -> tuple[int, EncoderConfig]:
    section.require("hidden_act", "silu", default="silu")
    section.require("subsampling_factor", 8, default=8)
    section.require("subsampling_conv_kernel_size", 3, default=3)
    section.require("subsampling_conv_stride", 2, default=2)
    d_model = section.integer("hidden_size", 1024)
    heads = section.heads("num_attention_heads", d_model) if "num_attention_heads" in section else 8
    section.require("num_key_value_heads", heads, default=heads)
    bias = section.flag("attention_bias", True)
    section.require("convolution_bias", bias, default=True)
    return section.integer("num_mel_bins", 80), EncoderConfig(
        layers=section.integer("num_hidden_layers", 24),
        d_model=d_model,
        heads=heads,
        d_ff=section.integer("intermediate_size", 4096),
        conv_kernel=section.integer("conv_kernel_size", 9),
        subsampling_channels=section.integer("subsampling_conv_channels", 256),
        use_bias=bias,
        xscaling=section.flag("scale_input", True),
        left_context=section.integer("sliding_window", 71) - 1,
        lookaheads=lookaheads,
    )


def _prompt(root: Section, processing: Section) -> PromptConfig:
    count = root.integer("num_prompts", 128)
    if "prompt_dictionary" in processing:
        names = processing.raw("prompt_dictionary")
    else:
        names = json.loads(resources.files("engine").joinpath("released_prompts.json").read_bytes())
    return PromptConfig(count, dictionary(names, count, processing.name("prompt_dictionary")))


def _tokenizer(data: Mapping[str, Any], vocabulary: int, where: str) -> Tokenizer:
    """Pieces by id; tokens at or above `vocabulary` (padding, blank) are the processor's own and left out."""
    model = data.get("model")
    table = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(table, dict):
        raise DamagedCheckpoint(f"{where} has no model.vocab: it is not a tokenizer of this family")
    pieces = {index: piece for piece, index in table.items()}
    try:
        added = [msgspec.convert(item, _AddedToken) for item in data.get("added_tokens", [])]
    except (TypeError, msgspec.ValidationError) as error:
        raise DamagedCheckpoint(f"{where}: added_tokens is not a list of tokens: {error}") from error
    pieces.update({token.id: token.content for token in added if token.id < vocabulary})
    missing = [index for index in range(vocabulary) if index not in pieces]
    if missing:
        raise DamagedCheckpoint(f"{where} has no piece number {missing[0]} of {vocabulary}")
    unknown = table.get(model.get("unk_token"), -1)
    return Tokenizer([pieces[index] for index in range(vocabulary)], frozenset({unknown}))


def _tensors(folder: Path, source: str) -> dict[str, Tensor]:
    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.exists():
        shards = _json(folder, index.name, source).get("weight_map", {})
        names = sorted(set(shards.values()))
    tensors: dict[str, Tensor] = {}
    for name in names:
        if Path(name).name != name:
            raise DamagedCheckpoint(f"{source}: the index names a file outside the folder ({name!r})")
        try:
            tensors.update(safetensors.torch.load_file(folder / name))
        except FileNotFoundError as error:
            raise DamagedCheckpoint(f"{source} has no {name}: it is not a complete checkpoint folder") from error
        except (OSError, safetensors.SafetensorError) as error:
            raise DamagedCheckpoint(f"{source}/{name} cannot be read: {error}") from error
    return tensors


def _nemo_name(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    return name
