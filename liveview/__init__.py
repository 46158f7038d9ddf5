"""The agent-assist page: running calls and their transcripts in a browser, over any `sinks.live.View`."""

from liveview.api import LivePage, LiveViewConfig, create_app

__all__ = ["LivePage", "LiveViewConfig", "create_app"]
