import xml.etree.ElementTree as ET

import pytest

from connectors.errors import InvalidStreamUrl
from connectors.media_ws.twiml import twiml

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
