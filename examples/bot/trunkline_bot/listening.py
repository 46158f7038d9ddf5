"""From the records of the caller's leg to what the caller said: when a turn is over, all of its words at once. Pure."""

from dataclasses import dataclass

from trunkline import AnyRecord, TranscriptRecord, TurnRecord


@dataclass(frozen=True, slots=True)
class Said:
    """A turn of the caller. `language`: the tag of its last words; None where none is known."""

    text: str
    language: str | None


class Listening:
    """Of one leg. A turn is over once EndOfTurn has come and all of its words are final, whichever is first. Where no
    turns are detected it ends with a final after which the speaker paused."""

    def __init__(self) -> None:
        self._segments: dict[str, TranscriptRecord] = {}  # not answered yet, the newest revision of each
        self._answered: set[str] = set()
        self._in_turn = False
        self._turn_ended = False

    @property
    def words(self) -> str:
        """Of the present turn, as far as they are known."""
        return " ".join(one.transcript for one in self._segments.values() if one.transcript)

    @property
    def lacks_final(self) -> bool:
        """The turn is over, but some of its words may still change."""
        return self._turn_ended and not all(one.is_final for one in self._segments.values())

    def update(self, record: AnyRecord) -> Said | None:
        """The turn that has ended with this record, if one has. Revisions of what was answered are passed over."""
        if isinstance(record, TurnRecord):
            if record.event != "EagerEndOfTurn":
                self._turn_ended = record.event == "EndOfTurn"
                self._in_turn = not self._turn_ended
        elif isinstance(record, TranscriptRecord) and record.segment_id not in self._answered:
            self._segments[record.segment_id] = record
        else:
            return None
        return None if self._in_turn else self._complete()

    def end_turn(self) -> Said | None:
        """As if EndOfTurn had come: after a long silence without it."""
        if self.words:
            self._in_turn, self._turn_ended = False, True
        return self._complete()

    def _complete(self) -> Said | None:
        said = [one for one in self._segments.values() if one.transcript]
        if not said or not all(one.is_final for one in self._segments.values()):
            return None
        if not (said[-1].speech_final or self._turn_ended):
            return None
        tags = [one.language for one in said if one.language is not None]
        text = self.words
        self._answered.update(self._segments)
        self._segments.clear()
        self._turn_ended = False
        return Said(text, tags[-1] if tags else None)
