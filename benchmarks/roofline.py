"""What a step costs a GPU at the least, computed from the model's dimensions; nothing here is measured.

    python -m benchmarks.roofline [--rows 64,512,2400]

For every latency class and batch: bytes that must come from memory, operations of the products, and the longer of the
two times on an H100 and an H200 (the floor); the streams that the floor would allow; and the launches of the step,
counted by running it on tensors without numbers (`benchmarks.fake_device`). Last line: JSON.
"""

import argparse
import json
from dataclasses import dataclass

from benchmarks.dimensions import RELEASED
from benchmarks.fake_device import count
from engine.chunking import FRAME_MS, chunk_samples
from engine.config import ModelConfig
from engine.cuda.ring_attention import fused_attention
from engine.cuda.search import turns
from engine.model.attention import gathered_attention
from engine.model.state import ring_chunks

BYTES = 2
"""Of a number in bfloat16."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """`memory`: bytes a second; `products`: operations a second, dense bfloat16."""

    name: str
    memory: float
    products: float


GPUS = (Gpu("H100 SXM", 3.35e12, 989e12), Gpu("H200", 4.8e12, 989e12))


@dataclass(frozen=True, slots=True)
class Cost:
    """weights: bytes of all weights, read once a step; state: bytes of slots read and written; flops: of the products,
    one multiplication and one addition each."""

    weights: int
    state: int
    flops: int

    def floor_s(self, gpu: Gpu) -> float:
        return max((self.weights + self.state) / gpu.memory, self.flops / gpu.products)


def weight_counts(config: ModelConfig) -> tuple[int, int, int]:
    """Weights that every encoder frame meets, those that a decoder turn meets, and products of subsampling a frame."""
    encoder, decoder = config.encoder, config.decoder
    d, channels = encoder.d_model, encoder.subsampling_channels
    layer = 4 * d * encoder.d_ff + 4 * d * d + 3 * d * d + encoder.conv_kernel * d
    bins = config.features.subsampled_bins
    prompt = 0 if config.prompt is None else 2 * (2 * d * d)
    frame = encoder.layers * layer + channels * bins[2] * d + prompt + d * decoder.joint_hidden
    lstm = decoder.layers * 8 * decoder.hidden * decoder.hidden
    head = (decoder.vocabulary + 1) * decoder.joint_hidden
    turn = lstm + decoder.hidden * decoder.joint_hidden + head
    # A frame has four columns of the first convolution's output, two of the second's and one of the third's.
    subsampling = channels * (4 * bins[0] * 9 + 2 * bins[1] * (9 + channels) + bins[2] * (9 + channels))
    return frame, turn, subsampling


def cost(config: ModelConfig, frames: int, rows: int) -> Cost:
    """Of one step of `rows` streams, `frames` encoder frames each."""
    encoder, decoder = config.encoder, config.decoder
    frame, turn, subsampling = weight_counts(config)
    d, ring = encoder.d_model, ring_chunks(encoder.left_context, frames) * frames
    attention = encoder.layers * frames * d * (2 * ring + ring + frames - 1)
    flops = 2 * rows * (frames * (frame + subsampling) + attention + turns(frames) * turn)
    kept = encoder.layers * (2 * d * ring + 2 * d * (encoder.conv_kernel - 1))
    written = encoder.layers * 2 * d * frames
    subsampled = encoder.subsampling_channels * sum(config.features.subsampled_bins[:2])
    speech = 2 * decoder.layers * decoder.hidden + decoder.joint_hidden
    state = rows * (BYTES * (kept + written + 2 * subsampled + 2 * speech) + 4 * chunk_samples(frames))
    tables = encoder.layers * d * (ring + frames - 1)
    return Cost(BYTES * (frame + tables + turns(frames) * turn), state, flops)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="64,512,2400", help="batches, comma-separated")
    arguments = parser.parse_args()
    result: dict[str, object] = {"benchmark": "roofline", "computed": True}
    print(
        "| chunk | rows | GB read and written | TFLOP | "
        + " | ".join(f"floor {gpu.name}, ms | streams at the floor" for gpu in GPUS)
        + " |"
    )
    print("|---" * (4 + 2 * len(GPUS)) + "|")
    for frames in RELEASED.chunk_frames:
        chunk_ms = frames * FRAME_MS
        for rows in map(int, arguments.rows.split(",")):
            costs = cost(RELEASED, frames, rows)
            cells = []
            for gpu in GPUS:
                floor = costs.floor_s(gpu)
                streams = int(rows * chunk_ms / 1000 / floor)
                cells += [f"{floor * 1e3:.2f}", f"{streams:,}"]
                key = f"{gpu.name.split()[0].lower()}_{chunk_ms}ms_b{rows}"
                result[f"floor_ms_{key}"], result[f"streams_{key}"] = round(floor * 1e3, 3), streams
            total = (costs.weights + costs.state) / 1e9
            print(f"| {chunk_ms} ms | {rows} | {total:.2f} | {costs.flops / 1e12:.2f} | {' | '.join(cells)} |")
    print()
    print("| chunk | launches of a step, fused attention | over copies | of a continuation | graph launches |")
    print("|---|---|---|---|---|")
    for frames in RELEASED.chunk_frames:
        step, proceed = count(RELEASED, frames, 64, 64, fused_attention)
        gathered, _ = count(RELEASED, frames, 64, 64, gathered_attention)
        chunk_ms = frames * FRAME_MS
        print(f"| {chunk_ms} ms | {step.launches} | {gathered.launches} | {proceed.launches} | 1 |")
        result[f"launches_{chunk_ms}ms"], result[f"launches_gathered_{chunk_ms}ms"] = step.launches, gathered.launches
    print(json.dumps(result))


if __name__ == "__main__":
    main()
