"""Fixtures of the tests of `MediaLanes`."""

from tests.connectors.media_ws.bench import bench, clock

__all__ = ["bench", "clock"]
