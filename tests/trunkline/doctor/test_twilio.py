import pytest

from connectors.media_ws import TwilioConfig
from tests.trunkline.doctor.found import all_ok, one
from trunkline.config import Config
from trunkline.doctor.findings import Level
from trunkline.doctor.twilio import check_twilio

TOKEN, ACCOUNT, URL = "0123456789abcdef" * 2, "AC" + "0123456789abcdef" * 2, "wss://calls.example.com/twilio"


def twilio(token: str | None = TOKEN, account: str | None = ACCOUNT, url: str | None = URL) -> Config:
    return Config(twilio=TwilioConfig(auth_token=token, account_sid=account, public_url=url))


@pytest.mark.parametrize("config", [Config(), twilio(), twilio(url="wss://calls.example.com:8443/twilio/")])
def test_what_is_well(config: Config) -> None:
    assert all_ok(check_twilio(config))


@pytest.mark.parametrize(
    ("config", "level", "said"),
    [
        (twilio(token="0123"), Level.WARNING, "auth_token has 4 characters"),
        (twilio(account="SK" + TOKEN), Level.FAULT, "account_sid is none"),
        (twilio(url=None), Level.WARNING, "public_url is not set"),
        (twilio(url="https://calls.example.com/twilio"), Level.WARNING, "begins with https"),
        (twilio(url="wss://calls.example.com:80/twilio"), Level.FAULT, "port 80"),
        (twilio(url="wss://calls.example.com:notone/twilio"), Level.FAULT, "a port that is none"),
        (twilio(url="wss://10.1.2.3/twilio"), Level.FAULT, "10.1.2.3, which Twilio cannot reach"),
        (twilio(url="wss://localhost/twilio"), Level.FAULT, "localhost, which Twilio cannot reach"),
        (twilio(url="wss://desk/twilio"), Level.FAULT, "desk, which Twilio cannot reach"),
        (twilio(url="wss://calls.example.com/media"), Level.WARNING, "a proxy has to map"),
    ],
)
def test_what_is_not(config: Config, level: Level, said: str) -> None:
    found = one(check_twilio(config), level, said)
    assert TOKEN not in found.what
