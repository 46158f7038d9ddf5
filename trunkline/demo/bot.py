"""`trunkline demo --bot`: the whole server with the example bot, and a synthetic caller that talks with it live."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from rich.console import Console

from connectors.errors import StreamClosed
from connectors.media_ws import TwilioPlayer
from sinks.record import AnyRecord, CallAction, CallRecord
from supervision import cancel_and_wait
from supervision.signals import handle_signals
from trunkline.config import Config
from trunkline.demo.caller import SCRIPT, Caller, render, tape
from trunkline.demo.console import ConsoleSink
from trunkline.demo.report import faults
from trunkline.destinations import make_destinations
from trunkline.engines import load_engine
from trunkline.errors import DemoImpossible
from trunkline.server import Server
from trunkline_bot import OrderBot
from trunkline_bot.conversation import HUNG_UP
from trunkline_bot.own_leg import NAME as BOT_LEG
from trunkline_bot.voice import INSTALL, EspeakVoice, VoiceFailed, has_espeak

CALLER_LEG, CALLER_VARIANT = "inbound", "+f2"
_END_TIMEOUT_S = 30.0

INTRODUCTION = """\
[bold]Trunkline demo of a bot[/bold]: a synthetic caller talks with the example bot (examples/bot), live.
Green is what the caller says, cyan what the bot says, both as they are recognised from the audio.
The caller interrupts the greeting, pauses in the middle of a number, and goes on in Spanish.
"""


async def run_bot_demo(config: Config, *, once: bool) -> int:
    """Let them talk, show it, sum it up. Returns the exit code: 0 where the bot came to its end and the call's records
    are complete. Raises `DemoImpossible`."""
    if not has_espeak():
        raise DemoImpossible(f"the bot and its caller have no voice: {INSTALL}")
    try:
        lines = await render(SCRIPT, EspeakVoice(CALLER_VARIANT))
    except VoiceFailed as error:
        raise DemoImpossible(str(error)) from error
    bot = OrderBot()
    console = Console()
    console.print(INTRODUCTION)
    screen = ConsoleSink(console)
    destinations = make_destinations(config, [screen])
    server = Server(config, load_engine(config.engine), destinations=destinations, bots=[bot])
    stop = asyncio.Event()
    handle_signals(stop.set)
    async with server.running() as url:
        line = tape()
        player = TwilioPlayer(
            url.replace("http", "ws", 1) + config.twilio.path,
            line,
            None,
            parameters={"agent": "Example bot", "queue": "demo", "from": "+15550100", "to": "+15550199"},
            auth_token=config.twilio.auth_token,
            signed_url=config.twilio.public_url,
        )
        page = f"{url}/#call={player.call_sid}"
        console.print(f"Live page: [link={page}]{page}[/link]\n", highlight=False, soft_wrap=True)
        talking = asyncio.create_task(_talk(player, Caller(player, line).talk(lines)))
        waiting = asyncio.create_task(stop.wait())
        await asyncio.wait([talking, waiting], return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            await cancel_and_wait(talking, waiting)
            console.print("Stopped before the call was over.")
            return 130
        await talking
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(screen.ended.wait(), _END_TIMEOUT_S)
        found = _faults(screen.records)
        _print_summary(console, found, config)
        if not once:
            console.print(f"\nThe page stays open at {url}. Ctrl-C ends the demo.", highlight=False)
            await waiting
        waiting.cancel()
    return 1 if found else 0


async def _talk(player: TwilioPlayer, talk: Coroutine[Any, Any, None]) -> None:
    """Until one of them hangs up."""
    talking = asyncio.create_task(talk)
    try:
        with contextlib.suppress(StreamClosed):  # the bot hung up
            await player.play()
    finally:
        await cancel_and_wait(talking)


def _faults(records: list[AnyRecord]) -> list[str]:
    """Everything that a good call's records do not show."""
    found = faults(records, {CALLER_LEG, BOT_LEG})
    ends = [one for one in records if isinstance(one, CallRecord) and one.action is CallAction.END]
    if ends and ends[-1].reason != HUNG_UP:
        found.append(f"the bot did not come to its end: {ends[-1].reason}")
    return found


def _print_summary(console: Console, found: list[str], config: Config) -> None:
    console.print()
    if config.jsonl.path:
        console.print(f"records: {config.jsonl.path}", highlight=False, soft_wrap=True)
    console.print("call it yourself: docs/bots.md", highlight=False)
    for fault in found:
        console.print(f"[red]incomplete: {fault}[/red]", highlight=False)
