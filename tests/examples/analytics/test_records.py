"""Reading records: any bytes, older and newer records."""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sinks.record import (
    CallRecord,
    CallStatistics,
    DtmfRecord,
    LegInfo,
    TranscriptRecord,
    TurnRecord,
    Word,
    as_builtins,
    encode,
)
from tests.sinks import records as make
from trunkline_analytics import records
from trunkline_analytics.records import KINDS, Row, Tally, Unread, read
from trunkline_analytics.table import SCHEMAS, make_table

POSITION = {"topic": "t", "partition": 0, "offset": 0}


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(make.records)
def test_any_record_becomes_a_row_of_its_columns(record: Any) -> None:
    row = read(encode(record))
    if isinstance(row, Unread):
        assert "at is no time of the years" in row.reason
        return
    assert row.unknown == ()
    [back] = make_table(row.kind, [row.fields | POSITION]).to_pylist()
    assert back.pop("at") == row.at
    unset = {"run": None} | ({"over": None} if row.kind == "turn" else {})
    sent = unset | as_builtins(record)
    del sent["type"], sent["at"]
    if "metadata" in back:
        back["metadata"] = dict(back["metadata"])
    assert {name: value for name, value in back.items() if name not in POSITION} == sent


@pytest.mark.parametrize(
    ("own", "theirs"),
    [
        (records.Transcript, TranscriptRecord),
        (records.Call, CallRecord),
        (records.Turn, TurnRecord),
        (records.Dtmf, DtmfRecord),
        (records.Word, Word),
        (records.LegInfo, LegInfo),
        (records.Statistics, CallStatistics),
    ],
)
def test_no_field_of_a_record_is_left_out(own: type[msgspec.Struct], theirs: type[msgspec.Struct]) -> None:
    assert set(own.__struct_encode_fields__) >= set(theirs.__struct_encode_fields__)


@pytest.mark.parametrize("kind", KINDS)
def test_columns_are_the_fields(kind: str) -> None:
    assert set(SCHEMAS[kind].names) == {*KINDS[kind].__struct_encode_fields__, *POSITION}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "no value"),
        (b"", "no value"),
        (b"{", "not JSON"),
        (b'"\\ud800"', "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"7", "not a JSON object"),
        (b"{}", "no schema"),
        (b'{"schema": "trunkline/2"}', "schema trunkline/2"),
        (b'{"schema": "trunkline/1"}', "no type"),
        (b'{"schema": "trunkline/1", "type": "mood"}', "unknown type mood"),
        (b'{"schema": "trunkline/1", "type": ["call"]}', "unknown type ['call']"),
        (b'{"schema": "trunkline/1", "type": "call"}', "call: Object missing required field `event_id`"),
    ],
)
def test_what_is_no_record_has_a_reason(data: bytes | None, reason: str) -> None:
    assert read(data) == Unread(reason)


@pytest.mark.parametrize(
    "changed",
    [
        {"seq": -1},
        {"seq": 2**64},
        {"at": "yesterday"},
        {"at": "0001-01-01T00:00:00+14:00"},
        {"at": "9999-12-31T23:59:59-14:00"},
        {"event_id": ""},
        {"call_id": None},
        {"words": [{"word": 1}]},
        {"start": "1"},
    ],
)
def test_damaged_field_is_named(changed: dict[str, Any]) -> None:
    outcome = read(msgspec.json.encode(as_builtins(make.transcript()) | changed))
    assert isinstance(outcome, Unread)
    assert next(iter(changed)) in outcome.reason


ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    2**63,
    1.5,
    1e308,
    "",
    "x\x00",
    "٣",
    [],
    [None],
    [[1]],
    {},
    {"a": 1},
    {"word": "x"},
]


@settings(deadline=None)
@given(
    record=st.sampled_from(make.every_kind()).map(as_builtins),
    changed=st.dictionaries(
        st.sampled_from(sorted({*SCHEMAS["transcript"].names, "metadata", "legs"})), st.sampled_from(ODD)
    ),
)
def test_any_change_of_a_record_is_a_row_that_fits_or_has_a_reason(
    record: dict[str, Any], changed: dict[str, Any]
) -> None:
    outcome = read(msgspec.json.encode(record | changed))
    if isinstance(outcome, Row):
        assert make_table(outcome.kind, [outcome.fields | POSITION]).num_rows == 1


@given(st.binary(max_size=60))
def test_any_bytes_are_survived(data: bytes) -> None:
    assert isinstance(read(data), Unread)


def test_unknown_values_of_growing_sets_are_rows() -> None:
    parked = as_builtins(make.start()) | {"action": "PARK"}
    whispering = as_builtins(make.transcript()) | {"speaker_role": "supervisor", "language_source": "guessed"}
    assert isinstance(read(msgspec.json.encode(parked)), Row)
    assert isinstance(read(msgspec.json.encode(whispering)), Row)


def test_names_without_end_are_counted_together() -> None:
    tally = Tally()
    for number in range(1_000):
        tally.add(Unread(f"unknown type {number}"))
        tally.add(Row("dtmf", {}, (f"field{number}",)))
    assert len(tally.unread) == len(tally.unknown_fields) == Tally.MOST + 1
    assert tally.unread["others"] == tally.unknown_fields["others"] == 1_000 - Tally.MOST
