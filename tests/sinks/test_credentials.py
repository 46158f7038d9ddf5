"""One answer, in every section, to whether a secret is set."""

from typing import Any

import msgspec
import pytest

from connectors.media_ws.config import TwilioConfig
from connectors.sip.config import Credential, SipConfig
from connectors.webrtc.config import IceServer, WebRtcConfig
from sinks.config import KafkaConfig, RedisConfig
from sinks.credentials import check_url

SECRETS = [
    (TwilioConfig, "auth_token", {}),
    (TwilioConfig, "account_sid", {}),
    (WebRtcConfig, "token", {}),
    (IceServer, "username", {"url": "turn:192.0.2.1"}),
    (IceServer, "credential", {"url": "turn:192.0.2.1"}),
    (Credential, "username", {"password": "p"}),
    (Credential, "password", {"username": "u"}),
    (SipConfig, "tls_client_ca", {}),
    (KafkaConfig, "sasl_username", {"bootstrap_servers": "k:9092"}),
    (KafkaConfig, "sasl_password", {"bootstrap_servers": "k:9092"}),
]


@pytest.mark.parametrize("value", ["", " ", "\t", "\n", "\u3000", "\u2028"], ids=ascii)
@pytest.mark.parametrize(("section", "name", "others"), SECRETS, ids=lambda value: getattr(value, "__name__", value))
def test_a_secret_without_anything_in_it_is_a_mistake(
    section: type[Any], name: str, others: dict[str, Any], value: str
) -> None:
    with pytest.raises(msgspec.ValidationError, match=f"{name} is empty"):
        msgspec.convert(others | {name: value}, section)


@pytest.mark.parametrize(("section", "name", "others"), SECRETS, ids=lambda value: getattr(value, "__name__", value))
def test_a_secret_that_holds_no_text_is_a_mistake_that_does_not_show_it(
    section: type[Any], name: str, others: dict[str, Any]
) -> None:
    for value in ("hunter2\nmore", "hunter2\x00", "hunter2\udcff", "hunter2\x7f"):
        with pytest.raises(msgspec.ValidationError, match=name) as error:
            msgspec.convert(others | {name: value}, section)
        assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(("section", "name"), [(TwilioConfig, "auth_token"), (WebRtcConfig, "token")])
def test_white_space_around_a_secret_that_goes_into_a_header_is_a_mistake(section: type[Any], name: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="begins or ends with white space"):
        msgspec.convert({name: " secret"}, section)


def test_a_password_may_begin_with_a_space() -> None:
    assert Credential(username="u", password=" p ").password == " p "


def test_secrets_that_are_left_out_are_not_set() -> None:
    assert msgspec.convert({}, TwilioConfig).auth_token is None
    assert msgspec.convert({"bootstrap_servers": "k:9092"}, KafkaConfig).sasl_password is None


@pytest.mark.parametrize("url", ["redis://:@cache/0", "redis://user:@cache/0", "rediss://: @cache", "redis://@cache"])
def test_a_url_with_an_empty_password_or_user_is_a_mistake(url: str) -> None:
    with pytest.raises(ValueError, match=r"is empty|empty user"):
        RedisConfig(url=url)


@pytest.mark.parametrize(
    "url", ["redis://cache/0", "redis://user@cache", "redis://:pa%20ss@cache", "unix:///run/redis"]
)
def test_other_urls_are_taken(url: str) -> None:
    check_url("url", url)


def test_secrets_do_not_show_in_the_text_of_a_section() -> None:
    sections = (
        KafkaConfig(bootstrap_servers="k:9092", sasl_password="hunter2"),
        RedisConfig(url="redis://u:hunter2@cache/0"),
        Credential(username="u", password="hunter2"),
        WebRtcConfig(token="hunter2"),
        TwilioConfig(auth_token="hunter2"),
    )
    for section in sections:
        assert "hunter2" not in repr(section)
