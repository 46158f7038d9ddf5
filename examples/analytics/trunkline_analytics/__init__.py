"""Analytics of the topics: records to Parquet, and a report on calls.

A consumer of the records, not a part of the server: of the house it knows the Kafka settings and the schema of `sinks`
alone. What needs the extra `analytics` (pyarrow, duckdb, matplotlib, jinja2) is loaded by the command that needs it.
"""
