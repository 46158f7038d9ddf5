"""Devices by the times of their steps."""

CLASSES = (80, 160, 320, 560, 1_120)


DEVICES = {
    "two cores": lambda ms, rows: 0.020 + 0.001 * rows * ms / 80,
    "small model": lambda ms, rows: 0.005 + 0.000_3 * rows * ms / 80,
    "gpu": lambda ms, rows: 0.008 + 0.000_015 * rows * ms / 80,
}
"""Time of a step by class and rows."""
