"""What the live page's API can answer instead of data.

LiveViewError (500)
├── BadRequest (400)
├── Unauthorized (401)
├── ForeignHost (403)
├── ForeignOrigin (403)
├── Forwarded (403)
├── NotFound (404)
├── TooManyPages (503, retryable)
└── LiveViewUnavailable (503, retryable)

Each is sent as one line of JSON, `{"error": "..."}`, with its `status`.
"""

from typing import ClassVar


class LiveViewError(Exception):
    """Base of the package. `retryable`: the same request may succeed later without a change by the caller."""

    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False


class BadRequest(LiveViewError):
    """The caller's fault: a parameter that no call can have."""

    status = 400


class Unauthorized(LiveViewError):
    """A token is configured and the request carries none, or another one."""

    status = 401


class ForeignHost(LiveViewError):
    """No token is configured and the request is addressed to a DNS name, as a rebinding attack's would be."""

    status = 403


class ForeignOrigin(LiveViewError):
    """No token is configured and a page of another site asks."""

    status = 403


class Forwarded(LiveViewError):
    """No token is configured and the request came through a proxy, so from anywhere."""

    status = 403


class NotFound(LiveViewError):
    """No such file or call, or the call ended long enough ago to be forgotten."""

    status = 404


class TooManyPages(LiveViewError):
    """As many event streams are open as `LiveViewConfig.max_pages` allows."""

    status = 503
    retryable = True


class LiveViewUnavailable(LiveViewError):
    """The view behind the page cannot be read right now (a Redis that is away)."""

    status = 503
    retryable = True
