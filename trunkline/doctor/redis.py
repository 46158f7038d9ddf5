"""Redis: reach, authentication, the rights that the live view needs, the clock."""

import asyncio
from collections.abc import Iterator

from sinks.errors import SinkUnavailable
from trunkline.config import Config
from trunkline.doctor.clocks import check_clock
from trunkline.doctor.findings import Finding, fault, ok


def check_redis(config: Config) -> Iterator[Finding]:
    """Raises `SinkMisconfigured`."""
    if config.redis is None:
        yield ok("redis", "not configured")
        return
    from sinks.redis.probe import probe  # noqa: PLC0415 - the client library, where it is used

    try:
        answer = asyncio.run(probe(config.redis))
    except SinkUnavailable as error:
        yield fault("redis", f"{str(error).removeprefix('redis: ')}: see [redis] url, and whether the server is well")
        return
    yield ok("redis", f"answers in {1000 * answer.round_trip_s:.1f} ms, may be written to")
    if answer.ahead_s is None:
        yield ok("redis", "its clock was not asked for: a cluster has many, a user needs +time")
    else:
        yield check_clock("redis", answer.ahead_s, answer.round_trip_s)
