"""Columns of the Parquet files: a schema for each type of record, and rows as Arrow tables.

`topic`, `partition` and `offset` say where a row came from: of Kafka, or of a file its name, 0 and the line. The type
and the date are not columns of the files, they are in the folders' names.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from trunkline_analytics.records import UNREAD

_POSITION = [("topic", pa.string()), ("partition", pa.int32()), ("offset", pa.int64())]
_ENVELOPE = [
    ("schema", pa.string()),
    ("event_id", pa.string()),
    ("call_id", pa.string()),
    ("run", pa.string()),
    ("leg", pa.string()),
    ("seq", pa.int64()),
    ("at", pa.timestamp("us", tz="UTC")),
]
_WORD = pa.struct(
    [
        ("word", pa.string()),
        ("punctuated_word", pa.string()),
        ("start", pa.float64()),
        ("end", pa.float64()),
        ("confidence", pa.float64()),
        ("language", pa.string()),
    ]
)
_LEG = pa.struct([("leg", pa.string()), ("speaker_role", pa.string()), ("channel_index", pa.int64())])
_STATISTICS = pa.struct(
    [
        ("packets", pa.int64()),
        ("lost", pa.int64()),
        ("late", pa.int64()),
        ("words", pa.int64()),
        ("p50_latency_ms", pa.float64()),
        ("p95_latency_ms", pa.float64()),
    ]
)
_OWN = {
    "transcript": [
        ("segment_id", pa.string()),
        ("revision", pa.int64()),
        ("is_final", pa.bool_()),
        ("speech_final", pa.bool_()),
        ("speaker_role", pa.string()),
        ("channel_index", pa.int64()),
        ("start", pa.float64()),
        ("duration", pa.float64()),
        ("transcript", pa.string()),
        ("confidence", pa.float64()),
        ("stability", pa.float64()),
        ("language", pa.string()),
        ("languages", pa.list_(pa.string())),
        ("language_source", pa.string()),
        ("words", pa.list_(_WORD)),
        ("latency_ms", pa.float64()),
    ],
    "call": [
        ("action", pa.string()),
        ("connector", pa.string()),
        ("from", pa.string()),
        ("to", pa.string()),
        ("metadata", pa.map_(pa.string(), pa.string())),
        ("legs", pa.list_(_LEG)),
        ("reason", pa.string()),
        ("statistics", _STATISTICS),
    ],
    "turn": [
        ("event", pa.string()),
        ("turn_index", pa.int64()),
        ("confidence", pa.float64()),
        ("at_s", pa.float64()),
        ("over", pa.string()),
    ],
    "dtmf": [("digit", pa.string()), ("start", pa.float64()), ("duration", pa.float64())],
}
SCHEMAS: Mapping[str, pa.Schema] = {
    **{kind: pa.schema([*_ENVELOPE, *own, *_POSITION]) for kind, own in _OWN.items()},
    UNREAD: pa.schema([("reason", pa.string()), ("value", pa.binary()), *_POSITION]),
}


def make_table(kind: str, rows: Iterable[dict[str, Any]]) -> pa.Table:
    """Rows, each with the columns of its kind and the position, as a table."""
    flat = ({**row, "metadata": list(row["metadata"].items())} if "metadata" in row else row for row in rows)
    return pa.Table.from_pylist(list(flat), schema=SCHEMAS[kind])
