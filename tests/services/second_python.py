"""Prints the path of a supported Python other than the running one, if this machine has one; else nothing."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SUPPORTED = ("3.13", "3.12", "3.11")


def _candidates() -> Iterator[str]:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for version in SUPPORTED:
        if found := shutil.which(f"python{version}"):
            yield found
        yield from (str(path) for path in sorted(pyenv.glob(f"versions/{version}*/bin/python"), reverse=True))


def find() -> str | None:
    """A candidate that starts and is another version. A launcher without its version installed does not start."""
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    question = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    for candidate in _candidates():
        answer = subprocess.run([candidate, "-c", question], capture_output=True, text=True, check=False)
        if answer.returncode == 0 and answer.stdout.strip() in SUPPORTED and answer.stdout.strip() != ours:
            return candidate
    return None


if __name__ == "__main__":
    print(find() or "")
