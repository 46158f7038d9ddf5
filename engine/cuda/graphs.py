"""Launch sequences that are captured once and played back, each only after it was seen to do what the plain one does.

Captures elsewhere have been seen to go wrong, or to be spoilt by later ones. So all are made first, then every one is
held against the plain sequence, and one that differs is never played.
"""

import logging
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import torch

logger = logging.getLogger(__name__)

Launch = Callable[[], None]
Capture = Callable[[Launch], Launch]
"""Makes a recording of a launch sequence and returns what plays it. Raises `RuntimeError` where it cannot."""

GraphKey = TypeVar("GraphKey", bound=Hashable)
TrialResult = TypeVar("TrialResult")


class Graphs(Generic[GraphKey]):
    """Launch sequences by key. Without `capture` all are plain."""

    def __init__(self, capture: Capture | None) -> None:
        self._capture = capture
        self._plain: dict[GraphKey, Launch] = {}
        self._recorded: dict[GraphKey, Launch] = {}

    @property
    def recorded(self) -> frozenset[GraphKey]:
        """Keys that play a recording."""
        return frozenset(self._recorded)

    def add(self, key: GraphKey, launch: Launch) -> None:
        """Take a sequence and record it. One that cannot be recorded stays plain, with an error in the log."""
        self._plain[key] = launch
        if self._capture is None:
            return
        try:
            self._recorded[key] = self._capture(launch)
        except RuntimeError:
            logger.exception("capturing %s failed: it runs without a graph", key)

    def verify(
        self,
        key: GraphKey,
        trial: Callable[[Launch], TrialResult],
        differences: Callable[[TrialResult, TrialResult], str],
    ) -> None:
        """Hold a recording against the plain sequence; one that differs is dropped, with an error in the log.

        trial: runs a sequence on inputs that are always the same; differences: names them, or nothing ("").
        """
        if key not in self._recorded:
            return
        plain = trial(self._plain[key])
        try:
            found = differences(plain, trial(self._recorded[key]))
        except RuntimeError as error:
            found = f"it failed ({error})"
        if found:
            logger.error("the graph of %s is wrong (%s): it runs without one", key, found)
            del self._recorded[key]

    def run(self, key: GraphKey) -> None:
        self._recorded.get(key, self._plain[key])()


def cuda_capture() -> Capture:
    """Records CUDA graphs. All share one memory pool, as only one plays at a time."""
    pool = torch.cuda.graph_pool_handle()
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def capture(launch: Launch) -> Launch:
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):  # libraries choose their kernels and get their workspaces before anything is recorded
                launch()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            launch()
        return graph.replay

    return capture
