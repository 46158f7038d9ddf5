"""A checkpoint of the released dimensions (0.6 B parameters) with random weights, for timing.

    python -m benchmarks.real_dims OUT.nemo [--layers 24]

Needs the `oracle` extra (NeMo), 8 GB of memory and half a minute. Timings do not depend on what the
weights say, except through how often a token is emitted: that is set to the rate of speech.
"""

import argparse
import dataclasses
import importlib
import tempfile
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from torch import Tensor

from testing.audio import babble
from testing.checkpoints import new_model, standardise_subsampling
from testing.libraries import quiet
from testing.shapes import PROMPTS_RELEASED, TAGS, Shape

PIECES = 13_087
RELEASED = Shape(
    name="released-dimensions",
    d_model=1_024,
    heads=8,
    layers=24,
    channels=256,
    mels=128,
    pred_hidden=640,
    lstm_layers=2,
    pieces=PIECES,
    prompts=tuple(PROMPTS_RELEASED.items()),
    # Random weights that emit once emit again at once: one symbol a frame keeps the rate that of speech.
    max_symbols=1,
)


def write_tokenizer(folder: Path) -> Path:
    """A SentencePiece model of 13,087 pieces: a trained handful, filled up with single Chinese characters."""
    sentences = iter([f"{word} {tag}" for word in ("hello", "hola", "guten tag", "bonjour") for tag in TAGS] * 8)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences,
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=40,
        user_defined_symbols=list(TAGS),
        normalization_rule_name="identity",
        bos_id=-1,
        eos_id=-1,
        unk_id=0,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    path = folder / "tokenizer.model"
    model = importlib.import_module("sentencepiece.sentencepiece_model_pb2").ModelProto()
    model.ParseFromString(path.read_bytes())
    for offset in range(PIECES - len(model.pieces)):
        model.pieces.add(piece=chr(0x4E00 + offset), score=-1_000.0 - offset)
    path.write_bytes(model.SerializeToString())
    (folder / "vocab.txt").write_text("".join(p.piece.replace("▁", "##") + "\n" for p in model.pieces[1:]))
    return path


def build(layers: int, folder: Path) -> Any:
    """NeMo's model in memory, in float32; the tokenizer goes into the folder.

    About a quarter of the frames emit a token, as in fluent speech.
    """
    write_tokenizer(folder)
    model = new_model(dataclasses.replace(RELEASED, layers=layers), folder)
    sound = torch.from_numpy(babble(4.0, 1))[None]
    with torch.inference_mode():
        features, length = model.preprocessor(input_signal=sound, length=torch.tensor([sound.shape[1]]))
        standardise_subsampling(model, features, 1.0)
        encoded = model.encoder(audio_signal=features, length=length)[0][0].T
        hot = torch.zeros(len(encoded), model.num_prompts)
        hot[:, 101] = 1
        _set_rate(model, model.prompt_kernel(torch.cat([encoded, hot], -1)), 0.25)
    return model


def _set_rate(model: Any, prompted: Tensor, share: float) -> None:
    """Set the blank's bias so that about this share of frames (T, d_model) emits a token."""
    head = model.joint.joint_net[-1]
    said = torch.randint(PIECES, (16, 6), generator=torch.Generator().manual_seed(0))
    states = model.joint.pred(model.decoder.predict(said, None, add_sos=False)[0][:, -1])  # (16, 640)
    scores = model.joint.joint_net(model.joint.enc(prompted)[:, None] + states)
    margin = scores[..., :-1].amax(-1) - scores[..., -1]
    head.bias[-1] += margin.flatten().quantile(1 - share)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the .nemo file to write")
    parser.add_argument("--layers", type=int, default=RELEASED.layers)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, quiet():
        build(arguments.layers, Path(folder)).save_to(str(arguments.out))


if __name__ == "__main__":
    main()
