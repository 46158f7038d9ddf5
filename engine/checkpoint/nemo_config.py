"""NeMo's `model_config.yaml` as a `ModelConfig`. Sizes and flags are read and never assumed."""

from typing import Any

from engine.checkpoint.section import FAMILY, Section, check_contexts, prompt_dictionary
from engine.config import DecoderConfig, EncoderConfig, FeatureConfig, ModelConfig, PromptConfig
from engine.errors import DamagedCheckpoint, UnsupportedCheckpoint


def from_nemo(data: Any) -> ModelConfig:
    """Read NeMo's `model_config.yaml`."""
    root = Section(data, "model_config")
    root.require("sample_rate", 16000, default=16000)
    _refuse_durations(root)
    decoder = _decoder(root)
    return ModelConfig(_features(root), _encoder(root.section("encoder")), _prompt(root), decoder)


def _refuse_durations(root: Section) -> None:
    """A TDT model (Parakeet TDT) has outputs for durations beside the pieces, a multi-blank one for longer blanks."""
    extra = root.section("joint").integer("num_extra_outputs", 0)
    if extra:
        name = root.name("joint.num_extra_outputs")
        raise UnsupportedCheckpoint(
            f"{name} = {extra}: a transducer with durations (TDT, as Parakeet TDT) or several blanks: {FAMILY}"
        )


def _features(root: Section) -> FeatureConfig:
    section = root.section("preprocessor")
    section.require("sample_rate", 16000, default=16000)
    section.require("window", "hann", default="hann")
    section.require("window_size", 0.025, default=0.025)
    section.require("window_stride", 0.01, default=0.01)
    section.require("n_fft", 512, default=512)
    section.require("normalize", "NA", "None", None, False)
    section.require("frame_splicing", 1, default=1)
    section.require("log", True, default=True)
    section.require("log_zero_guard_type", "add", default="add")
    section.require("mag_power", 2.0, default=2.0)
    section.require("mel_norm", "slaney", default="slaney")
    section.require("exact_pad", False, default=False)
    return FeatureConfig(
        mels=section.integer("features"),
        preemphasis=section.number("preemph", 0.97),
        log_guard=section.number("log_zero_guard_value", 2.0**-24),
        low_hz=section.number("lowfreq", 0.0),
        high_hz=section.number("highfreq", 8000.0),
    )


def _encoder(section: Section) -> EncoderConfig:
    section.require("subsampling", "dw_striding")
    section.require("subsampling_factor", 8)
    section.require("causal_downsampling", True, default=False)
    section.require("self_attention_model", "rel_pos", default="rel_pos")
    section.require("att_context_style", "chunked_limited", default="regular")
    section.require("conv_norm_type", "layer_norm", default="batch_norm")
    section.require("conv_context_size", "causal", [section.integer("conv_kernel_size") - 1, 0])
    section.require("untie_biases", True, default=True)
    section.require("reduction", None)
    section.require("feat_out", -1, None, default=-1)
    d_model = section.integer("d_model")
    left, lookaheads = _contexts(section.raw("att_context_size"), section.name("att_context_size"))
    return EncoderConfig(
        layers=section.integer("n_layers"),
        d_model=d_model,
        heads=section.heads("n_heads", d_model),
        d_ff=d_model * section.integer("ff_expansion_factor", 4),
        conv_kernel=section.integer("conv_kernel_size"),
        subsampling_channels=section.integer("subsampling_conv_channels"),
        use_bias=section.flag("use_bias", True),
        xscaling=section.flag("xscaling", True),
        left_context=left,
        lookaheads=lookaheads,
    )


def _contexts(value: Any, where: str) -> tuple[int, tuple[int, ...]]:
    """`[[left, right], ...]` or one pair; the left context must be one and the same."""
    pairs = value if isinstance(value, list) and value and isinstance(value[0], list) else [value]
    lookaheads = []
    lefts = set()
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(type(n) is int and n >= 0 for n in pair):
            raise UnsupportedCheckpoint(
                f"{where} = {value!r}: expected pairs of limited left and right context: {FAMILY}"
            )
        lefts.add(pair[0])
        lookaheads.append(pair[1])
    if len(lefts) != 1:
        raise UnsupportedCheckpoint(f"{where} = {value!r}: the left context differs between latency classes")
    left = lefts.pop()
    check_contexts(left, lookaheads, where)
    return left, tuple(lookaheads)


def _prompt(root: Section) -> PromptConfig | None:
    defaults = root.section("model_defaults") if "model_defaults" in root else Section({}, root.name("model_defaults"))
    if not defaults.flag("initialize_prompt_feature", False):
        return None
    count = root.integer("num_prompts", defaults.integer("num_prompts", 128))
    where = defaults.name("prompt_dictionary")
    return PromptConfig(count, prompt_dictionary(defaults.raw("prompt_dictionary"), count, where))


def _decoder(root: Section) -> DecoderConfig:
    decoder, joint = root.section("decoder"), root.section("joint")
    decoder.require("blank_as_pad", True, default=True)
    decoder.require("normalization_mode", None)
    decoder.require("random_state_sampling", False, default=False)
    network, joint_network = decoder.section("prednet"), joint.section("jointnet")
    joint_network.require("activation", "relu")
    network.require("rnn_hidden_size", None, -1)
    greedy = root.section("decoding").section("greedy") if "decoding" in root else Section({}, "decoding.greedy")
    vocabulary = joint.raw("vocabulary")
    if not isinstance(vocabulary, list):
        raise DamagedCheckpoint(f"{joint.name('vocabulary')} is not a list of pieces")
    return DecoderConfig(
        vocabulary=len(vocabulary),
        hidden=network.integer("pred_hidden"),
        layers=network.integer("pred_rnn_layers"),
        joint_hidden=joint_network.integer("joint_hidden"),
        max_symbols=greedy.integer("max_symbols", greedy.integer("max_symbols_per_step", 10)),
    )
