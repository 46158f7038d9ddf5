"""What strangers write stays inside its line, whoever logs it."""

import io
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from trunkline.logs import LineFormatter, escaped

FORGED = "2026-01-01 00:00:00,000 ERROR   trunkline: forged"

NASTY = {
    "line feed": "\n",
    "carriage return": "\r",
    "both": "\r\n",
    "vertical tab": "\x0b",
    "form feed": "\x0c",
    "next line": "\x85",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "escape sequence": "\x1b[2K\x1b[1A",
    "C1 control sequence introducer": "\x9b2J",
    "backspace": "\x08",
    "NUL": "\0",
    "delete": "\x7f",
    "right-to-left override": "\u202e",
    "isolate": "\u2066",
    "Arabic letter mark": "\u061c",
    "zero width": "\u200b",
    "byte order mark": "\ufeff",
    "tag character": "\U000e0041",
    "no text": "\udcff",
}


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger and what its formatter wrote."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter(show_pii=True))
    logger = logging.getLogger("test.logs")
    logger.addHandler(handler)
    yield logger, stream
    logger.removeHandler(handler)


def is_safe(char: str) -> bool:
    return char.isprintable() or char == "\n"


@pytest.mark.parametrize("nasty", NASTY.values(), ids=NASTY.keys())
@pytest.mark.parametrize("where", ["argument", "message", "extra"])
def test_a_value_cannot_begin_a_line_or_move_the_cursor(
    log: tuple[logging.Logger, io.StringIO], nasty: str, where: str
) -> None:
    logger, stream = log
    value = f"/api/calls/x{nasty}{FORGED}"
    if where == "argument":
        logger.warning("GET %s failed", value)
    elif where == "message":
        logger.warning(value)
    else:
        logger.warning("call began", extra={"pii.from": value})
    (line,) = stream.getvalue().removesuffix("\n").split("\n")
    assert line.isprintable()
    assert ascii(nasty)[1:-1] in line
    assert not line.startswith(FORGED)


@pytest.mark.parametrize("nasty", NASTY.values(), ids=NASTY.keys())
def test_no_exception_of_a_chain_or_group_can_forge_a_line(log: tuple[logging.Logger, io.StringIO], nasty: str) -> None:
    logger, stream = log

    def fail() -> None:
        try:
            try:
                raise ValueError(f"first{nasty}{FORGED}")  # noqa: TRY301 - a chain
            except ValueError as error:
                raise LookupError(f"second{nasty}{FORGED}") from error
        except LookupError:
            raise ExceptionGroup(f"third{nasty}{FORGED}", [OSError(f"fourth{nasty}{FORGED}")])  # noqa: B904

    try:
        fail()
    except ExceptionGroup:
        logger.exception("a call failed")
    text = stream.getvalue()
    event, *trace = text.removesuffix("\n").split("\n")
    assert event.endswith("a call failed")
    assert all(line.startswith("  ") for line in trace)
    assert all(is_safe(char) for char in text)
    for part in ("first", "second", "third", "fourth"):
        assert sum(f"{part}{ascii(nasty)[1:-1]}" in line for line in trace) == 1
    assert "test_logs.py" in text


def test_the_causes_of_an_exception_come_in_the_order_in_which_they_happened(
    log: tuple[logging.Logger, io.StringIO],
) -> None:
    logger, stream = log
    try:
        try:
            raise ValueError("the cause")  # noqa: TRY301 - a chain
        except ValueError as error:
            raise KeyError("the effect") from error
    except KeyError:
        logger.exception("failed")
    text = stream.getvalue()
    assert text.index("ValueError: the cause") < text.index("direct cause") < text.index("KeyError: 'the effect'")


def test_a_note_and_a_source_of_an_exception_are_one_line(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = log
    error = ValueError("bad")
    error.add_note(f"note\n{FORGED}")
    logger.error("failed", exc_info=error)
    try:
        compile("a b", f"name\n{FORGED}", "exec")
    except SyntaxError:
        logger.exception("failed")
    assert not any(line.startswith(FORGED) for line in stream.getvalue().splitlines())


def test_words_of_every_script_stay_readable() -> None:
    for text in ("Übergabe an Łukasz", "日本語", "ไทย", "مرحبا", "שלום", "नमस्ते", "'a' \"b\" \\n"):
        assert escaped(text) == text


def test_every_logger_of_the_program_writes_safe_lines() -> None:
    program = (
        "import asyncio, logging\n"
        "from trunkline.logs import set_up_logging\n"
        "set_up_logging('INFO')\n"
        "bad = 'x\\n2026-01-01 forged\\x1b[0m'\n"
        "for name in ('connectors.sip.connector', 'aiohttp.server', 'asyncio', 'some.library'):\n"
        "    logging.getLogger(name).warning('call %s: refused', bad)\n"
        "async def main():\n"
        "    asyncio.get_running_loop().call_exception_handler({'message': bad, 'exception': ValueError(bad)})\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    lines = done.stderr.decode().split("\n")
    assert sum(r"x\n2026-01-01 forged\x1b[0m" in line for line in lines) == 6
    assert not any(line.startswith("2026-01-01") for line in lines)
    assert "\x1b" not in done.stderr.decode()
