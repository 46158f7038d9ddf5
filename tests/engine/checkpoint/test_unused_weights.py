"""Every weight of a checkpoint has a use or an error; wrappers of training tools are taken off."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import sentencepiece
import torch
import yaml

from engine.api import Precision, SessionOptions
from engine.checkpoint.find import DEMO_MODEL, load_checkpoint
from engine.checkpoint.weights import Checkpoint
from engine.engine import Engine
from engine.errors import CheckpointError, DamagedCheckpoint, UnsupportedCheckpoint
from testing import audio
from testing.damage import edited_nemo, members, merged, reweighted_nemo, write_nemo
from testing.folders import hf_weights, write_folder
from tests.engine.listener import spoken, transcribe

Weights = dict[str, torch.Tensor]
ONE = "encoder.layers.1.self_attn.linear_v.weight"


@pytest.fixture(scope="module")
def demo() -> Checkpoint:
    return load_checkpoint()


@pytest.fixture(scope="module")
def pieces() -> list[str]:
    files = members(DEMO_MODEL)
    model = next(content for name, content in files.items() if name.endswith("tokenizer.model"))
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    return [processor.id_to_piece(i) for i in range(processor.get_piece_size())]


def words(checkpoint: Checkpoint) -> list[tuple[str, float, float]]:
    (found,) = transcribe(
        Engine(checkpoint, max_sessions=1, precision=Precision.FLOAT32), [(audio.babble(2.0, 1), SessionOptions(160))]
    )
    return spoken(found)


def with_weights(tmp_path: Path, change: Callable[[Weights], object]) -> Path:
    return reweighted_nemo(DEMO_MODEL, tmp_path / "a.nemo", change)


def refused(source: Path, precision: Precision = Precision.FLOAT32) -> str:
    with pytest.raises(CheckpointError) as caught:
        Engine(load_checkpoint(source), max_sessions=1, precision=precision)
    message = str(caught.value)
    assert "\n" not in message
    return message


# Unused --------------------------------------------------------------------------------------------------------------


def adapters(weights: Weights) -> None:
    for layer in range(6):
        for name, shape in (("0.weight", (144,)), ("1.weight", (32, 144)), ("3.weight", (144, 32))):
            weights[f"encoder.layers.{layer}.adapter_layer.tiny.module.{name}"] = torch.randn(shape)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("encoder.layers.0.self_attn.linear_q.lora_A.default.weight", "LoRA"),
        ("encoder.layers.0.self_attn.linear_q.bias", "model alone"),
        ("encoder.layers.6.norm_out.weight", "model alone"),
        ("joint.blank_pred.0.weight", "model alone"),
        ("decoder.prediction.dec_rnn.lstm.weight_ih_l1", "model alone"),
        ("speaker_kernel.0.weight", "model alone"),
        ("ema_shadow.3", "model alone"),
    ],
)
def test_a_weight_that_nothing_uses_is_named(tmp_path: Path, name: str, advice: str) -> None:
    message = refused(with_weights(tmp_path, lambda weights: weights.update({name: torch.randn(3)})))
    assert name in message
    assert advice in message


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BFLOAT16])
def test_adapters_are_refused_with_their_number(tmp_path: Path, precision: Precision) -> None:
    message = refused(with_weights(tmp_path, adapters), precision)
    assert "encoder.layers.0.adapter_layer.tiny" in message
    assert "18 weights" in message
    assert "without its adapters" in message


def test_a_prompt_kernel_that_the_configuration_does_not_have_is_refused(tmp_path: Path) -> None:
    path = edited_nemo(DEMO_MODEL, tmp_path / "a.nemo", {"model_defaults": {"initialize_prompt_feature": False}})
    assert "prompt_kernel" in refused(path)


def test_weights_without_effect_change_nothing(demo: Checkpoint, tmp_path: Path) -> None:
    def change(weights: Weights) -> None:
        weights["preprocessor.featurizer.window"] = torch.hann_window(400, periodic=False)
        weights["encoder.layers.0.conv.batch_norm.num_batches_tracked"] = torch.tensor(9)
        weights["encoder.pos_enc.pe"] = torch.zeros(1, 9, 144)
        weights["loss._loss.something"] = torch.zeros(1)

    assert words(load_checkpoint(with_weights(tmp_path, change))) == words(demo)


@pytest.mark.parametrize("target", ["EncDecHybridRNNTCTCBPEModel", "EncDecHybridRNNTCTCBPEModelWithPrompt"])
def test_a_hybrid_model_runs_by_its_transducer(demo: Checkpoint, tmp_path: Path, target: str) -> None:
    def change(weights: Weights) -> None:
        weights["ctc_decoder.decoder_layers.0.weight"] = torch.zeros(257, 144, 1)
        weights["ctc_decoder.decoder_layers.0.bias"] = torch.zeros(257)

    path = edited_nemo(with_weights(tmp_path, change), tmp_path / "b.nemo", {"target": f"nemo.models.{target}"})
    assert words(load_checkpoint(path)) == words(demo)


# Wrapped -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["model.", "module.", "model.module.", "ema_model.", "student."])
def test_a_model_that_was_saved_in_a_wrapper_is_read(demo: Checkpoint, tmp_path: Path, prefix: str) -> None:
    def change(weights: Weights) -> None:
        for name in list(weights):
            weights[prefix + name] = weights.pop(name)

    assert load_checkpoint(with_weights(tmp_path, change)).weights.keys() == demo.weights.keys()


def test_a_compiled_model_is_read(demo: Checkpoint, tmp_path: Path) -> None:
    def change(weights: Weights) -> None:
        for name in list(weights):
            weights[name.replace("encoder.", "encoder._orig_mod.")] = weights.pop(name)

    assert load_checkpoint(with_weights(tmp_path, change)).weights.keys() == demo.weights.keys()


def test_the_weights_of_a_trainers_checkpoint_are_read(demo: Checkpoint, tmp_path: Path) -> None:
    files = members(DEMO_MODEL)
    buffer = io.BytesIO()
    torch.save({"epoch": 3, "state_dict": dict(demo.weights)}, buffer)
    files["model_weights.ckpt"] = buffer.getvalue()
    assert load_checkpoint(write_nemo(tmp_path / "a.nemo", files)).weights.keys() == demo.weights.keys()


def test_of_two_models_in_one_file_none_is_guessed(tmp_path: Path) -> None:
    def change(weights: Weights) -> None:
        for name in list(weights):
            weights["model." + name] = weights["ema_model." + name] = weights.pop(name)

    with pytest.raises(UnsupportedCheckpoint, match=r"several models \('ema_model', 'model'\)"):
        load_checkpoint(with_weights(tmp_path, change))


# Wrong ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tensor", "named"),
    [
        (torch.zeros(144, 144, dtype=torch.int8), "int8"),
        (torch.zeros(144, 144, dtype=torch.float8_e4m3fn), "float8_e4m3fn"),
        (torch.zeros(144, 144, dtype=torch.complex64), "complex64"),
        (torch.zeros(144, 144).to_sparse(), "sparse"),
        (torch.full((144, 144), float("inf"), dtype=torch.float16), "infinite"),
        (torch.zeros(144, 143), r"(144, 143)"),
    ],
)
@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
def test_a_weight_of_another_kind_is_named(tmp_path: Path, tensor: torch.Tensor, named: str) -> None:
    message = refused(with_weights(tmp_path, lambda weights: weights.update({ONE: tensor})))
    assert ONE in message
    assert named in message


@pytest.mark.parametrize("table", [[1, 2], {}, {"a": 3}, {1: torch.zeros(1)}, {"state_dict": {"a": "b"}}])
def test_a_file_without_a_table_of_tensors_is_refused(tmp_path: Path, table: object) -> None:
    files = members(DEMO_MODEL)
    buffer = io.BytesIO()
    torch.save(table, buffer)
    files["model_weights.ckpt"] = buffer.getvalue()
    with pytest.raises(DamagedCheckpoint, match=r"model_weights\.ckpt is not a table of tensors"):
        load_checkpoint(write_nemo(tmp_path / "a.nemo", files))


# Hugging Face folders ------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(demo: Checkpoint, pieces: list[str], tmp_path: Path) -> Path:
    return write_folder(demo, pieces, tmp_path / "checkpoint")


def test_a_folder_says_what_the_nemo_file_says(demo: Checkpoint, folder: Path) -> None:
    assert words(load_checkpoint(folder)) == words(demo)


def rewrite(folder: Path, change: Callable[[Weights], object]) -> None:
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    change(weights)
    safetensors.torch.save_file(weights, folder / "model.safetensors", {"format": "pt"})


def test_an_unused_tensor_of_a_folder_is_named(folder: Path) -> None:
    rewrite(folder, lambda weights: weights.update({"encoder.layers.0.adapter.down.weight": torch.zeros(2, 2)}))
    assert "encoder.layers.0.adapter.down.weight" in refused(folder)


def test_a_folder_saved_in_a_wrapper_is_read(demo: Checkpoint, folder: Path) -> None:
    def change(weights: Weights) -> None:
        for name in list(weights):
            weights["model." + name] = weights.pop(name)

    rewrite(folder, change)
    assert words(load_checkpoint(folder)) == words(demo)


def test_a_tensor_in_two_files_is_refused(demo: Checkpoint, folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    weights = hf_weights(demo)
    names = sorted(weights)
    shards = {"a.safetensors": names[:40], "b.safetensors": names[39:]}
    for file, part in shards.items():
        safetensors.torch.save_file({name: weights[name] for name in part}, folder / file)
    weight_map = {name: file for file, part in shards.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert names[39] in refused(folder)


@pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": [1]}, {"weight_map": {"a": 1}}])
def test_an_index_that_says_nothing_is_named(folder: Path, index: dict[str, object]) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "weight_map" in refused(folder)


def test_a_quantised_folder_is_refused(folder: Path) -> None:
    data = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(data | {"quantization_config": {"quant_method": "bitsandbytes"}}))
    assert "quantised" in refused(folder)


def special(names: list[str]) -> list[dict[str, object]]:
    return [{"id": index, "content": name, "special": True} for index, name in enumerate(names)]


def test_special_tokens_of_a_folder_have_no_text_and_its_tags_stay_tags(
    demo: Checkpoint, pieces: list[str], tmp_path: Path
) -> None:
    own = list(pieces)
    tag = own.index("<en-US>")
    free = [index for index in range(1, len(own)) if not own[index].startswith("<")][:6]
    marks = ["<s>", "</s>", "[CLS]", "<|startoftranscript|>", "▁plain", "<madeup>"]
    for index, mark in zip(free, marks, strict=True):
        own[index] = mark
    folder = write_folder(demo, own, tmp_path / "special")
    data = json.loads((folder / "tokenizer.json").read_text())
    data["added_tokens"] = [
        {"id": free[0], "content": "<s>", "special": True},
        {"id": free[1], "content": "</s>", "special": True},
        {"id": free[4], "content": "plain", "special": False},
        {"id": tag, "content": "<en-US>", "special": True},
    ]
    (folder / "tokenizer.json").write_text(json.dumps(data))
    decoder = {str(free[5]): {"content": "<madeup>", "special": True}}
    (folder / "tokenizer_config.json").write_text(json.dumps({"cls_token": "[CLS]", "added_tokens_decoder": decoder}))
    (folder / "special_tokens_map.json").write_text(
        json.dumps({"additional_special_tokens": [{"content": "<|startoftranscript|>"}]})
    )
    tokenizer = load_checkpoint(folder).tokenizer
    assert [tokenizer.decode([index]) for index in free] == ["", "", "", "", "plain", ""]
    assert tokenizer.tags == demo.tokenizer.tags


def test_a_unigram_tokenizer_is_read(demo: Checkpoint, folder: Path, pieces: list[str]) -> None:
    model = {"type": "Unigram", "unk_id": 0, "vocab": [[piece, -float(i)] for i, piece in enumerate(pieces)]}
    (folder / "tokenizer.json").write_text(json.dumps({"model": model, "added_tokens": []}))
    assert load_checkpoint(folder).tokenizer.pieces == demo.tokenizer.pieces


# Contexts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contexts", [[[50, 13]], [50, 13], [[56, 0], [56, 2]], [[70, 3]], [[56, 55], [56, 56]]])
def test_a_left_context_that_is_no_whole_number_of_chunks_is_refused(tmp_path: Path, contexts: object) -> None:
    path = edited_nemo(DEMO_MODEL, tmp_path / "a.nemo", {"encoder": {"att_context_size": contexts}})
    with pytest.raises(UnsupportedCheckpoint, match="att_context_size: a left context of"):
        load_checkpoint(path)


@pytest.mark.parametrize(("window", "lookaheads"), [(51, [13]), (57, [0, 2]), (0, [0])])
def test_a_folders_left_context_likewise(folder: Path, window: int, lookaheads: list[int]) -> None:
    data = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(merged(data, {"encoder_config": {"sliding_window": window}})))
    data = json.loads((folder / "processor_config.json").read_text())
    (folder / "processor_config.json").write_text(json.dumps(data | {"supported_num_lookahead_tokens": lookaheads}))
    assert f"sliding_window = {window}" in refused(folder)


@pytest.mark.parametrize("value", [[[True, 0]], [["56", 0]], [[56.0, 0]], "56", 56, [[56]]])
def test_contexts_that_are_none_are_refused(tmp_path: Path, value: object) -> None:
    files = members(DEMO_MODEL)
    data = yaml.safe_load(files["model_config.yaml"])
    data["encoder"]["att_context_size"] = value
    files["model_config.yaml"] = yaml.safe_dump(data).encode()
    with pytest.raises(UnsupportedCheckpoint, match="att_context_size"):
        load_checkpoint(write_nemo(tmp_path / "a.nemo", files))
