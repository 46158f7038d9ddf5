"""Shapes of the checkpoints that the tests make: small, and each different where the family's members differ."""

import hashlib
from dataclasses import dataclass
from typing import Any

TAGS = ("<en-US>", "<es-US>", "<de-DE>", "<fr-FR>")
PROMPTS = {"en-US": 0, "en-GB": 1, "es-ES": 2, "es-US": 3, "fr-FR": 8, "de-DE": 9, "auto": 101}
# Bare codes, variants of one index, and a name that YAML takes for a boolean unless it is quoted.
PROMPTS_RELEASED = PROMPTS | {"en": 0, "es": 3, "fr": 8, "de": 9, "no": 27, "no-NO": 27, "fr-CA": 100, "nb": 103}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One checkpoint: sizes and flags of its encoder, decoder and tokenizer. `prompts` is None without prompt kernel.

    `tokens_per_second`: rate to aim for on babble.
    """

    name: str
    d_model: int = 64
    heads: int = 4
    layers: int = 3
    channels: int = 16
    mels: int = 80
    kernel: int = 9
    ff: int = 4
    left: int = 56
    lookaheads: tuple[int, ...] = (0, 1, 3, 6, 13)
    use_bias: bool = False
    xscaling: bool = False
    pred_hidden: int = 48
    lstm_layers: int = 1
    pieces: int = 160
    byte_fallback: bool = False
    prompts: tuple[tuple[str, int], ...] | None = tuple(PROMPTS.items())
    tokens_per_second: float = 4.0
    max_symbols: int = 10

    @property
    def chunks_ms(self) -> tuple[int, ...]:
        """Chunk sizes that this checkpoint offers."""
        return tuple(sorted(80 * (right + 1) for right in self.lookaheads))

    @property
    def seed(self) -> int:
        """Seed of its weights, from its name."""
        return int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:4])

    def nemo_config(self, tokenizer_dir: str) -> dict[str, Any]:
        """Configuration of NeMo's model class, as in a released checkpoint's `model_config.yaml`."""
        defaults: dict[str, Any] = {
            "enc_hidden": self.d_model,
            "pred_hidden": self.pred_hidden,
            "joint_hidden": self.pred_hidden,
        }
        if self.prompts is not None:
            defaults |= {"initialize_prompt_feature": True, "num_prompts": 128, "prompt_dictionary": dict(self.prompts)}
        return {
            "sample_rate": 16_000,
            "compute_eval_loss": False,
            "log_prediction": False,
            "skip_nan_grad": False,
            "subsampling_factor": 8,
            "model_defaults": defaults,
            "tokenizer": {"dir": tokenizer_dir, "type": "bpe"},
            "preprocessor": {
                "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
                "sample_rate": 16_000,
                "normalize": "NA",
                "window_size": 0.025,
                "window_stride": 0.01,
                "window": "hann",
                "features": self.mels,
                "n_fft": 512,
                "frame_splicing": 1,
                "dither": 1e-5,  # as released: it has no effect outside of training
                "pad_to": 0,
            },
            "encoder": {
                "_target_": "nemo.collections.asr.modules.ConformerEncoder",
                "feat_in": self.mels,
                "feat_out": -1,
                "n_layers": self.layers,
                "d_model": self.d_model,
                "use_bias": self.use_bias,
                "subsampling": "dw_striding",
                "subsampling_factor": 8,
                "subsampling_conv_channels": self.channels,
                "causal_downsampling": True,
                "ff_expansion_factor": self.ff,
                "self_attention_model": "rel_pos",
                "n_heads": self.heads,
                "att_context_size": [[self.left, right] for right in self.lookaheads],
                "att_context_style": "chunked_limited",
                "att_context_probs": None,
                "xscaling": self.xscaling,
                "untie_biases": True,
                "pos_emb_max_len": 5_000,
                "conv_kernel_size": self.kernel,
                "conv_norm_type": "layer_norm",
                "conv_context_size": "causal",
                "dropout": 0.1,
                "dropout_pre_encoder": 0.1,
                "dropout_emb": 0.0,
                "dropout_att": 0.1,
                "stochastic_depth_drop_prob": 0.0,
                "stochastic_depth_mode": "linear",
                "stochastic_depth_start_layer": 1,
            },
            "decoder": {
                "_target_": "nemo.collections.asr.modules.RNNTDecoder",
                "normalization_mode": None,
                "random_state_sampling": False,
                "blank_as_pad": True,
                "prednet": {
                    "pred_hidden": self.pred_hidden,
                    "pred_rnn_layers": self.lstm_layers,
                    "t_max": None,
                    "dropout": 0.2,
                },
            },
            "joint": {
                "_target_": "nemo.collections.asr.modules.RNNTJoint",
                "log_softmax": None,
                "preserve_memory": False,
                "fuse_loss_wer": False,
                "fused_batch_size": 4,
                "jointnet": {"joint_hidden": self.pred_hidden, "activation": "relu", "dropout": 0.2},
            },
            "decoding": {"strategy": "greedy_batch", "greedy": {"max_symbols": self.max_symbols}},
            "loss": {"loss_name": "default", "warprnnt_numba_kwargs": {"fastemit_lambda": 5e-3, "clamp": -1.0}},
            "optim": {"name": "adamw", "lr": 1e-3},
        }


PLAIN = Shape(name="plain")
BIASED = Shape(
    name="biased",
    d_model=48,
    heads=2,
    layers=2,
    channels=8,
    mels=128,
    ff=2,
    use_bias=True,
    xscaling=True,
    lstm_layers=2,
    pieces=420,
    byte_fallback=True,
    prompts=tuple(PROMPTS_RELEASED.items()),
)
NARROW = Shape(name="narrow", d_model=32, heads=4, layers=4, kernel=5, left=28, xscaling=True, pred_hidden=32)
ENGLISH = Shape(
    name="english",
    d_model=40,
    heads=4,
    layers=2,
    channels=12,
    mels=128,
    left=70,
    lookaheads=(13, 6, 1, 0),
    tokens_per_second=8.0,
    pred_hidden=40,
    lstm_layers=2,
    prompts=None,
)
SHAPES = (PLAIN, BIASED, NARROW, ENGLISH)
