"""Every record against the shipped JSON Schema."""

from importlib.resources import files
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator

from sinks.record import (
    AnyRecord,
    CallAction,
    CallRecord,
    DtmfRecord,
    TranscriptRecord,
    TurnRecord,
    as_builtins,
    decode,
    encode,
    event_id,
)
from sinks.schema import load_schema
from tests.sinks import records as make

VALIDATOR = Draft202012Validator(load_schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)
TYPES = [TranscriptRecord, CallRecord, TurnRecord, DtmfRecord]
ADDED = {"run", "over"}
"""Fields that `trunkline/1` did not begin with: records of before have none, and records that they say nothing of."""

FORMER = files("tests.sinks").joinpath("former_records.jsonl").read_bytes().splitlines()
"""Written by a release without `ADDED`: a Twilio call, SIPREC calls with hold and transfer, a SIP call with keys, a
file, and turns."""


def kind_of(record: AnyRecord) -> str:
    fields = as_builtins(record)
    return f"{fields['type']}-{fields.get('action', fields.get('event', fields.get('digit', '')))}"


def test_schema_is_itself_valid() -> None:
    Draft202012Validator.check_schema(load_schema())


@pytest.mark.parametrize("record", make.every_kind(), ids=kind_of)
def test_record_of_every_kind_is_valid(record: AnyRecord) -> None:
    VALIDATOR.validate(as_builtins(record))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(make.records)
def test_any_record_is_valid_and_survives_the_wire(record: AnyRecord) -> None:
    VALIDATOR.validate(as_builtins(record))
    assert decode(encode(record)) == record


@pytest.mark.parametrize("record_type", TYPES)
def test_schema_and_record_type_have_the_same_fields(record_type: type[AnyRecord]) -> None:
    definition = load_schema()["$defs"][record_type.__struct_config__.tag]
    fields = {"type"} | {field.encode_name for field in msgspec.structs.fields(record_type)}
    assert set(definition["properties"]) == fields
    assert set(definition["required"]) == fields - ADDED


@pytest.mark.parametrize("record", [make.start(), make.transcript(), make.turn(), make.dtmf()], ids=kind_of)
def test_missing_and_unknown_fields_are_invalid(record: AnyRecord) -> None:
    fields = as_builtins(record)
    assert not VALIDATOR.is_valid(fields | {"extra": 1})
    for name in fields.keys() - ADDED:
        assert not VALIDATOR.is_valid({key: value for key, value in fields.items() if key != name}), name


@pytest.mark.parametrize(
    ("record", "changed"),
    [
        (make.transcript(), {"schema": "trunkline/2"}),
        (make.transcript(), {"type": "call"}),
        (make.transcript(), {"event_id": "x"}),
        (make.transcript(), {"call_id": ""}),
        (make.transcript(), {"run": None}),
        (make.transcript(), {"run": ""}),
        (make.start(), {"run": "0123456789AB"}),
        (make.dtmf(), {"run": 7}),
        (make.transcript(), {"seq": -1}),
        (make.transcript(), {"revision": 0.5}),
        (make.transcript(), {"at": "2026-11-24 12:00:00"}),
        (make.transcript(), {"at": "2026-11-24T12:00:00.000+01:00"}),
        (make.transcript(), {"speaker_role": "robot"}),
        (make.transcript(), {"confidence": 1.1}),
        (make.transcript(), {"start": -0.1}),
        (make.transcript(), {"language": "<en-US>"}),
        (make.transcript(), {"language": None}),
        (make.transcript(), {"language_source": None}),
        (make.transcript(), {"language_source": "guessed"}),
        (make.transcript(), {"languages": ["en-US", "en-US"]}),
        (make.transcript(), {"words": [{"word": "a"}]}),
        (make.start(), {"action": "PAUSE"}),
        (make.start(), {"metadata": {"queue": 1}}),
        (make.start(), {"reason": "early"}),
        (make.end(), {"statistics": None}),
        (make.end(), {"reason": None}),
        (make.turn(), {"event": "Turn"}),
        (make.dtmf(), {"digit": "E"}),
        (make.dtmf(), {"duration": None}),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_wrong_value_is_invalid(record: AnyRecord, changed: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(as_builtins(record) | changed)


def test_records_of_a_former_release_are_valid_and_unchanged_by_reading_and_writing() -> None:
    kinds = set()
    for line in FORMER:
        VALIDATOR.validate(msgspec.json.decode(line))
        record = decode(line)
        assert record.run is msgspec.UNSET
        assert encode(record) == line
        kinds.add(record.action if isinstance(record, CallRecord) else type(record))
    assert kinds == {*CallAction, *TYPES} - {CallRecord}


def test_event_id_depends_on_every_part_and_on_nothing_else() -> None:
    parts: list[tuple[str, str, str, str, str, int]] = [
        ("call", "run", "leg", "transcript", "1", 0),
        ("call2", "run", "leg", "transcript", "1", 0),
        ("call", "run2", "leg", "transcript", "1", 0),
        ("call run", "run", "leg", "transcript", "1", 0),
        ("call", "run", "leg2", "transcript", "1", 0),
        ("call", "run", "leg", "dtmf", "1", 0),
        ("call", "run", "leg", "transcript", "2", 0),
        ("call", "run", "leg", "transcript", "1", 1),
    ]
    ids = [event_id(*part) for part in parts]
    assert len(set(ids)) == len(parts)
    assert ids == [event_id(*part) for part in parts]


def test_decode_refuses_what_is_not_a_record() -> None:
    for data in (b"{}", b"[]", b'{"type":"call"}', encode(make.dtmf()).replace(b"dtmf", b"dial")):
        with pytest.raises(msgspec.ValidationError):
            decode(data)


def test_actions_of_the_schema_are_those_of_the_type() -> None:
    assert load_schema()["$defs"]["call"]["properties"]["action"]["enum"] == [action.value for action in CallAction]
