from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from trunkline.doctor.validity import Validity, validities

BEGIN, END = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2061, 6, 7, 8, 9, 10, tzinfo=UTC)
DER = trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert("a.example").cert_chain_pems[0].bytes().decode()


def test_both_forms_of_a_time_are_read() -> None:
    """The year 2061 is beyond UTCTime."""
    issued = trustme.CA().issue_cert("a.example", not_before=BEGIN, not_after=END)
    pem = "".join(one.bytes().decode() for one in issued.cert_chain_pems)
    assert validities(f"a text before\n{pem}") == [Validity(BEGIN, END)]


def test_all_certificates_of_a_file_are_read_in_order(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("a.example", not_before=BEGIN, not_after=END)
    pem = issued.cert_chain_pems[0].bytes() + authority.cert_pem.bytes()
    first, second = validities(pem.decode())
    assert first == Validity(BEGIN, END)
    assert second.end.year == 3000


def test_a_file_without_any() -> None:
    assert validities("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n") == []


@given(st.data())
def test_what_is_no_certificate_is_a_value_error(data: st.DataObject) -> None:
    lines = DER.strip().splitlines()
    body = "".join(lines[1:-1])
    at = data.draw(st.integers(0, len(body) - 1))
    length = data.draw(st.integers(0, 40))
    text = data.draw(st.text("ABCDEFGHabcdefgh0123456789+/", max_size=8))
    broken = "\n".join([lines[0], body[:at] + text + body[at + length :], lines[-1]])
    with suppress(ValueError):
        validities(broken)


def test_a_certificate_that_is_cut_short() -> None:
    lines = DER.strip().splitlines()
    with pytest.raises(ValueError, match="cut short"):
        validities("\n".join([lines[0], lines[1], lines[-1]]))
