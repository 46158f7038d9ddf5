import xml.etree.ElementTree as ET

import pytest

from connectors.errors import InvalidStreamUrl
from connectors.media_ws.twilio.twiml import twiml

URL = "wss://calls.example.com/twilio"


def test_listening_forks_both_tracks_and_the_call_goes_on_to_the_agent() -> None:
    response = ET.fromstring(twiml(URL, dial="+15550001"))
    assert [child.tag for child in response] == ["Start", "Dial"]
    (stream,) = response.findall("Start/Stream")
    assert stream.attrib == {"url": URL, "track": "both_tracks"}
    assert response.findtext("Dial/Number") == "+15550001"


def test_sip_address_of_the_agent_is_dialled_as_such() -> None:
    assert ET.fromstring(twiml(URL, dial="sip:agent@example.com")).findtext("Dial/Sip") == "sip:agent@example.com"


def test_without_an_agent_a_comment_marks_where_the_call_goes_on() -> None:
    text = twiml(URL)
    assert [child.tag for child in ET.fromstring(text)] == ["Start"]
    assert text.index("<!--") > text.index("</Start>")


def test_conversing_connects_without_a_choice_of_tracks() -> None:
    response = ET.fromstring(twiml(URL, mode="converse"))
    (stream,) = response.findall("Connect/Stream")
    assert stream.attrib == {"url": URL}
    assert "<!--" not in twiml(URL, mode="converse")


def test_parameters_survive_whatever_they_contain() -> None:
    parameters = {"from": "{{From}}", "note": "a<b> & \"c\" 'd'", 'we"ird': "é\n漢"}
    response = ET.fromstring(twiml(URL, track="inbound_track", parameters=parameters))
    found = {p.attrib["name"]: p.attrib["value"] for p in response.findall("Start/Stream/Parameter")}
    assert found == parameters
    assert response.find("Start/Stream").attrib["track"] == "inbound_track"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "url",
    ["ws://calls.example.com/twilio", "https://calls.example.com", "wss:///twilio", URL + "?token=1", URL + "#x", ""],
)
def test_url_that_twilio_would_not_stream_to_is_refused(url: str) -> None:
    with pytest.raises(InvalidStreamUrl):
        twiml(url)


@pytest.mark.parametrize("parameters", [{"": "x"}, {"note": "x" * 496}])
def test_parameter_that_twilio_would_not_take_is_refused(parameters: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="parameter"):
        twiml(URL, parameters=parameters)


@pytest.mark.parametrize(
    ("target", "noun", "text"),
    [
        ("client:alice", "Client", "alice"),
        ("Client:alice_7", "Client", "alice_7"),
        ("sip:agent@example.com", "Sip", "sip:agent@example.com"),
        ("SIPS:agent@example.com;transport=tls", "Sip", "sips:agent@example.com;transport=tls"),
        ("queue:billing & sales", "Queue", "billing & sales"),
        ("conference:Room 7", "Conference", "Room 7"),
        ("sim:DE0123456789abcdef0123456789abcdef", "Sim", "DE0123456789abcdef0123456789abcdef"),
        ("whatsapp:+15550001", "WhatsApp", "whatsapp:+15550001"),
        ("app:AP0123", "Application", "AP0123"),
        ("tel:+1-555-0001", "Number", "+1-555-0001"),
        ("+1 (555) 000.1", "Number", "+1 (555) 000.1"),
        ("911", "Number", "911"),
        ("{{agent}}", "Number", "{{agent}}"),
    ],
)
def test_what_is_dialled_has_the_noun_of_its_scheme(target: str, noun: str, text: str) -> None:
    (dial,) = ET.fromstring(twiml(URL, dial=target)).findall("Dial")
    assert [(child.tag, child.text) for child in dial] == [(noun, text)]


@pytest.mark.parametrize(
    "target",
    [
        "alice",
        "",
        " ",
        "client:",
        "client: ",
        "client:alice smith",
        "sip:",
        "sip:agent",
        "sip:a b@example.com",
        "mailto:a@example.com",
        "http://example.com",
        "agent@example.com",
        "client:" + "a" * 300,
        "+1555\x00",
        "client:al\x1bice",
        "client:\ud800",
        "queue:\ufffe",
    ],
)
def test_what_twilio_cannot_dial_is_refused_in_one_line(target: str) -> None:
    with pytest.raises(ValueError, match="dial") as refused:
        twiml(URL, dial=target)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("sign", ["\x00", "\x08", "\x0b", "\x1f", "\ud800", "\ufffe", "\uffff"])
def test_characters_that_no_xml_may_hold_are_refused(sign: str) -> None:
    for parameters in ({"note": f"a{sign}"}, {f"n{sign}": "a"}):
        with pytest.raises(ValueError, match="no XML may hold") as refused:
            twiml(URL, parameters=parameters)
        assert str(refused.value).isprintable()
    with pytest.raises(InvalidStreamUrl):
        twiml(f"{URL}{sign}")


@pytest.mark.parametrize("sign", ["\t", "\n", "\r", "\x7f", "\x85", "\U0001f600"])
def test_characters_that_xml_may_hold_survive(sign: str) -> None:
    response = ET.fromstring(twiml(URL, parameters={"note": f"a{sign}b"}))
    assert response.find("Start/Stream/Parameter").attrib["value"] == f"a{sign}b"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "url",
    [
        "wss://calls.example.com/a b",
        "wss://[::1/x",
        "wss://h:99999/x",
        "wss://h:0/x",
        "wss://a\nb/x",
        "wss://x:y/",
        "//h",
    ],
)
def test_url_that_is_none_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(InvalidStreamUrl) as refused:
        twiml(url)
    assert str(refused.value).isprintable()


def test_more_parameters_than_the_server_takes_are_refused() -> None:
    assert twiml(URL, parameters={str(number): "" for number in range(32)})
    with pytest.raises(ValueError, match="more than 32 parameters"):
        twiml(URL, parameters={str(number): "" for number in range(33)})


def test_a_call_for_a_bot_is_not_dialled_on() -> None:
    with pytest.raises(ValueError, match="bot"):
        twiml(URL, mode="converse", dial="+15550001")
