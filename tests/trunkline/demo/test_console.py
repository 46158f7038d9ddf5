"""What the demo shows in the terminal."""

import io

import pytest
from rich.console import Console

from tests.sinks.records import transcript
from trunkline.demo.console import ConsoleSink


@pytest.mark.parametrize(
    ("text", "shown"),
    [("Hola, 3.", "  Hola, 3.\n"), ("שלום, 3.", "  \u2068שלום, 3.\u2069\n"), ("مرحبا", "  \u2068مرحبا\u2069\n")],
)
async def test_words_from_right_to_left_are_isolated_from_time_and_speaker(text: str, shown: str) -> None:
    screen = io.StringIO()
    await ConsoleSink(Console(file=screen)).write([transcript(text, final=True)])
    assert screen.getvalue().endswith(shown)
