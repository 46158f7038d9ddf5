"""How long the server takes to be ready, beyond Python's and torch's own import: `python -m benchmarks.startup`.

Each run is a process of its own: import torch, then the server's modules, then load the demo model. The median of
five runs; the last line is JSON. The goal is under 3 s.
"""

import json
import statistics
import subprocess
import sys

RUNS = 5

_PROGRAM = """
import time, torch
began = time.perf_counter()
import trunkline.config, trunkline.server
imported = time.perf_counter()
trunkline.server.load_engine(trunkline.config.EngineConfig())
print(imported - began, time.perf_counter() - imported)
"""


def main() -> None:
    runs = []
    for _ in range(RUNS):
        done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
        imports, load = map(float, done.stdout.split())
        runs.append((imports, load))
        print(f"imports {imports:.2f} s, demo model {load:.2f} s", flush=True)
    imports = statistics.median(run[0] for run in runs)
    load = statistics.median(run[1] for run in runs)
    print(json.dumps({"import_s": round(imports, 2), "load_s": round(load, 2), "ready_s": round(imports + load, 2)}))


if __name__ == "__main__":
    main()
