"""The systemd unit, and the image's entry script."""

import shutil
import subprocess
from pathlib import Path

from engine.precision import has_int8, has_vnni
from testing.services.composed import DEPLOY
from tests.services.missing import missing

UNIT = DEPLOY / "trunkline.service"


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        missing("systemd-analyze is not installed: run `python -m tests.services.install`")
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """With a program that is here: it looks for it."""
    unit = tmp_path / "trunkline.service"
    unit.write_text(UNIT.read_text("utf-8").replace("/opt/trunkline/bin/trunkline ", "/bin/true "))
    done = analyze("verify", "--man=no", unit)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_service_may_do_little() -> None:
    """systemd's own rating: 10 is a service that may do everything."""
    done = analyze("security", "--offline=true", "--no-pager", "--threshold=20", UNIT)
    assert done.returncode == 0, done.stdout


def test_the_entry_script_knows_the_kind_of_this_cpu() -> None:
    done = subprocess.run(["sh", DEPLOY / "start.sh", "--kinds"], capture_output=True, text=True, check=True)
    expected = ["x86-64-v4"] * has_vnni() + ["x86-64-v3"] * has_int8()
    assert done.stdout.split() == expected
