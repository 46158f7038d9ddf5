"""Errors of the sinks.

SinkError
+-- SinkUnavailable    the disk, broker or server is away or full; the same records may be written again later
+-- SinkRejected       these records will never be accepted
+-- SinkMisconfigured  the sink cannot work with its settings; raised by its constructor or by `start`
+-- ViewUnavailable    a live view cannot be read at present
"""


class SinkError(Exception):
    """Base of everything a sink raises. `retryable`: the same call may succeed later."""

    retryable: bool = False


class SinkUnavailable(SinkError):
    retryable = True


class SinkRejected(SinkError):
    retryable = False


class SinkMisconfigured(SinkError):
    retryable = False


class ViewUnavailable(SinkError):
    retryable = True
