"""The delivery process of the process under test, that dies or is broken as it is told.

`python -m testing.faults.delivering COMMANDS MUTANT --fd N`. COMMANDS: a file; each line written to it is
`METHOD WHEN COUNT WHO`, as `breaking.die` takes them: `spool.NAME`, or `lane.NAME` of whichever lane; WHO dies is
`delivery` or `both`.
"""

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from sinks.kafka import process
from testing.faults import breaking

_POLL_S = 0.02


class BrokenDeliverer(process.Deliverer):
    commands: Path
    mutant: str

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        if self.mutant in breaking.OF_DELIVERY:
            breaking.OF_DELIVERY[self.mutant](self)
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        while True:
            lines = self.commands.read_text().splitlines()
            if lines:
                os.truncate(self.commands, 0)  # the next process does not do it again
            for line in lines:
                method, when, count, who = line.split()
                owner, _, name = method.partition(".")
                owners: list[object] = [self.spool] if owner == "spool" else [*self.lanes]
                processes = [os.getppid()] if who == "both" else []
                breaking.die(owners, name, when, int(count), processes=[*processes, os.getpid()])
            time.sleep(_POLL_S)


def main() -> None:
    _, commands, BrokenDeliverer.mutant, *rest = sys.argv
    BrokenDeliverer.commands = Path(commands)
    sys.argv[1:] = rest
    setattr(process, "Deliverer", BrokenDeliverer)  # noqa: B010 - mypy knows the class's exact type
    process.main()


if __name__ == "__main__":
    main()
