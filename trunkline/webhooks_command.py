"""`trunkline webhooks`: send dead letters again."""

import asyncio

from sinks.errors import SinkUnavailable
from sinks.webhooks.config import WebhooksConfig
from sinks.webhooks.replay import WebhookReplay


def replay_dead_letters(config: WebhooksConfig) -> int:
    """Send them again; 1 where some are dead letters still. Raises `SinkError`."""
    replay = WebhookReplay(config)
    try:
        done = asyncio.run(replay.run())
    except OSError as error:
        raise SinkUnavailable(f"webhooks: {error}: {replay.done.sent} dead letters were sent, run it again") from error
    why = "; ".join(f"{name}: {text}" for name, text in replay.kept_why.items())
    kept = f", {done.kept} stay as they are ({why})" if done.kept else ""
    print(f"{done.sent} sent, {done.refused} refused again, {done.unreadable} unreadable{kept}")
    return int(bool(done.refused or done.unreadable or done.kept))
