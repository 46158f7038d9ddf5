"""What `connectors.media_ws.socket` takes of aiohttp that is not its public interface, as in the versions that are
pinned: another version that moves it is found here and not by a call without words."""

import inspect

from aiohttp import web
from aiohttp._websocket.helpers import websocket_mask
from aiohttp._websocket.writer import WebSocketWriter
from aiohttp.web_protocol import RequestHandler


def test_a_response_is_started_with_request_protocol_and_writer() -> None:
    parameters = list(inspect.signature(web.WebSocketResponse._post_start).parameters)
    assert parameters == ["self", "request", "protocol", "writer"]
    assert inspect.get_annotations(web.WebSocketResponse._post_start)["writer"] in (WebSocketWriter, "WebSocketWriter")


def test_a_response_knows_its_longest_message_and_is_told_of_data() -> None:
    response = web.WebSocketResponse(max_msg_size=1_234)
    assert response._max_msg_size == 1_234
    assert callable(response._on_data_received)
    assert not inspect.signature(response._on_data_received).parameters


def test_a_handler_has_what_came_behind_the_upgrade() -> None:
    assert "_message_tail" in RequestHandler.__slots__


def test_a_payload_is_unmasked_in_place() -> None:
    data = bytearray(b"audio")
    websocket_mask(b"\x01\x02\x03\x04", data)
    assert data == bytes(byte ^ mask for byte, mask in zip(b"audio", b"\x01\x02\x03\x04\x01", strict=True))
