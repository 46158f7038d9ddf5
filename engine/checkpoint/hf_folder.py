"""Reading a Hugging Face folder: `config.json`, safetensors, `processor_config.json`, `tokenizer.json`.

The classes are transformers' `Nemotron3_5AsrForRNNT` and `NemotronAsrStreamingForRNNT`; the names of their weights map
one to one to NeMo's. Defaults of absent keys are those of transformers 5.24.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import safetensors
import safetensors.torch
from torch import Tensor

from engine.checkpoint.file_kinds import is_pointer, pointer, recognised
from engine.checkpoint.language_tags import released_prompts
from engine.checkpoint.section import Section, check_contexts, prompt_dictionary
from engine.checkpoint.tokenizer import Tokenizer
from engine.checkpoint.weight_table import weight_table
from engine.checkpoint.weights import Checkpoint
from engine.config import DecoderConfig, EncoderConfig, FeatureConfig, ModelConfig, PromptConfig
from engine.errors import CheckpointError, DamagedCheckpoint, UnsupportedCheckpoint

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
    special: bool = False


def read_folder(folder: Path, source: str) -> Checkpoint:
    """Load the checkpoint in `folder`; `source` names it in errors. Raises `CheckpointError`."""
    config = _config(_json(folder, "config.json", source), _json(folder, "processor_config.json", source))
    prompts = config.prompt.dictionary if config.prompt is not None else None
    tokenizer = _tokenizer(
        _json(folder, "tokenizer.json", source),
        _special_names(folder, source),
        config.decoder.vocabulary,
        prompts,
        f"{source}/tokenizer.json",
    )
    weights = {_nemo_name(name): tensor for name, tensor in _tensors(folder, source).items()}
    return Checkpoint(source, config, weights, tokenizer)


def _json(folder: Path, name: str, source: str) -> dict[str, Any]:
    if is_pointer(folder / name):
        raise pointer(f"{source}/{name}")
    try:
        data = json.loads((folder / name).read_bytes())
    except FileNotFoundError as error:
        raise DamagedCheckpoint(f"{source} has no {name}: it is not a complete checkpoint folder") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedCheckpoint(f"{source}/{name} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise DamagedCheckpoint(f"{source}/{name} is not a JSON object")
    return data


def _config(model: dict[str, Any], processor: dict[str, Any]) -> ModelConfig:
    root, processing = Section(model, "config"), Section(processor, "processor_config")
    root.require("model_type", _PROMPTED, _ENGLISH)
    if "quantization_config" in root:
        raise UnsupportedCheckpoint(
            f"{root.name('quantization_config')}: the weights are quantised: give the checkpoint they were made from "
            "(on a CPU the engine computes in 8 bits by itself)"
        )
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
    heads = section.heads("num_attention_heads", d_model, 8)
    section.require("num_key_value_heads", heads, default=heads)
    bias = section.flag("attention_bias", True)
    section.require("convolution_bias", bias, default=True)
    left = section.integer("sliding_window", 71) - 1
    check_contexts(left, lookaheads, f"{section.name('sliding_window')} = {left + 1}")
    return section.integer("num_mel_bins", 80), EncoderConfig(
        layers=section.integer("num_hidden_layers", 24),
        d_model=d_model,
        heads=heads,
        d_ff=section.integer("intermediate_size", 4096),
        conv_kernel=section.integer("conv_kernel_size", 9),
        subsampling_channels=section.integer("subsampling_conv_channels", 256),
        use_bias=bias,
        xscaling=section.flag("scale_input", True),
        left_context=left,
        lookaheads=lookaheads,
    )


def _prompt(root: Section, processing: Section) -> PromptConfig:
    count = root.integer("num_prompts", 128)
    names = processing.raw("prompt_dictionary") if "prompt_dictionary" in processing else released_prompts()
    return PromptConfig(count, prompt_dictionary(names, count, processing.name("prompt_dictionary")))


def _tokenizer(
    data: Mapping[str, Any], special: frozenset[str], vocabulary: int, prompts: Mapping[str, int] | None, where: str
) -> Tokenizer:
    """Pieces by id; tokens at or above `vocabulary` (padding, blank) are the processor's own and left out. Special
    tokens, by their flag or among the names in `special`, have no text."""
    model = data.get("model")
    table = _vocabulary(model.get("vocab")) if isinstance(model, dict) else None
    if not isinstance(model, dict) or table is None:
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
    silent = {token.id for token in added if token.special}
    silent |= {index for index, piece in pieces.items() if piece in special}
    silent |= {table.get(str(model.get("unk_token")), -1)}
    if isinstance(unknown := model.get("unk_id"), int):
        silent.add(unknown)
    return Tokenizer(
        [pieces[index] for index in range(vocabulary)],
        frozenset(silent),
        prompts,
    )


def _vocabulary(table: Any) -> dict[str, int] | None:
    """Index of each piece: from a table of BPE, or from the list of pieces and scores of Unigram."""
    if isinstance(table, dict) and all(type(index) is int for index in table.values()):
        return table
    if isinstance(table, list) and all(isinstance(row, list) and row and isinstance(row[0], str) for row in table):
        return {row[0]: index for index, row in enumerate(table)}
    return None


def _special_names(folder: Path, source: str) -> frozenset[str]:
    """Special tokens that `tokenizer_config.json` and `special_tokens_map.json` name, where these are there."""
    names: set[str] = set()
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        if not (folder / file).exists():
            continue
        data = _json(folder, file, source)
        named = [value for key, value in data.items() if key.endswith("_token")]
        extra = data.get("additional_special_tokens", data.get("extra_special_tokens"))
        named += extra if isinstance(extra, list) else list(extra.values()) if isinstance(extra, dict) else []
        table = data.get("added_tokens_decoder")
        rows = list(table.values()) if isinstance(table, dict) else []
        named += [row for row in rows if isinstance(row, dict) and row.get("special") is True]
        contents = [token.get("content") if isinstance(token, dict) else token for token in named]
        names |= {content for content in contents if isinstance(content, str)}
    return frozenset(names)


def _unreadable(path: Path, shown: str, error: Exception) -> CheckpointError:
    """The error for a file of weights: what it is instead, or that it did not arrive whole."""
    with suppress(OSError):
        if isinstance(other := recognised(path), DamagedCheckpoint):
            return other
    return DamagedCheckpoint(f"{shown} cannot be read ({error}): it is cut short or damaged, copy or download it again")


def _tensors(folder: Path, source: str) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name in _shards(folder, source):
        if Path(name).name != name:
            raise DamagedCheckpoint(f"{source}: the index names a file outside the folder ({name!r})")
        if is_pointer(folder / name):
            raise pointer(f"{source}/{name}")
        try:
            found = safetensors.torch.load_file(folder / name)
        except FileNotFoundError as error:
            raise _no_weights(folder, name, source) from error
        except (OSError, safetensors.SafetensorError, ValueError, KeyError) as error:
            raise _unreadable(folder / name, f"{source}/{name}", error) from error
        if twice := sorted(tensors.keys() & found.keys()):
            raise DamagedCheckpoint(f"{source}: weight {twice[0]} is in {name} and in another file")
        tensors.update(found)
    return weight_table(tensors, source)


def _shards(folder: Path, source: str) -> list[str]:
    """The files of the weights: one, or those of the index."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").exists() or not index.exists():
        return ["model.safetensors"]
    shards = _json(folder, index.name, source).get("weight_map")
    if not isinstance(shards, dict) or not shards or not all(isinstance(name, str) for name in shards.values()):
        raise DamagedCheckpoint(f"{source}/{index.name} has no weight_map: it does not say where the weights are")
    return sorted(set(shards.values()))


def _no_weights(folder: Path, name: str, source: str) -> DamagedCheckpoint:
    """The error for a file of weights that is not there."""
    others = sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".gguf", ".onnx"))
    there = f" ({', '.join(others[:3])} is there, which this engine does not read)" if others else ""
    return DamagedCheckpoint(f"{source} has no {name}{there}: it is not a complete checkpoint folder")


def _nemo_name(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    return name
