"""The JSON Schema of the records, as shipped."""

from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

SCHEMA_FILE = "trunkline-1.schema.json"


@cache
def load_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of one record of any type. The result is shared: do not change it."""
    schema: dict[str, Any] = msgspec.json.decode(files("sinks").joinpath(SCHEMA_FILE).read_bytes())
    return schema
