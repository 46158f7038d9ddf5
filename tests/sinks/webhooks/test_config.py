"""The section `[webhooks]`: mistakes are one line that says where, and never shows a secret."""

from typing import Any

import msgspec
import pytest

from sinks.webhooks.config import WebhookConfig, WebhooksConfig
from tests.sinks.webhooks.receiver import SECRET


def section(**changed: Any) -> WebhooksConfig:
    endpoint = {"name": "crm", "url": "https://user:PASS@example.com/SECRET"} | changed
    return msgspec.convert({"endpoints": [endpoint], "secret": SECRET}, WebhooksConfig)


def test_a_section_shows_no_secret() -> None:
    shown = repr(section(secret=SECRET, headers={"X-Key": "HEADER"}))
    assert "WebhookConfig('crm', 'example.com', secret='***')" in shown
    assert not [one for one in (SECRET, "PASS", "SECRET", "HEADER") if one in shown]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"url": "ftp://example.com/SECRET"}, "url is no address of a receiver: write https://host/path"),
        ({"url": "https:///SECRET"}, "url is no address of a receiver"),
        ({"url": "SECRET"}, "url is no address of a receiver"),
        ({"url": "https://example.com:99999/SECRET"}, "url is no URL"),
        ({"url": "https://[::1/SECRET"}, "url is no URL"),
        ({"url": "https://example.com:0/SECRET"}, "url is no address of a receiver"),
        ({"url": "https://example.com/SECRET here"}, "url has a fragment, white space"),
        ({"url": "https://example.com/SECRET#here"}, "url has a fragment, white space"),
        ({"url": "https://user:@example.com/SECRET"}, "the password in url is empty"),
        ({"secret": "whsec_SECRET"}, "secret is not whsec_ and 24 to 64 random bytes in base64"),
        ({"secret": ""}, "secret is empty"),
        (
            {"events": ["call.STRAT"]},
            r"events = \['call.STRAT'\]: use some of transcript, call, turn, dtmf, call.START",
        ),
        ({"events": []}, r"events = \[\]: use some of"),
        ({"headers": {"Content-Type": "x"}}, "headers: 'Content-Type' is no header, or one of those that are set"),
        ({"headers": {"webhook-id": "SECRET"}}, "'webhook-id' is no header"),
        ({"headers": {"a b": "SECRET"}}, "'a b' is no header"),
        ({"headers": {"X-Key": "SECRET\n"}}, "headers X-Key holds a line break"),
        ({"headers": {"authorization": "SECRET"}}, "headers has Authorization, and url a user"),
        ({"name": "a b"}, "Expected `str` matching regex"),
        ({"at_once": 0}, "Expected `int` >= 1"),
        ({"timeout_s": 0}, "Expected `float` > 0"),
    ],
)
def test_mistakes_are_named(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said) as caught:
        section(**changed)
    assert "SECRET" not in str(caught.value)
    assert "endpoints[0]" in str(caught.value)


@pytest.mark.parametrize(
    ("names", "secret", "said"),
    [
        ((), SECRET, "there is to be one at least"),
        (("a", "a"), SECRET, "each with a name of its own"),
        (("a",), None, r"a: secret is not set, nor is one for all \(TRUNKLINE_WEBHOOKS_SECRET\)"),
        (("a",), "whsec_x", "24 to 64 random bytes"),
    ],
)
def test_what_does_not_fit_together_is_named(names: tuple[str, ...], secret: str | None, said: str) -> None:
    endpoints = tuple(WebhookConfig(name=name, url="https://example.com/") for name in names)
    with pytest.raises(ValueError, match=said):
        WebhooksConfig(endpoints=endpoints, secret=secret)
