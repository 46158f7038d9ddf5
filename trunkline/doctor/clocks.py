"""This machine's clock against another's."""

from trunkline.doctor.findings import Finding, ok, warning

_FAR_S = 1.0
"""Beyond it, records of several machines are hard to put in order, and their ages are wrong."""


def check_clock(subject: str, ahead_s: float, round_trip_s: float) -> Finding:
    """`ahead_s`: by how much the other clock is ahead of this one, good to half of the round trip."""
    where = "ahead of" if ahead_s > 0 else "behind"
    what = f"its clock is {abs(ahead_s):.3f} s {where} this one, to {round_trip_s / 2:.3f} s"
    if abs(ahead_s) - round_trip_s / 2 > _FAR_S:
        return warning(subject, f"{what}: let both machines follow the same time (chrony, NTP)")
    return ok(subject, what)
