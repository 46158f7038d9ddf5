"""From the options to a plan, a caller and a source; the report on the terminal."""

import argparse
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from connectors.sip.message.errors import SipParseError
from connectors.sip.message.uri import SipUri, parse_uri
from trunkline.errors import ConfigError
from trunkline.loadtest.outcome import Caller
from trunkline.loadtest.plan import DEFAULT_HTTP_PORT, Plan
from trunkline.loadtest.report import LoadReport, Thresholds
from trunkline.loadtest.run import LoadTest
from trunkline.loadtest.script import CallScript, bundled, from_files
from trunkline.loadtest.sip_caller import SipCaller
from trunkline.loadtest.sources import FileSource, LiveSource, RecordSource
from trunkline.loadtest.tally import RecordTally
from trunkline.loadtest.twilio_caller import TwilioCaller

MISSED = 1
"""Exit code."""


async def run(options: argparse.Namespace) -> int:
    """0, or 1 where a threshold was missed. Raises `ConfigError`."""
    script = _script(options)
    caller = _caller(options, script)
    try:
        plan = Plan(options.calls, options.rate, options.hold, script.duration_s)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    tally = RecordTally(script)
    thresholds = Thresholds(
        options.max_p95_ms, options.max_setup_p95_ms, options.min_success, options.max_loss, options.max_wer
    )
    console = Console()
    console.print(
        f"{plan.calls} {caller.kind} calls at once to {options.target}, {plan.rate:g} new ones a second, "
        f"{plan.end_s:.0f} s in all; tracks: {', '.join(caller.tracks)}",
        highlight=False,
    )
    with _display(console) as live:
        test = LoadTest(plan, caller, tally, _source(options, tally), on_change=lambda: live.update(_progress(test)))
        report = await test.run(thresholds)
    console.print(_table(report))
    for miss in report.missed:
        console.print(f"[red]missed:[/red] {miss}", highlight=False)
    if options.json:
        print(json.dumps(report.as_json()), flush=True)
    return MISSED if report.missed else 0


def _script(options: argparse.Namespace) -> CallScript:
    if options.script is not None and options.wav is None:
        raise ConfigError("--script says what is said in --wav FILE: give both")
    script = bundled() if options.wav is None else from_files(options.wav, options.script)
    one = options.track or ("inbound" if options.target.startswith("sip:") and not options.siprec else None)
    return script if one is None else script.only(one)


def _caller(options: argparse.Namespace, script: CallScript) -> Caller:
    scheme = options.target.partition(":")[0].lower()
    if scheme in ("ws", "wss"):
        if options.siprec:
            raise ConfigError("--siprec needs a sip: target")
        if not urlsplit(options.target).netloc:
            raise ConfigError(f"{options.target!r} is no address: use ws://HOST:PORT/twilio")
        return TwilioCaller(
            options.target,
            script,
            parameters={"from": options.from_},
            auth_token=options.auth_token,
            signed_url=options.signed_url,
        )
    if scheme == "sip":
        return SipCaller(
            _sip_uri(options.target),
            script,
            recording=options.siprec,
            user=options.from_,
            credentials=None if options.user is None else (options.user, options.password or ""),
            local_address=options.local_address,
        )
    raise ConfigError(f"{options.target!r} is no target: use ws://HOST:PORT/twilio or sip:NUMBER@HOST:PORT")


def _sip_uri(text: str) -> SipUri:
    try:
        uri = parse_uri(text, "target")
    except SipParseError as error:
        raise ConfigError(f"{text!r} is no SIP address: {error}") from error
    if not isinstance(uri, SipUri) or uri.transport not in (None, "udp", "tcp"):
        raise ConfigError(f"{text!r}: only UDP and TCP can be called")
    return uri


def _source(options: argparse.Namespace, tally: RecordTally) -> RecordSource | None:
    where = options.records
    if where == "none":
        return None
    if where is None:
        parts = urlsplit(options.target)
        if parts.netloc:
            where = f"{'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc}"
        else:
            where = f"http://{_sip_uri(options.target).host}:{DEFAULT_HTTP_PORT}"
    if where.startswith(("http://", "https://")):
        return LiveSource(where.rstrip("/"), tally, token=options.token, most=options.follow)
    if where.startswith("kafka://"):
        from trunkline.loadtest.kafka_source import KafkaSource  # noqa: PLC0415 - loads Kafka's client

        return KafkaSource(where.removeprefix("kafka://"), tally)
    return FileSource(Path(where), tally)


@contextlib.contextmanager
def _display(console: Console) -> Iterator[Live]:
    """What is going on, where there is a terminal to show it on."""
    live = Live(console=console, auto_refresh=console.is_terminal, refresh_per_second=2, transient=True)
    if not console.is_terminal:
        yield live
        return
    with live:
        yield live


def _progress(test: LoadTest) -> Text:
    calls = test.outcomes.calls
    refused = sum(call.refused is not None for call in calls)
    return Text(f"{test.active} calls up, {len(calls)} over, {refused} refused")


def _table(report: LoadReport) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for title, value in _rows(report):
        table.add_row(title, value)
    return table


def _rows(report: LoadReport) -> Iterator[tuple[str, str]]:
    yield (
        "calls",
        (
            f"{report.placed} placed, {report.answered} answered, {report.completed} played to the end "
            f"({report.success:.1f} %), {report.most_at_once} at once"
        ),
    )
    yield (
        f"set-up ({report.setup})",
        (f"{report.setup_rate:.1f} calls/s, p50 {_ms(report.setup_p50_ms)}, p95 {_ms(report.setup_p95_ms)}"),
    )
    for cause, count in report.refusals.items():
        yield "refused", f"{count} x {cause}"
    for cause, count in report.broken.items():
        yield "broken off", f"{count} x {cause}"
    yield (
        "media",
        (
            f"{report.sent} packets sent, {report.counted} counted by the server, "
            f"{report.lost} lost and {report.late} late by its count, in {report.ended} calls with an END"
        ),
    )
    yield "media loss", "unknown" if report.loss is None else f"{report.loss:.2f} %"
    yield (
        "transcript latency",
        (
            f"p50 {_ms(report.latency_p50_ms)}, p95 {_ms(report.latency_p95_ms)}, p99 {_ms(report.latency_p99_ms)}, "
            f"of {report.transcripts} records"
        ),
    )
    yield "word errors", "unknown" if report.wer is None else f"{report.wer:.1f} % in {report.scored} calls"
    yield "this caller", f"late by {report.caller_behind_ms:.1f} ms at most"


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f} ms"
