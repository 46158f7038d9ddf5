"""The command's options, and its work. Light to import: what does the work is loaded when there is some."""

import argparse
from pathlib import Path

from trunkline.loadtest.plan import DEFAULT_HTTP_PORT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `trunkline loadtest`."""
    parser.add_argument("target", help="ws(s)://HOST/twilio, or sip:NUMBER@HOST[:PORT][;transport=tcp]")
    parser.add_argument("--siprec", action="store_true", help="recording sessions with two streams instead of calls")
    parser.add_argument("--calls", type=int, default=10, metavar="N", help="calls at once (default: %(default)s)")
    parser.add_argument(
        "--rate", type=float, default=2.0, metavar="N", help="new calls a second (default: %(default)s)"
    )
    parser.add_argument(
        "--hold", type=float, default=60.0, metavar="S", help="seconds to keep them all up (default: %(default)s)"
    )
    parser.add_argument("--wav", type=Path, metavar="FILE", help="what to play (default: the bundled demo call)")
    parser.add_argument("--script", type=Path, metavar="FILE", help="what is said in it, JSON as the demo's script")
    parser.add_argument("--track", choices=("inbound", "outbound"), help="play this one only (SIP: default inbound)")
    parser.add_argument(
        "--records",
        metavar="WHERE",
        help="http(s)://HOST:PORT of the live API, a JSON lines file, kafka://HOST:PORT, or none "
        f"(default: the target's host, of SIP on port {DEFAULT_HTTP_PORT})",
    )
    parser.add_argument("--token", help="of the live API")
    parser.add_argument(
        "--follow", type=int, default=50, metavar="N", help="transcripts read at once by the API (default: %(default)s)"
    )
    parser.add_argument("--auth-token", metavar="TOKEN", help="sign Twilio's upgrades with it")
    parser.add_argument("--signed-url", metavar="URL", help="public URL that the signature is over")
    parser.add_argument(
        "--from", dest="from_", default="loadtest", metavar="USER", help="who calls (default: %(default)s)"
    )
    parser.add_argument("--user", help="for digest authentication")
    parser.add_argument("--password", help="for digest authentication")
    parser.add_argument("--local-address", metavar="IP", help="of SIP and RTP (default: of the route to the target)")
    parser.add_argument("--max-p95-ms", type=float, metavar="MS", help="fail above this transcript latency p95")
    parser.add_argument("--max-setup-p95-ms", type=float, metavar="MS", help="fail above this set-up time p95")
    parser.add_argument("--min-success", type=float, metavar="PERCENT", help="fail below this share of calls")
    parser.add_argument("--max-loss", type=float, metavar="PERCENT", help="fail above this share of packets lost")
    parser.add_argument("--max-wer", type=float, metavar="PERCENT", help="fail above this word error rate")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")


async def run_loadtest(options: argparse.Namespace) -> int:
    """0, or 1 where a threshold was missed. Raises `ConfigError`."""
    from trunkline.loadtest import terminal  # noqa: PLC0415

    return await terminal.run(options)
