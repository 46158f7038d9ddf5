"""Checkpoints with random weights in the two released formats, made by NeMo and by transformers themselves.

The weights are random but lively: the subsampling and the joint are standardised on sound, so that the encoder follows
its input and the decoder emits varied tokens at a plausible rate. Norms and attention biases are random too, so that a
reader that forgets one is found out.
"""

import importlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from testing import audio, hf_export, sp_training
from testing.libraries import nemo_models, quiet
from testing.shapes import Shape


@dataclass(frozen=True, slots=True)
class Made:
    """A checkpoint made here: its NeMo model in memory and the folder that holds its files."""

    shape: Shape
    model: Any
    folder: Path

    @property
    def nemo(self) -> Path:
        """The `.nemo` file, written on first use."""
        path = self.folder / f"{self.shape.name}.nemo"
        if not path.exists():
            with quiet():
                self.model.save_to(str(path))
        return path

    @property
    def hugging_face(self) -> Path:
        """The Hugging Face folder, written on first use."""
        path = self.folder / f"{self.shape.name}-hf"
        if not path.exists():
            hf_export.export(self.model, self.folder / "tokenizer.model", path)
        return path


def make(shape: Shape, folder: Path) -> Made:
    """A NeMo model of the shape with lively random weights; files go into the folder, which must exist."""
    sp_training.train(shape, folder)
    model = new_model(shape, folder)
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(shape.seed + 1)
        _roughen(model)
        _standardise(model, shape)
    return Made(shape, model, folder)


def new_model(shape: Shape, tokenizer_folder: Path) -> Any:
    """A NeMo model of the shape with its class's own random initialisation."""
    name = "EncDecRNNTBPEModelWithPrompt" if shape.prompts is not None else "EncDecRNNTBPEModel"
    module = "rnnt_bpe_models_prompt" if shape.prompts is not None else "rnnt_bpe_models"
    nemo_models()
    with quiet(), torch.random.fork_rng():
        torch.manual_seed(shape.seed)
        config = importlib.import_module("omegaconf").OmegaConf.create(shape.nemo_config(str(tokenizer_folder)))
        model = getattr(importlib.import_module(f"nemo.collections.asr.models.{module}"), name)(config)
    return model.eval()


def _roughen(model: Any) -> None:
    """Norms, attention biases and projections away from their neutral initial values."""
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.weight.normal_(1.0, 0.2)
            module.bias.normal_(0.0, 0.2)
    for name, value in model.named_parameters():
        if "pos_bias" in name:
            value.normal_(0.0, 0.5)
        elif ".linear_q." in name or ".linear_k." in name or ".linear_pos." in name:
            value.mul_(2.0)  # attention that looks somewhere, instead of averaging its whole context
        elif ".conv.depthwise_conv.weight" in name:
            value.mul_(2.0)


def _unit(layer: nn.Module, outputs: Tensor, channel: int, spread: float = 1.0) -> None:
    """Rescale a layer whose outputs are given to zero mean and `spread` standard deviation per channel."""
    axes = [axis for axis in range(outputs.ndim) if axis != channel]
    mean, std = outputs.mean(axes), outputs.std(axes).clamp_min(1e-3)
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor)
    assert isinstance(bias, Tensor)
    weight.mul_((spread / std).reshape(-1, *[1] * (weight.ndim - 1)))
    bias.copy_((bias - mean) * spread / std)


def standardise_subsampling(model: Any, features: Tensor, spread: float) -> None:
    """Make each step of the subsampling vary with its input; features: (1, mels, T).

    Log-mels without normalisation have a mean of about -12: with the usual initialisation what comes out hardly varies.
    """
    pre_encode = model.encoder.pre_encode
    x = features.transpose(1, 2)[:, None]
    for layer in pre_encode.conv:
        if isinstance(layer, nn.Conv2d):
            _unit(layer, layer(x), 1)
        x = layer(x)
    _unit(pre_encode.out, pre_encode.out(x.transpose(1, 2).flatten(2)), 2, spread)


def _standardise(model: Any, shape: Shape) -> None:
    signal = torch.from_numpy(audio.babble(8.0, shape.seed % 1_000))[None]
    features, frames = model.preprocessor(input_signal=signal, length=torch.tensor([signal.shape[1]]))
    standardise_subsampling(model, features, 1 / math.sqrt(shape.d_model) if shape.xscaling else 1.0)
    encoded, length = model.encoder(audio_signal=features, length=frames)
    encoded = encoded.transpose(1, 2)
    if shape.prompts is not None:
        hot = torch.zeros(1, encoded.shape[1], model.num_prompts)
        hot[..., dict(shape.prompts)["auto"]] = 1
        model.prompt_kernel[0].weight[:, -model.num_prompts :].mul_(4.0)  # the prompt changes what is said
        _unit(model.prompt_kernel[2], model.prompt_kernel(torch.cat([encoded, hot], -1)), 2)
        encoded = model.prompt_kernel(torch.cat([encoded, hot], -1))
    _unit(model.joint.enc, model.joint.enc(encoded), 2)
    prediction = model.decoder.prediction
    prediction["embed"].weight.mul_(2.0)
    for name, value in prediction["dec_rnn"].lstm.named_parameters():
        if name.startswith("weight_ih"):
            value.mul_(3.0)  # the last token weighs more than the ones before
    said = torch.randint(shape.pieces, (24, 4 * shape.pieces))
    predicted = prediction["dec_rnn"].lstm(prediction["embed"](said))[0].flatten(0, 1)
    _unit(model.joint.pred, model.joint.pred(predicted), 1)
    predicted = model.joint.pred(predicted)
    count = torch.bincount(said.flatten(), minlength=shape.pieces)[:, None]
    after = torch.zeros(shape.pieces, shape.pred_hidden).index_add_(0, said.flatten(), predicted) / count
    head = model.joint.joint_net[-1]
    # A token lowers its own score for the next one, as in a trained model, instead of coming ten times a frame.
    usual = float(head.weight[:-1].norm(dim=1).mean())
    head.weight[:-1].add_(after / after.norm(dim=1, keepdim=True), alpha=-2.0 * usual)
    hidden = model.joint.enc(encoded)[0][:, None] + predicted[:: predicted.shape[0] // 100][None]
    _unit(head, model.joint.joint_net(hidden), 2, 3.0)
    head.weight[-1].mul_(0.3)
    _tune_blank(model, encoded.transpose(1, 2), length, shape.tokens_per_second * signal.shape[1] / audio.RATE)


def _tune_blank(model: Any, encoded: Tensor, length: Tensor, wanted: float) -> None:
    """Set the blank bias by bisection, so that about `wanted` tokens come of this sound."""
    bias = model.joint.joint_net[-1].bias
    low, high = 0.0, 30.0
    for _ in range(8):
        bias[-1] = (low + high) / 2
        emitted = model.decoding.rnnt_decoder_predictions_tensor(encoded, length, return_hypotheses=True)[0]
        if len(emitted.y_sequence) > wanted:
            low = float(bias[-1])
        else:
            high = float(bias[-1])
