"""The same weights as a Hugging Face folder, written by transformers' own `save_pretrained`.

The folder is what a released one holds: `config.json`, `generation_config.json`, `model.safetensors`,
`processor_config.json`, `tokenizer.json` and `tokenizer_config.json`; no SentencePiece model.
"""

import importlib
import re
from pathlib import Path
from typing import Any

from torch import Tensor

from testing.libraries import quiet

_NAMES: tuple[tuple[str, str], ...] = (
    (r"^prompt_kernel\.0\.", "prompt_projector.linear_1."),
    (r"^prompt_kernel\.2\.", "prompt_projector.linear_2."),
    (r"pre_encode\.conv\.0\.", "subsampling.conv_in."),
    (r"pre_encode\.conv\.2\.", "subsampling.layers.0.depthwise_conv."),
    (r"pre_encode\.conv\.3\.", "subsampling.layers.0.pointwise_conv."),
    (r"pre_encode\.conv\.5\.", "subsampling.layers.1.depthwise_conv."),
    (r"pre_encode\.conv\.6\.", "subsampling.layers.1.pointwise_conv."),
    (r"pre_encode\.out\.", "subsampling.linear."),
    (r"\.conv\.batch_norm\.", ".conv.norm."),
    (r"\.linear_([qkv])\.", r".\1_proj."),
    (r"\.linear_out\.", ".o_proj."),
    (r"\.linear_pos\.", ".relative_k_proj."),
    (r"\.pos_bias_([uv])$", r".bias_\1"),
    (r"^decoder\.prediction\.embed\.", "decoder.embedding."),
    (r"^decoder\.prediction\.dec_rnn\.lstm\.", "decoder.lstm."),
    (r"^joint\.enc\.", "encoder_projector."),
    (r"^joint\.pred\.", "decoder.decoder_projector."),
    (r"^joint\.joint_net\.2\.", "joint.head."),
)


def hf_name(name: str) -> str:
    """Hugging Face's name of a NeMo parameter."""
    for pattern, replacement in _NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def export(model: Any, sentencepiece_model: Path, folder: Path) -> None:
    """Write a NeMo model's weights and tokenizer as the folder that transformers 5 reads."""
    with quiet():
        hf = importlib.import_module("transformers")
        config = model.cfg
        encoder, blank = config.encoder, len(config.labels)
        contexts = [list(pair) for pair in encoder.att_context_size]
        encoder_config = hf.NemotronAsrStreamingEncoderConfig(
            hidden_size=encoder.d_model,
            num_attention_heads=encoder.n_heads,
            num_hidden_layers=encoder.n_layers,
            intermediate_size=encoder.d_model * encoder.ff_expansion_factor,
            num_mel_bins=encoder.feat_in,
            conv_kernel_size=encoder.conv_kernel_size,
            subsampling_factor=encoder.subsampling_factor,
            subsampling_conv_channels=encoder.subsampling_conv_channels,
            max_position_embeddings=encoder.pos_emb_max_len,
            dropout=encoder.dropout,
            dropout_positions=encoder.dropout_emb,
            attention_dropout=encoder.dropout_att,
            scale_input=encoder.xscaling,
            attention_bias=encoder.use_bias,
            convolution_bias=encoder.use_bias,
            sliding_window=contexts[0][0] + 1,
            supported_num_lookahead_tokens=[right for _, right in contexts],
            default_num_lookahead_tokens=contexts[0][1],
        )
        common: dict[str, Any] = {
            "vocab_size": blank + 1,
            "decoder_hidden_size": config.decoder.prednet.pred_hidden,
            "num_decoder_layers": config.decoder.prednet.pred_rnn_layers,
            "hidden_act": config.joint.jointnet.activation,
            "max_symbols_per_step": config.decoding.greedy.max_symbols,
            "encoder_config": encoder_config.to_dict(),
            "pad_token_id": 0,
            "blank_token_id": blank,
        }
        prompted = "num_prompts" in config.model_defaults
        if prompted:
            common["num_prompts"] = config.model_defaults.num_prompts
            common["prompt_intermediate_size"] = model.prompt_kernel[0].out_features
            target = hf.Nemotron3_5AsrForRNNT(hf.Nemotron3_5AsrConfig(**common))
        else:
            target = hf.NemotronAsrStreamingForRNNT(hf.NemotronAsrStreamingConfig(**common))
        weights: dict[str, Tensor] = {
            hf_name(name): value.detach().clone()
            for name, value in model.state_dict().items()
            if not name.startswith("preprocessor.")
        }
        target.load_state_dict(weights, strict=True)
        target.generation_config.decoder_start_token_id = blank
        target.save_pretrained(folder)
        _processor(hf, config, sentencepiece_model, contexts, prompted).save_pretrained(folder)


def _processor(hf: Any, config: Any, sentencepiece_model: Path, contexts: list[list[int]], prompted: bool) -> Any:
    token = importlib.import_module("tokenizers").AddedToken
    converter = importlib.import_module("transformers.convert_slow_tokenizer").ParakeetConverter
    tokenizer = hf.ParakeetTokenizer(
        tokenizer_object=converter(str(sentencepiece_model)).converted(), clean_up_tokenization_spaces=False
    )
    for missing in ("<pad>", "<blank>"):  # both follow the model's own pieces
        tokenizer.add_tokens([token(missing, normalized=False, special=True)])
    special: dict[str, Any] = {
        "pad_token": token("<pad>", normalized=False, special=True),
        "unk_token": token("<unk>", normalized=False, special=True),
    }
    tokenizer.add_special_tokens(special)
    if prompted:
        tags = sorted(piece for piece in tokenizer.get_vocab() if re.fullmatch(r"<[a-z]{2,3}-[A-Za-z]{2}>", piece))
        extra = [token(tag, normalized=False, special=True) for tag in tags]
        tokenizer.add_special_tokens({"additional_special_tokens": extra})
    mel = config.preprocessor
    arguments: dict[str, Any] = {
        "feature_extractor": hf.NemotronAsrStreamingFeatureExtractor(
            sampling_rate=mel.sample_rate,
            win_length=int(mel.window_size * mel.sample_rate),
            hop_length=int(mel.window_stride * mel.sample_rate),
            n_fft=mel.n_fft,
            feature_size=mel.features,
        ),
        "tokenizer": tokenizer,
        "supported_num_lookahead_tokens": [right for _, right in contexts],
        "default_num_lookahead_tokens": contexts[0][1],
    }
    if not prompted:
        return hf.NemotronAsrStreamingProcessor(**arguments)
    defaults = config.model_defaults
    arguments["prompt_dictionary"] = {str(name): int(index) for name, index in defaults.prompt_dictionary.items()}
    arguments["num_prompts"] = int(defaults.num_prompts)
    return hf.Nemotron3_5AsrProcessor(**arguments)
