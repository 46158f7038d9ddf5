"""The command `trunkline analytics`: its arguments, and its parts, each of which loads what it needs."""

import argparse
from pathlib import Path

from sinks.config import KafkaConfig
from trunkline_analytics.errors import AnalyticsError

NEEDED = ("duckdb", "jinja2", "markupsafe", "matplotlib", "pyarrow")
"""Packages of the extra `analytics`."""

_BROKER_HELP = "HOST:PORT[,HOST:PORT] (default: [kafka] of the configuration, which also has the names of the "
_BROKER_HELP += "topics, user, password and TLS)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command, into its parser."""
    parts = parser.add_subparsers(required=True, metavar="PART", dest="part")

    collect = parts.add_parser("collect", help="read the topics, as a consumer group, into a folder of Parquet files")
    collect.add_argument("folder", type=Path, metavar="FOLDER", help="date=.../type=.../ are made in it")
    collect.add_argument("--broker", metavar="ADDRESS", help=_BROKER_HELP)
    collect.add_argument(
        "--group", default="trunkline-analytics", metavar="NAME", help="consumer group (default: %(default)s)"
    )
    collect.add_argument(
        "--instance",
        metavar="NAME",
        help="of this process, the same after a restart: the group then gives it its partitions back at once",
    )
    collect.add_argument(
        "--records", type=_positive, default=50_000, metavar="N", help="in a batch (default: %(default)s)"
    )
    collect.add_argument(
        "--seconds", type=_positive, default=60, metavar="N", help="until a batch is written (default: %(default)s)"
    )
    collect.add_argument("--once", action="store_true", help="stop where the topics end now")
    _config(collect)

    compact = parts.add_parser("compact", help="put small Parquet files together, also while others are collected")
    compact.add_argument("folder", type=Path, metavar="FOLDER")

    report = parts.add_parser("report", help="write an HTML report on calls")
    report.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="JSON lines (of the JSON lines sink or `trunkline transcribe --json`), a folder of `collect`, or "
        "kafka://HOST:PORT, which is read to its end",
    )
    report.add_argument("-o", "--output", type=Path, default=Path("trunkline-report.html"), metavar="FILE")
    report.add_argument("--keyword", action="append", default=[], metavar="WORDS", help="to be counted; may come again")
    _config(report)


def run(options: argparse.Namespace, config: KafkaConfig | None) -> str:
    """Does the part; returns what was done, one line for people, which may hold anything. Raises `AnalyticsError`."""
    try:
        return _run(options, config)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in NEEDED:
            raise
        raise AnalyticsError(f"trunkline analytics needs {package}: pip install 'trunkline[analytics]'") from error


def _run(options: argparse.Namespace, config: KafkaConfig | None) -> str:
    if options.part == "compact":
        from trunkline_analytics.compact import compact

        done = compact(options.folder)
        damaged = "".join(f", damaged and left as it is: {name}" for name in done.damaged)
        return f"{done.files} files became {done.into}, {done.doubles} doubles dropped{damaged}"
    if options.part == "collect":
        from trunkline_analytics.collect import CollectOptions, collect
        from trunkline_analytics.topics import with_address

        settings = CollectOptions(
            group=options.group,
            instance=options.instance,
            batch_records=options.records,
            batch_s=options.seconds,
            once=options.once,
        )
        return collect(with_address(config, options.broker), options.folder, settings)
    from trunkline_analytics.report import write_report

    return write_report(options.sources, config, options.keyword, options.output)


def _config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: trunkline.toml)")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number
