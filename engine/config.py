"""The sizes and flags of a checkpoint, read from its own configuration and never assumed.

A value this engine does not run is an `UnsupportedCheckpoint` that names it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import DamagedCheckpoint, UnsupportedCheckpoint

FAMILY = (
    "this engine runs cache-aware streaming FastConformer transducers, such as nvidia/nemotron-3.5-asr-streaming-0.6b"
)
"""What to give instead of a model of another family."""

ENGLISH_ONLY = "en-US"
"""Language of a checkpoint without prompt."""


@dataclass(frozen=True, slots=True)
class FeatureConfig:
    """Log-mel features; window 25 ms, hop 10 ms, Hann. `mels`: bands, which are the frequencies that the encoder
    sees."""

    mels: int
    n_fft: int = 512
    preemphasis: float = 0.97
    log_guard: float = 2.0**-24
    low_hz: float = 0.0
    high_hz: float = 8000.0

    @property
    def spectrum_bins(self) -> int:
        """Frequencies of a frame's spectrum."""
        return self.n_fft // 2 + 1

    @property
    def subsampled_bins(self) -> tuple[int, int, int]:
        """Frequencies that are left after each of the three convolutions of the subsampling (kernel 3, stride 2, three
        zeros beside them)."""
        first = self.mels // 2 + 1
        second = first // 2 + 1
        return first, second, second // 2 + 1


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """FastConformer. `lookaheads`: right contexts in encoder frames; a class steps lookahead + 1 frames."""

    layers: int
    d_model: int
    heads: int
    d_ff: int
    conv_kernel: int
    subsampling_channels: int
    use_bias: bool
    xscaling: bool
    left_context: int
    lookaheads: tuple[int, ...]

    @property
    def d_head(self) -> int:
        """Features of one attention head."""
        return self.d_model // self.heads


@dataclass(frozen=True, slots=True)
class PromptConfig:
    """Language prompt: `dictionary` maps a locale (or `auto`) to its index of `count`."""

    count: int
    dictionary: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """RNN transducer. `vocabulary` does not count the blank, whose index it is."""

    vocabulary: int
    hidden: int
    layers: int
    joint_hidden: int
    max_symbols: int


@dataclass(frozen=True, slots=True)
class ModelConfig:
    features: FeatureConfig
    encoder: EncoderConfig
    prompt: PromptConfig | None
    decoder: DecoderConfig

    @property
    def chunk_frames(self) -> tuple[int, ...]:
        """Encoder frames a step of each latency class, smallest first."""
        return tuple(sorted({lookahead + 1 for lookahead in self.encoder.lookaheads}))


class Section:
    """One mapping of a configuration file, with the path that names it in errors."""

    def __init__(self, data: Any, where: str) -> None:
        if not isinstance(data, Mapping):
            raise DamagedCheckpoint(f"{where}: expected a section of settings, found {type(data).__name__}")
        self._data = data
        self._where = where

    def __contains__(self, key: str) -> bool:
        return self._data.get(key) is not None

    def name(self, key: str) -> str:
        return f"{self._where}.{key}"

    def section(self, key: str) -> "Section":
        return Section(self._value(key), self.name(key))

    def _value(self, key: str) -> Any:
        if key not in self:
            raise DamagedCheckpoint(f"{self.name(key)} is missing: the checkpoint's configuration is incomplete")
        return self._data[key]

    def integer(self, key: str, default: int | None = None) -> int:
        if key not in self and default is not None:
            return default
        value = self._value(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise UnsupportedCheckpoint(f"{self.name(key)} = {value!r}: expected a whole number")
        return value

    def number(self, key: str, default: float) -> float:
        value = self._data.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UnsupportedCheckpoint(f"{self.name(key)} = {value!r}: expected a number")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self._data.get(key, default)
        if not isinstance(value, bool):
            raise UnsupportedCheckpoint(f"{self.name(key)} = {value!r}: expected true or false")
        return value

    def raw(self, key: str) -> Any:
        return self._value(key)

    def heads(self, key: str, d_model: int, default: int | None = None) -> int:
        """Number of attention heads, which must share `d_model` evenly."""
        heads = self.integer(key, default)
        if not heads or d_model % heads:
            raise UnsupportedCheckpoint(f"{self.name(key)} = {heads} does not divide the model's width {d_model}")
        return heads

    def require(self, key: str, *supported: Any, default: Any = None) -> None:
        """Refuse a value this engine does not run. `default` is what an absent key means."""
        value = self._data.get(key, default)
        if value not in supported:
            names = " or ".join(repr(item) for item in supported)
            raise UnsupportedCheckpoint(f"{self.name(key)} = {value!r} is not {names}: {FAMILY}")


def dictionary(data: Any, count: int, where: str) -> Mapping[str, int]:
    """The prompt dictionary, checked: names to indices below `count`."""
    if not isinstance(data, Mapping) or not data:
        raise DamagedCheckpoint(f"{where} is missing or empty: the checkpoint names no languages")
    # YAML reads an unquoted `no` (Norwegian) as false.
    named = {"no" if name is False else name: index for name, index in data.items()}
    for name, index in named.items():
        if not isinstance(name, str) or isinstance(index, bool) or not isinstance(index, int):
            raise DamagedCheckpoint(f"{where}: {name!r}: {index!r} is not a language and its index")
        if not 0 <= index < count:
            raise DamagedCheckpoint(f"{where}.{name} = {index} is outside 0..{count - 1}")
    return named


def from_nemo(data: Any) -> ModelConfig:
    """Read NeMo's `model_config.yaml`."""
    root = Section(data, "model_config")
    root.require("sample_rate", 16000, default=16000)
    _refuse_durations(root)
    decoder = _nemo_decoder(root)
    return ModelConfig(_nemo_features(root), _nemo_encoder(root.section("encoder")), _nemo_prompt(root), decoder)


def _refuse_durations(root: Section) -> None:
    """A TDT model (Parakeet TDT) has outputs for durations beside the pieces, a multi-blank one for longer blanks."""
    extra = root.section("joint").integer("num_extra_outputs", 0)
    if extra:
        name = root.name("joint.num_extra_outputs")
        raise UnsupportedCheckpoint(
            f"{name} = {extra}: a transducer with durations (TDT, as Parakeet TDT) or several blanks: {FAMILY}"
        )


def _nemo_features(root: Section) -> FeatureConfig:
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


def _nemo_encoder(section: Section) -> EncoderConfig:
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


def check_contexts(left: int, lookaheads: Sequence[int], where: str) -> None:
    """The left context is whole chunks, as NeMo demands of `chunked_limited`. Raises `UnsupportedCheckpoint`."""
    for lookahead in lookaheads:
        if left < 0 or left % (lookahead + 1):
            raise UnsupportedCheckpoint(
                f"{where}: a left context of {left} frames is not a whole number of chunks of {lookahead + 1} frames "
                f"(lookahead {lookahead}), which the model was trained with: correct the contexts"
            )


def _nemo_prompt(root: Section) -> PromptConfig | None:
    defaults = root.section("model_defaults") if "model_defaults" in root else Section({}, root.name("model_defaults"))
    if not defaults.flag("initialize_prompt_feature", False):
        return None
    count = root.integer("num_prompts", defaults.integer("num_prompts", 128))
    where = defaults.name("prompt_dictionary")
    return PromptConfig(count, dictionary(defaults.raw("prompt_dictionary"), count, where))


def _nemo_decoder(root: Section) -> DecoderConfig:
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
