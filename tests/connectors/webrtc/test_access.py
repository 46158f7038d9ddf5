"""Who may use WHIP: tokens, and pages of this and of other sites."""

import pytest

from connectors.webrtc.config import WebRtcConfig
from tests.connectors.webrtc.offers import fragment
from tests.connectors.webrtc.whip import SDP, Serve, raw


async def test_everything_but_options_needs_the_token(serve: Serve) -> None:
    whip = await serve(WebRtcConfig(token="s3cret"))
    bearer = {"Authorization": "Bearer s3cret"}
    location = (await whip.post(**bearer)).headers["Location"]
    requests = [("POST", "/whip"), ("GET", "/whip"), ("PATCH", location), ("DELETE", location), ("GET", location)]
    for method, path in requests:
        for wrong in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Basic s3cret"}):
            answer = await whip.client.request(method, path, headers=SDP | wrong)
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert whip.sessions.stats.unsigned == 15
    assert (await whip.client.options("/whip")).status == 200
    assert (await whip.client.delete(location, headers=bearer)).status == 200


async def test_pages_of_allowed_sites_may_use_it_and_no_others(serve: Serve) -> None:
    whip = await serve(WebRtcConfig(origins=("https://desk.example.com",)))
    allowed = await whip.client.options("/whip", headers={"Origin": "https://desk.example.com"})
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://desk.example.com"
    assert allowed.headers["Access-Control-Allow-Methods"] == "POST"
    assert "If-Match" in allowed.headers["Access-Control-Allow-Headers"]
    answer = await whip.post(Origin="https://desk.example.com")
    assert "Location" in answer.headers["Access-Control-Expose-Headers"]
    foreign = await whip.client.options("/whip", headers={"Origin": "https://elsewhere.example"})
    assert not [name for name in foreign.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1", "http://rebound.example:80"])
async def test_page_of_another_site_starts_no_session_where_there_is_no_token(serve: Serve, origin: str) -> None:
    whip = await serve()
    headers = {"Host": "rebound.example:80"} if "rebound" in origin else {}
    assert (await whip.post(Origin=origin, **headers)).status == 403
    location = (await whip.post()).headers["Location"]
    assert (await whip.client.delete(location, headers={"Origin": origin} | headers)).status == 403
    assert (await whip.patch(location, fragment(), Origin=origin, **headers)).status == 403
    assert whip.sessions.stats.foreign_origins == 3
    await whip.delete(location)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://calls.example.com", "Host": "calls.example.com"},
        {"Origin": "https://calls.example.com", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://calls.example.com", "X-Forwarded-Host": "calls.example.com"},
        {"Origin": "http://127.0.0.1:8080", "Host": "127.0.0.1:8080"},
    ],
)
async def test_pages_of_the_server_itself_need_no_entry(serve: Serve, headers: dict[str, str]) -> None:
    whip = await serve()
    answer = await whip.post(**headers)
    assert answer.status == 201
    await whip.delete(answer.headers["Location"])


async def test_whoever_has_the_token_may_be_of_any_site(serve: Serve) -> None:
    whip = await serve(WebRtcConfig(token="secret"))
    answer = await whip.post(Origin="https://elsewhere.example", Authorization="Bearer secret")
    assert answer.status == 201
    assert "Access-Control-Allow-Origin" not in answer.headers
    headers = {"Authorization": "Bearer secret"}
    assert (await whip.client.delete(answer.headers["Location"], headers=headers)).status == 200


@pytest.mark.parametrize("credential", [b"Bearer \xff", "Bearer ü".encode(), b"\xff\xff", b"Bearer", b"Basic secret"])
async def test_bytes_that_are_no_token_get_401_and_no_traceback(
    serve: Serve, caplog: pytest.LogCaptureFixture, credential: bytes
) -> None:
    whip = await serve(WebRtcConfig(token="secret"))
    assert b" 401 " in await raw(whip, b"Authorization: " + credential + b"\r\n")
    assert whip.sessions.stats.unsigned == 1
    assert not any(record.exc_info for record in caplog.records)
