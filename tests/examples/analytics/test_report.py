"""The page: what it says, what it lets nobody else say in it, and how it looks in a browser."""

import re
from collections.abc import AsyncIterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Dialog, Request

from sinks.record import LegInfo, SpeakerRole
from tests.examples.analytics.calls import Fields, call, lines, write
from tests.liveview.browser import chromium
from trunkline_analytics.database import database, load
from trunkline_analytics.errors import BadSource, StoreFailed
from trunkline_analytics.figures import DEFINITIONS, compute
from trunkline_analytics.plots import plots
from trunkline_analytics.report import MOST_CALLS, write_report

EVIL = '<script>alert("1")</script><img src=http://example.com/x onerror=alert(1)>$x^2$'


def two_calls() -> list[Fields]:
    talk = [("caller", 0.0, "uno dos tres cuatro", "es-US"), ("agent", 1.0, "one two three four refund", "en-US")]
    return [*call(talk, "CA1"), *call(talk, "CA2", connector="sip", run="b2")]


def evil_call() -> list[Fields]:
    legs = (
        LegInfo(leg=EVIL, speaker_role=SpeakerRole.UNKNOWN, channel_index=0),
        LegInfo(leg="agent\x07\u202e", speaker_role=SpeakerRole.AGENT, channel_index=1),
    )
    records = call([(EVIL, 0.0, f"{EVIL} 你好 hello", "en-US")], EVIL * 20, connector=EVIL, legs=legs, run=EVIL)
    evil = {"speaker_role": EVIL, "language": EVIL}
    records = [one | evil if one["type"] == "transcript" else one | {"reason": EVIL} for one in records]
    for one in records:
        for word in one.get("words", ()):
            word["language"] = EVIL
    return [*records, {"schema": EVIL}, {"schema": "trunkline/1", "type": EVIL}, two_calls()[0] | {EVIL: 1}]


def report(tmp_path: Path, data: bytes, phrases: Sequence[str] = ()) -> tuple[str, str]:
    """What the command says, and the page."""
    (tmp_path / "records.jsonl").write_bytes(data)
    page = tmp_path / "report.html"
    told = write_report([str(tmp_path / "records.jsonl")], None, phrases, page)
    return told, page.read_text("utf-8")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags


def test_page_says_every_figure_and_what_it_counts(tmp_path: Path) -> None:
    told, page = report(tmp_path, lines(two_calls()), ["refund", "no such words"])
    assert told.endswith("report.html: 12 records of 2 calls, 0 doubles dropped")
    text = " ".join(parsed(page).text.split())
    assert "Every record could be read." in text
    assert "refund 2 2 no such words 0 0" in text
    for name, sentence in DEFINITIONS.items():
        assert f"{name} {sentence}" in text
    for title in ("Calls", "Talk share of the agent", "Silence and overlap", "Words a minute", "Languages", "Keywords"):
        assert f"<figcaption>{title}</figcaption><svg" in page
    assert "CA2 b2 sip, hangup" in text


def test_nothing_that_peers_say_is_markup(tmp_path: Path) -> None:
    _, page = report(tmp_path, lines(evil_call()), [EVIL])
    tags = parsed(page)
    assert not {"script", "img", "iframe", "link", "object", "foreignobject"} & {tag for tag, _ in tags.seen}
    assert not [(tag, name) for tag, names in tags.seen for name in names if name.startswith("on")]
    assert EVIL in tags.text


def test_page_takes_nothing_from_elsewhere(tmp_path: Path) -> None:
    _, page = report(tmp_path, lines(two_calls()))
    for tag, names in parsed(page).seen:
        for name, value in names.items():
            if name in ("src", "href", "xlink:href", "data"):
                assert (value or "").startswith("#"), (tag, name, value)
    assert re.findall(r"url\((?!#)", page) == []
    assert "default-src 'none'" in page


def test_damage_is_counted_and_named(tmp_path: Path) -> None:
    data = lines(two_calls()[:3]) + b'{"broken\n\xff\n\n' + lines([{"schema": "trunkline/1", "type": "mood"}])
    told, page = report(tmp_path, data + b"x" * 20 + lines(two_calls()[3:] + two_calls()[:2]))
    place = tmp_path / "records.jsonl"
    assert f"3 not read (not JSON; the first: {place}, line 4)" in told
    assert f"1 not read (unknown type mood; the first: {place}, line 7)" in told
    text = " ".join(parsed(page).text.split())
    assert f"3 not read: not JSON . The first: {place}, line 4" in text
    assert "2 doubles dropped" in text


def test_line_without_an_end_is_one_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkline_analytics.database.LONGEST_LINE", 4_000)
    told, _ = report(tmp_path, lines(two_calls()[:2]) + b"x" * 20_000 + b"\n" + lines(two_calls()[2:]))
    assert "12 records of 2 calls, 0 doubles dropped, 1 not read (line too long; " in told


def test_report_of_nothing_is_a_page(tmp_path: Path) -> None:
    told, page = report(tmp_path, b"")
    assert "0 records of 0 calls" in told
    assert "<figure>" not in page


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.jsonl", "nowhere.jsonl cannot be read: No such file or directory"),
        ("empty", "empty has no date=.../type=... folders"),
        ("x.parquet", "name the folder"),
        ("kafka://", "kafka:// is no broker: write HOST:PORT"),
        ("kafka://user:secret@host:1", "a broker is named without user and password"),
    ],
)
def test_source_that_is_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadSource, match=re.escape(message)) as caught:
        write_report([source], None, [], tmp_path / "report.html")
    assert "secret" not in str(caught.value)


def test_page_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    source = write(tmp_path / "records.jsonl", two_calls())
    with pytest.raises(StoreFailed, match=r"no/report\.html cannot be written: No such file or directory"):
        write_report([str(source)], None, [], tmp_path / "no" / "report.html")


def test_many_calls_are_all_in_the_figures_and_the_newest_in_the_table(tmp_path: Path) -> None:
    records = [one for number in range(MOST_CALLS + 5) for one in call([], f"CA{number}")]
    _, page = report(tmp_path, lines(records))
    assert f"The newest {MOST_CALLS} of {MOST_CALLS + 5}" in page
    assert page.count('class="id"') == MOST_CALLS


def test_plots_are_whole_svg(tmp_path: Path) -> None:
    source = write(tmp_path / "records.jsonl", [*two_calls(), *evil_call()])
    with database() as connection:
        load(connection, [str(source)], None)
        made = plots(compute(connection))
    assert len(made) == 8
    for _, svg in made:
        root = ElementTree.fromstring(svg)
        assert root.get("viewBox")
        used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", svg))
        assert used <= {element.get("id") for element in root.iter()}


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


async def test_page_fits_any_window_and_scheme_and_asks_for_nothing(tmp_path: Path, browser: Browser) -> None:
    report(tmp_path, lines([*two_calls(), *evil_call()]))
    address = (tmp_path / "report.html").as_uri()
    colours = set()
    schemes: list[Any] = ["light", "dark"]
    for scheme in schemes:
        for width in (360, 1280):
            page = await browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
            asked: list[Request] = []
            said: list[ConsoleMessage | Dialog] = []
            page.on("request", lambda request: asked.append(request))  # noqa: B023, PLW0108 - of this turn's page
            page.on("console", lambda message: said.append(message))  # noqa: B023, PLW0108
            page.on("dialog", lambda dialog: said.append(dialog))  # noqa: B023, PLW0108
            await page.goto(address)
            assert [request.url for request in asked] == [address]
            assert said == []
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            colours.add(await page.evaluate("getComputedStyle(document.querySelector('figure svg text')).fill"))
            assert await page.locator("figure svg").count() == 8
            await page.close()
    assert len(colours) == 2
