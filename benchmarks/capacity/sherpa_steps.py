"""Step times of sherpa-onnx in 8 bits, run by the Python that has it: stands alone, imports nothing of the project.

    PYTHON sherpa_steps.py FOLDER CHUNK_MS THREADS STEPS 1,8

Streams of noise, fed in lock step without pauses; a step decodes all of them once. Prints one JSON line: milliseconds
by the number of streams. Exit code 3: this Python has no sherpa-onnx.
"""

import json
import statistics
import sys
import time
from pathlib import Path

PARTS = ("encoder", "decoder", "joiner")


def quantize(folder: Path) -> None:
    """8-bit weights beside the float32 ones, as sherpa-onnx ships its models."""
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415

    for part in PARTS:
        target = folder / f"{part}.int8.onnx"
        if not target.exists():
            quantize_dynamic(str(folder / f"{part}.onnx"), str(target), weight_type=QuantType.QUInt8)


def main() -> int:
    try:
        import numpy as np  # noqa: PLC0415
        import sherpa_onnx  # noqa: PLC0415
    except ImportError:
        return 3
    folder, chunk_ms, threads, steps = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    quantize(folder)
    if sys.argv[5] == "0":
        return 0
    recognizer = sherpa_onnx.OnlineRecognizer.from_transducer(
        tokens=str(folder / "tokens.txt"),
        **{part: str(folder / f"{part}.int8.onnx") for part in PARTS},
        num_threads=threads,
        provider="cpu",
        model_type="nemo_transducer",
        decoding_method="greedy_search",
        feature_dim=128,
    )
    chunk = 16 * chunk_ms
    noise = (np.random.default_rng(0).standard_normal(chunk * (steps + 4) + 16_000) * 0.05).astype(np.float32)
    found = {}
    for count in map(int, sys.argv[5].split(",")):
        streams = [recognizer.create_stream() for _ in range(count)]
        times = []
        for at in range(0, len(noise) - chunk, chunk):
            for stream in streams:
                stream.accept_waveform(16_000, noise[at : at + chunk])
            began = time.perf_counter()
            while all(recognizer.is_ready(stream) for stream in streams):
                recognizer.decode_streams(streams)
                times.append(time.perf_counter() - began)
                began = time.perf_counter()
        found[count] = round(1000 * statistics.median(times[3 : 3 + steps]), 1)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
