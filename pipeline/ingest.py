"""The tick: every leg's waiting audio decoded, resampled and handed to the recogniser in one go.

A packet costs one append when it arrives (`intake`). The work is done at the tick, for all legs together
(`narrowband`). G.711 in packets of 20 ms takes the in-order fast path while nothing is missing: `push_packets` takes
the packets of many legs at once, with nothing done for a single one but its `push`; a source may keep them until the
tick asks for them. `Intake.push` takes any audio and brings a leg back to the fast path.

What concerns one leg is guarded by itself. A leg at fault is released and its owner is called (`Intake.on_fault`); the
others lose nothing, and `tick` raises nothing.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engine.api import Session
from pipeline.in_order import InOrderRows
from pipeline.intake import AudioConsumer, Intake, IntakePorts
from pipeline.narrowband import NarrowbandBatch
from pipeline.resample import BLOCK
from supervision import Supervisor


class Ingest:
    """Implements `PacketIngest`. All methods belong to the event loop's thread.

    `max_gap_s`: the longest run of silence made up for missing audio; beyond it, leg time jumps. `batch_rows`: blocks
    of 20 ms filtered in one product; a tick with more is done in several.
    """

    def __init__(
        self,
        recognizer: AudioConsumer,
        *,
        queue_s: float = 10.0,
        max_gap_s: float = 2.0,
        batch_rows: int = 256,
        supervisor: Supervisor | None = None,
    ) -> None:
        self.supervisor = supervisor or Supervisor()
        self._recognizer = recognizer
        self._batch_rows = batch_rows
        self._sources: list[Callable[[], None]] = []
        self._waiting: list[Intake] = []
        self._rows = InOrderRows()
        self._batch = NarrowbandBatch(batch_rows, len(self._rows))
        self._sessions: list[Session] = []
        self._intakes: list[Intake | None] = []
        self._ports = IntakePorts(
            self,
            recognizer,
            self._rows,
            self._batch,
            self.supervisor,
            self._waiting,
            self._release,
            queue_s,
            max_gap_s,
        )

    @property
    def legs(self) -> int:
        """Open legs."""
        return self._rows.used

    def open(self, session: Session, call_id: str) -> Intake:
        """An intake with a row of its own; `call_id` is for the log."""
        row = self._rows.allocate()
        if row == len(self._sessions):
            self._sessions.append(session)
            self._intakes.append(None)
            if row == len(self._batch):
                self._batch.grow()
        intake = Intake(self._ports, session, call_id, row)
        self._sessions[row], self._intakes[row] = session, intake
        return intake

    def add_source(self, flush: Callable[[], None]) -> None:
        """`flush` is called when audio is wanted: at the tick, and before a leg is flushed or closed. It may call
        `push_packets` and `Intake.push`. What it raises is counted and keeps no other source from its turn."""
        self._sources.append(flush)

    def tick(self) -> None:
        """Decode, resample and push everything that waits."""
        self._gather()
        if self._waiting:
            intakes = self._waiting.copy()
            self._waiting.clear()
            for intake in intakes:
                intake.drain()
            self._batch.run()
            for intake in intakes:
                intake.resume()
        try:
            self._recognizer.flush()
        except Exception as error:  # noqa: BLE001 - what was pushed goes out with the next tick
            self.supervisor.fault("recognizer", error, "a tick's audio was not flushed")

    def flush(self, intake: Intake) -> None:
        """Hand on what waits for this leg now, without the tick."""
        self._gather()
        intake.drain()
        self._batch.run()
        intake.resume()

    def push_packets(
        self,
        tickets: NDArray[np.int64],
        pts: NDArray[np.int64],
        codes: NDArray[np.int16],
        arrivals: NDArray[np.float64],
    ) -> NDArray[np.bool_]:
        """Decode, resample and push a packet of 20 ms of each of these legs now; no leg must be among them twice.

        `tickets`, `pts`, `arrivals`: (n,). `codes`: (n, 160), G.711 as indices into `g711.FLOAT_TABLE`. Returns which
        packets were taken; the others are not what was due, and are for `Intake.push`.
        """
        fit = self._rows.take(tickets, pts, arrivals, BLOCK)
        rows = self._rows.rows_of(tickets)
        if not fit.all():
            rows, codes = rows[fit], codes[fit]
        size = self._batch_rows
        for at in range(0, len(rows), size):
            self._push_rows(rows[at : at + size], codes[at : at + size])
        return fit

    def close(self, intake: Intake) -> None:
        """Hand on all this leg has, the filter's tail included, and recycle its row. The output is then exactly
        16,000 samples per second of input. Idempotent."""
        if intake.closed:
            return
        self._gather()
        intake.drain()
        intake.finish()
        self._batch.run()
        intake.release()

    def drop(self, intake: Intake) -> None:
        """This leg's audio is of no use any more: recycle its row, throw away what waits. Idempotent."""
        intake.release()

    def _push_rows(self, rows: NDArray[np.int64], codes: NDArray[np.int16]) -> None:
        try:
            y = self._batch.double(rows, codes)
        except Exception as error:  # noqa: BLE001 - some leg's: found by itself
            if len(rows) == 1:
                self._fail(int(rows[0]), error)
            else:
                for at in range(len(rows)):
                    self._push_rows(rows[at : at + 1], codes[at : at + 1])
            return
        push, sessions = self._recognizer.push, self._sessions
        for row, pcm in zip(rows.tolist(), y, strict=True):
            try:
                push(sessions[row], pcm)
            except Exception as error:  # noqa: BLE001 - of this leg alone
                self._fail(row, error)

    def _gather(self) -> None:
        for flush in self._sources:
            try:
                flush()
            except Exception as error:  # noqa: BLE001 - the other sources have audio, too
                self.supervisor.fault("source", error, "its audio of this tick may be missing")

    def _fail(self, row: int, error: Exception) -> None:
        intake = self._intakes[row]
        if intake is not None:
            intake.fail(error)

    def _release(self, row: int) -> None:
        self._intakes[row] = None
        self._rows.release(row)
