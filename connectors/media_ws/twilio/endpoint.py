"""The WebSocket media dialects ready to be served: core, driver, bindings and authorisation put together."""

from aiohttp import web

from connectors.calls import CallRegistry
from connectors.media_ws.calls import CallBindings
from connectors.media_ws.config import TwilioConfig
from connectors.media_ws.driver import MediaWebSocket
from connectors.media_ws.twilio import signature
from connectors.media_ws.twilio.stream import TwilioStream
from connectors.stats import ConnectorStats


def twilio(calls: CallRegistry, config: TwilioConfig) -> MediaWebSocket:
    """Twilio Media Streams on `config.path`; add its `routes()` to the server, and `close()` it before the calls."""
    bindings = CallBindings(calls, ConnectorStats(), "twilio", config.roles, config.account_sid)
    authorize = TwilioSignature(config.auth_token, config.public_url) if config.auth_token is not None else None
    return MediaWebSocket(
        config.path,
        lambda: TwilioStream(config.limits),
        bindings,
        config.limits,
        authorize,
        origins=config.origins,
        public_url=config.public_url,
    )


class TwilioSignature:
    """Whether an upgrade bears Twilio's signature: over the public URL where one is configured, else over the URL as it
    reads from the `Host` header and the request line."""

    def __init__(self, auth_token: str, public_url: str | None = None) -> None:
        self._auth_token = auth_token
        self._public_url = public_url

    def __call__(self, request: web.Request) -> bool:
        url = self._public_url or f"wss://{request.host}{request.raw_path}"
        try:
            variants = signature.url_variants(url)
        except ValueError:  # a Host header that is no host
            return False
        return signature.is_valid(self._auth_token, request.headers.get(signature.HEADER), variants)
