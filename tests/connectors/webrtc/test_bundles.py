"""Bundles as peers offer them (RFC 9143): lines that inherit their transport, and lines that are not in use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.webrtc.audio_lines import media_lines
from connectors.webrtc.config import WebRtcLimits
from connectors.webrtc.whip import Offer, WhipRefused
from tests.connectors.webrtc.browser import Browser, Tone, ended, endpoint, speak_on_two_legs
from tests.connectors.webrtc.offers import audio_line, offer

LIMITS = WebRtcLimits()
CODECS = ("OPUS", "PCMU")
TRANSPORT = (
    "a=ice-ufrag",
    "a=ice-pwd",
    "a=ice-options",
    "a=fingerprint",
    "a=setup",
    "a=rtcp-mux",
    "a=candidate",
    "a=end-of",
)


def bundle_only(section: list[str], port: str = "0") -> list[str]:
    """A line that says nothing of its transport."""
    first, *rest = section
    kind, _, others = first.split(" ", 2)
    kept = [line for line in rest if not line.startswith(TRANSPORT)]
    return [f"{kind} {port} {others}", *kept, *(["a=bundle-only"] if port == "0" else [])]


def unused(kind: str = "video", mid: str | None = "u") -> list[str]:
    protocol, form = ("UDP/DTLS/SCTP", "webrtc-datachannel") if kind == "application" else ("UDP/TLS/RTP/SAVPF", "96")
    return [f"m={kind} 0 {protocol} {form}", *([f"a=mid:{mid}"] if mid else []), "a=inactive"]


def taken(*sections: list[str], group: str | None = None) -> Offer:
    text = offer(*sections)
    if group is not None:
        text = text.replace(next(line for line in text.splitlines() if "BUNDLE" in line), f"a=group:BUNDLE {group}")
    return Offer.parse(text, CODECS, LIMITS)


def status(*sections: list[str], group: str | None = None) -> int:
    with pytest.raises(WhipRefused) as refused:
        taken(*sections, group=group)
    assert refused.value.reason.isprintable()
    return refused.value.status


def test_a_bundle_only_line_inherits_the_transport_of_its_bundle() -> None:
    found = taken(audio_line(), bundle_only(audio_line(1)))
    assert found.tracks == 2
    assert found.ice == {("Ufrg", "abcdefghijklmnopqrstuvwx")}
    for inherited in ("ice-ufrag", "ice-pwd", "fingerprint", "setup", "rtcp-mux"):
        assert found.text.count(f"a={inherited}") == 2
    assert "bundle-only" not in found.text
    assert found.text.count("m=audio 9 ") == 2


def test_so_does_a_line_with_a_port_of_the_same_bundle() -> None:
    assert taken(audio_line(), bundle_only(audio_line(1), "9"), bundle_only(audio_line(2))).tracks == 3


def test_the_line_that_speaks_for_the_bundle_may_stand_anywhere() -> None:
    found = taken(bundle_only(audio_line(0)), audio_line(1))
    assert found.tracks == 2
    assert "a=group:BUNDLE 1 0\r\n" in found.text


def test_bundle_only_beside_a_port_is_no_more_than_said() -> None:
    assert taken([*audio_line(), "a=bundle-only"]).tracks == 1


def test_what_the_session_says_is_not_said_again() -> None:
    session = [line for line in audio_line() if line.startswith(("a=ice", "a=fingerprint", "a=setup"))]
    text = offer(*[[*bundle_only(audio_line(n), "9"), "a=rtcp-mux"] for n in range(2)])
    text = text.replace("t=0 0\r\n", "t=0 0\r\n" + "".join(f"{line}\r\n" for line in session))
    found = Offer.parse(text, CODECS, LIMITS)
    assert (found.tracks, found.text.count("a=ice-ufrag")) == (2, 1)


@pytest.mark.parametrize("group", ["0", "0 5", "1"])
def test_a_bundle_only_line_outside_of_a_bundle_is_malformed(group: str) -> None:
    assert status(audio_line(), bundle_only(audio_line(1)), group=group) == 400


def test_a_bundle_of_nothing_but_bundle_only_lines_is_malformed() -> None:
    assert status(bundle_only(audio_line()), bundle_only(audio_line(1))) == 400


def test_a_bundle_only_line_without_a_name_is_malformed() -> None:
    nameless = [line for line in bundle_only(audio_line(1)) if not line.startswith("a=mid")]
    assert status(audio_line(), nameless) == 400


def test_two_lines_that_are_not_both_in_the_bundle_are_refused() -> None:
    assert status(audio_line(), audio_line(1), group="0") == 422
    assert status(audio_line(), audio_line(1), group="0 7") == 422


@pytest.mark.parametrize("kind", ["video", "application"])
def test_other_media_in_use_are_refused_also_bundle_only(kind: str) -> None:
    assert status(audio_line(), bundle_only(unused(kind, "1"))) == 422


@pytest.mark.parametrize("kind", ["video", "audio", "application"])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("mid", ["u", None])
def test_lines_that_are_not_in_use_are_left_out_and_put_back(kind: str, place: int, mid: str | None) -> None:
    sections = [audio_line(0), audio_line(1)]
    sections.insert(place, unused(kind, mid))
    found = taken(*sections, group="0 u 1")
    assert (found.tracks, found.text.count("m=")) == (2, 2)
    assert "a=group:BUNDLE 0 1\r\n" in found.text
    answer = found.lines.complete(found.text)
    media = [line for line in answer.splitlines() if line.startswith("m=")]
    assert (len(media), media[place]) == (3, unused(kind)[0])
    assert answer.split("m=")[place + 1].endswith("a=inactive\r\n")


def test_an_offer_with_nothing_in_use_is_malformed() -> None:
    assert status(unused(), unused("audio")) == 400


@pytest.mark.parametrize("session", ["a=ice-lite", "a=msid-semantic: WMS *", "a=extmap-allow-mixed", "a=group:LS 0"])
def test_other_lines_of_the_session_stay(session: str) -> None:
    text = offer(audio_line()).replace("t=0 0\r\n", f"t=0 0\r\n{session}\r\n")
    assert f"{session}\r\n" in Offer.parse(text, CODECS, LIMITS).text


def test_one_line_needs_neither_a_name_nor_a_bundle() -> None:
    nameless = [line for line in audio_line() if not line.startswith("a=mid")]
    assert Offer.parse(offer(nameless, bundled=False), CODECS, LIMITS).tracks == 1


@given(
    st.lists(
        st.sampled_from([*audio_line(), "m=audio 0 UDP/TLS/RTP/SAVPF 111", "a=bundle-only", "a=mid:1", "v=0"])
        | st.sampled_from(["a=group:BUNDLE 0 1", "a=group:BUNDLE", "a=group:BUNDLE 1 1", "m=", "m=video 0 X 1", "a="])
        | st.text(max_size=20)
    ).map("\r\n".join)
)
def test_no_text_breaks_it_and_every_line_comes_back(text: str) -> None:
    lines = media_lines(text)
    count = sum(row.strip().startswith("m=") for row in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    assert lines.used + len(lines.unused) == count
    answer = lines.complete(lines.text)
    assert sum(row.startswith("m=") for row in answer.split("\r\n")) == count


class Bundled(Browser):
    """Offers a video line that it does not use, its first track, and the second one as bundle-only."""

    def written(self, offer: str) -> str:
        head, first, second = offer.split("m=audio ")
        rows = bundle_only(f"m=audio {second}".splitlines())
        video = "".join(f"{row}\r\n" for row in unused("video", None))
        return f"{head}{video}m=audio {first}" + "".join(f"{row}\r\n" for row in rows)

    def read(self, answer: str) -> str:
        head, video, rest = answer.partition("m=video 0 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n")
        assert (video, rest[:8]) != ("", "")
        assert rest.startswith("m=audio ")
        return head + rest


async def test_tracks_of_a_bundle_only_offer_are_heard_each_on_its_leg() -> None:
    async with endpoint() as (client, calls):
        await speak_on_two_legs(Bundled(client, Tone(125), Tone(200)), calls)


class Nameless(Browser):
    def written(self, offer: str) -> str:
        return "".join(f"{row}\r\n" for row in offer.splitlines() if not row.startswith(("a=mid", "a=group")))

    def read(self, answer: str) -> str:
        assert "a=mid" not in answer
        return answer.replace("a=rtcp-mux\r\n", "a=mid:0\r\na=rtcp-mux\r\n", 1)


async def test_a_peer_that_names_no_lines_is_heard() -> None:
    async with endpoint() as (client, calls):
        browser = Nameless(client, Tone(seconds=0.3))
        await browser.start()
        await browser.spoken()
        await browser.stop()
        assert (await ended(calls)).legs["agent"].frames
