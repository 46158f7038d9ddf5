"""The references the engine is held against: NeMo's offline forward and transformers' offline forward.

Both see the whole audio at once with the attention context of one latency class. Encoder frames are causal across
chunks, so an utterance is continued with silence and its first frames compared: they depend on nothing later.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from testing.audio import Audio
from testing.libraries import nemo_models, quiet

FRAME = 1_280
"""Samples an encoder frame advances."""


@dataclass(frozen=True, slots=True)
class Token:
    """A piece and the encoder frame, counted from the start of the audio, that emitted it."""

    piece: int
    frame: int


def continued(audio: Audio, frames: int) -> Audio:
    """The audio with silence after it, long enough that none of its first `frames` encoder frames sees the end."""
    missing = FRAME * (frames + 1) - len(audio)
    return np.pad(audio, (0, max(0, missing)))


class NemoReference:
    """One NeMo model. `chunk` is the latency class in encoder frames (lookahead + 1)."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.left = int(model.cfg.encoder.att_context_size[0][0])
        self.prompted = hasattr(model, "prompt_kernel")

    @classmethod
    def restore(cls, path: Path) -> "NemoReference":
        """Read a `.nemo` file with NeMo."""
        with quiet():
            return cls(nemo_models().ASRModel.restore_from(str(path), map_location="cpu").eval())

    def prompt_index(self, language: str) -> int:
        """Index of a locale, 0 where the model has no prompt."""
        return int(self.model.cfg.model_defaults.prompt_dictionary[language]) if self.prompted else 0

    def features(self, audio: Audio) -> Tensor:
        """Log-mel features: float32 (T // 160, mels)."""
        with torch.inference_mode():
            found, frames = self.model.preprocessor(
                input_signal=torch.from_numpy(audio)[None], length=torch.tensor([len(audio)])
            )
        return found[0, :, : int(frames)].T  # type: ignore[no-any-return]

    def encode(self, audio: Audio, frames: int, chunk: int) -> Tensor:
        """The first `frames` encoder frames before the prompt kernel: float32 (frames, d_model)."""
        signal = torch.from_numpy(continued(audio, frames))[None]
        self.model.encoder.set_default_att_context_size([self.left, chunk - 1])
        with torch.inference_mode():
            features, length = self.model.preprocessor(input_signal=signal, length=torch.tensor([signal.shape[1]]))
            encoded, _ = self.model.encoder(audio_signal=features, length=length)
        return encoded[0, :, :frames].T  # type: ignore[no-any-return]

    def prompt(self, encoded: Tensor, language: str | Sequence[str]) -> Tensor:
        """Frames after the prompt kernel, with one language or one per frame; unchanged where there is no prompt."""
        if not self.prompted:
            return encoded
        languages = [language] * len(encoded) if isinstance(language, str) else language
        hot = torch.zeros(len(encoded), self.model.num_prompts)
        hot[torch.arange(len(encoded)), [self.prompt_index(name) for name in languages]] = 1
        with torch.inference_mode():
            return self.model.prompt_kernel(torch.cat([encoded, hot], -1))  # type: ignore[no-any-return]

    def decode(self, prompted: Tensor) -> list[Token]:
        """Greedy tokens of frames (T, d_model), alone in their batch."""
        if len(prompted) == 0:
            return []
        with torch.inference_mode():
            found = self.model.decoding.rnnt_decoder_predictions_tensor(
                prompted.T[None], torch.tensor([len(prompted)]), return_hypotheses=True
            )[0]
        return [Token(int(p), int(t)) for p, t in zip(found.y_sequence, found.timestamp, strict=True)]

    def tokens(self, audio: Audio, frames: int, chunk: int, language: str) -> list[Token]:
        """Greedy tokens of the first `frames` encoder frames of the audio followed by silence."""
        return self.decode(self.prompt(self.encode(audio, frames, chunk), language))


class TransformersReference:
    """A Hugging Face folder, run by transformers."""

    def __init__(self, folder: Path) -> None:
        with quiet():
            hf = importlib.import_module("transformers")
            self.model = hf.AutoModelForRNNT.from_pretrained(folder).eval()
            self.processor = hf.AutoProcessor.from_pretrained(folder)

    def tokens(self, audio: Audio, frames: int, chunk: int, language: str) -> list[int]:
        """Greedy tokens of the first `frames` encoder frames of the audio followed by silence."""
        prompted = hasattr(self.model, "prompt_projector")
        # So many samples that exactly `frames` encoder frames are valid; anything after them is silence anyway.
        wanted = 160 * (8 * (frames - 1) + 1)
        signal = np.pad(audio, (0, max(0, wanted - len(audio))))
        assert not signal[wanted:].any()
        with quiet(), torch.inference_mode():
            inputs = self.processor(
                signal[:wanted], sampling_rate=16_000, **({"language": language} if prompted else {})
            )
            inputs["num_lookahead_tokens"] = chunk - 1
            found = self.model.generate(**inputs, max_new_tokens=11 * frames + 16)
        silent = (self.model.config.blank_token_id, self.processor.tokenizer.pad_token_id)
        return [token for token in found.sequences[0].tolist() if token not in silent]
