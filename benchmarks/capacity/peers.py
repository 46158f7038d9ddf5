"""Step times of the peers that run in Python, on the same weights and batch sizes, with full caches.

NeMo 3.0.0: its cache-aware step with its context manager, the prompt kernel on each row's one-hot, its batched greedy
decoding. transformers: encoder step with its own caches, prompt projector, one turn of decoder and joint a frame.
Buffered: NeMo's offline encoder over windows that overlap by the same left context, then prompt kernel and decoding.
Features are computed beforehand and not timed.
"""

import importlib
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.engine_step import LEFT, NemoStreams
from testing.audio import babble
from testing.libraries import quiet

PROMPT = 101
_DISTINCT = 4
_WARM = 3


def features(model: Any, rows: int, frames: int) -> Tensor:
    """Log-mels (B, mels, 8 frames) of speech-like sound."""
    signals = [torch.from_numpy(babble(frames * 0.08 + 0.5, seed)) for seed in range(min(rows, _DISTINCT))]
    batch = torch.stack(signals)
    mel, _ = model.preprocessor(input_signal=batch, length=torch.full((len(batch),), batch.shape[1]))
    repeated: Tensor = mel[..., : 8 * frames].repeat(-(-rows // len(batch)), 1, 1)[:rows]
    return repeated


def timed(step: Callable[[], object], rounds: int) -> float:
    """Median seconds, after one step that is not counted."""
    times = []
    for _ in range(rounds + 1):
        at = time.perf_counter()
        step()
        times.append(time.perf_counter() - at)
    return statistics.median(times[1:])


def nemo_step(model: Any, chunk: int, rows: int, rounds: int) -> float:
    """Seconds of NeMo's cache-aware step for `rows` streams of chunks of `chunk` encoder frames."""
    contexts = importlib.import_module("nemo.collections.asr.inference.utils.context_manager")
    one = NemoStreams(model, chunk)
    past = features(model, 1, (_WARM + 2) * chunk)
    hot = torch.nn.functional.one_hot(torch.tensor([[PROMPT]]), model.num_prompts).float()
    for _ in range(_WARM):
        one.step(one.inputs(past), hot)
    channel, last, length = one._caches
    one._caches = (channel, last, torch.full_like(length, LEFT))  # as after a long past: full caches
    streams = one.copies(rows)
    mel = features(model, rows, (_WARM + rounds + 4) * chunk)
    hot = hot.expand(rows, -1, -1)
    manager = contexts.CacheAwareContextManager(model.encoder, num_slots=rows)
    ids = list(range(rows))
    _, mapping = manager.get_context(ids)
    manager.update_cache(ids, contexts.CacheAwareContext(*streams._caches), mapping)

    def step() -> None:
        context, mapping = manager.get_context(ids)
        streams._caches = (context.cache_last_channel, context.cache_last_time, context.cache_last_channel_len)
        streams.step(streams.inputs(mel), hot)
        manager.update_cache(ids, contexts.CacheAwareContext(*streams._caches), mapping)

    return timed(step, rounds)


def buffered_step(model: Any, chunk: int, rows: int, rounds: int) -> float:
    """Seconds to encode windows of left context and chunk anew, and to decode the chunk."""
    model.encoder.set_default_att_context_size([LEFT, chunk - 1])
    mel = features(model, rows, LEFT + chunk)
    length = torch.full((rows,), mel.shape[2])
    hot = torch.nn.functional.one_hot(torch.full((rows, chunk), PROMPT), model.num_prompts).float()
    said: list[Any] = [None]

    def step() -> None:
        encoded, _ = model.encoder(audio_signal=mel, length=length)
        frames = encoded.transpose(1, 2)[:, -chunk:]
        prompted = model.prompt_kernel(torch.cat([frames, hot], -1)).transpose(1, 2)
        said[0] = model.decoding.rnnt_decoder_predictions_tensor(
            prompted, torch.full((rows,), chunk), return_hypotheses=True, partial_hypotheses=said[0]
        )

    return timed(step, rounds)


def hugging_face(model: Any, folder: Path) -> Any:
    """The same weights in transformers; written to the folder on the way, unless they are there already."""
    export = importlib.import_module("testing.hf_export")
    if not (folder / "config.json").exists():
        pieces = folder / "tokenizer.model"
        folder.mkdir(parents=True, exist_ok=True)
        pieces.write_bytes(model.tokenizer.tokenizer.serialized_model_proto())
        export.export(model, pieces, folder)
    with quiet():
        return importlib.import_module("transformers").AutoModelForRNNT.from_pretrained(folder).eval()


def transformers_step(hf: Any, mel: Tensor, chunk: int, rows: int, rounds: int) -> float:
    """Seconds of encoder step and decoding. mel: (B, mels, T), at least the left context and two chunks."""
    prompts = torch.full((rows,), PROMPT)
    filled = hf.get_audio_features(
        mel[:, :, : 8 * LEFT].transpose(1, 2), prompt_ids=prompts, num_lookahead_tokens=chunk - 1, use_cache=True
    )
    caches = [filled.cache, filled.padding_cache]
    part = mel[:, :, 8 * LEFT : 8 * (LEFT + chunk)].transpose(1, 2)
    blank = hf.config.blank_token_id
    last = torch.full((rows, 1), blank)
    generation = importlib.import_module("transformers.models.nemotron3_5_asr.generation_nemotron3_5_asr")
    decoder_cache = generation.Nemotron3_5AsrRNNTDecoderCache(hf.config)
    hf(decoder_input_ids=last, decoder_cache=decoder_cache, encoder_outputs=_frame(filled, 0))

    def step() -> None:
        nonlocal last
        found = hf.get_audio_features(
            part,
            prompt_ids=prompts,
            num_lookahead_tokens=chunk - 1,
            use_cache=True,
            cache=caches[0],
            padding_cache=caches[1],
        )
        caches[:] = [found.cache, found.padding_cache]
        for at in range(chunk):
            turn = hf(decoder_input_ids=last, decoder_cache=decoder_cache, encoder_outputs=_frame(found, at))
            last = turn.logits[:, -1].argmax(-1).view(rows, 1)

    return timed(step, rounds)


def _frame(found: Any, at: int) -> Any:
    """One frame of the encoder's output, as the model takes it for a turn of the decoder."""
    return type(found)(
        last_hidden_state=found.last_hidden_state[:, at : at + 1],
        pooler_output=found.pooler_output[:, at : at + 1],
        cache=found.cache,
        padding_cache=found.padding_cache,
    )
