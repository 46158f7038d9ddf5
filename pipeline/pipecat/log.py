"""Pipecat's log, which has what callers say in it at DEBUG: from INFO on, into that of the server."""

import logging

from loguru import logger


def hand_on_log() -> None:
    """Once in a process; where Pipecat's log was set up otherwise, it is left so."""
    try:
        logger.remove(0)  # loguru's own handler: everything, to standard error
    except ValueError:
        return
    logger.add(_log, level="INFO", format="{message}")


def _log(message: str) -> None:
    record = message.record  # type: ignore[attr-defined]  # loguru's `Message` is a string with it
    logging.getLogger("pipecat").log(record["level"].no, "%s", record["message"])
