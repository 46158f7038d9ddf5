"""The example bot on real calls, with the demo model: by Twilio's protocol, by baresip and from a browser."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import soundfile
from numpy.typing import NDArray
from playwright.async_api import expect

from connectors.errors import StreamClosed
from connectors.media_ws import TwilioPlayer
from connectors.sip.config import SipConfig
from tests.connectors.sip import softphone
from tests.examples.bot.server import CALLER_VARIANT, Watch, speech, talking_server
from tests.liveview.browser import BEFORE_SCRIPTS, chromium
from tests.services.missing import missing
from trunkline.demo.caller import SCRIPT, Caller, render, tape
from trunkline_bot import OrderBot
from trunkline_bot.conversation import HUNG_UP
from trunkline_bot.phrases import PHRASES
from trunkline_bot.voice import EspeakVoice, has_espeak

pytestmark = pytest.mark.asyncio(loop_scope="module")

CODEC, CODEC_HZ = "PCMU/8000/1", 8_000
MOST_AFTER_A_WORD_S = 0.2
GREETING_S = 4.0
"""The greeting with its question takes longer."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[tuple[str, Watch]]:
    if not has_espeak():
        missing("espeak-ng is not installed: apt-get install espeak-ng")
    host = softphone.own_address()
    async with talking_server(SipConfig(udp=f"{host}:0", tcp=None)) as (url, watch):
        yield url, watch
    assert watch.server.calls.bots.stats.faults == 0
    assert not watch.server.calls.supervisor.faults


@pytest.fixture
def watch(running: tuple[str, Watch]) -> Watch:
    running[1].clear()
    return running[1]


@pytest.fixture
def url(running: tuple[str, Watch]) -> str:
    return running[0]


def check_interruption(watch: Watch, language: str) -> None:
    """The caller spoke into the greeting: from the first word on hardly anything more of it went out, and the bot
    answered what was said, once it was final, in its language."""
    word, final = watch.of_caller(final=False), watch.of_caller(final=True)
    assert 0 < watch.said_s[word] - watch.said_s[0] < GREETING_S
    assert watch.said_s[final] - watch.said_s[word] <= MOST_AFTER_A_WORD_S
    greeting = PHRASES["en-US"]
    assert watch.sentences[:3] == [
        (greeting.greeting, "en-US"),
        (greeting.question, "en-US"),
        (PHRASES[language].question, language),
    ]
    assert watch.finals(of_bot=True)[0].speaker_role == "agent"


def check_end(watch: Watch, language: str, number: str) -> None:
    """The digits of the caller's finals were read back, and confirmed in this language."""
    digits = "".join(one for final in watch.finals(of_bot=False) for one in final.transcript if one.isdecimal())
    assert digits == number
    assert " ".join(number) in watch.sentences[3][0]
    phrases = PHRASES[language]
    assert watch.sentences[-2:] == [(phrases.done, language), (phrases.goodbye, language)]


async def test_a_caller_of_twilio_interrupts_dictates_with_a_pause_and_changes_the_language(
    url: str, watch: Watch
) -> None:
    line = tape()
    player = TwilioPlayer(url.replace("http", "ws", 1) + "/twilio", line, None)
    talking = asyncio.create_task(Caller(player, line).talk(await render(SCRIPT, EspeakVoice(CALLER_VARIANT))))
    with pytest.raises(StreamClosed):
        await player.play()
    await talking
    end = await watch.ended()
    assert (end.reason, player.report.cleared) == (HUNG_UP, 1)
    check_interruption(watch, "en-US")
    check_end(watch, "es-US", "47128356")
    told = watch.finals(of_bot=True)
    assert told[-1].language == "es-US"
    assert told[-1].transcript.endswith("buen día.")


async def test_a_caller_hangs_up_in_the_middle_of_an_announcement(url: str, watch: Watch) -> None:
    player = TwilioPlayer(url.replace("http", "ws", 1) + "/twilio", np.full(12_000, 0xFF, np.uint8), None)
    await player.play()
    end = await watch.ended()
    assert end.reason == "completed"
    assert watch.said_s[-1] - watch.said_s[0] < 2.0
    assert watch.sentences == [(PHRASES["en-US"].greeting, "en-US"), (PHRASES["en-US"].question, "en-US")]
    await no_bot_is_left(watch)


async def no_bot_is_left(watch: Watch) -> None:
    async with asyncio.timeout(5):
        while watch.server.calls.bots.stats.active:  # noqa: ASYNC110 - a plain counter
            await asyncio.sleep(0.02)


async def phone(watch: Watch, folder: Path, said: NDArray[np.int16]) -> str | None:
    """A call by baresip that ends with `said`, or with the bot; the reason of its end."""
    sip = watch.server.connectors["sip"]
    host, port = sip.addresses["UDP"]  # type: ignore[attr-defined]
    softphone.configure(folder, CODEC, "", host, said)
    process = await asyncio.create_subprocess_exec(
        *(softphone.program(), "-f", str(folder), "-e", f"/dial sip:order@{host}:{port};transport=udp", "-t", "60"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        return (await watch.ended()).reason
    finally:
        await asyncio.sleep(0.3)  # it writes what it has heard once it knows of the end
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_a_softphone_interrupts_and_is_answered_in_german(watch: Watch, tmp_path: Path) -> None:
    said = await speech(
        CODEC_HZ,
        45.0,
        (2.3, "Wo ist meine Bestellung?", "de-DE"),
        (8.5, "Meine Bestellnummer ist 4 7 1 2.", "de-DE"),
        (18.0, "Ja, das ist richtig.", "de-DE"),
    )
    assert await phone(watch, tmp_path, said) == HUNG_UP
    check_interruption(watch, "de-DE")
    check_end(watch, "de-DE", "4712")
    heard, rate = softphone.dumped(tmp_path)
    assert heard.size / rate == pytest.approx(watch.said_s[-1] - watch.said_s[0], abs=0.3)  # it writes down no silence


async def test_a_softphone_hangs_up_in_the_middle_of_an_announcement(watch: Watch, tmp_path: Path) -> None:
    assert await phone(watch, tmp_path, await speech(CODEC_HZ, 1.5)) == "completed"
    assert watch.said_s[-1] - watch.said_s[0] < 2.5
    await no_bot_is_left(watch)


async def test_a_browser_interrupts_hears_the_answer_and_leaves_in_its_middle(
    url: str, watch: Watch, tmp_path: Path
) -> None:
    said = await speech(48_000, 20.0, (4.0, "¿Dónde está mi pedido?", "es-US"))
    soundfile.write(tmp_path / "said.wav", said, 48_000, subtype="PCM_16")
    arguments = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    async with chromium(*arguments, f"--use-file-for-fake-audio-capture={tmp_path}/said.wav%noloop") as browser:
        page = await browser.new_page()
        await page.add_init_script(BEFORE_SCRIPTS + KEEP_PEER)
        await page.goto(f"{url}/mic")
        await page.select_option("#role", "customer")
        await page.click("#talk")
        log = page.locator("#log")
        await expect(log).to_contain_text("¿Dónde está mi pedido?", timeout=20_000)
        await expect(log).to_contain_text("número de pedido", timeout=20_000)
        received = await page.evaluate(RECEIVED)
        assert await page.evaluate("policyViolations") == []
        await page.click("#talk")
        await expect(page.locator("#talk")).to_have_attribute("data-state", "idle")
    assert (await watch.ended()).reason == "completed"
    assert received["energy"] > 0.01
    assert received["playing"]
    word, final = watch.of_caller(final=False), watch.of_caller(final=True)
    assert watch.said_s[word] > watch.said_s[0]
    assert watch.said_s[final] - watch.said_s[word] <= MOST_AFTER_A_WORD_S
    assert watch.sentences[2] == (PHRASES["es-US"].question, "es-US")
    await no_bot_is_left(watch)


KEEP_PEER = """
    window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(...given) { super(...given); window.peer = this; }
    };
"""

RECEIVED = """async () => {
    const one = [...(await peer.getStats()).values()].find((one) => one.type === "inbound-rtp");
    const voice = document.getElementById("voice");
    return { energy: one.totalAudioEnergy, playing: !voice.paused && voice.currentTime > 0 };
}"""


@pytest.mark.parametrize(
    "options",
    [{"digits": 0}, {"digits": 41}, {"language": "it-IT"}, {"voice": "loud"}],
    ids=lambda one: next(iter(one)),
)
async def test_options_that_make_no_sense(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(options)))):
        OrderBot(**options)  # type: ignore[arg-type]
