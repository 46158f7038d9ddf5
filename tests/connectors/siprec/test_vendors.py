"""Who speaks on which stream, in the words of vendors and of drafts of RFC 7865: right, or unknown and said."""

import pytest

from connectors.sdp.description import parse
from connectors.siprec.labels import AMBIGUOUS, BY_RECEIVER, UNASSOCIATED, UNLABELLED, UNNAMED
from connectors.siprec.metadata_xml import Difference, RsMetadata, XmlError, parse_metadata
from connectors.siprec.recording_session import LegAdded, MetadataChanged, RecordedCalls, read_body
from sinks.record import SpeakerRole
from tests.connectors.samples import sample

CUSTOMER, AGENT, UNKNOWN = SpeakerRole.CUSTOMER, SpeakerRole.AGENT, SpeakerRole.UNKNOWN
DANA, ALEX = "sip:+15550001111@carrier.example", "sip:4711@agents.example"

PEOPLE = (
    f'<participant participant_id="p-dana"><nameID aor="{DANA}"><name>Dana</name></nameID></participant>'
    f'<participant participant_id="p-alex"><nameID aor="{ALEX}"><name>Alex</name></nameID></participant>'
)
STREAMS = (
    '<stream stream_id="s-dana" session_id="cs"><label>1</label></stream>'
    '<stream stream_id="s-alex" session_id="cs"><label>2</label></stream>'
)
SENDS = (
    '<participantstreamassoc participant_id="p-dana"><send>s-dana</send></participantstreamassoc>'
    '<participantstreamassoc participant_id="p-alex"><send>s-alex</send></participantstreamassoc>'
)
SESSION = '<session session_id="cs"/>'


def recording(*parts: str, head: str = "") -> bytes:
    inner = "".join(parts)
    return f'{head}<recording xmlns="urn:ietf:params:xml:ns:recording:1">{inner}</recording>'.encode()


WHOLE = (SESSION, PEOPLE, STREAMS, SENDS)


def description(*labels: str | None) -> bytes:
    lines = ["v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0"]
    for index, label in enumerate(labels):
        lines += [f"m=audio {4000 + 2 * index} RTP/AVP 0", "a=sendonly"]
        if label is not None:
            lines.append(f"a=label:{label}")
    return "".join(f"{line}\r\n" for line in lines).encode()


class Told:
    """What a recording with these labels and this document tells."""

    def __init__(self, document: bytes | RsMetadata, *labels: str | None) -> None:
        calls = RecordedCalls()
        metadata = document if isinstance(document, RsMetadata) else parse_metadata(document)
        self.session = calls.open("dialog", metadata)
        events = self.session.apply(parse(description(*labels)), metadata)
        self.legs = [
            (",".join(person.name for person in event.participants), event.role)
            for event in events
            if isinstance(event, LegAdded)
        ]
        self.numbers = [
            event.participant.number if event.participant else "" for event in events if isinstance(event, LegAdded)
        ]
        self.metadata = next((dict(event.metadata) for event in events if isinstance(event, MetadataChanged)), {})
        self.differences = dict(calls.stats.differences)


BOTH = [("Dana", CUSTOMER), ("Alex", AGENT)]


def test_broadworks_names_roles_and_senders_are_read() -> None:
    told = Told(sample("broadworks.xml"), "1", "3")
    assert told.legs == [("Dana Customer", CUSTOMER), ("Alex Agent", AGENT)]
    assert told.numbers == ["+15550001111", "4711"]
    assert told.session.doubts == ()
    assert told.metadata["siprec.callingPartyNumber"] == "sip:+15550001111@carrier.example"
    assert "siprec.speakers" not in told.metadata
    assert {Difference.WRAPPED, Difference.NESTED_REFERENCE, Difference.NAME_OUTSIDE} <= set(told.differences)


def test_broadworks_lines_in_other_order_keep_their_speakers() -> None:
    assert Told(sample("broadworks.xml"), "3", "1").legs == [("Alex Agent", AGENT), ("Dana Customer", CUSTOMER)]


@pytest.mark.parametrize(
    "wrapped",
    [
        "<recording_metadata>{}</recording_metadata>",
        '<recording_metadata xmlns="urn:ietf:params:xml:ns:siprec"><recording>{}</recording></recording_metadata>',
        '<b:recording_metadata xmlns:b="urn:x"><b:recording>{}</b:recording></b:recording_metadata>',
        '<rs-metadata><recording id="r">{}</recording></rs-metadata>',
        "<message><body><recording>{}</recording></body></message>",
        "<recordingMetadata><recording><requestor>SRC</requestor></recording>{}</recordingMetadata>",
        "<recording><participants>{}</participants></recording>",
    ],
)
def test_an_element_around_the_objects_hides_nobody(wrapped: str) -> None:
    told = Told(wrapped.format("".join(WHOLE)).encode(), "1", "2")
    assert told.legs == BOTH
    assert told.differences[Difference.WRAPPED] == 1


def test_objects_within_their_session_are_found() -> None:
    assert Told(recording(f'<session session_id="cs">{PEOPLE}{STREAMS}</session>{SENDS}'), "1", "2").legs == BOTH


@pytest.mark.parametrize("root", [b"<session/>", b"<a><b><c><d><recording/></d></c></b></a>", b"<records/>"])
def test_a_document_without_a_recording_is_refused(root: bytes) -> None:
    with pytest.raises(XmlError, match="no recording"):
        parse_metadata(root)


@pytest.mark.parametrize(
    ("namespace", "difference"),
    [
        ('xmlns="urn:ietf:params:xml:ns:recording:1"', None),
        ('xmlns="urn:ietf:params:xml:ns:recording"', Difference.OTHER_NAMESPACE),
        ('xmlns="urn:ietf:params:xml:ns:siprec"', Difference.OTHER_NAMESPACE),
        ("", Difference.NO_NAMESPACE),
    ],
)
def test_any_namespace_is_read(namespace: str, difference: Difference | None) -> None:
    told = Told(f"<recording {namespace}>{''.join(WHOLE)}</recording>".encode(), "1", "2")
    assert told.legs == BOTH
    found = {Difference.OTHER_NAMESPACE, Difference.NO_NAMESPACE} & set(told.differences)
    assert found == ({difference} if difference else set())


@pytest.mark.parametrize(
    "send",
    [
        "<send>{}</send>",
        "<send>\n  {}\n</send>",
        "<send><id>{}</id></send>",
        "<send><stream_id> {} </stream_id></send>",
        '<send><stream id="x">{}</stream></send>',
        '<send id="{}"/>',
        '<send stream_id="{}"></send>',
        '<send streamId="{}"/>',
    ],
)
@pytest.mark.parametrize("place", ["association", "participant"])
def test_a_stream_may_be_named_in_several_ways(send: str, place: str) -> None:
    streams = {"p-dana": "s-dana", "p-alex": "s-alex"}
    if place == "association":
        parts = [
            f'<participantstreamassoc participant_id="{who}">{send.format(which)}</participantstreamassoc>'
            for who, which in reversed(streams.items())
        ]
        told = Told(recording(SESSION, PEOPLE, STREAMS, *parts), "1", "2")
    else:
        people = PEOPLE
        for who, which in streams.items():
            people = people.replace(f'"{who}">', f'"{who}">{send.format(which)}')
        told = Told(recording(SESSION, people, STREAMS), "1", "2")
        assert told.differences[Difference.DRAFT_ASSOCIATION] == 2
    assert told.legs == BOTH
    assert told.session.doubts == ()


@pytest.mark.parametrize("separator", [" ", "\n", "</send><send>", "</id><id>"])
def test_several_streams_of_one_participant_are_all_theirs(separator: str) -> None:
    streams = STREAMS + '<stream stream_id="s-3" session_id="cs"><label>3</label></stream>'
    send = f"<send><id>s-dana{separator}s-3</id></send>"
    if "<send>" in separator:
        send = f"<send>s-dana{separator}s-3</send>"
    association = f'<participantstreamassoc participant_id="p-dana">{send}</participantstreamassoc>'
    other = '<participantstreamassoc participant_id="p-alex"><send>s-alex</send></participantstreamassoc>'
    told = Told(recording(SESSION, PEOPLE, streams, association, other), "1", "2", "3")
    assert told.legs == [*BOTH, ("Dana", CUSTOMER)]


UUID = "5d0c0001-0000-4000-8000-0000000000ab"


@pytest.mark.parametrize(
    "written",
    [
        f"urn:uuid:{UUID}",
        f"URN:UUID:{UUID.upper()}",
        f"{{{UUID}}}",
        f"urn:uuid:{{{UUID}}}",
        f" {UUID.upper()}\n",
        f"&lt;{UUID}&gt;",
    ],
)
def test_identifiers_are_the_same_whatever_stands_around_them(written: str) -> None:
    association = SENDS.replace("s-dana", written)
    streams = STREAMS.replace("s-dana", UUID)
    assert Told(recording(SESSION, PEOPLE, streams, association), "1", "2").legs == BOTH


@pytest.mark.parametrize("written", ["urn:uuid:not-a-uuid", "{not-a-uuid}", "not-\n  a-uuid", " not-a-uuid "])
def test_that_holds_for_identifiers_that_are_no_uuids(written: str) -> None:
    association = SENDS.replace("s-dana", written)
    streams = STREAMS.replace("s-dana", "not-a-uuid")
    assert Told(recording(SESSION, PEOPLE, streams, association), "1", "2").legs == BOTH


@pytest.mark.parametrize(
    ("person", "name", "number"),
    [
        ('<nameID aor="tel:+15550001111"/>', "", "+15550001111"),
        ("<nameID><name>Dana</name></nameID>", "Dana", ""),
        ("<nameID><aor>sip:4711@x</aor><name>Dana</name></nameID>", "Dana", "4711"),
        ("<nameID>sip:4711@x</nameID>", "", "4711"),
        ('<nameID aor="&quot;Dana C.&quot; &lt;sip:4711@x;user=phone&gt;"/>', "Dana C.", "4711"),
        ('<nameID aor="sip:anonymous.invalid"/><nameID aor="tel:+1555"><name>Dana</name></nameID>', "Dana", "+1555"),
        ('<nameID aor="sip:1@x"><name>Dana</name></nameID><nameID aor="tel:+2"><name>D.</name></nameID>', "Dana", "1"),
        ('<nameID aor="sip:1@x"><name xml:lang="de"> </name><name xml:lang="en">Dana</name></nameID>', "Dana", "1"),
        ("<name>Dana</name><aor>sip:+1555@x;user=phone</aor>", "Dana", "+1555"),
        ('<nameID aor="sip:1@x"/><name>Dana</name>', "Dana", "1"),
        ('<nameID aor="sip:1@x" name="Dana"/>', "Dana", "1"),
        ('<nameID aor="sip:+1-555-000-1111@x"/>', "", "+15550001111"),
        ('<nameID aor="sip:(555)%20000-1111@x"/>', "", "5550001111"),
        ('<nameID aor="sip:47-11@x;user=phone"/>', "", "4711"),
        ('<nameID aor="sip:47-11@x"/>', "", "47-11"),
        ('<nameID aor="sip:dana.c-1@x"/>', "", "dana.c-1"),
        ('<nameID aor="sip:192.168.0.10@x"/>', "", "192.168.0.10"),
        ('<nameID aor="sip:123@ims01.example;noa=international;srvattri=national"/>', "", "123"),
        ('<nameID aor="sip:@x"><name>op-8001</name></nameID>', "op-8001", ""),
        ('<nameID aor="sip:1@x?a=1&b=2"><name>Dana & Co</name></nameID>', "Dana & Co", "1"),
        ('<nameID aor="sip:1@x"><name>Dana &amp; Co &</name></nameID>', "Dana & Co &", "1"),
    ],
)
def test_names_and_numbers_of_a_participant(person: str, name: str, number: str) -> None:
    people = f'<participant participant_id="p-dana">{person}</participant>'
    told = Told(recording(SESSION, people, STREAMS, SENDS), "1")
    assert told.legs == [(name, CUSTOMER)]
    assert told.numbers == [number]


def test_ampersands_that_are_not_escaped_are_counted_and_open_no_door() -> None:
    people = PEOPLE.replace("<name>Dana</name>", "<name>Dana & Alex & Co</name>")
    told = Told(recording(SESSION, people, STREAMS, SENDS), "1", "2")
    assert told.legs == [("Dana & Alex & Co", CUSTOMER), ("Alex", AGENT)]
    assert told.differences[Difference.BARE_AMPERSAND] == 2
    entity = '<!DOCTYPE recording [<!ENTITY co "Company">]>'
    with pytest.raises(XmlError, match="document type"):
        parse_metadata(recording(SESSION, people.replace("& Co", "&co;"), STREAMS, SENDS, head=entity))


def test_two_associations_of_one_participant_say_more_and_not_less() -> None:
    more = '<participantstreamassoc participant_id="p-dana"><recv>s-alex</recv></participantstreamassoc>'
    for order in ((SENDS, more), (more, SENDS)):
        told = Told(recording(SESSION, PEOPLE, STREAMS, *order), "1", "2")
        assert told.legs == BOTH
        assert told.differences[Difference.DUPLICATE] == 1


def test_an_association_that_ended_takes_nothing_from_one_that_did_not() -> None:
    ended = (
        '<participantstreamassoc participant_id="p-dana"><send>s-alex</send>'
        "<disassociate-time>2026-03-02T10:15:04Z</disassociate-time></participantstreamassoc>"
    )
    for order in ((SENDS, ended), (ended, SENDS)):
        assert Told(recording(SESSION, PEOPLE, STREAMS, *order), "1", "2").legs == BOTH


def test_empty_associations_leave_the_word_to_the_participants() -> None:
    empty = "".join(f'<participantstreamassoc participant_id="p-{who}"/>' for who in ("dana", "alex"))
    people = PEOPLE.replace('"p-dana">', '"p-dana"><send>s-alex</send>')
    people = people.replace('"p-alex">', '"p-alex"><send>s-dana</send>')
    assert Told(recording(SESSION, people, STREAMS, empty), "1", "2").legs == [("Alex", AGENT), ("Dana", CUSTOMER)]


def test_of_two_parties_the_sender_is_known_by_who_receives() -> None:
    hears = SENDS.replace("send>", "recv>")
    told = Told(recording(SESSION, PEOPLE, STREAMS, hears), "1", "2")
    assert told.legs == [("Alex", AGENT), ("Dana", CUSTOMER)]
    assert told.differences[BY_RECEIVER] == 2
    assert told.session.doubts == ()


def test_of_three_parties_who_receives_does_not_tell_the_sender() -> None:
    third = PEOPLE + '<participant participant_id="p-sam"><nameID aor="sip:1@x"/></participant>'
    told = Told(recording(SESSION, third, STREAMS, SENDS.replace("send>", "recv>")), "1", "2")
    assert told.legs == [("", UNKNOWN), ("", UNKNOWN)]
    assert told.session.doubts == (UNASSOCIATED,)


def test_a_guess_by_order_is_told_in_the_records() -> None:
    told = Told(recording(SESSION, PEOPLE, STREAMS), "1", "2")
    assert told.legs == BOTH
    assert told.metadata["siprec.speakers"] == f"by order: {UNASSOCIATED}"
    assert told.session.doubts == (UNASSOCIATED,)
    unlabelled = Told(recording(*WHOLE), None, None)
    assert unlabelled.metadata["siprec.speakers"] == f"by order: {UNLABELLED}"


@pytest.mark.parametrize("order", [WHOLE, WHOLE[::-1], (STREAMS, SENDS, SESSION, PEOPLE)])
def test_labels_are_joined_in_whatever_order_they_and_the_objects_come(order: tuple[str, ...]) -> None:
    assert Told(recording(*order), "1", "2").legs == BOTH
    assert Told(recording(*order), "2", "1").legs == BOTH[::-1]


def test_a_label_with_two_senders_leaves_the_speaker_unknown() -> None:
    told = Told(recording(SESSION, PEOPLE, STREAMS.replace(">2<", ">1<"), SENDS), "1")
    assert told.legs == [("", UNKNOWN)]
    assert told.session.doubts == (AMBIGUOUS,)
    assert told.differences[AMBIGUOUS] == 1


def test_a_line_that_no_stream_names_is_unknown_and_said() -> None:
    told = Told(recording(*WHOLE), "1", "7")
    assert told.legs == [("Dana", CUSTOMER), ("", UNKNOWN)]
    assert told.session.doubts == (UNNAMED,)


def test_participants_without_identifiers_who_name_their_streams_are_known() -> None:
    people = PEOPLE.replace('participant_id="p-dana"', "").replace('participant_id="p-alex"', "")
    people = people.replace("<participant >", "<participant ><send>s-dana</send>", 1)
    head, _, tail = people.rpartition("<participant >")
    told = Told(recording(SESSION, f"{head}<participant ><send>s-alex</send>{tail}", STREAMS), "1", "2")
    assert told.legs == BOTH
    assert told.differences[Difference.NO_IDENTIFIER] == 2


@pytest.mark.parametrize(
    ("told", "place"),
    [
        ("<x:callingPartyNumber>sip:4711@other.example</x:callingPartyNumber>", "session"),
        ("<x:a><x:calledPartyNumber>+15550001111</x:calledPartyNumber></x:a>", "session"),
        ('<callData><fromhdr>"A" &lt;sip:4711@h&gt;;tag=1</fromhdr></callData>', "group"),
        ("<x:callingPartyNumber>tel:4711</x:callingPartyNumber>", "document"),
    ],
)
def test_the_party_that_called_is_known_by_the_number_that_the_document_tells(told: str, place: str) -> None:
    parts = {
        "session": (f'<session session_id="cs">{told}</session>', PEOPLE, STREAMS, SENDS),
        "group": (f'<group group_id="g">{told}</group>', *WHOLE),
        "document": (*WHOLE, told),
    }[place]
    assert Told(recording(*parts), "1", "2").legs == [("Dana", AGENT), ("Alex", CUSTOMER)]


@pytest.mark.parametrize(
    ("word", "role"), [("calling", CUSTOMER), ("Caller", CUSTOMER), ("called", AGENT), ("callee", AGENT)]
)
def test_the_part_that_a_participant_states_is_believed(word: str, role: SpeakerRole) -> None:
    people = PEOPLE.replace('"p-alex">', f'"p-alex"><role>{word}</role>')
    assert Told(recording(SESSION, people, STREAMS, SENDS), "2").legs == [("Alex", role)]


def test_extension_data_belong_to_the_object_that_they_name() -> None:
    told = (
        '<extensiondata id="e" parent="p-alex"><x:callingParty>true</x:callingParty></extensiondata>'
        '<extensiondata id="f" parent="{cs}"><x:ucid>77</x:ucid></extensiondata>'
    )
    recorded = Told(recording(*WHOLE, told), "1", "2")
    assert recorded.legs == [("Dana", AGENT), ("Alex", CUSTOMER)]
    assert recorded.metadata["siprec.ucid"] == "77"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "latin-1"])
def test_documents_in_any_usual_encoding_are_read(encoding: str) -> None:
    text = recording(*WHOLE, head='<?xml version="1.0"?>').decode().replace("Dana", "Zoë")
    assert Told(text.encode(encoding), "1", "2").legs == [("Zoë", CUSTOMER), ("Alex", AGENT)]


def test_a_document_type_is_refused_in_whatever_encoding_and_element() -> None:
    text = '<!DOCTYPE x [<!ENTITY a "b">]><recording_metadata><recording/></recording_metadata>'
    for encoding in ("utf-8", "utf-16", "utf-16-le", "utf-16-be"):
        with pytest.raises(XmlError, match="document type or an entity"):
            parse_metadata(text.encode(encoding))


def body(*parts: tuple[str, bytes]) -> bytes:
    whole = b"".join(b"--b\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n" for head, content in parts)
    return whole + b"--b--\r\n"


SDP_PART = ("Content-Type: application/sdp", description("1", "2"))


@pytest.mark.parametrize(
    "head",
    [
        "Content-Type: application/rs-metadata+xml",
        "Content-Type: application/rs-metadata+xml; charset=utf-8",
        'Content-Type: application/rs-metadata;charset="UTF-8"',
        "Content-Type:application/ +xml\r\nContent-Disposition:recording-session",
        "Content-Type: text/xml; charset=utf-8",
        "Content-Type: application/xml",
        "Content-Type: Application/RS-Metadata+XML",
        "Content-Type: application/octet-stream",
        "Content-Type: text/plain",
        "Content-Disposition: recording-session",
        "Content-Type: application/x-other\r\nContent-Disposition: Recording-Session;handling=optional",
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_metadata_are_found_whatever_type_their_part_has(head: str, order: int) -> None:
    parts = [SDP_PART, (head, recording(*WHOLE))][::order]
    read = read_body("multipart/mixed;boundary=b", body(*parts))
    assert read.metadata is not None
    assert (read.metadata_error, read.others) == (None, ())
    assert [person.name for person in read.metadata.participants] == ["Dana", "Alex"]


def test_metadata_of_their_own_type_go_before_others_that_look_like_them() -> None:
    other = recording('<participant participant_id="x"/>')
    read = read_body(
        "multipart/mixed;boundary=b",
        body(SDP_PART, ("Content-Type: text/xml", other), ("Content-Type: application/rs-metadata", recording(*WHOLE))),
    )
    assert read.metadata is not None
    assert len(read.metadata.participants) == 2
    assert [part.body for part in read.others] == [other]


def test_other_parts_stay_others_and_broken_metadata_is_said() -> None:
    read = read_body(
        "multipart/mixed;boundary=b",
        body(SDP_PART, ("Content-Type: application/gtd", b"IAM, recording"), ("Content-Type: text/xml", b"<recording")),
    )
    assert (read.metadata, read.metadata_error, len(read.others)) == (None, None, 2)
    broken = read_body(
        "multipart/mixed;boundary=b",
        body(SDP_PART, ("Content-Type: text/xml\r\nContent-Disposition: recording-session", b"<recording")),
    )
    assert broken.metadata_error == "the document is no well-formed XML: unclosed token"
