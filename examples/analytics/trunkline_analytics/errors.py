"""Errors of the analytics.

AnalyticsError
├── BadSource      a source of the report cannot be read, or is none
├── StoreFailed    the folder of Parquet files cannot be written or read
└── KafkaFailed    the broker does not answer, or has none of the topics
"""


class AnalyticsError(Exception):
    """Base. The message is one line that says what to do."""

    retryable: bool = False


class BadSource(AnalyticsError):
    pass


class StoreFailed(AnalyticsError):
    pass


class KafkaFailed(AnalyticsError):
    retryable = True
