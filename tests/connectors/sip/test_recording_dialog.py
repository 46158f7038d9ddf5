"""Recording clients (SIPREC) on loopback: what is told of the parties, several dialogs of one call, no room."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from connectors.rtp.config import RtpConfig
from connectors.siprec.body import METADATA_TYPES
from connectors.siprec.recording_session import RoleRule
from pipeline import NoWayBack
from sinks.record import CallAction, CallRecord
from tests.connectors.sip.recorder import (
    ALEX,
    CARLA,
    END,
    HOLD,
    RESUME,
    SAM,
    START,
    TRANSFER,
    UPDATE,
    parts,
    recorder_at,
    said,
)
from tests.connectors.sip.stage import CONFIG, Stage, changed, stage
from tests.pipeline.scripted import script, words
from trunkline.loadtest.bodies import recording


def roles(record: CallRecord) -> dict[str, str]:
    return {leg.leg: leg.speaker_role.value for leg in record.legs}


def actions(server: Stage) -> list[CallAction]:
    """Without UPDATE."""
    return [action for action in server.actions() if action is not UPDATE]


async def test_start_tells_of_both_legs_with_names_numbers_and_roles() -> None:
    async with stage() as server, recorder_at(server) as recorder:
        await recorder.invite(recorder.sdp("1", "2"), said(("1", CARLA), ("2", ALEX)))
        (start,) = server.call_records()
        assert start.action is START
        assert roles(start) == {"1": "customer", "2": "agent"}
        assert (start.from_, start.to) == ("+15550100", "4711")
        told = {name: value for name, value in start.metadata.items() if name.startswith("leg.")}
        assert told == {
            "leg.1.name": "Carla",
            "leg.1.number": "+15550100",
            "leg.2.name": "Alex",
            "leg.2.number": "4711",
        }
        await recorder.hang_up()
        await server.ended()


async def test_a_recording_has_no_way_back_to_who_is_recorded() -> None:
    async with stage() as server, recorder_at(server) as recorder:
        await recorder.invite(recorder.sdp("1", "2"), said(("1", CARLA), ("2", ALEX)))
        call = server.calls.get(server.call_records()[0].call_id)
        assert call is not None
        for leg in ("1", "2"):
            with pytest.raises(NoWayBack, match=f"leg {leg}: there is no way back"):
                call.play(leg, np.zeros(160, np.int16), 8_000)
        await recorder.hang_up()
        await server.ended()


async def test_from_and_to_are_those_that_the_metadata_call_so_or_else_of_the_dialog() -> None:
    calling = said(("1", ALEX), ("2", CARLA)).replace(
        b"<name>Carla</name></nameID>", b"<name>Carla</name></nameID><callingParty>true</callingParty>"
    )
    for document, expected in (
        (calling, ("+15550100", "4711")),
        (said(("1", ALEX)), ("4711", "sip:trunkline@192.0.2.1")),
        (None, ("sip:caller@192.0.2.10", "sip:trunkline@192.0.2.1")),
    ):
        async with stage() as server, recorder_at(server) as recorder:
            await recorder.invite(recorder.sdp("1", "2"), document)
            (start,) = server.call_records()
            assert (start.from_, start.to) == expected


async def test_line_that_paused_is_heard_again_for_the_next_leg() -> None:
    async with stage() as server, recorder_at(server) as recorder:
        await recorder.invite(recorder.sdp("1"), said(("1", CARLA)))
        await recorder.invite(recorder.sdp("1", direction="inactive"))
        await recorder.invite(recorder.sdp("2"), said(("2", ALEX)))
        await recorder.talk("2", seconds=0.4)
        await server.until(lambda: server.recognizer.running[1].pushed)
        assert actions(server) == [START, HOLD, RESUME]


@pytest.mark.parametrize(
    ("required", "contact", "document"),
    [("siprec", "", None), ("", ";+sip.src", None), ("", "", said(("1", CARLA)))],
)
async def test_recording_client_is_known_by_its_tags_or_its_metadata(
    required: str, contact: str, document: bytes | None
) -> None:
    async with stage() as server, recorder_at(server) as recorder:
        sdp = recorder.sdp("1")
        body = sdp if document is None else recording(sdp, document, "parts")
        recorder.caller.contact += contact
        fields: dict[str, Any] = {"Require": required} if required else {}
        request = recorder.caller.request("INVITE", body.content, content_type=body.content_type, **fields)
        answer = await recorder.phone.ask(request)
        recorder.caller.learn(answer)
        recorder.phone.put(recorder.caller.ack(request))
        assert "+sip.srs" in (answer.headers.get("Contact") or "")
        assert server.call_records()[0].connector == "siprec"
        await recorder.hang_up()


async def test_recording_whose_lines_are_all_taken_away_is_on_hold_until_one_is_back() -> None:
    config = changed(rtp=RtpConfig(inactivity_s=0.3))
    async with stage(config, script(words("One.")), script(words("Two."))) as server, recorder_at(server) as recorder:
        await recorder.invite(recorder.sdp("1"), said(("1", CARLA)))
        await recorder.talk("1", seconds=1.2)
        sdp = recorder.sdp("1")
        port = f"m=audio {recorder.phone.rtp_port}".encode()
        await recorder.invite(replace(sdp, content=sdp.content.replace(port, b"m=audio 0")))
        await asyncio.sleep(2.5)
        await recorder.invite(recorder.sdp("1"))
        await recorder.talk("1", seconds=1.2)
        await recorder.hang_up()
        await server.ended()
        assert actions(server) == [START, HOLD, RESUME, END]
        heard = [(one.transcript, one.speaker_role.value) for one in server.finals()]
        assert heard == [("One.", "customer"), ("Two.", "customer")]


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Type: application/recording+xml",),
        ("Content-Type: application/xml", "Content-Disposition: recording-session"),
        ("content-type:text/xml", "content-disposition:recording-session;handling=required"),
        ("Content-Type: text/xml",),
        ("Content-Type: text/plain",),
        ("Content-Type: application/octet-stream",),
    ],
)
async def test_recording_client_without_tags_is_known_by_metadata_of_any_type(headers: tuple[str, ...]) -> None:
    async with stage() as server, recorder_at(server) as recorder:
        body = parts(recorder.sdp("1", "2"), said(("1", CARLA), ("2", ALEX)), *headers)
        request = recorder.caller.request("INVITE", body.content, content_type=body.content_type)
        answer = await recorder.phone.ask(request)
        recorder.caller.learn(answer)
        recorder.phone.put(recorder.caller.ack(request))
        (start,) = server.call_records()
        assert (start.connector, start.from_, start.to) == ("siprec", "+15550100", "4711")
        assert roles(start) == {"1": "customer", "2": "agent"}
        assert "+sip.srs" in (answer.headers.get("Contact") or "")
        await recorder.hang_up()


@pytest.mark.parametrize(
    ("tag", "connector"),
    [
        (";src", "siprec"),
        (';+sip.src="TRUE"', "siprec"),
        (";+SIP.SRC", "siprec"),
        (";src=192.0.2.7", "sip"),
        ("", "sip"),
    ],
)
async def test_recording_client_is_known_by_its_feature_tag_in_all_forms(tag: str, connector: str) -> None:
    async with stage() as server, recorder_at(server) as recorder:
        sdp = recorder.sdp("1")
        recorder.caller.contact += tag
        request = recorder.caller.request("INVITE", sdp.content, content_type=sdp.content_type)
        answer = await recorder.phone.ask(request)
        recorder.caller.learn(answer)
        recorder.phone.put(recorder.caller.ack(request))
        assert server.call_records()[0].connector == connector
        await recorder.hang_up()


async def test_one_line_of_both_parties_names_both_and_is_of_neither() -> None:
    both = said(("1", CARLA), ("2", ALEX)).replace(b"<send>s2</send>", b"<send>s1</send>")
    async with stage() as server, recorder_at(server) as recorder:
        await recorder.invite(recorder.sdp("1", direction="sendrecv"), both)
        (start,) = server.call_records()
        assert roles(start) == {"1": "unknown"}
        assert (start.metadata["leg.1.name"], start.metadata["leg.1.number"]) == ("Carla, Alex", "+15550100, 4711")
        assert (start.from_, start.to) == ("+15550100", "4711")
        await recorder.hang_up()


@pytest.mark.parametrize("how", ["UPDATE", "INVITE"])
async def test_metadata_after_the_description_changes_the_roles_of_what_follows(how: str) -> None:
    sentences = [script(words("One."), words("Two.", start=2.0)) for _ in range(2)]
    async with stage(CONFIG, *sentences) as server, recorder_at(server) as recorder:
        await recorder.invite(recorder.sdp("1", "2"))
        assert roles(server.call_records()[0]) == {"1": "unknown", "2": "unknown"}
        await recorder.talk("1", "2", seconds=1.2)
        await server.until(lambda: len(server.finals()) == 2)
        document = said(("1", CARLA), ("2", ALEX))
        if how == "UPDATE":
            assert (await recorder.update(document)).status == 200
        else:
            await recorder.invite(recorder.sdp("1", "2"), document)
        last = server.call_records()[-1]
        assert (last.action, roles(last)) == (UPDATE, {"1": "customer", "2": "agent"})
        assert (last.metadata["leg.1.number"], last.metadata["leg.2.name"]) == ("+15550100", "Alex")
        await recorder.talk("1", "2", seconds=1.2)
        await recorder.hang_up()
        (end,) = await server.ended()
        assert roles(end) == {"1": "customer", "2": "agent"}
        heard = [(one.leg, one.transcript, one.speaker_role.value) for one in server.finals()]
        assert sorted(heard) == [
            ("1", "One.", "unknown"),
            ("1", "Two.", "customer"),
            ("2", "One.", "unknown"),
            ("2", "Two.", "agent"),
        ]


async def test_role_that_a_transfer_brings_is_told() -> None:
    config = changed(recording_roles=RoleRule(agent_aor="@agents"))
    async with stage(config) as server, recorder_at(server) as recorder:
        await recorder.invite(recorder.sdp("1", "2"), said(("1", CARLA), ("2", ALEX)))
        await recorder.update(said(("1", SAM), ("2", ALEX)))
        (transfer,) = [one for one in server.call_records() if one.action is TRANSFER]
        assert roles(transfer) == {"1": "agent", "2": "agent"}
        assert transfer.metadata["leg.1.name"] == "Sam"


async def test_metadata_that_cannot_be_read_is_counted_and_the_media_are_recorded() -> None:
    async with stage() as server, recorder_at(server) as recorder:
        assert (await recorder.invite(recorder.sdp("1"), b"<recording>")).status == 200
        assert (await recorder.update(b"<recording/>")).status == 200
        assert (await recorder.update(b"no xml")).status == 200
        counted = server.connector.stats.recording
        assert (counted.documents, counted.bad_documents, counted.asked) == (1, 2, 0)
        await recorder.talk("1", seconds=0.3)
        await server.until(lambda: server.recognizer.running[0].pushed)


CAN_BE_ASKED: dict[str, Any] = {
    "Accept": "application/sdp, application/rs-metadata-request",
    "Allow": "INVITE, ACK, BYE, UPDATE",
}
UNKNOWN = said(("1", CARLA)).replace(b"complete", b"partial").replace(b"<send>s1", b"<send>s9")


@pytest.mark.parametrize("document", [UNKNOWN, b"no xml"])
async def test_client_is_asked_for_all_metadata_where_an_update_makes_no_sense(document: bytes) -> None:
    both = said(("1", CARLA), ("2", ALEX))
    async with stage() as server, recorder_at(server) as recorder:
        await recorder.invite(recorder.sdp("1", "2"), both, **CAN_BE_ASKED)
        for _ in range(2):  # it is asked once
            assert (await recorder.update(document)).status == 200
            assert (await recorder.update(document)).status == 200
            asked = await recorder.phone.hear_request("UPDATE")
            assert asked.headers.get("Content-Type") == "application/rs-metadata-request"
            assert asked.headers.get("Content-Disposition") == "recording-session"
            assert asked.body.startswith(b"the metadata ")
            assert "+sip.srs" in (asked.headers.get("Contact") or "")
            assert (await recorder.update(both)).status == 200
        assert server.connector.stats.recording.asked == 2
        await recorder.hang_up()
        await server.ended()


async def test_client_is_asked_for_metadata_only_after_its_ack() -> None:
    async with stage() as server, recorder_at(server) as recorder:
        await recorder.invite(recorder.sdp("1"), said(("1", CARLA)), **CAN_BE_ASKED)
        body = recording(recorder.sdp("1"), b"no xml", "parts")
        invite = recorder.caller.request(
            "INVITE", body.content, content_type=body.content_type, Require="siprec", **CAN_BE_ASKED
        )
        assert (await recorder.phone.ask(invite)).status == 200
        assert server.connector.stats.recording.asked == 0
        recorder.phone.put(recorder.caller.ack(invite))
        await recorder.phone.hear_request("UPDATE")
        assert server.connector.stats.recording.asked == 1


@pytest.mark.parametrize("missing", ["Accept", "Allow"])
async def test_client_that_does_not_say_so_is_not_asked(missing: str) -> None:
    fields = {name: value for name, value in CAN_BE_ASKED.items() if name != missing}
    async with stage() as server, recorder_at(server) as recorder:
        await recorder.invite(recorder.sdp("1"), said(("1", CARLA)), **fields)
        assert (await recorder.update(UNKNOWN)).status == 200
        assert (await recorder.phone.ask(recorder.caller.request("OPTIONS"))).status == 200
        assert recorder.phone.messages.empty()
        assert server.connector.stats.recording.asked == 0


@pytest.mark.parametrize("content_type", METADATA_TYPES)
async def test_metadata_are_taken_under_each_of_their_names(content_type: str) -> None:
    async with stage() as server, recorder_at(server) as recorder:
        await recorder.invite(recorder.sdp("1"))
        assert (await recorder.update(said(("1", CARLA)), content_type)).status == 200
        assert roles(server.call_records()[-1]) == {"1": "customer"}


async def test_recording_without_room_for_all_its_legs_is_refused_and_leaves_no_record() -> None:
    async with stage(max_sessions=1) as server, recorder_at(server) as recorder:
        answer = await recorder.invite(recorder.sdp("1", "2"), said(("1", CARLA), ("2", ALEX)))
        assert (answer.status, answer.headers.get("Retry-After")) == (503, "5")
        await server.until(lambda: server.calls.active == 0)
        assert server.records == []
        assert (server.calls.stats.calls_started, server.calls.stats.calls_refused) == (0, 1)
        assert server.connector.stats.refused_lines == 0


async def test_stream_that_is_added_without_room_is_refused_and_taken_when_there_is_some() -> None:
    async with stage(max_sessions=1) as server, recorder_at(server) as recorder:
        both = said(("1", CARLA), ("2", ALEX))
        await recorder.invite(recorder.sdp("1"), said(("1", CARLA)))
        for count in (1, 2):
            await recorder.invite(recorder.sdp("1", "2"), both)
            assert list(recorder.ports) == ["1"]
            assert server.connector.stats.refused_lines == count
        await recorder.update(both)  # metadata alone make no line of it
        assert [roles(record) for record in server.call_records()] == [{"1": "customer"}] * len(server.call_records())
        await recorder.talk("1", seconds=0.3)
        await server.until(lambda: server.recognizer.running[0].pushed)
        server.recognizer.max_sessions = 2
        await recorder.invite(recorder.sdp("1", "2"), both)
        assert list(recorder.ports) == ["1", "2"]
        await recorder.hang_up()
        (end,) = await server.ended()
        assert [(leg.leg, leg.channel_index) for leg in end.legs] == [("1", 0), ("2", 1)]


async def test_stream_of_two_dialogs_is_heard_once_and_goes_over_to_the_other_one() -> None:
    """The second of them has no room of its own: it has the first one's."""
    both = said(("1", CARLA), ("2", ALEX))
    async with stage(max_sessions=2) as server, recorder_at(server) as first, recorder_at(server) as second:
        await first.invite(first.sdp("1", "2"), both)
        await second.invite(second.sdp("1", "2"), both)
        assert server.connector.stats.recording.duplicate_streams == 2
        await second.talk("1", seconds=0.2)
        assert [one.pushed for one in server.recognizer.running] == [0, 0]
        await first.hang_up()
        await server.until(lambda: len(server.recognizer.running) == 4)
        await second.talk("1", "2", seconds=0.4)
        await server.until(lambda: all(one.pushed for one in server.recognizer.running[2:]))
        await second.hang_up()
        (end,) = await server.ended()
        assert actions(server) == [START, END]
        assert roles(end) == {"1": "customer", "2": "agent", "1-2": "customer", "2-2": "agent"}
        assert end.metadata["leg.2-2.name"] == "Alex"


async def test_line_that_one_dialog_gives_up_goes_over_to_the_other_one() -> None:
    both = said(("1", CARLA), ("2", ALEX))
    async with stage(max_sessions=2) as server, recorder_at(server) as first, recorder_at(server) as second:
        await first.invite(first.sdp("1", "2"), both)
        await second.invite(second.sdp("2"), both)
        await first.invite(first.sdp("1"))
        await server.until(lambda: len(server.recognizer.running) == 3)
        await second.talk("2", seconds=0.4)
        await server.until(lambda: server.recognizer.running[2].pushed)
        await first.hang_up()
        assert END not in server.actions()


async def test_dialog_whose_streams_another_one_records_has_no_say_in_a_hold() -> None:
    async with stage() as server, recorder_at(server) as first, recorder_at(server) as second:
        await first.invite(first.sdp("1"), said(("1", CARLA)))
        await second.invite(second.sdp("1"), said(("1", CARLA)))
        await first.invite(first.sdp("1", direction="inactive"))
        assert actions(server) == [START, HOLD]


async def test_call_is_on_hold_while_all_its_dialogs_pause() -> None:
    async with stage() as server, recorder_at(server) as first, recorder_at(server) as second:
        await first.invite(first.sdp("1"), said(("1", CARLA)))
        await second.invite(second.sdp("2"), said(("2", ALEX)))
        assert actions(server) == [START]
        await first.invite(first.sdp("1", direction="inactive"))
        assert actions(server) == [START]
        await second.invite(second.sdp("2", direction="inactive"))
        assert actions(server) == [START, HOLD]
        await first.invite(first.sdp("1"))
        assert actions(server) == [START, HOLD, RESUME]
        await first.talk("1", seconds=0.3)
        await server.until(lambda: server.recognizer.running[0].pushed)
