"""Pipecat's log in that of the server."""

import subprocess
import sys

PROGRAM = """
import logging
logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(name)s %(message)s")
from loguru import logger
from pipeline.pipecat.log import hand_on_log
for _ in range(2):
    hand_on_log()
logger.debug("what the caller said")
logger.warning("a {} warning", "formatted")
"""


def test_it_goes_on_without_what_callers_say_and_once() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    assert done.stderr.splitlines() == ["WARNING pipecat a formatted warning"]
