"""Addresses in the configuration: which are none, said without a client library and without a secret."""

import pytest

from sinks.addresses import broker_addresses
from sinks.config import RedisConfig

SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        f"http://:{SECRET}@127.0.0.1",
        f"redis://:{SECRET}/@127.0.0.1",
        f"redis://u:p@127.0.0.1:{SECRET}/0".replace("u:p@", ""),
        f"redis://:{SECRET}@127.0.0.1/0?db=x",
        f"redis+sentinel://:{SECRET}@127.0.0.1:26379",
        f"redis+sentinel://:{SECRET}@127.0.0.1:26379/calls/x",
        f"redis+cluster://:{SECRET}@127.0.0.1:port",
        f"redis+cluster://:{SECRET}@",
        "redis://",
    ],
)
def test_url_that_is_none_is_a_setting_error(url: str) -> None:
    with pytest.raises(ValueError, match=r"^url") as error:
        RedisConfig(url=url)
    assert f":{SECRET}@" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("password", ["SECRET/HALF", "SECRET?HALF", "p@SECRET/w:rd#%1", "57#SECRET", "SEC RET"])
def test_a_password_that_is_not_escaped_is_said_and_not_shown(password: str) -> None:
    with pytest.raises(ValueError, match=r"percent-escape what is special in user and password") as error:
        RedisConfig(url=f"redis://:{password}@127.0.0.1:16399/0")
    assert not any(part in str(error.value) for part in ("SEC", "HALF", "57", "rd#"))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://cache:6379/zero", "the path is the number of a database"),
        ("redis://cache/0?foo=1", "option foo is none"),
        ("redis://cache:port/0", "is not HOST or HOST:PORT"),
        ("redis://cache:65536/0", "is not HOST or HOST:PORT"),
        ("redis://a,b/0", "several hosts stand in redis.cluster:// or redis.sentinel://"),
        ("unix://", "it names no path"),
    ],
)
def test_what_would_be_guessed_is_a_mistake(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        RedisConfig(url=url)


def test_authorities_without_tls_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="need a rediss:// URL"):
        RedisConfig(tls_ca_file="ca.pem")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "bootstrap_servers is empty"),
        (" , ", "bootstrap_servers is empty"),
        ("kafka", "'kafka' has no port: write host:port, such as kafka:9092"),
        ("a:9092, b", "'b' has no port"),
        ("kafka:", "'kafka:' has no port"),
        (":9092", "':9092' is not host:port"),
        ("a:99999", "'a:99999' is not host:port"),
        ("kafka://a:9092", "is a URL: write host:port"),
        ("SASL_SSL://a:9092,b:9092", "is a URL: write host:port"),
        (f"user:{SECRET}@a:9092", "holds a user"),
        (f"kafka://user:{SECRET}@a:9092", "is a URL"),
    ],
)
def test_brokers_that_are_none(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="bootstrap_servers") as error:
        broker_addresses(text)
    assert said in str(error.value)
    assert SECRET not in str(error.value)


def test_brokers() -> None:
    assert broker_addresses("a:9092, b:9093 ,[::1]:9092") == ["a:9092", "b:9093", "[::1]:9092"]
