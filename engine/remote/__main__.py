"""`python -m engine.remote --fd N`: an engine in a process of its own, for the gateway at the other end of a socket."""

import argparse
import json
import logging
import socket
import sys
from typing import Any

import torch

from engine.api import Precision
from engine.engine import Engine
from engine.errors import EngineError, EngineUnavailable
from engine.remote.server import serve_connection
from engine.remote.wire import Failed, frame
from supervision.signals import leave_to_parent


def main() -> int:
    """Serve until the gateway is gone. Exit codes: 0 then, 1 the engine failed, 2 it cannot be loaded."""
    parser = argparse.ArgumentParser(prog="python -m engine.remote", description="An engine for one gateway.")
    parser.add_argument("--fd", type=int, required=True, help="the socket, inherited")
    parser.add_argument("--settings", default="{}", metavar="JSON", help="arguments of Engine.load")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    leave_to_parent()
    with socket.socket(fileno=options.fd) as connection:
        try:
            engine = load(json.loads(options.settings))
        except EngineError as error:
            connection.sendall(frame(Failed(str(error))))
            return 2
        return serve_connection(engine, connection)


def load(settings: dict[str, Any]) -> Engine:
    """The engine of these settings. Raises `EngineError`."""
    device = settings.get("device", "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise EngineUnavailable(f"device {device!r}, but there is no CUDA device here: use 'cpu'")
    if settings.get("precision") is not None:
        settings = settings | {"precision": Precision(settings["precision"])}
    return Engine.load(**settings)


if __name__ == "__main__":
    sys.exit(main())
