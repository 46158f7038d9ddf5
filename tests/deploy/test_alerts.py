"""The alert rules: valid, each with a paragraph of what to do, and firing when they should."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from testing.services.composed import DEPLOY
from tests.services.missing import missing

RUNBOOK = DEPLOY.parent / "docs" / "runbook.md"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]
]


def promtool(*arguments: str | Path) -> None:
    program = shutil.which("promtool")
    if program is None:
        missing("promtool is not installed: run `python -m tests.services.install`")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_configuration_and_rules_are_valid() -> None:
    promtool("check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    promtool("check", "rules", ALERTS)


def test_rules_fire_when_they_should_and_only_then() -> None:
    promtool("test", "rules", Path(__file__).parent / "alerts.test.yml")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    notes = rule["annotations"]
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert notes["summary"]
    assert notes["description"]
    assert notes["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"
    assert len(paragraphs()[rule["alert"]].split()) >= 25


def test_the_runbook_has_no_alert_that_is_gone() -> None:
    assert set(paragraphs()) == {rule["alert"] for rule in RULES}


def paragraphs() -> dict[str, str]:
    """Of the runbook, by their headings."""
    _, *parts = re.split(r"^## (.+)$", RUNBOOK.read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))
