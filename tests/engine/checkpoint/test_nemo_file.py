"""Reading `.nemo` files: what is wrong is named, nothing in them is executed, nothing leaves the archive."""

import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import constants

from engine.api import SessionOptions
from engine.checkpoint.find import load_checkpoint
from engine.engine import Engine
from engine.errors import CheckpointError, CheckpointNotFound, DamagedCheckpoint, UnsupportedCheckpoint
from testing import audio
from testing.damage import edited_nemo, members, merged, reweighted_nemo, write_nemo
from testing.shapes import PLAIN
from tests.engine.conftest import MakeCheckpoint
from tests.engine.listener import spoken, transcribe


@pytest.fixture(scope="module")
def nemo(made: MakeCheckpoint) -> Path:
    return made(PLAIN).nemo


def test_the_weights_are_nemos_own(made: MakeCheckpoint, nemo: Path) -> None:
    checkpoint = load_checkpoint(nemo)
    state = made(PLAIN).model.state_dict()
    assert checkpoint.weights.keys() == state.keys()
    assert all(checkpoint.weights[name].equal(state[name]) for name in state)


def test_the_demo_model_is_the_default(demo_path: Path) -> None:
    default, named = load_checkpoint(), load_checkpoint(str(demo_path))
    assert default.config == named.config
    assert default.tokenizer.tags == {"en-US", "es-US", "de-DE", "fr-FR"}


# Damage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9])
def test_a_truncated_file_is_damaged(nemo: Path, tmp_path: Path, share: float) -> None:
    content = nemo.read_bytes()
    path = tmp_path / "cut.nemo"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DamagedCheckpoint, match=r"cut\.nemo"):
        load_checkpoint(path)


def test_a_file_that_is_no_archive_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "noise.nemo"
    path.write_bytes(np.random.default_rng(1).bytes(50_000))
    with pytest.raises(DamagedCheckpoint, match=r"noise\.nemo"):
        load_checkpoint(path)


def test_flipped_bytes_never_give_anything_but_a_checkpoint_error(nemo: Path, tmp_path: Path) -> None:
    content, rng = nemo.read_bytes(), np.random.default_rng(2)
    refused = 0
    for number in range(30):
        spoilt = bytearray(content)
        begin = int(rng.integers(0, len(content) - 600))
        # Half of the damage hits headers and the configuration, which are a small part of the file.
        if number % 2:
            begin = int(rng.integers(0, 30_000))
        for at in range(begin, begin + 40):
            spoilt[at] ^= int(rng.integers(1, 256))
        path = tmp_path / "flipped.nemo"
        path.write_bytes(spoilt)
        try:
            Engine(load_checkpoint(path), max_sessions=1)
        except CheckpointError:
            refused += 1
    assert refused > 5


@pytest.mark.parametrize("name", ["model_config.yaml", "model_weights.ckpt"])
def test_a_missing_member_is_named(nemo: Path, tmp_path: Path, name: str) -> None:
    files = {key: value for key, value in members(nemo).items() if key != name}
    with pytest.raises(DamagedCheckpoint, match=name):
        load_checkpoint(write_nemo(tmp_path / "a.nemo", files))


def test_a_missing_tokenizer_is_named(nemo: Path, tmp_path: Path) -> None:
    files = {key: value for key, value in members(nemo).items() if not key.endswith("tokenizer.model")}
    with pytest.raises(DamagedCheckpoint, match=r"tokenizer\.model"):
        load_checkpoint(write_nemo(tmp_path / "a.nemo", files))


def test_a_tokenizer_that_is_none_is_named(nemo: Path, tmp_path: Path) -> None:
    files = members(nemo)
    name = next(key for key in files if key.endswith("tokenizer.model"))
    files[name] = b"not a model"
    with pytest.raises(DamagedCheckpoint, match=r"tokenizer\.model"):
        load_checkpoint(write_nemo(tmp_path / "a.nemo", files))


def test_a_tokenizer_of_another_size_is_refused(nemo: Path, tmp_path: Path, demo_path: Path) -> None:
    files = members(nemo)
    name = next(key for key in files if key.endswith("tokenizer.model"))
    files[name] = next(value for key, value in members(demo_path).items() if key.endswith("tokenizer.model"))
    with pytest.raises(DamagedCheckpoint, match="pieces"):
        load_checkpoint(write_nemo(tmp_path / "a.nemo", files))


NO_CONFIGURATION = (
    b"",
    b"- a\n- b\n",
    b"encoder: [\n",
    b"\xff\xfe\x00",
    b"encoder: 3\n",
    b"a: !!python/object/apply:os.getcwd []\n",
)


@pytest.mark.parametrize("text", NO_CONFIGURATION)
def test_a_configuration_that_is_none_is_damaged(nemo: Path, tmp_path: Path, text: bytes) -> None:
    files = members(nemo) | {"model_config.yaml": text}
    with pytest.raises(DamagedCheckpoint, match="model_config"):
        load_checkpoint(write_nemo(tmp_path / "a.nemo", files))


# Weights -----------------------------------------------------------------------------------------------------------

ONE = "encoder.layers.1.self_attn.linear_v.weight"


def _drop(weights: dict[str, torch.Tensor]) -> None:
    del weights[ONE]


def _reshape(weights: dict[str, torch.Tensor]) -> None:
    weights[ONE] = weights[ONE][:-1].clone()


def _flatten(weights: dict[str, torch.Tensor]) -> None:
    weights[ONE] = weights[ONE].flatten()


def _spoil(weights: dict[str, torch.Tensor]) -> None:
    weights[ONE][0, 0] = float("nan")


@pytest.mark.parametrize("change", [_drop, _reshape, _flatten, _spoil])
def test_a_wrong_weight_is_named(
    nemo: Path, tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], object]
) -> None:
    path = reweighted_nemo(nemo, tmp_path / "a.nemo", change)
    with pytest.raises(DamagedCheckpoint, match=ONE.replace(".", r"\.")):
        Engine(load_checkpoint(path), max_sessions=1)


def test_integer_weights_are_refused(nemo: Path, tmp_path: Path) -> None:
    def change(weights: dict[str, torch.Tensor]) -> None:
        weights[ONE] = weights[ONE].mul(10).to(torch.int8)

    path = reweighted_nemo(nemo, tmp_path / "a.nemo", change)
    with pytest.raises(CheckpointError, match=ONE.replace(".", r"\.")):
        Engine(load_checkpoint(path), max_sessions=1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_float_type_are_read(nemo: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    def change(weights: dict[str, torch.Tensor]) -> None:
        weights.update({name: value.to(dtype) for name, value in weights.items()})

    path = reweighted_nemo(nemo, tmp_path / "a.nemo", change)
    (words,) = transcribe(Engine(load_checkpoint(path), max_sessions=1), [(audio.babble(2.0, 1), SessionOptions(160))])
    if dtype is torch.float64:
        (wanted,) = transcribe(
            Engine(load_checkpoint(nemo), max_sessions=1), [(audio.babble(2.0, 1), SessionOptions(160))]
        )
        assert spoken(words) == spoken(wanted)
    assert words


# Safety ------------------------------------------------------------------------------------------------------------


class Payload:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("plain_pickle", [True, False])
def test_code_in_the_weights_is_not_run(nemo: Path, tmp_path: Path, plain_pickle: bool) -> None:
    trace = tmp_path / "it-ran"
    table = {"encoder.layers.0.norm_out.weight": torch.zeros(3), "x": Payload(trace)}
    buffer = io.BytesIO()
    if plain_pickle:
        pickle.dump(table, buffer, protocol=2)
    else:
        torch.save(table, buffer)
    files = members(nemo) | {"model_weights.ckpt": buffer.getvalue()}
    with pytest.raises(DamagedCheckpoint, match=r"model_weights\.ckpt"):
        load_checkpoint(write_nemo(tmp_path / "a.nemo", files))
    assert not trace.exists()


@pytest.mark.parametrize("name", ["../escaped.txt", "/tmp/trunkline-escaped.txt", "a/../../escaped.txt"])
def test_a_member_that_leaves_the_archive_is_refused(nemo: Path, tmp_path: Path, name: str) -> None:
    inner = tmp_path / "in"
    inner.mkdir()
    before = sorted(tmp_path.rglob("*"))
    path = write_nemo(inner / "a.nemo", {name: b"caught"} | members(nemo))
    with pytest.raises(DamagedCheckpoint, match="escaped"):
        load_checkpoint(path)
    assert sorted(tmp_path.rglob("*")) == sorted([*before, path])
    assert not Path("/tmp/trunkline-escaped.txt").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_member_that_is_a_link_is_not_followed(nemo: Path, tmp_path: Path, kind: bytes) -> None:
    files = members(nemo)
    files.pop("model_config.yaml")
    path = write_nemo(tmp_path / "a.nemo", files)
    with tarfile.open(path, "a") as archive:
        info = tarfile.TarInfo("model_config.yaml")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(DamagedCheckpoint, match="model_config"):
        load_checkpoint(path)


# Values ------------------------------------------------------------------------------------------------------------

UNSUPPORTED: list[tuple[dict[str, Any], str]] = [
    ({"encoder": {"att_context_style": "regular"}}, "att_context_style"),
    ({"encoder": {"att_context_style": "chunked_limited_with_rc"}}, "att_context_style"),
    ({"encoder": {"conv_norm_type": "batch_norm"}}, "conv_norm_type"),
    ({"encoder": {"self_attention_model": "abs_pos"}}, "self_attention_model"),
    ({"encoder": {"self_attention_model": "rel_pos_local_attn"}}, "self_attention_model"),
    ({"encoder": {"subsampling": "striding"}}, "subsampling"),
    ({"encoder": {"subsampling_factor": 4}}, "subsampling_factor"),
    ({"encoder": {"causal_downsampling": False}}, "causal_downsampling"),
    ({"encoder": {"conv_context_size": None}}, "conv_context_size"),
    ({"encoder": {"untie_biases": False}}, "untie_biases"),
    ({"encoder": {"att_context_size": [-1, -1]}}, "att_context_size"),
    ({"encoder": {"att_context_size": [[56, -1]]}}, "att_context_size"),
    ({"encoder": {"att_context_size": [[56, 1], [70, 1]]}}, "att_context_size"),
    ({"encoder": {"att_context_size": [[56, 2, 1]]}}, "att_context_size"),
    ({"encoder": {"att_context_size": []}}, "att_context_size"),
    ({"encoder": {"reduction": "pooling"}}, "reduction"),
    ({"encoder": {"n_heads": 0}}, "n_heads"),
    ({"encoder": {"n_heads": 7}}, "n_heads"),
    ({"encoder": {"d_model": "wide"}}, "d_model"),
    ({"encoder": {"xscaling": "yes"}}, "xscaling"),
    ({"preprocessor": {"normalize": "per_feature"}}, "normalize"),
    ({"preprocessor": {"window_stride": 0.02}}, "window_stride"),
    ({"preprocessor": {"window": "hamming"}}, "window"),
    ({"preprocessor": {"sample_rate": 8_000}}, "sample_rate"),
    ({"preprocessor": {"frame_splicing": 3}}, "frame_splicing"),
    ({"sample_rate": 8_000}, "sample_rate"),
    ({"joint": {"jointnet": {"activation": "tanh"}}}, "activation"),
    ({"joint": {"num_extra_outputs": 5}}, "num_extra_outputs"),
    ({"target": "nemo.collections.asr.models.ctc_bpe_models.EncDecCTCModelBPE"}, "EncDecCTCModelBPE"),
]


@pytest.mark.parametrize(("change", "named"), UNSUPPORTED, ids=[f"{n}-{i}" for i, (_, n) in enumerate(UNSUPPORTED)])
def test_an_unsupported_value_is_named(nemo: Path, tmp_path: Path, change: dict[str, Any], named: str) -> None:
    with pytest.raises(UnsupportedCheckpoint, match=named) as caught:
        load_checkpoint(edited_nemo(nemo, tmp_path / "a.nemo", change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"encoder": None}, "encoder"),
        ({"encoder": {"d_model": None}}, "d_model"),
        ({"encoder": {"att_context_size": None}}, "att_context_size"),
        ({"decoder": {"prednet": None}}, "prednet"),
        ({"joint": {"vocabulary": None}}, "vocabulary"),
        ({"joint": {"vocabulary": 160}}, "vocabulary"),
        ({"preprocessor": {"features": None}}, "features"),
        ({"tokenizer": None}, "tokenizer"),
        ({"tokenizer": {"model_path": "nemo:elsewhere.model"}}, "elsewhere"),
        ({"model_defaults": {"prompt_dictionary": {"auto": 500}}}, "auto"),
        ({"model_defaults": {"prompt_dictionary": {"auto": "many"}}}, "auto"),
        ({"model_defaults": {"prompt_dictionary": None}}, "prompt_dictionary"),
    ],
)
def test_a_missing_or_wrong_setting_is_named(nemo: Path, tmp_path: Path, change: dict[str, Any], named: str) -> None:
    with pytest.raises(CheckpointError, match=named):
        load_checkpoint(edited_nemo(nemo, tmp_path / "a.nemo", change))


def test_training_settings_are_ignored(nemo: Path, tmp_path: Path) -> None:
    """Released configurations carry everything that the training needed."""
    change = {
        "train_ds": {"manifest_filepath": "/data/x", "batch_size": None, "shuffle": True},
        "spec_augment": {"_target_": "nemo.SpectrogramAugmentation", "freq_masks": 2},
        "encoder": {"stochastic_depth_drop_prob": 0.1, "something_new": 1},
        "trainer": {"devices": 8},
    }
    assert load_checkpoint(edited_nemo(nemo, tmp_path / "a.nemo", change)).config == load_checkpoint(nemo).config


def test_norwegian_in_the_prompt_dictionary_is_a_language(nemo: Path, tmp_path: Path) -> None:
    """`no: 27` without quotes is a boolean key to YAML; the released dictionary has that name."""
    files = members(nemo)
    config = merged(yaml.safe_load(files["model_config.yaml"]), {"model_defaults": {"prompt_dictionary": {"no": 27}}})
    text = yaml.safe_dump(config, allow_unicode=True).replace("'no': 27", "no: 27")
    assert "no: 27" in text
    assert "'no'" not in text
    files["model_config.yaml"] = text.encode()
    prompt = load_checkpoint(write_nemo(tmp_path / "a.nemo", files)).config.prompt
    assert prompt is not None
    assert prompt.dictionary["no"] == 27


@pytest.mark.parametrize("name", ["nothing.nemo", "no/such/folder/at/all", "just words"])
def test_no_such_checkpoint_is_one_line_that_names_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointNotFound, match=name) as caught:
        load_checkpoint(str(tmp_path / name) if name.endswith(".nemo") else name)
    assert "\n" not in str(caught.value)


def test_an_id_that_is_not_cached_names_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointNotFound, match="somebody/some-model") as caught:
        load_checkpoint("somebody/some-model")
    assert str(tmp_path) in str(caught.value)
