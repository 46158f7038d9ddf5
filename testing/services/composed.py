"""The settings of `deploy/compose.yaml`, with which the tests run their own Kafka and Redis."""

from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"

_NOT_OF_THE_BROKER = "KAFKA_HEAP_OPTS"


def services() -> dict[str, Any]:
    """By name, as they are written: variables are not put in."""
    composed: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    found: dict[str, Any] = composed["services"]
    return found


def kafka_properties() -> dict[str, str]:
    """Of `server.properties`, as the image makes them from its environment: `KAFKA_LOG_DIRS` is `log.dirs`."""
    environment = services()["kafka"]["environment"]
    return {
        name.removeprefix("KAFKA_").lower().replace("_", "."): str(value)
        for name, value in environment.items()
        if name.startswith("KAFKA_") and name != _NOT_OF_THE_BROKER
    }


def kafka_heap() -> str:
    """The option of Java."""
    return str(services()["kafka"]["environment"][_NOT_OF_THE_BROKER])


def redis_arguments() -> list[str]:
    """Of the command line, behind the program's name."""
    return [str(argument) for argument in services()["redis"]["command"][1:]]
