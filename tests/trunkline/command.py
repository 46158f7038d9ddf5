"""The command in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}


CALL = Path(__file__).parents[2] / "trunkline" / "demo" / "call.wav"


def trunkline(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import sys; from trunkline.cli import main; sys.exit(main())", *map(str, arguments)],
        cwd=cwd,
        env=ENVIRONMENT | {"HF_HUB_OFFLINE": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def without_compiling(errors: str) -> list[str]:
    """Lines of standard error; the first start of a fresh tree says that it compiles its kernels."""
    return [line for line in errors.splitlines() if not line.startswith("compiling the kernels")]


COMMAND = [sys.executable, "-c", "import sys; from trunkline.cli import main; sys.exit(main())", "transcribe"]
