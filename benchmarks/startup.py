"""How long the server takes to be ready, beyond Python's and torch's own import: `python -m benchmarks.startup`.

Each run is a process of its own: import torch, then the server's modules, then load the demo model, then start it,
which measures its steps for admission. The median of five runs; the last line is JSON. The goal is under 3 s.
"""

import json
import statistics
import subprocess
import sys

RUNS = 5

_PROGRAM = """
import time, torch
began = time.perf_counter()
import trunkline.config, trunkline.engines, trunkline.server
imported = time.perf_counter()
engine = trunkline.engines.load_engine(trunkline.config.EngineConfig(), serving=True)
engine.reserve(160)
loaded = time.perf_counter()
engine.start()
print(imported - began, loaded - imported, time.perf_counter() - loaded)
engine.stop()
"""


def main() -> None:
    runs = []
    for _ in range(RUNS):
        done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
        imports, load, start = map(float, done.stdout.split())
        runs.append((imports, load, start))
        print(f"imports {imports:.2f} s, demo model {load:.2f} s, measuring {start:.2f} s", flush=True)
    imports, load, start = (statistics.median(column) for column in zip(*runs, strict=True))
    ready = imports + load + start
    seconds = {"import_s": imports, "load_s": load, "measure_s": start, "ready_s": ready}
    print(json.dumps({name: round(value, 2) for name, value in seconds.items()}))


if __name__ == "__main__":
    main()
