"""Whatever a recording client puts into its body: the documented errors, or legs, and nothing else."""

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.multipart import MultipartError
from connectors.sdp.description import SdpError, parse
from connectors.siprec.metadata import MAX_OBJECTS, MAX_TEXT, RsMetadata
from connectors.siprec.metadata_xml import XmlError, parse_metadata
from connectors.siprec.recording_session import LegAdded, RecordedCalls, read_body
from connectors.siprec.safe_xml import MAX_BYTES
from tests.connectors.damage import damaged
from tests.connectors.samples import FOLDER, METADATA, sample

XML = sorted(path.name for path in FOLDER.glob("*.xml"))
SPARE = [
    b"<recording>",
    b"</recording>",
    b"<session session_id='c2Vzc2lvbi0wMDAwMDAwMQ=='/>",
    b"<participant participant_id='p'><send>t</send></participant>",
    b"<stream stream_id='t'><label>1</label></stream>",
    b"<stream stream_id='u'/>",
    b"<participantstreamassoc participant_id='p'><send>t</send></participantstreamassoc>",
    b"<datamode>partial</datamode>",
    b"<x:y z='1'>",
    b"<![CDATA[<&]]>",
    b"<!-- -->",
    b"<?xml version='1.0' encoding='utf-7'?>",
    b"<!DOCTYPE r [<!ENTITY a 'b'>]>",
    b"<!ENTITY a 'b'>",
    b"&a;",
    b"&#0;",
    b"&#x10FFFF;",
    b"\xff",
    b"\0",
    b"<",
    b">",
    b"'",
    b'"',
]
names = st.one_of(
    st.sampled_from(["session", "participant", "stream", "participantstreamassoc", "participantsessionassoc", "group"]),
    st.sampled_from(["send", "recv", "label", "nameID", "name", "datamode", "group-ref", "disassociate-time"]),
    st.sampled_from(["ac:x", "extensiondata", "SESSION"]),
)
attributes = st.dictionaries(
    st.sampled_from(["id", "session", "session_id", "participant_id", "stream_id", "group_id", "aor", "xmlns", "a:b"]),
    st.sampled_from(["1", "2", "", " ", "AB7DEF01-0000-4000-8000-0000000000AA", "sip:1@x", "tel:", "<>"]),
    max_size=3,
)


def element(name: str, attributes: dict[str, str], inner: str) -> str:
    written = "".join(f' {key}="{value.replace("<", "&lt;")}"' for key, value in attributes.items())
    return f"<{name}{written}>{inner}</{name}>"


elements = st.recursive(
    st.sampled_from(["", "1", "2", "partial", "text &amp; more"]),
    lambda inner: st.builds(element, names, attributes, st.lists(inner, max_size=4).map("".join)),
    max_leaves=12,
)
documents = st.one_of(
    damaged([sample(name) for name in XML], SPARE),
    st.lists(elements, max_size=6).map(lambda inner: f"<recording>{''.join(inner)}</recording>".encode()),
    st.lists(st.sampled_from(SPARE), max_size=12).map(lambda parts: b"<recording>" + b"".join(parts)),
    st.binary(max_size=200),
)
OFFER = parse(sample("recording.sdp"))


def check(metadata: RsMetadata) -> None:
    for objects in (metadata.sessions, metadata.participants, metadata.streams, metadata.stream_associations):
        assert len(objects) <= MAX_OBJECTS
    for participant in metadata.participants:
        assert max(len(participant.id), len(participant.aor), len(participant.name)) <= MAX_TEXT
        assert len(participant.number) <= MAX_TEXT


@settings(max_examples=400, deadline=None)
@given(data=documents)
def test_only_xml_error_escapes(data: bytes) -> None:
    try:
        metadata = parse_metadata(data)
    except XmlError as error:
        assert "\n" not in str(error)  # noqa: PT017 - one line for the log
        return
    check(metadata)
    assert metadata.merged(metadata) == metadata.merged(metadata).merged(metadata)


@settings(max_examples=200, deadline=None)
@given(updates=st.lists(documents, max_size=6))
def test_any_updates_leave_each_accepted_line_one_leg(updates: list[bytes]) -> None:
    session = RecordedCalls().open("dialog", None)
    added = [event.index for event in session.apply(OFFER, None) if isinstance(event, LegAdded)]
    for data in updates:
        try:
            metadata = parse_metadata(data)
        except XmlError:
            continue
        added += [event.index for event in session.apply(None, metadata) if isinstance(event, LegAdded)]
        check(session.metadata)
    assert added == [0, 2]
    assert len(session.close()) == 2


@settings(max_examples=200, deadline=None)
@given(
    data=damaged(
        [
            b"".join(
                (
                    b"--b\nContent-Type: application/rs-metadata\n\n",
                    sample("oracle.xml", b"\n"),
                    b"\n--b\nContent-Type: application/sdp\n\n",
                    sample("recording.sdp", b"\n"),
                    b"\n--b--\n",
                )
            )
        ],
        [*SPARE, b"--b", b"--b--"],
    )
)
def test_only_documented_errors_escape_from_a_body(data: bytes) -> None:
    try:
        body = read_body("multipart/mixed;boundary=b", data)
    except (MultipartError, SdpError):
        return
    assert body.metadata is None or body.metadata_error is None


def test_largest_documents_and_endless_updates_take_bounded_memory() -> None:
    long = b"x" * 1000
    for element in (
        b"<participant participant_id='%d'><nameID aor='" + long + b"'/><e>" + long + b"</e></participant>",
        b"<stream stream_id='%d'><label>" + long + b"</label></stream>",
        b"<participantstreamassoc participant_id='%d'>"
        + b"<send>" * 3
        + long
        + b"</send>" * 3
        + b"</participantstreamassoc>",
        b"<a%d/>",
    ):
        tracemalloc.start()
        known = RsMetadata()
        for round_ in range(3):
            count = min((MAX_BYTES - 100) // (len(element) + 4), 2000)
            inner = b"".join(element % (round_ * count + number) for number in range(count))
            known = known.merged(parse_metadata(b"<recording><datamode>partial</datamode>" + inner + b"</recording>"))
        held, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held < 1_000_000
        assert peak < 8_000_000


def test_every_vendors_sample_is_read() -> None:
    assert all(parse_metadata(sample(name)).participants for name in METADATA)
