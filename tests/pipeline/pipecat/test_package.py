"""What is loaded when."""

import subprocess
import sys


def loaded_by(*modules: str) -> str:
    program = f"import sys, {', '.join(modules)}; print(sorted({{'pipecat', 'livekit'}} & sys.modules.keys()))"
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


def test_a_server_loads_neither_framework() -> None:
    assert loaded_by("trunkline", "trunkline.server", "pipeline", "pipeline.recognition") == "[]"


def test_what_users_import_comes_from_trunkline_and_loads_one_framework() -> None:
    assert loaded_by("trunkline; trunkline.TrunklineSTTService, trunkline.PipecatBot; import sys") == "['pipecat']"
    assert loaded_by("trunkline; trunkline.TrunklineSTT; import sys") == "['livekit']"
