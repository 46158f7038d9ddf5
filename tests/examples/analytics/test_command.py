"""`trunkline analytics` as a user runs it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from testing.services.ports import free_ports
from tests.examples.analytics.calls import Fields, call, write
from tests.examples.analytics.topics import fresh_topics, send
from tests.trunkline.command import ENVIRONMENT, trunkline
from trunkline.cli import main
from trunkline.version import __version__
from trunkline_analytics.command import NEEDED


def records() -> list[Fields]:
    said = [("agent", 0.0, "hello there", "en-US"), ("caller", 2.0, "hola", "es-US")]
    return [one for number in range(4) for one in call(said, f"CA{number}", run="a1" if number % 2 else None)]


def body(page: Path) -> str:
    """All but where the records came from."""
    before, _, after = page.read_text("utf-8").partition("</header>")
    return before[: before.index("<header>")] + after


def test_topics_files_and_folders_give_the_same_report(
    kafka_bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    config = fresh_topics(kafka_bootstrap)
    send(config, records())
    write(tmp_path / "records.jsonl", records())
    (tmp_path / "trunkline.toml").write_text(
        f'[kafka]\nbootstrap_servers = "nowhere:1"\ntranscripts_topic = "{config.transcripts_topic}"\n'
        f'partials_topic = "{config.partials_topic}"\nevents_topic = "{config.events_topic}"\n'
    )
    broker = f"kafka://{kafka_bootstrap}"
    collect = ["collect", "parquet", "--broker", kafka_bootstrap, "--once", "--group", config.events_topic]
    assert main(["analytics", *collect]) == 0
    assert capsys.readouterr().out == "24 records written, 0 doubles dropped\n"
    assert main(["analytics", "compact", "parquet"]) == 0
    assert re.fullmatch(r"\d+ files became \d, 0 doubles dropped\n", capsys.readouterr().out)
    pages: list[str] = []
    for source in ("records.jsonl", "parquet", broker):
        name = f"{len(pages)}.html"
        assert main(["analytics", "report", source, "-o", name]) == 0
        assert capsys.readouterr().out == f"{name}: 24 records of 4 calls, 0 doubles dropped\n"
        pages.append(body(tmp_path / name))
    assert pages[0] == pages[1] == pages[2]


def test_sources_may_be_read_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.jsonl", records())
    write(tmp_path / "b.jsonl", records()[:6])
    assert main(["analytics", "report", "a.jsonl", "b.jsonl", "a.jsonl"]) == 0
    assert capsys.readouterr().out == "trunkline-report.html: 24 records of 4 calls, 6 doubles dropped\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "nowhere\n.jsonl"], r"nowhere\n.jsonl cannot be read: No such file or directory"),
        (["collect", "folder"], "which broker? Name it as HOST:PORT or set [kafka] bootstrap_servers"),
        (["collect", "folder", "--broker", "http://a:1"], "http://a:1 is no broker: write HOST:PORT"),
        (["collect", "folder", "--broker", "kafka://:"], "kafka://: is no broker"),
        (["collect", "folder", "--broker", "a"], "a is no broker: write HOST:PORT[,HOST:PORT]"),
        (["report", "kafka://u:secret@a:1"], "a broker is named without user and password"),
        (["compact", "nowhere"], "nowhere is no folder"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["analytics", *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    [line] = output.err.splitlines()
    assert line.startswith("trunkline: ")
    assert message in line


def test_broker_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """In a process of its own: the client leaves a socket open for every attempt that is refused."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    done = trunkline("analytics", "report", f"kafka://{address}", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"trunkline: kafka at {address} does not answer")
    assert done.stderr.count("\n") == 1


def test_without_the_extra_it_says_what_to_install_and_the_rest_goes_on(tmp_path: Path) -> None:
    code = f"""
import sys
for package in {NEEDED!r}:
    sys.modules[package] = None
from trunkline.cli import main
for line in (["report", "a.jsonl"], ["compact", "folder"], ["collect", "folder", "--broker", "kafka://a:1"]):
    assert main(["analytics", *line]) == 2
main(["--version"])
"""
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"trunkline {__version__}\n"), done.stderr
    said = [re.sub("needs [a-z0-9]+:", "needs ...:", one) for one in done.stderr.splitlines()]
    assert said == ["trunkline: trunkline analytics needs ...: pip install 'trunkline[analytics]'"] * 3
