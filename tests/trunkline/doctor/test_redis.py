from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import redis

from sinks.config import RedisConfig
from testing.services.ports import free_ports
from tests.trunkline.doctor.found import all_ok, one
from trunkline.config import Config
from trunkline.doctor.clocks import check_clock
from trunkline.doctor.findings import Level
from trunkline.doctor.redis import check_redis


def config(url: str) -> Config:
    return Config(redis=RedisConfig(url=url, key_prefix="doctor-test:", timeout_s=10.0))


@pytest.fixture
def limited(redis_url: str) -> Iterator[str]:
    """The URL for a user who may read alone."""
    with redis.Redis.from_url(redis_url) as client:
        client.acl_setuser("reader", enabled=True, passwords=["+s3cret-of-reader"], keys=["*"], categories=["+@read"])
        yield f"redis://reader:s3cret-of-reader@{urlsplit(redis_url).netloc}/0"
        client.acl_deluser("reader")


def test_a_server_that_is_well(redis_url: str) -> None:
    found = list(check_redis(config(redis_url)))
    assert all_ok(found)
    assert found[0].what.endswith("may be written to")
    assert found[1].what.startswith("its clock is 0.")
    with redis.Redis.from_url(redis_url) as client:
        assert set(client.keys("doctor-test:*")) <= {b"doctor-test:doctor"}
        assert client.pttl("doctor-test:doctor") <= 1000


def test_a_user_who_may_not_write(limited: str) -> None:
    assert "s3cret" not in one(check_redis(config(limited)), Level.FAULT, "no permissions").what


def test_a_wrong_password(limited: str) -> None:
    wrong = limited.replace("s3cret-of-reader", "another-s3cret")
    assert "another-s3cret" not in one(check_redis(config(wrong)), Level.FAULT, "invalid username-password").what


def test_a_server_that_is_away() -> None:
    one(check_redis(config(f"redis://127.0.0.1:{free_ports(1)[0]}")), Level.FAULT, "see [redis] url")


def test_none() -> None:
    assert [finding.what for finding in check_redis(Config())] == ["not configured"]


def test_a_clock_that_is_far_off() -> None:
    assert check_clock("redis", -1.4, 0.002).level is Level.WARNING
    assert "1.400 s behind" in check_clock("redis", -1.4, 0.002).what
    assert check_clock("redis", 0.9, 0.002).level is Level.OK
    assert check_clock("redis", 1.4, 2.0).level is Level.OK  # it may be the way alone
