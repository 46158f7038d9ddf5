"""The demo's terminal: finals as lines, what is being said below them."""

import asyncio
import unicodedata
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from sinks.record import AnyRecord, CallAction, CallRecord, SpeakerRole, TranscriptRecord

_COLOURS = {SpeakerRole.AGENT: "cyan", SpeakerRole.CUSTOMER: "green", SpeakerRole.UNKNOWN: "white"}


class ConsoleSink:
    """Shows a call as it happens and keeps its records. `ended` is set by the call's END."""

    name = "console"

    def __init__(self, console: Console) -> None:
        self.records: list[AnyRecord] = []
        self.ended = asyncio.Event()
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._partials: dict[str, TranscriptRecord] = {}

    async def start(self) -> None:
        if self._console.is_terminal:
            self._live.start()

    async def write(self, records: Sequence[AnyRecord]) -> None:
        self.records += records
        for record in records:
            if isinstance(record, TranscriptRecord):
                self._transcript(record)
        self._live.update(Group(*map(_line, self._partials.values())))
        if self._console.is_terminal:
            self._live.refresh()
        if any(isinstance(record, CallRecord) and record.action is CallAction.END for record in records):
            self._live.stop()
            self.ended.set()

    async def close(self) -> None:
        self._live.stop()

    def _transcript(self, record: TranscriptRecord) -> None:
        if not record.is_final:
            self._partials[record.leg] = record
            return
        self._partials.pop(record.leg, None)
        if record.transcript:
            self._console.print(_line(record), highlight=False, soft_wrap=True)


def _line(record: TranscriptRecord) -> Text:
    """`0:12  customer  es-US  Hola, ...`; a language that is only carried over has a question mark."""
    minutes, seconds = divmod(int(record.start), 60)
    language = record.language or "-"
    if record.language_source == "carried":
        language += "?"
    colour = _COLOURS[record.speaker_role]
    line = Text.assemble(
        (f"{minutes}:{seconds:02d}", "dim"),
        ("  " + record.speaker_role.ljust(8), colour),
        ("  " + language.ljust(6), "yellow"),
        "  " + _isolated(record.transcript),
    )
    if not record.is_final:
        line.stylize("dim italic")
    return line


def _isolated(text: str) -> str:
    """Right-to-left text between the isolates of Unicode (UAX 9), so that it does not reorder what stands before it."""
    if any(unicodedata.bidirectional(char) in ("R", "AL") for char in text):
        return f"\u2068{text}\u2069"
    return text
