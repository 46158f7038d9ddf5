"""Configuration of turn detection: section `[pipeline.turns]`, and what of it a connector or a call may set itself."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import msgspec

Probability = Annotated[float, msgspec.Meta(gt=0, lt=1)]


class TurnModels(StrEnum):
    """What turns are detected by. AUTO: models and words, on words alone where the models are not installed.
    WORDS: on words alone. VAD: on speech and pauses alone. OFF: there are no turn records."""

    AUTO = "auto"
    WORDS = "words"
    VAD = "vad"
    OFF = "off"


class TurnSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How soon a turn ends. `threshold`, `eager_threshold`: probability that the speaker has finished from which on
    EndOfTurn and EagerEndOfTurn are told. `min_turn_silence_ms`: no turn ends before this pause, however sure it seems.
    `max_turn_silence_ms`: every turn ends after this one. `start_ms`: speech that begins a turn."""

    threshold: Probability = 0.8
    eager_threshold: Probability = 0.4
    min_turn_silence_ms: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 160
    max_turn_silence_ms: Annotated[int, msgspec.Meta(ge=100, le=60_000)] = 2_000
    start_ms: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 60


class TurnChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a connector or a call has otherwise than the settings around it; None: as they are."""

    threshold: Probability | None = None
    eager_threshold: Probability | None = None
    min_turn_silence_ms: Annotated[int, msgspec.Meta(ge=0, le=10_000)] | None = None
    max_turn_silence_ms: Annotated[int, msgspec.Meta(ge=100, le=60_000)] | None = None
    start_ms: Annotated[int, msgspec.Meta(ge=0, le=1_000)] | None = None


class TurnConfig(TurnSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`models`: what turns are detected by. `connectors`: changes for the calls of a connector, by its name as `call`
    records have it (`[pipeline.turns.connectors.twilio]`)."""

    models: TurnModels = TurnModels.AUTO
    connectors: dict[str, TurnChanges] = {}

    def settings(self, connector: str, *changes_of_leg: TurnChanges | None) -> TurnSettings:
        """Of a leg: its own changes, the last of them first, come before its connector's, and these before the rest."""
        values = {name: getattr(self, name) for name in TurnSettings.__struct_fields__}
        for changes in (self.connectors.get(connector), *changes_of_leg):
            if changes is not None:
                values |= {name: value for name, value in msgspec.structs.asdict(changes).items() if value is not None}
        return TurnSettings(**values)


IN_METADATA = "turns."


def changes_in(metadata: Mapping[str, str]) -> TurnChanges | None:
    """What the peer of a call asks for, as `turns.max_turn_silence_ms`, in the parameters that became the call's
    metadata. Raises `msgspec.ValidationError` for a name or value that is none."""
    asked = {name.removeprefix(IN_METADATA): value for name, value in metadata.items() if name.startswith(IN_METADATA)}
    return msgspec.convert(asked, TurnChanges, strict=False) if asked else None
