"""What only the garbage collector would free."""

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

OURS = {"connectors", "engine", "liveview", "pipeline", "sinks", "trunkline"}


@contextmanager
def collected() -> Iterator[Counter[str]]:
    """Filled when it is left: the classes of this project whose objects were left in circles, and how many."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    found: Counter[str] = Counter()
    try:
        yield found
        gc.collect()
        kinds = [type(one) for one in gc.garbage if type(one).__module__.partition(".")[0] in OURS]
        found.update(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
