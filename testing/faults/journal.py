"""The emitter's journal, followed as it grows. See `emitter`."""

from pathlib import Path


class Journal:
    """Numbers of records, with the times of the monotonic clock. `ups`: of each process, when its sink was started.
    `lags`: when, and how late the event loop was, in seconds. `left`: of the last process, if it ended in order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.published: dict[int, float] = {}
        self.committed: set[int] = set()
        self.acknowledged: dict[int, float] = {}
        self.ups: list[float] = []
        self.lags: list[tuple[float, float]] = []
        self.publish_s: list[float] = []
        self.left: int | None = None
        self._offset = 0
        self._next = 0  # to be committed

    def follow(self) -> "Journal":
        """Read what came since. What a kill cut off at the end never counts."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
            data = data[: data.rfind(b"\n") + 1]
            self._offset += len(data)
            for line in data.decode().splitlines():
                self._take(*line.split())
        return self

    def _take(self, kind: str, *values: str) -> None:
        match kind:
            case "up":
                self._next = int(values[0])
                self.ups.append(float(values[1]))
                self.left = None
            case "published":
                self.published[int(values[0])] = float(values[1])
                self.lags.append((float(values[1]), float(values[2])))
            case "committed":
                self.committed.update(range(self._next, int(values[0]) + 1))
                self._next = int(values[0]) + 1
            case "acknowledged":
                self.acknowledged.setdefault(int(values[0]), float(values[1]))
            case "publish":
                self.publish_s.append(float(values[0]))
            case "ended":
                self.left = int(values[0])
