"""The sizes and flags of a model. `engine.checkpoint` reads them from a checkpoint's own configuration."""

from collections.abc import Mapping
from dataclasses import dataclass

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
