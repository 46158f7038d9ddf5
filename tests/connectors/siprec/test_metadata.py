"""Recording metadata: samples of vendors, updates, and hostile documents."""

import tracemalloc
from dataclasses import replace

import pytest

from connectors.siprec.metadata import MAX_EXTENSIONS, MAX_OBJECTS, MAX_TEXT
from connectors.siprec.metadata_xml import (
    Difference,
    RsMetadata,
    RsParticipant,
    RsSession,
    RsStream,
    StreamAssociation,
    XmlError,
    parse_metadata,
)
from connectors.siprec.safe_xml import MAX_BYTES, MAX_DEPTH, MAX_NODES, parse_xml
from tests.connectors.samples import METADATA, sample

CUSTOMER, AGENT = "cGFydC1jdXN0b21lci0wMQ==", "cGFydC1hZ2VudC0wMDAwMQ=="
CUSTOMER_STREAM, AGENT_STREAM = "c3RyZWFtLWN1c3RvbWVyLQ==", "c3RyZWFtLWFnZW50LTAwMQ=="
NAMESPACE = "urn:ietf:params:xml:ns:recording:1"


def document(*elements: str, mode: str | None = "complete", namespace: str = NAMESPACE) -> RsMetadata:
    first = f"<datamode>{mode}</datamode>" if mode else ""
    return parse_metadata(f'<recording xmlns="{namespace}">{first}{"".join(elements)}</recording>'.encode())


def test_standard_document() -> None:
    metadata = parse_metadata(sample("standard.xml"))
    assert metadata == RsMetadata(
        complete=True,
        mode_given=True,
        groups=("Z3JvdXAtMDAwMDAwMDAwMQ==",),
        sessions=(
            RsSession(
                "c2Vzc2lvbi0wMDAwMDAwMQ==",
                "Z3JvdXAtMDAwMDAwMDAwMQ==",
                ("0f1e2d3c4b5a69788796a5b4c3d2e1f0;remote=00000000000000000000000000000001",),
                "2026-03-02T10:15:00Z",
            ),
        ),
        participants=(
            RsParticipant(CUSTOMER, "sip:+15550001111@carrier.example", "Dana Customer"),
            RsParticipant(AGENT, "sip:4711@agents.example", "Alex Agent"),
        ),
        streams=(
            RsStream(CUSTOMER_STREAM, "c2Vzc2lvbi0wMDAwMDAwMQ==", "1"),
            RsStream(AGENT_STREAM, "c2Vzc2lvbi0wMDAwMDAwMQ==", "3"),
        ),
        stream_associations=(
            StreamAssociation(CUSTOMER, (CUSTOMER_STREAM,), (AGENT_STREAM,)),
            StreamAssociation(AGENT, (AGENT_STREAM,), (CUSTOMER_STREAM,)),
        ),
        session_associations=metadata.session_associations,
    )
    assert [link.id for link in metadata.session_associations] == [
        (CUSTOMER, "c2Vzc2lvbi0wMDAwMDAwMQ=="),
        (AGENT, "c2Vzc2lvbi0wMDAwMDAwMQ=="),
    ]
    assert metadata.differences == {}


@pytest.mark.parametrize(
    ("name", "differences"),
    [
        (
            "oracle.xml",
            {
                Difference.OTHER_NAMESPACE: 1,
                Difference.NAME_CASE: 1,
                Difference.DRAFT_ATTRIBUTES: 7,
                Difference.DRAFT_ASSOCIATION: 2,
                Difference.NO_GROUP: 1,
            },
        ),
        (
            "audiocodes_avaya.xml",
            {Difference.OTHER_NAMESPACE: 1, Difference.DRAFT_ATTRIBUTES: 8, Difference.UPPER_CASE_UUID: 10},
        ),
        (
            "cube_no_group.xml",
            {Difference.NO_DATA_MODE: 1, Difference.ELEMENT_ORDER: 1, Difference.NO_GROUP: 1},
        ),
    ],
)
def test_vendor_differences_are_counted(name: str, differences: dict[Difference, int]) -> None:
    assert parse_metadata(sample(name)).differences == differences


@pytest.mark.parametrize("name", METADATA)
def test_sample_names_who_sends_each_labelled_stream(name: str) -> None:
    metadata = parse_metadata(sample(name))
    senders = metadata.senders()
    labels = {stream.label: senders[stream.id] for stream in metadata.streams}
    participants = [participant.id for participant in metadata.participants]
    assert set(labels) == {"1", "3"}
    assert sorted(labels["1"] + labels["3"]) == sorted(participants)
    assert all(participant.number for participant in metadata.participants)


def test_extension_elements_are_kept_by_name() -> None:
    oracle = parse_metadata(sample("oracle.xml"))
    assert oracle.sessions[0].extensions == {"ucid": "00FA08000101;encoding=hex", "callerOrig": "true"}
    assert [participant.extensions for participant in oracle.participants] == [
        {"callingParty": "false"},
        {"callingParty": "true"},
    ]
    assert oracle.participants[1].name == "WIRELESS CALLER"
    avaya = parse_metadata(sample("audiocodes_avaya.xml"))
    assert avaya.sessions[0].extensions == {"AvayaUCID": "FA080019001038F725B3"}
    twice = document("<x:wrap><x:a>first</x:a><x:b><x:a>second</x:a>text</x:b></x:wrap>")
    assert twice.extensions == {"a": "first", "b": "text"}


@pytest.mark.parametrize(
    ("aor", "number"),
    [
        ("sip:+15550001111@carrier.example", "+15550001111"),
        ("SIPS:4711;phone-context=x@agents.example;user=phone", "4711"),
        ("<sip:4711:secret@agents.example>", "4711"),
        ("sip:al%2Dex@agents.example", "al-ex"),
        ("tel:+1-555-(000) 22.22;ext=5", "+15550002222"),
        ("4712@agents.example", "4712"),
        ("+1 555-0001", "+15550001"),
        ("sip:agents.example", ""),
        ("anonymous", ""),
        ("", ""),
    ],
)
def test_number_of_an_address(aor: str, number: str) -> None:
    assert RsParticipant("p", aor).number == number


def test_uuids_are_compared_in_lower_case_and_base64_as_it_is() -> None:
    upper = "AB7DEF01-0000-4000-8000-0000000000AA"
    metadata = document(
        f'<participant participant_id="urn:uuid:{upper}"/><participant participant_id="{{{upper.lower()}}}"/>'
        '<participant participant_id="QUJDRA=="/><participant participant_id="qujdra=="/>'
    )
    assert [participant.id for participant in metadata.participants] == [upper.lower(), "QUJDRA==", "qujdra=="]
    assert metadata.differences[Difference.UPPER_CASE_UUID] == 1
    assert metadata.differences[Difference.DUPLICATE] == 1


def test_missing_and_unknown_references_are_counted() -> None:
    metadata = document(
        '<session session_id="s"><group-ref>g</group-ref></session><participant/><stream stream_id=" "/>',
        '<participantsessionassoc participant_id="p" session_id="s"/>',
        '<participantstreamassoc participant_id="p"><send>t</send><recv></recv></participantstreamassoc>',
    )
    assert metadata.differences == {Difference.NO_IDENTIFIER: 2, Difference.NO_GROUP: 1, Difference.DANGLING: 3}


def test_partial_update_replaces_only_what_it_names() -> None:
    known = parse_metadata(sample("standard.xml"))
    update = parse_metadata(sample("transfer_partial.xml"))
    assert (update.complete, update.differences) == (False, {})
    merged = known.merged(update)
    assert merged.complete
    assert [participant.name for participant in merged.participants] == ["Dana Customer", "Alex Agent", "Sam Second"]
    assert merged.streams == known.streams
    assert merged.groups == known.groups
    assert merged.senders()[AGENT_STREAM] == [AGENT, "cGFydC1hZ2VudC0wMDAwMg=="]
    assert [link.ended for link in merged.session_associations] == [False, True, False]


def test_complete_update_replaces_everything() -> None:
    update = document('<participant participant_id="p"/>')
    assert parse_metadata(sample("standard.xml")).merged(update) == update


def test_update_without_a_mode_is_complete_only_where_it_can_stand_alone() -> None:
    known = parse_metadata(sample("standard.xml"))
    partial = document('<participant participant_id="p"/>', mode=None)
    assert partial.differences[Difference.NO_DATA_MODE] == 1
    assert len(known.merged(partial).participants) == 3
    whole = parse_metadata(sample("cube_no_group.xml"))
    assert known.merged(whole) == whole


def test_ended_association_sends_nothing() -> None:
    metadata = document(
        '<participantstreamassoc participant_id="p"><send>t</send>'
        "<disassociate-time>2026-03-02T10:15:04Z</disassociate-time></participantstreamassoc>"
    )
    assert metadata.senders() == {}


def test_updates_without_end_keep_the_newest_objects_in_bounded_memory() -> None:
    known = parse_metadata(sample("standard.xml"))
    for number in range(200):
        known = known.merged(
            document(f'<participant participant_id="p{number}"/>', f"<x{number}>1</x{number}>", mode="partial")
        )
    assert len(known.participants) == MAX_OBJECTS
    assert known.participants[-1].id == "p199"
    assert len(known.extensions) == MAX_EXTENSIONS


def test_too_many_objects_and_long_texts_are_cut() -> None:
    metadata = document(
        "".join(f'<group group_id="g{number}"/>' for number in range(MAX_OBJECTS + 3)),
        "".join(f'<participant participant_id="p{number}"/>' for number in range(MAX_OBJECTS + 3)),
        f'<stream stream_id="t"><label>{"l" * 5000}</label></stream>',
    )
    assert (len(metadata.participants), metadata.participants[0].id) == (MAX_OBJECTS, "p3")
    assert (len(metadata.groups), metadata.groups[0]) == (MAX_OBJECTS, "g3")
    assert metadata.differences[Difference.TOO_MANY] == 3
    assert len(metadata.streams[0].label or "") == MAX_TEXT


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_names_in_any_usual_encoding(encoding: str) -> None:
    text = (
        '\r\n<?xml version="1.0" encoding="idna"?><recording><participant participant_id="p">'
        "<nameID><name>Zoë</name></nameID></participant></recording>\0"
    )
    text = text if encoding != "utf-16" else text.strip()
    assert parse_metadata(text.encode(encoding)).participants[0].name == "Zoë"


@pytest.mark.parametrize("name", ["billion_laughs.xml", "external_entity.xml", "external_subset.xml"])
def test_document_type_is_refused_before_anything_is_expanded(name: str) -> None:
    tracemalloc.start()
    with pytest.raises(XmlError, match="document type or an entity"):
        parse_metadata(sample(name))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_quadratic_blow_up_is_refused() -> None:
    entity = "a" * 50_000
    text = f'<!DOCTYPE r [<!ENTITY a "{entity}">]><recording>{"&a;" * 50_000}</recording>'
    with pytest.raises(XmlError, match="document type or an entity"):
        parse_xml(text.encode())


def test_predefined_entities_are_read_and_others_are_refused() -> None:
    metadata = document(
        '<participant participant_id="a&amp;b"><nameID><name>&lt;A &#38; B&gt;</name></nameID></participant>'
    )
    assert (metadata.participants[0].id, metadata.participants[0].name) == ("a&b", "<A & B>")
    with pytest.raises(XmlError, match="undefined entity"):
        document("&secret;")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no element found"),
        (b"<recording", "unclosed token"),
        (b"<recording></wrong>", "mismatched tag"),
        (b"<recording/><recording/>", "junk after document element"),
        (b"<recording a='1' a='2'/>", "duplicate attribute"),
        (b"<session/>", "the document is no recording"),
        (b"\x00\x01\x02", "no well-formed XML"),
        (b"<recording>" + b"<a>" * MAX_DEPTH + b"</a>" * MAX_DEPTH + b"</recording>", "nested deeper than 32"),
        (b"<recording>" + b"<a/>" * MAX_NODES + b"</recording>", "more than 10000 elements"),
        (b"<recording " + b" ".join(b"a%d=''" % n for n in range(65)) + b"/>", "more than 64 attributes"),
        (b"<recording>" + b" " * MAX_BYTES + b"</recording>", "longer than 262144 bytes"),
    ],
)
def test_bad_documents_are_refused_with_the_reason(data: bytes, message: str) -> None:
    with pytest.raises(XmlError, match=message):
        parse_metadata(data)


def test_documents_at_the_limits_are_read() -> None:
    depth = MAX_DEPTH - 1
    assert parse_metadata(b"<recording>" + b"<a>" * depth + b"</a>" * depth + b"</recording>").participants == ()
    assert parse_metadata(b"<recording>" + b"<a/>" * (MAX_NODES - 1) + b"</recording>").extensions == {}


def test_differences_are_no_part_of_what_a_document_says() -> None:
    metadata = document()
    assert metadata == replace(metadata, differences={})
    assert metadata.differences == {Difference.NO_GROUP: 1}
    assert document(namespace="").differences[Difference.NO_NAMESPACE] == 1
