"""Every file name, whatever its bytes, on one line of UTF-8."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.file_name import STANDARD_INPUT, full_name, shown


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"calls/monday/a b.wav", "calls/monday/a b.wav"),
        ("запись №5.wav".encode(), "запись №5.wav"),
        (b"caf\xe9.wav", "caf\\xe9.wav"),
        (b"two\nlines.wav", "two\\nlines.wav"),
        (b"esc\x1b[31m.wav", "esc\\x1b[31m.wav"),
        ("tricky\u202egnp.wav".encode(), "tricky\\u202egnp.wav"),
        (b"back\\xe9.wav", "back\\\\xe9.wav"),
        (b"/dev/stdin", "-"),
    ],
)
def test_names_are_shown_on_one_line(name: bytes, expected: str) -> None:
    assert shown(Path(os.fsdecode(name))) == expected


@given(st.binary(min_size=1, max_size=12), st.binary(min_size=1, max_size=12))
def test_no_two_names_are_shown_alike(first: bytes, second: bytes) -> None:
    one, other = (shown(os.fsdecode(name)) for name in (first, second))
    assert (one == other) == (first == second)
    assert one.encode("utf-8").isascii() or one.isprintable()
    assert len(one.splitlines()) == 1


def test_the_full_name_is_the_same_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d1").mkdir()
    names = set()
    for folder, path in (
        (tmp_path, "d1/call.wav"),
        (tmp_path / "d1", "call.wav"),
        (tmp_path / "d1", "../d1/./call.wav"),
    ):
        monkeypatch.chdir(folder)
        names.add(full_name(Path(path)))
    assert names == {str(tmp_path / "d1" / "call.wav")}
    assert shown(STANDARD_INPUT) == "-"
