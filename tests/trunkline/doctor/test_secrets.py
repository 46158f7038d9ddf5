from connectors.media_ws import TwilioConfig
from connectors.sip.config import Credential, SipConfig
from connectors.webrtc.config import IceServer, WebRtcConfig
from liveview.api import LiveViewConfig
from sinks.config import KafkaConfig, RedisConfig
from trunkline.config import Config
from trunkline.doctor.secrets import masked, secrets_of


def test_every_secret_is_found_and_nothing_else() -> None:
    config = Config(
        twilio=TwilioConfig(auth_token="of-twilio", account_sid="AC-public"),
        liveview=LiveViewConfig(token="of-liveview"),
        webrtc=WebRtcConfig(token="of-webrtc", ice_servers=(IceServer(url="turn:a.example", credential="of-turn"),)),
        sip=SipConfig(credentials=(Credential(username="user-of-sip", password="of-sip"),)),
        kafka=KafkaConfig(
            bootstrap_servers="a:1",
            security_protocol="SASL_SSL",
            sasl_mechanism="OAUTHBEARER",
            sasl_token_url="https://issuer.example/token?key=of-query",
            sasl_token_scope="kafka",
            sasl_username="public",
            sasl_password="of/kafka",
            tls_ca_file="ca.pem",
            tls_key_password="of-key",
        ),
        redis=RedisConfig(url="redis://user:of%20redis@a:1/0"),
    )
    found = set(secrets_of(config))
    assert found == {
        *(
            "of-twilio",
            "of-liveview",
            "of-webrtc",
            "of-turn",
            "of-sip",
            "user-of-sip",
            "of/kafka",
            "of-key",
            "of-query",
        ),
        *("of redis", "of%20redis", "of%2Fkafka", "of%2520redis"),
    }


def test_longer_secrets_go_first() -> None:
    config = Config(twilio=TwilioConfig(auth_token="abcd"), liveview=LiveViewConfig(token="abcd-efgh"))
    assert masked("is abcd-efgh, is abcd", secrets_of(config)) == "is ***, is ***"


def test_a_secret_too_short_to_be_told_apart_is_let_be() -> None:
    assert secrets_of(Config(liveview=LiveViewConfig(token="on"))) == []
