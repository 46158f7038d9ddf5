"""The command line: `serve`, `engine`, `demo`, `transcribe`, `loadtest`, `bench`, `doctor`, `kafka`, `webhooks`,
`analytics`, `twiml`.

Exit codes: 0 done, 1 the work failed (`transcribe`: in part, see docs/operating.md; `doctor`: it found a fault), 2 a
mistake in the command or the configuration, 130 interrupted.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from trunkline.loadtest.command import add_arguments as add_loadtest_arguments
from trunkline.version import __version__
from trunkline_analytics.command import add_arguments as add_analytics_arguments

_AT_ONCE = {"cpu": 16, "gpu": 256}
"""Channels that `transcribe` has under way, by the kind of device (docs/decisions/pipeline.md)."""

_DEMO_THREADS = 4
_DEMO_RECORDS = "trunkline-demo.jsonl"

_CHUNK_HELP = "latency class of the checkpoint: 80, 160, 320, 560 or 1120 for the released one"


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; never raises for what a user can get wrong."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - the reader went away: nothing more to say
        return 1
    except Exception as error:
        if not _is_for_people(error):
            raise
        print(f"trunkline: {_one_line(error)}", file=sys.stderr)
        return 2


def _is_for_people(error: Exception) -> bool:
    """Whether the error's message is one line that tells the user what to do."""
    from connectors.errors import ConnectorError
    from engine.errors import EngineError
    from pipeline.errors import PipelineError
    from sinks.errors import SinkError
    from trunkline.errors import TrunklineError
    from trunkline_analytics.errors import AnalyticsError

    rooms = TrunklineError | EngineError | PipelineError | SinkError | ConnectorError
    return isinstance(error, rooms | AnalyticsError)


def _one_line(error: Exception) -> str:
    """Names of files and what libraries say of them may hold anything."""
    from trunkline.logs import escaped

    return escaped(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trunkline", description="Live, self-hosted transcripts of every phone call.")
    parser.add_argument("--version", action="version", version=f"trunkline {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the server")
    serve.set_defaults(command=_serve)
    _common(serve)

    engine = commands.add_parser("engine", help="run an engine by itself, for the servers that connect to it")
    engine.set_defaults(command=_engine)
    engine.add_argument("--listen", required=True, metavar="ADDRESS", help="unix:/path or tcp:host:port")
    engine.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: trunkline.toml)")

    _add_demo(commands.add_parser("demo", help="run the server and play the bundled call into it"))

    transcribe = commands.add_parser("transcribe", help="transcribe audio files, channels as legs")
    transcribe.set_defaults(command=_transcribe)
    transcribe.add_argument(
        "files",
        nargs="+",
        type=_input,
        metavar="FILE",
        help="audio of any format; folders; - is standard input",
    )
    transcribe.add_argument(
        "--format", metavar="NAME:RATE:CHANNELS", help="of audio without a header, e.g. ulaw:8000, s16le:16000:2, g722"
    )
    transcribe.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: trunkline.toml)")
    transcribe.add_argument("--json", action="store_true", help="transcript records as JSON lines instead of text")
    transcribe.add_argument("--language", metavar="LOCALE", help="e.g. es-US (default: from the configuration, auto)")
    transcribe.add_argument(
        "--chunk-ms", type=_chunk_ms, metavar="MS", help=f"{_CHUNK_HELP} (default: 1120, or the longest)"
    )
    transcribe.add_argument(
        "--at-once", type=_positive, metavar="N", help="channels side by side (default: 16, 256 on a GPU)"
    )

    loadtest = commands.add_parser("loadtest", help="place many calls against a server and measure")
    loadtest.set_defaults(command=_loadtest)
    add_loadtest_arguments(loadtest)

    bench = commands.add_parser("bench", help="measure what this machine can carry")
    parts = bench.add_subparsers(required=True, metavar="PART")
    bench_engine = parts.add_parser("engine", help="step times, and how many sessions of each latency class they allow")
    bench_engine.set_defaults(command=_bench_engine)
    bench_engine.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: trunkline.toml)")
    bench_engine.add_argument("--json", action="store_true", help="one line of JSON instead of the table")

    doctor = commands.add_parser("doctor", help="look whether the configuration, this machine and its peers are fit")
    doctor.set_defaults(command=_doctor)
    doctor.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: trunkline.toml)")
    doctor.add_argument("--json", action="store_true", help="one line of JSON instead of the table")

    _add_kafka(commands.add_parser("kafka", help="make and check the topics, send dead letters again"))
    _add_webhooks(commands.add_parser("webhooks", help="send dead letters again"))

    analytics = commands.add_parser("analytics", help="records to Parquet, and a report on calls")
    analytics.set_defaults(command=_analytics)
    add_analytics_arguments(analytics)

    twiml = commands.add_parser("twiml", help="print the TwiML that points a Twilio number at this server")
    twiml.set_defaults(command=_twiml)
    twiml.add_argument("url", help="public address of the server: wss://HOST/twilio")
    twiml.add_argument(
        "--track", choices=("inbound_track", "outbound_track", "both_tracks"), help="(default: both_tracks)"
    )
    twiml.add_argument("--bot", action="store_true", help="hand the call to a voice bot instead of listening in")
    twiml.add_argument(
        "--dial", metavar="TARGET", help="where the call goes on: a number, client:, sip:, queue:, conference:"
    )
    twiml.add_argument(
        "--numbers", action="store_true", help="pass the caller's and the called number on (for a TwiML Bin)"
    )
    twiml.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE", help="becomes call metadata")
    return parser


def _add_demo(demo: argparse.ArgumentParser) -> None:
    demo.set_defaults(command=_demo)
    _common(demo)
    demo.add_argument("--once", action="store_true", help="exit after the call: 0 only if its records are complete")
    demo.add_argument("--bot", action="store_true", help="a synthetic caller talks with the example bot instead")
    demo.add_argument(
        "--records",
        metavar="FILE",
        help=f"where the records go (default: [jsonl] path, where it is set, else {_DEMO_RECORDS})",
    )


def _add_kafka(kafka: argparse.ArgumentParser) -> None:
    parts = kafka.add_subparsers(required=True, metavar="PART")
    for part, text in (
        ("init", "make the topics that are missing"),
        ("check", "compare the topics with the configuration: 1 where records cannot be delivered"),
        ("replay-dead-letters", "send dead letters again, to the topics that they were for"),
    ):
        of_kafka = parts.add_parser(part, help=text)
        of_kafka.set_defaults(command=_kafka, part=part)
        of_kafka.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: trunkline.toml)")


def _add_webhooks(webhooks: argparse.ArgumentParser) -> None:
    parts = webhooks.add_subparsers(required=True, metavar="PART")
    replay = parts.add_parser("replay-dead-letters", help="send dead letters again, to their receivers")
    replay.set_defaults(command=_webhooks)
    replay.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: trunkline.toml)")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _input(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("a file name is empty")
    return Path("/dev/stdin" if text == "-" else text)


def _chunk_ms(text: str) -> int:
    """A chunk is whole frames of 80 ms; whether the checkpoint has it is known once it is loaded."""
    number = int(text)
    if not 80 <= number <= 8_000 or number % 80:
        raise argparse.ArgumentTypeError(f"{text} is not a multiple of 80 up to 8000")
    return number


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: trunkline.toml)")
    parser.add_argument("--port", type=int, metavar="N", help="port to listen on")
    parser.add_argument("--chunk-ms", type=_chunk_ms, metavar="MS", help=f"{_CHUNK_HELP}, for every leg")


def _serve(options: argparse.Namespace) -> int:
    # Before numpy: a tick's matrix product is small, and spread over threads it costs more and comes late.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from pipeline.bots import load_bot
    from trunkline.config_file import load_config, with_options
    from trunkline.descriptors import raise_descriptor_limit
    from trunkline.destinations import make_destinations
    from trunkline.doors import log_open_doors
    from trunkline.engines import find_engine
    from trunkline.logs import set_up_logging
    from trunkline.loop import run
    from trunkline.running import Running
    from trunkline.server import Server

    config = with_options(load_config(options.config, os.environ), port=options.port, chunk_ms=options.chunk_ms)
    set_up_logging(config.server.log_level, show_pii=config.server.log_pii)
    raise_descriptor_limit()
    logger = logging.getLogger("trunkline")
    destinations = make_destinations(config)
    bots = [load_bot(plugin) for plugin in config.bots.plugins]
    engine = find_engine(config.engine, config.pipeline.chunk_ms)

    async def serve() -> int:
        server = Server(config, engine, destinations=destinations, bots=bots)
        running = Running(server, lambda: load_config(options.config, os.environ))
        async with server.running() as url:
            logger.info("ready: page at %s, Twilio streams at %s", url, config.twilio.path)
            log_open_doors(config)
            if config.engine.checkpoint is None and ":" not in config.engine.process:
                logger.warning("this is the demo model, it knows only a small synthetic world: set [engine] checkpoint")
            return await running.until_stopped()

    return run(serve())


def _engine(options: argparse.Namespace) -> int:
    from engine.remote import parse_address
    from engine.remote.server import serve_address
    from trunkline.config_file import load_config
    from trunkline.descriptors import raise_descriptor_limit
    from trunkline.doors import engine_door
    from trunkline.engines import load_engine
    from trunkline.errors import ConfigError
    from trunkline.logs import set_up_logging

    config = load_config(options.config, os.environ)
    set_up_logging(config.server.log_level)
    raise_descriptor_limit()
    try:
        parse_address(options.listen)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    door = engine_door(options.listen)
    if door is not None and config.server.strict:
        raise ConfigError(f"[server] strict = true: {door}")
    if door is not None:
        logging.getLogger("trunkline").warning("%s", door)
    engine = load_engine(config.engine, serving=True, chunk_ms=config.pipeline.chunk_ms)
    return serve_address(engine, options.listen)


def _demo(options: argparse.Namespace) -> int:
    from sinks.config import JsonlConfig
    from trunkline.config_file import load_config, with_options
    from trunkline.demo.bot import run_bot_demo
    from trunkline.demo.run import run_demo
    from trunkline.doors import log_open_doors
    from trunkline.logs import set_up_logging
    from trunkline.loop import run

    config = load_config(options.config, os.environ)
    records = options.records or (_DEMO_RECORDS if config.jsonl.path == JsonlConfig().path else None)
    config = with_options(config, port=options.port, chunk_ms=options.chunk_ms, records=records)
    set_up_logging("WARNING")
    log_open_doors(config)
    return run((run_bot_demo if options.bot else run_demo)(config, once=options.once))


def _transcribe(options: argparse.Namespace) -> int:
    from functools import partial

    import msgspec

    from engine import SessionOptions
    from engine.chunking import LONG_CHUNK_MS, nearest_class
    from pipeline.errors import AudioFileError
    from pipeline.raw_format import parse_raw_format
    from pipeline.segments import Segmenter
    from trunkline.config_file import load_config
    from trunkline.engines import load_engine
    from trunkline.errors import OutputFailed
    from trunkline.inputs import Folders, Inputs
    from trunkline.transcribe import check_output, durations, say, transcribe

    check_output()
    config = load_config(options.config, os.environ)
    raw = None if options.format is None else parse_raw_format(options.format)
    pipeline = config.pipeline
    at_once = options.at_once or _AT_ONCE["cpu" if config.engine.device == "cpu" else "gpu"]
    with Inputs(raw, say) as inputs:
        errors: list[AudioFileError] = []
        folders = Folders(errors.append)
        files, unreadable = durations(folders.files(options.files), inputs.open, at_once=at_once)
        errors += unreadable
        for error in errors:
            say(str(error))
        if not files:
            return 2
        threads = config.engine.threads
        if threads is None and config.engine.checkpoint is None:  # chunks this long are work for more than one thread
            threads = min(os.cpu_count() or 1, _DEMO_THREADS)
        engine = load_engine(msgspec.structs.replace(config.engine, max_sessions=at_once, threads=threads))
        chunk_ms = options.chunk_ms or nearest_class(LONG_CHUNK_MS, engine.chunks_ms)
        engine.reserve(chunk_ms)  # reported before the first file where the checkpoint has no such class
        try:
            failed = transcribe(
                engine,
                files,
                SessionOptions(chunk_ms, options.language or pipeline.language, pipeline.language_lock),
                partial(Segmenter, silence_s=pipeline.silence_ms / 1000, max_segment_s=pipeline.max_segment_s),
                at_once=at_once,
                as_json=options.json,
                open_file=inputs.open,
                left_out=folders.left_out,
            )
        except OutputFailed as error:
            say(str(error))
            return 1
    return 1 if failed or errors else 0


def _loadtest(options: argparse.Namespace) -> int:
    from trunkline.loadtest.command import run_loadtest
    from trunkline.logs import set_up_logging
    from trunkline.loop import run

    set_up_logging("WARNING")
    return run(run_loadtest(options))


def _bench_engine(options: argparse.Namespace) -> int:
    from trunkline.bench import bench_engine
    from trunkline.config_file import load_config

    print(bench_engine(load_config(options.config, os.environ).engine, as_json=options.json))
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from trunkline.doctor.command import doctor
    from trunkline.logs import set_up_logging

    set_up_logging("CRITICAL")  # what goes wrong is among the findings
    return doctor(options.config, os.environ, as_json=options.json)


def _kafka(options: argparse.Namespace) -> int:
    from trunkline.config_file import load_config
    from trunkline.errors import ConfigError
    from trunkline.kafka_command import PARTS

    config = load_config(options.config, os.environ).kafka
    if config is None:
        raise ConfigError("the configuration has no [kafka] section")
    return PARTS[options.part](config)


def _webhooks(options: argparse.Namespace) -> int:
    from trunkline.config_file import load_config
    from trunkline.errors import ConfigError
    from trunkline.webhooks_command import replay_dead_letters

    config = load_config(options.config, os.environ).webhooks
    if config is None:
        raise ConfigError("the configuration has no [webhooks] section")
    return replay_dead_letters(config)


def _analytics(options: argparse.Namespace) -> int:
    from trunkline.config_file import load_config
    from trunkline.logs import escaped, set_up_logging
    from trunkline_analytics.command import run

    config = load_config(getattr(options, "config", None), os.environ)
    set_up_logging("INFO" if options.part == "collect" else "WARNING")
    print(escaped(run(options, config.kafka)))
    return 0


def _twiml(options: argparse.Namespace) -> int:
    from connectors.media_ws.twilio.twiml import twiml
    from trunkline.errors import ConfigError

    parameters = {"from": "{{From}}", "to": "{{To}}"} if options.numbers else {}
    given: dict[str, str] = {}
    for item in options.parameter:
        name, equals, value = item.partition("=")
        if not equals:
            raise ConfigError(f"--parameter {item!r}: write it as NAME=VALUE")
        if name in given:
            raise ConfigError(f"--parameter {name!r}: given twice")
        given[name] = value
    parameters |= given
    if options.bot and options.track not in (None, "inbound_track"):
        raise ConfigError("--track: a bot hears the inbound track, there is no choice")
    try:
        document = twiml(
            options.url,
            track=options.track or "both_tracks",
            parameters=parameters,
            mode="converse" if options.bot else "listen",
            dial=options.dial,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    print(document.encode("ascii", "xmlcharrefreplace").decode(), end="")  # whatever the terminal's encoding is
    return 0
