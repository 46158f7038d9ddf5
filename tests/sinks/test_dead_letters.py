"""The file of dead letters, and those that take letters out of it."""

import contextlib
from pathlib import Path

import pytest

from sinks.dead_letters import Letter, taken_from, taken_letters, write_letters
from sinks.errors import SinkUnavailable
from sinks.message import Message


def letter(value: bytes) -> Letter:
    return Letter("full", Message("a", b"call", value, (("event_id", b"1"),)), 1.0)


def nothing_unreadable(line: bytes) -> None:
    raise AssertionError(line)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "spool.dead-letters.jsonl"


def test_letters_are_taken_in_their_order_and_the_file_is_gone(file: Path) -> None:
    letters = [letter(b"1"), letter(b"\xff"), letter(b"3")]
    write_letters(file, letters[:2])
    write_letters(file, letters[2:])
    with taken_letters(file, nothing_unreadable) as taken:
        assert list(taken) == letters
    assert list(file.parent.iterdir()) == []
    with taken_letters(file, nothing_unreadable) as taken:
        assert list(taken) == []
    assert list(file.parent.iterdir()) == []


def test_what_is_no_letter_is_given_apart(file: Path) -> None:
    unreadable: list[bytes] = []
    file.write_bytes(b'{"reason": "cut\n')
    write_letters(file, [letter(b"1")])
    with file.open("ab") as torn:
        torn.write(b'{"re')
    write_letters(file, [letter(b"2")])
    with taken_letters(file, unreadable.append) as taken:
        assert list(taken) == [letter(b"1"), letter(b"2")]
    assert unreadable == [b'{"reason": "cut\n', b'{"re\n']


def test_a_run_that_is_cut_short_is_finished_by_the_next_with_what_has_come_since(file: Path) -> None:
    write_letters(file, [letter(b"1"), letter(b"2")])
    with contextlib.suppress(KeyError), taken_letters(file, nothing_unreadable) as taken:
        assert next(taken) == letter(b"1")
        write_letters(file, [letter(b"3")])
        raise KeyError
    with taken_from(file).open("rb+") as cut:
        cut.truncate(taken_from(file).stat().st_size - 1)
    with taken_letters(file, nothing_unreadable) as taken:
        assert list(taken) == [letter(b"1"), letter(b"2"), letter(b"3")]
    assert list(file.parent.iterdir()) == []


def test_two_do_not_take_the_same_letters(file: Path) -> None:
    write_letters(file, [letter(b"1")])
    with taken_letters(file, nothing_unreadable) as first:
        with pytest.raises(SinkUnavailable, match="another process"), taken_letters(file, nothing_unreadable):
            pass
        assert list(first) == [letter(b"1")]
    assert not taken_from(file).exists()


def test_others_cannot_read_the_letters(file: Path) -> None:
    write_letters(file, [letter(b"1")])
    with taken_letters(file, nothing_unreadable):
        assert taken_from(file).stat().st_mode & 0o077 == 0
