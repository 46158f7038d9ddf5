"""Bodies in several parts, as recording clients send them."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.multipart import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_PARTS,
    MultipartError,
    parse_content_type,
    split_multipart,
)
from connectors.sdp.description import SdpError
from connectors.siprec.body import read_body

SDP = "v=0\r\nm=audio 4000 RTP/AVP 0"
XML = "<recording/>"


def part(content_type: str, body: str, *headers: str) -> str:
    return "\r\n".join([f"Content-Type: {content_type}", *headers, "", body])


def join(*parts: str, boundary: str = "b1", preamble: str = "", end: str = "--") -> bytes:
    text = preamble + "".join(f"--{boundary}\r\n{item}\r\n" for item in parts) + f"--{boundary}{end}\r\n"
    return text.encode()


def found(content_type: str, body: bytes) -> list[tuple[str, str]]:
    return [(item.content_type, item.body.decode()) for item in split_multipart(content_type, body)]


BOTH = [("application/sdp", SDP), ("application/rs-metadata+xml", XML)]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("lengths", [False, True])
def test_two_parts_in_any_order(order: int, line_end: bytes, lengths: bool) -> None:
    parts = [part(kind, body, *([f"Content-Length: {len(body)}"] if lengths else [])) for kind, body in BOTH][::order]
    body = join(*parts).replace(b"\r\n", line_end)
    expected = [(kind, text.replace("\r\n", line_end.decode())) for kind, text in BOTH][::order]
    assert found("multipart/mixed;boundary=b1", body) == expected


@pytest.mark.parametrize(
    ("written", "boundary"),
    [
        ('multipart/mixed; boundary="a b:c=d"', "a b:c=d"),
        ('Multipart/Mixed ; charset=x; BOUNDARY = "a\\"b"', 'a"b'),
        ("multipart/mixed;boundary=.*[", ".*["),
        ('multipart/related;type="x;boundary=no";boundary=yes', "yes"),
    ],
)
def test_boundary_is_read_as_written(written: str, boundary: str) -> None:
    assert found(written, join(*(part(*item) for item in BOTH), boundary=boundary)) == BOTH


def test_preamble_and_epilogue_are_left_out() -> None:
    body = join(*(part(*item) for item in BOTH), preamble="not for you --b1\r\n") + b"--b1\r\nnor this"
    assert found("multipart/mixed;boundary=b1", body) == BOTH


@pytest.mark.parametrize("end", ["", "--", "-- \t"])
def test_last_boundary_may_be_unmarked(end: str) -> None:
    assert found("multipart/mixed;boundary=b1", join(*(part(*item) for item in BOTH), end=end)) == BOTH


def test_last_boundary_may_be_missing() -> None:
    body = join(*(part(*item) for item in BOTH)).removesuffix(b"\r\n--b1--\r\n")
    assert found("multipart/mixed;boundary=b1", body) == BOTH


def test_line_that_only_begins_like_the_boundary_is_content() -> None:
    text = "one\r\n--b12\r\n--b1x--\r\n --b1\r\ntwo"
    assert found("multipart/mixed;boundary=b1", join(part("text/x", text))) == [("text/x", text)]


def test_nested_parts_come_in_their_place() -> None:
    inner = join(*(part(*item) for item in BOTH), boundary="inner").decode()
    body = join(part("text/a", "1"), part("multipart/related;\r\n boundary=inner", inner), part("text/b", "2"))
    assert found("multipart/mixed;boundary=b1", body) == [("text/a", "1"), *BOTH, ("text/b", "2")]


@pytest.mark.parametrize(
    "written",
    [
        "multipart/related;;boundary=b1",
        "multipart/related; charset; boundary=b1;",
        "multipart/related;boundary=b1 , ",
        "multipart/x-unknown;boundary=b1",
        'MULTIPART / Signed ; protocol="a/b" ; boundary="b1" ;',
    ],
)
def test_multipart_of_any_kind_is_read_as_mixed(written: str) -> None:
    assert found(written, join(*(part(*item) for item in BOTH))) == BOTH


@pytest.mark.parametrize("start", ["<root@h>", "root@h", '"<root@h>"'])
def test_root_of_related_parts_comes_first(start: str) -> None:
    body = join(part(*BOTH[1]), part(*BOTH[0], "Content-ID: <root@h>"))
    assert found(f"multipart/related;start={start};boundary=b1", body) == BOTH
    assert found("multipart/related;start=<no@h>;boundary=b1", body) == BOTH[::-1]
    assert found(f"multipart/mixed;start={start};boundary=b1", body) == BOTH[::-1]


def test_best_alternative_comes_first() -> None:
    inner = join(part("application/sdp", "plain"), part("application/sdp", "best"), boundary="inner").decode()
    body = join(part("multipart/alternative;boundary=inner", inner), part(*BOTH[1]))
    assert found("multipart/mixed;boundary=b1", body) == [
        ("application/sdp", "best"),
        ("application/sdp", "plain"),
        BOTH[1],
    ]


def test_description_that_cannot_be_read_is_passed_over_where_another_can_be() -> None:
    body = join(part("application/sdp", SDP), part("application/sdp", "v=9"))
    read = read_body("multipart/alternative;boundary=b1", body)
    assert read.sdp is not None
    assert read.sdp.audio[0][1].port == 4000
    with pytest.raises(SdpError):
        read_body("multipart/alternative;boundary=b1", join(part("application/sdp", "v=9")))


def test_headers_of_a_part() -> None:
    body = join(
        "c: Application/SDP ; x=1\r\nContent-Disposition: session;\r\n\thandling=required\r\njunk\r\nc: y\r\n\r\nz"
    )
    [only] = split_multipart("multipart/mixed;boundary=b1", body)
    assert only.content_type == "application/sdp"
    assert only.headers == {
        "content-type": "Application/SDP ; x=1",
        "content-disposition": "session; handling=required",
    }
    assert only.body == b"z"


def test_part_without_headers_is_text() -> None:
    assert found("multipart/mixed;boundary=b1", join("\r\nhello")) == [("text/plain", "hello")]


def test_empty_parts_are_left_out() -> None:
    assert found("multipart/mixed;boundary=b1", b"--b1\r\n--b1\r\n\r\n--b1\r\n" + join(part(*BOTH[0]))) == BOTH[:1]


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("base64", base64.encodebytes(SDP.encode()).decode()),
        ("Quoted-Printable", SDP.replace("=", "=3D")),
        ("binary", SDP),
        ("8bit", SDP),
    ],
)
def test_transfer_encodings(encoding: str, written: str) -> None:
    body = join(part("application/sdp", written, f"Content-Transfer-Encoding: {encoding}"))
    assert found("multipart/mixed;boundary=b1", body) == BOTH[:1]


def test_broken_base64_is_kept_as_it_is() -> None:
    body = join(part("application/sdp", "abc", "Content-Transfer-Encoding: base64"))
    assert found("multipart/mixed;boundary=b1", body) == [("application/sdp", "abc")]


def test_body_of_another_type_is_its_only_part() -> None:
    assert found("application/SDP; charset=utf-8", SDP.encode()) == BOTH[:1]
    assert found("", b"x") == [("", "x")]


def nest(depth: int) -> tuple[str, bytes]:
    kind, body = "text/plain", "x"
    for level in range(depth):
        body = join(part(kind, body), boundary=f"n{level}").decode()
        kind = f"multipart/mixed;boundary=n{level}"
    return kind, body.encode()


def test_limits() -> None:
    assert len(split_multipart(*nest(MAX_DEPTH))) == 1
    many = join(*[part("text/x", "y")] * MAX_PARTS)
    assert len(split_multipart("multipart/mixed;boundary=b1", many)) == MAX_PARTS
    for content_type, body, message in [
        (*nest(MAX_DEPTH + 1), "nested deeper than 4"),
        ("multipart/mixed;boundary=b1", join(*[part("text/x", "y")] * (MAX_PARTS + 1)), "more than 32 parts"),
        ("application/sdp", b"x" * (MAX_BYTES + 1), "longer than 1048576 bytes"),
        ("multipart/mixed;boundary=b1", join("x: y\r\n" * 40 + "\r\nz"), "headers of a part are too long"),
        (
            "multipart/mixed;boundary=b1",
            join("x: " + "y" * 9000 + "\r\nz: 1\r\n\r\n"),
            "headers of a part are too long",
        ),
        ("multipart/mixed", b"--b1\r\n", "no usable boundary"),
        ('multipart/mixed;boundary=""', b"--b1\r\n", "no usable boundary"),
        (f"multipart/mixed;boundary={'b' * 201}", b"--b1\r\n", "no usable boundary"),
        ("multipart/mixed;boundary=b2", join(part(*BOTH[0])), "has no part with its boundary"),
    ]:
        with pytest.raises(MultipartError, match=message):
            split_multipart(content_type, body)


def test_content_type_parameters() -> None:
    kind = parse_content_type('Audio / X ;a=1;B="x\\\\y;z";a=2; broken')
    assert kind.media_type == "audio/x"
    assert kind.parameters == {"a": "1", "b": "x\\y;z"}
    assert len(parse_content_type("a/b" + "".join(f";p{n}=1" for n in range(100))).parameters) == 16


pieces = st.lists(
    st.sampled_from(
        [
            "--b1",
            "--b1--",
            "--n0",
            "\r\n",
            "\n",
            "\r",
            "Content-Type: multipart/mixed;boundary=n0",
            "Content-Type: multipart/mixed;boundary=b1",
            "Content-Transfer-Encoding: base64",
            " folded",
            ":",
            "\0",
            "v=0",
        ]
    )
    | st.text(max_size=4),
    max_size=40,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(content_type=st.sampled_from(["multipart/mixed;boundary=b1", "multipart/"]) | st.text(max_size=60), body=pieces)
def test_no_body_raises_anything_else_or_grows(content_type: str, body: str) -> None:
    data = body.encode("utf-8", "replace")
    try:
        parts = split_multipart(content_type, data)
    except MultipartError:
        return
    assert 0 < len(parts) <= MAX_PARTS
    assert sum(len(item.body) for item in parts) <= len(data)


@settings(max_examples=100, deadline=None)
@given(bodies=st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=5))
def test_parts_come_out_as_they_went_in(bodies: list[bytes]) -> None:
    clean = [b"x" + body for body in bodies if b"--b1" not in body]
    data = b"".join(b"--b1\r\nContent-Type: application/x\r\n\r\n" + body + b"\r\n" for body in clean) + b"--b1--"
    if clean:
        assert [item.body for item in split_multipart("multipart/mixed;boundary=b1", data)] == clean
