"""Which number of streams to try next. Pure."""


class Ramp:
    """Up by a factor until a number fails, or down until one holds; then the interval is halved.

    `best`: the largest number that held; `level`: the next to try, None when it is known to within `resolution` (a
    share of it) or one stream.
    """

    def __init__(self, start: int, *, factor: float = 1.5, resolution: float = 0.05, most: int = 1 << 20) -> None:
        self.best = 0
        self.level: int | None = max(1, min(start, most))
        self._factor = factor
        self._resolution = resolution
        self._most = most
        self._failed: int | None = None

    def tried(self, held: bool) -> None:
        """The outcome at `level`."""
        assert self.level is not None
        if held:
            self.best = max(self.best, self.level)
        else:
            self._failed = self.level if self._failed is None else min(self._failed, self.level)
        self.level = self._next()

    def _next(self) -> int | None:
        if self._failed is None:
            wanted = min(self._most, max(self.best + 1, round(self.best * self._factor)))
            return wanted if wanted > self.best else None
        if self._failed - self.best <= max(1, self._resolution * self.best):
            return None
        if self.best == 0:
            return max(1, min(self._failed - 1, round(self._failed / self._factor)))
        return (self.best + self._failed) // 2
