"""Session timers: what is agreed, and when they ring (RFC 4028)."""

import pytest

from connectors.sip.session_timer import (
    Due,
    SessionExpires,
    SessionTimer,
    SessionTimerOptions,
    Terms,
    TooSmall,
    negotiate,
)

OPTIONS = SessionTimerOptions(interval_s=1800, min_se_s=120)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1800", SessionExpires(1800)),
        (" 90 ;refresher=uac", SessionExpires(90, "uac")),
        ("90; Refresher = UAS ;x=1", SessionExpires(90, "uas")),
        ("90;refresher=proxy", SessionExpires(90)),
        ("90;xrefresher=uac", SessionExpires(90)),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("90 refresher=uac", None),
        ("99999999999999999999", None),
    ],
)
def test_session_expires_is_read(text: str, expected: SessionExpires | None) -> None:
    assert SessionExpires.parse(text) == expected


def test_session_expires_is_written_as_it_is_read() -> None:
    for value in (SessionExpires(1800), SessionExpires(90, "uac"), SessionExpires(90, "uas")):
        assert SessionExpires.parse(str(value)) == value


@pytest.mark.parametrize(
    ("supported", "asked", "refresher", "required"),
    [  # section 9, table 2
        (True, None, "uas", False),
        (True, "uac", "uac", True),
        (True, "uas", "uas", False),
        (False, None, "uas", False),
    ],
)
def test_refresher_is_whom_the_request_names(
    supported: bool, asked: str | None, refresher: str, required: bool
) -> None:
    header = SessionExpires.parse("600" if asked is None else f"600;refresher={asked}")
    terms = negotiate(header, None, supported=supported, options=OPTIONS)
    assert isinstance(terms, Terms)
    assert terms.expires.refresher == refresher
    assert terms.expires.interval_s == 600
    assert terms.require is required


def test_too_short_an_interval_is_refused_with_our_least() -> None:
    assert negotiate(SessionExpires(119), None, supported=True, options=OPTIONS) == TooSmall(120)
    assert isinstance(negotiate(SessionExpires(120), None, supported=True, options=OPTIONS), Terms)


def test_too_short_an_interval_of_a_peer_without_session_timers_is_raised() -> None:
    terms = negotiate(SessionExpires(100), None, supported=False, options=OPTIONS)
    assert terms == Terms(SessionExpires(120, "uas"), require=False)


def test_peer_that_can_but_does_not_ask_gets_ours_and_its_own_least_is_kept() -> None:
    assert negotiate(None, None, supported=True, options=OPTIONS) == Terms(SessionExpires(1800, "uas"), require=False)
    assert negotiate(None, 3600, supported=True, options=OPTIONS) == Terms(SessionExpires(3600, "uas"), require=False)


def test_no_timer_where_nobody_wants_one() -> None:
    assert negotiate(None, None, supported=False, options=OPTIONS) is None
    assert negotiate(None, None, supported=True, options=SessionTimerOptions(interval_s=0)) is None


def test_refresher_refreshes_at_half_time_and_gives_up_at_the_end() -> None:
    timer = SessionTimer(600, we_refresh=True, now=1000.0)
    assert timer.next_timer() == 1300.0
    assert timer.due(1299.9) is None
    assert timer.due(1300.0) is Due.REFRESH
    assert timer.due(1300.0) is None
    assert timer.next_timer() == 1600.0
    timer.refreshed(1310.0)
    assert timer.due(1600.0) is None
    assert timer.due(1610.0) is Due.REFRESH
    timer.retry_at(1620.0)
    assert timer.due(1619.0) is None
    assert timer.due(1620.0) is Due.REFRESH
    assert timer.due(1910.0) is Due.EXPIRED


@pytest.mark.parametrize(("interval", "margin"), [(90, 30.0), (600, 32.0)])
def test_who_does_not_refresh_ends_the_call_a_little_early(interval: int, margin: float) -> None:
    timer = SessionTimer(interval, we_refresh=False, now=0.0)
    assert timer.next_timer() == interval - margin
    assert timer.due(interval - margin - 0.1) is None
    timer.refreshed(interval / 2)
    assert timer.due(interval - margin) is None
    assert timer.due(interval * 1.5 - margin) is Due.EXPIRED
