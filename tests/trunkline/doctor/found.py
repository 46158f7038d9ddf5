"""What the tests of the doctor share."""

from collections.abc import Iterable

from trunkline.doctor.findings import Finding, Level


def one(found: Iterable[Finding], level: Level, part: str) -> Finding:
    """The only finding of the level whose text holds `part`."""
    every = list(found)
    matches = [finding for finding in every if finding.level is level and part in finding.what]
    assert len(matches) == 1, every
    return matches[0]


def all_ok(found: Iterable[Finding]) -> bool:
    return all(finding.level is Level.OK for finding in found)
