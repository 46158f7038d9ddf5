"""The command line: `serve`, `demo`, `transcribe`, `loadtest`, `twiml`.

Exit codes: 0 done, 1 the work failed, 2 a mistake in the command or the configuration, 130 interrupted.
"""

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from trunkline.loadtest.command import add_arguments as add_loadtest_arguments
from trunkline.version import __version__

_Result = TypeVar("_Result")

_CHUNKS = (80, 160, 320, 560, 1120)


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
        print(f"trunkline: {error}", file=sys.stderr)
        return 2


def _is_for_people(error: Exception) -> bool:
    """Whether the error's message is one line that tells the user what to do."""
    from connectors.errors import ConnectorError
    from engine.errors import EngineError
    from pipeline.errors import PipelineError
    from sinks.errors import SinkError
    from trunkline.errors import TrunklineError

    return isinstance(error, TrunklineError | EngineError | PipelineError | SinkError | ConnectorError)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trunkline", description="Live, self-hosted transcripts of every phone call.")
    parser.add_argument("--version", action="version", version=f"trunkline {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the server")
    serve.set_defaults(command=_serve)
    _common(serve)

    demo = commands.add_parser("demo", help="run the server and play the bundled call into it")
    demo.set_defaults(command=_demo)
    _common(demo)
    demo.add_argument("--once", action="store_true", help="exit after the call: 0 only if its records are complete")
    demo.add_argument("--records", default="trunkline-demo.jsonl", metavar="FILE", help="where the records go")

    transcribe = commands.add_parser("transcribe", help="transcribe audio files, channels as legs")
    transcribe.set_defaults(command=_transcribe)
    transcribe.add_argument("files", nargs="+", type=Path, metavar="FILE", help="any format and rate libsndfile reads")
    transcribe.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: trunkline.toml)")
    transcribe.add_argument("--json", action="store_true", help="transcript records as JSON lines instead of text")
    transcribe.add_argument("--language", metavar="LOCALE", help="e.g. es-US (default: from the configuration, auto)")
    transcribe.add_argument("--chunk-ms", type=int, choices=_CHUNKS, default=1120, help="(default: %(default)s)")

    loadtest = commands.add_parser("loadtest", help="place many calls against a server and measure")
    loadtest.set_defaults(command=_loadtest)
    add_loadtest_arguments(loadtest)

    twiml = commands.add_parser("twiml", help="print the TwiML that points a Twilio number at this server")
    twiml.set_defaults(command=_twiml)
    twiml.add_argument("url", help="public address of the server: wss://HOST/twilio")
    twiml.add_argument("--track", choices=("inbound_track", "outbound_track", "both_tracks"), default="both_tracks")
    twiml.add_argument("--bot", action="store_true", help="hand the call to a voice bot instead of listening in")
    twiml.add_argument("--dial", metavar="NUMBER", help="number or SIP address that the call goes on to")
    twiml.add_argument(
        "--numbers", action="store_true", help="pass the caller's and the called number on (for a TwiML Bin)"
    )
    twiml.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE", help="becomes call metadata")
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: trunkline.toml)")
    parser.add_argument("--port", type=int, metavar="N", help="port to listen on")
    parser.add_argument("--chunk-ms", type=int, choices=_CHUNKS, help="latency class of every leg")


def _serve(options: argparse.Namespace) -> int:
    from trunkline.config import load_config, with_options
    from trunkline.logs import set_up_logging
    from trunkline.server import Server, load_engine

    config = with_options(load_config(options.config, os.environ), port=options.port, chunk_ms=options.chunk_ms)
    set_up_logging(config.server.log_level, show_pii=config.server.log_pii)
    logger = logging.getLogger("trunkline")
    engine = load_engine(config.engine)

    async def serve() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with Server(config, engine).running() as url:
            logger.info("ready: page at %s, Twilio streams at %s", url, config.twilio.path)
            if config.twilio.auth_token is None and not config.server.is_loopback:
                logger.warning("anybody may stream to %s: set [twilio] auth_token", config.twilio.path)
            if config.engine.checkpoint is None:
                logger.warning("this is the demo model, it knows only a small synthetic world: set [engine] checkpoint")
            await stop.wait()
            logger.info("stopping")

    _run(serve())
    return 0


def _demo(options: argparse.Namespace) -> int:
    from trunkline.config import load_config, with_options
    from trunkline.demo.run import run_demo
    from trunkline.logs import set_up_logging

    config = load_config(options.config, os.environ)
    config = with_options(config, port=options.port, chunk_ms=options.chunk_ms, records=options.records)
    set_up_logging("WARNING")
    return _run(run_demo(config, once=options.once))


def _transcribe(options: argparse.Namespace) -> int:
    from trunkline.config import load_config
    from trunkline.server import load_engine
    from trunkline.transcribe import durations, transcribe

    config = load_config(options.config, os.environ)
    language = options.language or config.pipeline.language
    files = durations(options.files)
    return transcribe(load_engine(config.engine), files, options.chunk_ms, language, as_json=options.json)


def _loadtest(options: argparse.Namespace) -> int:
    from trunkline.loadtest.command import run_loadtest
    from trunkline.logs import set_up_logging

    set_up_logging("WARNING")
    return _run(run_loadtest(options))


def _twiml(options: argparse.Namespace) -> int:
    from connectors.media_ws.twiml import twiml
    from trunkline.errors import ConfigError

    parameters = {"from": "{{From}}", "to": "{{To}}"} if options.numbers else {}
    for item in options.parameter:
        name, equals, value = item.partition("=")
        if not equals:
            raise ConfigError(f"--parameter {item!r}: write it as NAME=VALUE")
        parameters[name] = value
    try:
        document = twiml(
            options.url,
            track=options.track,
            parameters=parameters,
            mode="converse" if options.bot else "listen",
            dial=options.dial,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    print(document, end="")
    return 0


def _run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run on uvloop, with everything loaded so far kept out of the garbage collector's rounds."""
    import uvloop

    gc.collect()
    gc.freeze()
    return uvloop.run(work)
