"""`trunkline demo`: the whole server with a call played into it through the real protocol."""

import asyncio
import contextlib

from rich.console import Console

from connectors.media_ws import TwilioPlayer
from engine.checkpoint.find import RELEASED_MODEL
from pipeline.bots import load_bot
from supervision import cancel_and_wait
from supervision.signals import handle_signals
from trunkline.config import Config
from trunkline.demo.console import ConsoleSink
from trunkline.demo.report import Report, report
from trunkline.demo.script import load_audio, load_script
from trunkline.destinations import make_destinations
from trunkline.engines import load_engine
from trunkline.server import Server

_END_TIMEOUT_S = 30.0

INTRODUCTION = f"""\
[bold]Trunkline demo[/bold]: a two-leg phone call, played into the real server at real-time pace.
The built-in demo model is tiny and knows only its small synthetic world: a few hundred kinds of sentences in
English, Spanish, German and French, spoken by speech synthesisers. Outside it, it writes nonsense.
For real calls set [bold]TRUNKLINE_ENGINE_CHECKPOINT={RELEASED_MODEL}[/bold]
(or the path of a .nemo file), or the same in trunkline.toml: \\[engine] checkpoint = "...".
"""


async def run_demo(config: Config, *, once: bool) -> int:
    """Play the bundled call, show it, sum it up. Returns the exit code: 0 where the call's records are complete."""
    console = Console()
    console.print(INTRODUCTION)
    screen = ConsoleSink(console)
    destinations = make_destinations(config, [screen])
    bots = [load_bot(plugin) for plugin in config.bots.plugins]
    server = Server(config, load_engine(config.engine), destinations=destinations, bots=bots)
    stop = asyncio.Event()
    handle_signals(stop.set)
    async with server.running() as url:
        inbound, outbound = load_audio()
        player = TwilioPlayer(
            url.replace("http", "ws", 1) + config.twilio.path,
            inbound,
            outbound,
            parameters={"agent": "Demo agent", "queue": "demo", "from": "+15550100", "to": "+15550199"},
            auth_token=config.twilio.auth_token,
            signed_url=config.twilio.public_url,
        )
        page = f"{url}/#call={player.call_sid}"
        console.print(f"Live page: [link={page}]{page}[/link]\n", highlight=False, soft_wrap=True)
        playing = asyncio.create_task(player.play())
        waiting = asyncio.create_task(stop.wait())
        await asyncio.wait([playing, waiting], return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            await cancel_and_wait(playing, waiting)
            console.print("Stopped before the call was over.")
            return 130
        await playing
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(screen.ended.wait(), _END_TIMEOUT_S)
        result = report(screen.records, load_script())
        _print_summary(console, result, config, server.calls.config.chunk_ms)
        if not once:
            console.print(f"\nThe page stays open at {url}. Ctrl-C ends the demo.", highlight=False)
            await waiting
        waiting.cancel()
    return 1 if result.faults else 0


def _print_summary(console: Console, result: Report, config: Config, chunk_ms: int) -> None:
    console.print()
    console.print(
        f"[bold]{result.words} words[/bold], word error rate {100 * result.errors.rate:.1f} % against the script "
        f"(case and punctuation count), language right in {result.right_languages} of {result.lines} sentences",
        highlight=False,
    )
    console.print(
        f"latency, audio received to record emitted: p50 {result.p50_latency_ms:.0f} ms, "
        f"p95 {result.p95_latency_ms:.0f} ms ({chunk_ms} ms chunks)",
        highlight=False,
    )
    if config.jsonl.path:
        console.print(f"records: {config.jsonl.path}", highlight=False, soft_wrap=True)
    for fault in result.faults:
        console.print(f"[red]incomplete: {fault}[/red]", highlight=False)
