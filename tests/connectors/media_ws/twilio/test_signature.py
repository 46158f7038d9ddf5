"""The vectors are those of Twilio's documentation and of its helper libraries' tests (token 12345)."""

import pytest

from connectors.media_ws.twilio.signature import is_valid, sign, url_variants

TOKEN = "12345"
URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
PARAMETERS = {
    "CallSid": "CA1234567890ABCDE",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
    "Caller": "+14158675309",
}
SIGNATURE = "RSOYDt4T1cUTdK1PDd93/VVr8B8="


def test_form_post_is_signed_as_twilio_does() -> None:
    assert sign(TOKEN, URL, PARAMETERS) == SIGNATURE


def test_name_with_several_values_counts_each_of_them() -> None:
    pairs = [("Sid", "CA123"), ("SidAccount", "AC123"), ("Digits", "5678"), ("Digits", "1234"), ("Digits", "1234")]
    assert sign(TOKEN, URL, pairs) == "IK+Dwps556ElfBT0I3Rgjkr1wJU="


@pytest.mark.parametrize(
    ("url", "signature"),
    [
        (URL, SIGNATURE),
        (URL.replace(".com", ".com:1234"), SIGNATURE),
        (URL, "kvajT1Ptam85bY51eRf/AJRuM3w="),
        (URL.replace("https", "http"), "0ZXoZLH/DfblKGATFgpif+LLRf4="),
        (URL.replace("https", "http").replace(".com", ".com:1234"), "Zmvh+3yNM1Phv2jhDCwEM3q5ebU="),
    ],
    ids=["as it is", "without port", "with 443", "with 80", "with its own port"],
)
def test_port_may_have_been_written_or_not(url: str, signature: str) -> None:
    assert is_valid(TOKEN, signature, url_variants(url, schemes=[url.partition(":")[0]]), PARAMETERS)


def test_upgrade_is_signed_over_its_wss_url_alone() -> None:
    signature = sign(TOKEN, "wss://calls.example.com/twilio")
    assert is_valid(TOKEN, signature, url_variants("https://calls.example.com/twilio"))
    assert not is_valid(TOKEN, signature, ["https://calls.example.com/twilio"])


@pytest.mark.parametrize("signature", [None, "", SIGNATURE[:-1], SIGNATURE + "=", SIGNATURE.lower(), "ÿ", "\udcff"])
def test_anything_else_is_not_valid(signature: str | None) -> None:
    assert not is_valid(TOKEN, signature, [URL], PARAMETERS)


def test_changed_parameter_token_or_url_is_not_valid() -> None:
    assert not is_valid(TOKEN, SIGNATURE, [URL], {**PARAMETERS, "Digits": "1235"})
    assert not is_valid("12346", SIGNATURE, [URL], PARAMETERS)
    assert not is_valid(TOKEN, SIGNATURE, [URL + "3"], PARAMETERS)


def test_variants_of_an_ipv6_address_keep_its_colons() -> None:
    assert url_variants("wss://[2001:db8::1]:8443/twilio", schemes=["wss"]) == [
        "wss://[2001:db8::1]:8443/twilio",
        "wss://[2001:db8::1]/twilio",
        "wss://[2001:db8::1]:443/twilio",
    ]
