"""Every record by the shipped Avro schema."""

import io
import json
from importlib.resources import files
from typing import Any

import fastavro
import msgspec
import pytest

from sinks.record import (
    AnyRecord,
    CallRecord,
    CallStatistics,
    DtmfRecord,
    LegInfo,
    TranscriptRecord,
    TurnRecord,
    Word,
    as_builtins,
)
from tests.sinks import records as make

UNION: list[dict[str, Any]] = json.loads(files("sinks").joinpath("trunkline-1.avsc").read_text("utf-8"))
SCHEMA = fastavro.parse_schema(UNION)
NAMES = {
    TranscriptRecord: "Transcript",
    CallRecord: "Call",
    TurnRecord: "Turn",
    DtmfRecord: "Dtmf",
    Word: "Word",
    LegInfo: "LegInfo",
    CallStatistics: "CallStatistics",
}
EVERY_RECORD = {"type"}


def kind_of(record: AnyRecord) -> str:
    fields = as_builtins(record)
    return f"{fields['type']}-{fields.get('action', fields.get('event', fields.get('digit', '')))}"


def records_of(schema: Any) -> dict[str, set[str]]:
    """Names of all records in a schema, with their fields."""
    if isinstance(schema, list):
        return {name: fields for one in schema for name, fields in records_of(one).items()}
    if not isinstance(schema, dict):
        return {}
    found = records_of(schema["type"]) | records_of(schema.get("items"))
    if schema["type"] == "record":
        found[schema["name"]] = {field["name"] for field in schema["fields"]}
        for field in schema["fields"]:
            found |= records_of(field["type"])
    return found


@pytest.mark.parametrize("record", make.every_kind(), ids=kind_of)
def test_record_of_every_kind_comes_back_as_it_was(record: AnyRecord) -> None:
    unset = {"run": None} | ({"over": None} if isinstance(record, TurnRecord) else {})
    fields = unset | as_builtins(record)
    file = io.BytesIO()
    fastavro.schemaless_writer(file, SCHEMA, (f"trunkline.v1.{NAMES[type(record)]}", fields))
    assert fastavro.schemaless_reader(io.BytesIO(file.getvalue()), SCHEMA, None) == fields


@pytest.mark.parametrize("record_type", NAMES, ids=NAMES.values())
def test_schema_and_record_type_have_the_same_fields(record_type: type[msgspec.Struct]) -> None:
    fields = {field.encode_name for field in msgspec.structs.fields(record_type)}
    if record_type not in (Word, LegInfo, CallStatistics):
        fields |= EVERY_RECORD
    assert records_of(UNION)[NAMES[record_type]] == fields


def test_schema_has_no_other_records() -> None:
    assert records_of(UNION).keys() == set(NAMES.values())


def test_run_may_be_named_or_not() -> None:
    fields = as_builtins(make.dtmf()) | {"run": "a1b2"}
    assert fastavro.validate(fields, SCHEMA, raise_errors=True)
    del fields["run"]
    assert fastavro.validate(fields, SCHEMA, raise_errors=True)


def test_record_of_another_form_is_refused() -> None:
    assert not fastavro.validate(as_builtins(make.dtmf()) | {"digit": 5}, SCHEMA, raise_errors=False)
