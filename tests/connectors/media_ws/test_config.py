from typing import Any

import msgspec
import pytest

from connectors.media_ws.config import TwilioConfig


def test_defaults_need_no_configuration() -> None:
    config = msgspec.convert({}, TwilioConfig)
    assert (config.path, config.auth_token, config.roles.inbound, config.roles.outbound) == (
        "/twilio",
        None,
        "customer",
        "agent",
    )


@pytest.mark.parametrize(
    "section",
    [
        {"paht": "/twilio"},
        {"path": "twilio"},
        {"auth_token": ""},
        {"public_url": "ws://calls.example.com/twilio"},
        {"public_url": "calls.example.com"},
        {"public_url": "wss://calls.example.com/twilio?x=1"},
        {"roles": {"inbound": "caller"}},
        {"roles": {"third": "agent"}},
        {"limits": {"max_pending": 0}},
        {"limits": {"start_timeout_s": -1}},
        {"limits": {"max_payload_bytes": "many"}},
    ],
)
def test_wrong_section_is_an_error(section: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(section, TwilioConfig)


def test_auth_token_does_not_show_in_the_text_of_the_section() -> None:
    assert "secret" not in repr(TwilioConfig(auth_token="secret"))
