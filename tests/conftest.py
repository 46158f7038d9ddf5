"""Real services for the tests that ask for them; each is started once, with the first such test."""

import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import settings

from testing.services.missing import ServiceMissing
from tests.services.missing import missing

# In CI the property tests try the same examples every time; elsewhere new ones. None is a measurement of time.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("elsewhere", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "elsewhere")


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Reports of tests that run side by side go from process to process as UTF-8, which the names and log lines of some
    tests are not."""
    return _as_text((yield))


def _as_text(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_as_text(key): _as_text(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_as_text, value))
    return value


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis server, shared: use a key prefix of your own. `TRUNKLINE_TEST_REDIS_URL` names a running one."""
    if given := os.environ.get("TRUNKLINE_TEST_REDIS_URL"):
        yield given
        return
    from testing.services.redis_server import RedisServer  # noqa: PLC0415 - tests without it load no client

    try:
        server = RedisServer()
        server.start()
    except ServiceMissing as error:
        missing(str(error))
    yield server.url
    server.remove()


@pytest.fixture(scope="session")
def kafka_bootstrap() -> Iterator[str]:
    """A Kafka broker as host:port, shared: use topics of your own. `TRUNKLINE_TEST_KAFKA` names a running one."""
    if given := os.environ.get("TRUNKLINE_TEST_KAFKA"):
        yield given
        return
    from testing.services.kafka_broker import KafkaBroker  # noqa: PLC0415 - as above

    try:
        broker = KafkaBroker()
        broker.start()
    except ServiceMissing as error:
        missing(str(error))
    yield broker.bootstrap
    broker.remove()
