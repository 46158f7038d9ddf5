"""The names of the metrics that count fields of statistics, with the field that each reads and what it says.

Dashboards and alerts go by the names, so a field that is renamed keeps its metric. `docs/metrics.md` has the same
table for readers; tests compare the two, and see that no field is without a name. Prometheus adds `_total` to counters.
"""

from dataclasses import dataclass
from operator import attrgetter


@dataclass(frozen=True, slots=True)
class Exported:
    """`path`: of the field, parts of the statistics before it (`audio.frames`). A field that counts by kind becomes a
    metric with a label."""

    name: str
    path: str
    text: str
    is_gauge: bool = False

    def value(self, stats: object) -> object:
        """Of the field: a number, or a `Counter`."""
        return attrgetter(self.path)(stats)


def _counter(name: str, path: str, text: str) -> Exported:
    return Exported(name, path, text)


def _gauge(name: str, path: str, text: str) -> Exported:
    return Exported(name, path, text, is_gauge=True)


CLASS = (
    _gauge(
        "trunkline_engine_class_capacity",
        "capacity",
        "Sessions that an otherwise empty engine would admit, by latency class",
    ),
    _gauge(
        "trunkline_engine_class_fill", "fill", "Rows of a batch among those that could have been in it, running mean"
    ),
    _gauge(
        "trunkline_engine_class_lag_p50_seconds",
        "lag_p50_s",
        "From complete audio to result in seconds, median of the last seconds",
    ),
    _gauge(
        "trunkline_engine_class_lag_p95_seconds",
        "lag_p95_s",
        "From complete audio to result in seconds, 95th percentile of the last seconds",
    ),
    _gauge(
        "trunkline_engine_class_lag_p99_seconds",
        "lag_p99_s",
        "From complete audio to result in seconds, 99th percentile of the last seconds",
    ),
    _gauge("trunkline_engine_class_mean_step_seconds", "mean_step_s", "Time of a step in seconds, running mean"),
    _gauge("trunkline_engine_class_open", "open", "Sessions open now, by latency class"),
    _gauge("trunkline_engine_class_room", "headroom", "Sessions that would be admitted now, by latency class"),
    _gauge("trunkline_engine_class_slots", "slots", "Sessions that there are slots for, by latency class"),
)
"""Of a latency class (`engine.api.ClassLoad`), labelled with `chunk_ms`."""

PIPELINE = (
    _counter(
        "trunkline_pipeline_audio_dropped_frames", "audio.dropped_frames", "Frames thrown out of a full queue of a leg"
    ),
    _counter(
        "trunkline_pipeline_audio_frames",
        "audio.frames",
        "Frames pushed, over the legs of ended calls",
    ),
    _counter(
        "trunkline_pipeline_audio_gap_samples", "audio.gap_samples", "Samples that were missing and became silence"
    ),
    _counter("trunkline_pipeline_audio_gaps", "audio.gaps", "Places where audio was missing"),
    _counter("trunkline_pipeline_audio_overlap_samples", "audio.overlap_samples", "Samples that were there already"),
    _counter("trunkline_pipeline_audio_overlaps", "audio.overlaps", "Places where audio was there already"),
    _counter(
        "trunkline_pipeline_audio_resyncs",
        "audio.resyncs",
        "Gaps too long to fill, timestamps that fell back, changes of rate",
    ),
    _counter("trunkline_pipeline_calls_ended", "calls_ended", "Calls that ended after their START"),
    _counter("trunkline_pipeline_calls_refused", "calls_refused", "Calls that ended before their START"),
    _counter("trunkline_pipeline_calls_started", "calls_started", "Calls that began"),
    _counter(
        "trunkline_pipeline_failed_legs",
        "failed_legs",
        "Legs that a fault of ours ended, or that lack something for one",
    ),
    _counter("trunkline_pipeline_playback_failed", "playback.failed", "Utterances that could not be said"),
    _counter(
        "trunkline_pipeline_playback_late_seconds",
        "playback.late_s",
        "Time that was passed over in what is said because the event loop was busy",
    ),
    _counter("trunkline_pipeline_playback_seconds", "playback.seconds", "Audio sent to callers"),
    _counter("trunkline_pipeline_playback_stops", "playback.stops", "Utterances that were interrupted"),
    _counter(
        "trunkline_pipeline_playback_underruns",
        "playback.underruns",
        "Times that an utterance had no audio when it was due",
    ),
    _counter("trunkline_pipeline_playback_utterances", "playback.utterances", "Utterances begun"),
    _counter("trunkline_pipeline_skipped_ticks", "skipped_ticks", "Ticks left out because the event loop was busy"),
    _counter("trunkline_pipeline_unflushed_legs", "unflushed_legs", "Legs that the engine did not flush in time"),
)
"""`pipeline.stats.PipelineStats`."""

TURNS = (
    _counter("trunkline_turns_ended", "turns", "Turns that ended"),
    _counter("trunkline_turns_faults", "faults", "Errors of the models, which are not used any more from then on"),
    _counter("trunkline_turns_hearing_seconds", "hearing_s", "Time of voice activity detection"),
    _counter("trunkline_turns_judging_seconds", "judging_s", "Time of Smart Turn"),
    _counter("trunkline_turns_late_finals", "late_finals", "Turns that ended before their last words were confirmed"),
    _counter("trunkline_turns_questions", "questions", "Pauses that Smart Turn was asked about"),
    _counter("trunkline_turns_unanswered", "unanswered", "Of those, without an answer in time"),
    _counter("trunkline_turns_windows", "windows", "Windows of 32 ms that were heard"),
    _counter("trunkline_turns_words_alone", "words_alone", "Legs whose turns go by words alone, from some time on"),
)
"""`pipeline.turns.detector.TurnStats`."""

BOTS = (
    _gauge("trunkline_bots_active", "active", "Bots that attend a call now"),
    _counter("trunkline_bots_attended", "attended", "Calls that a bot attended"),
    _counter("trunkline_bots_faults", "faults", "Calls that a fault of their bot ended"),
    _counter("trunkline_bots_late_audio_seconds", "late_audio_s", "Audio left out because a bot did not read in time"),
    _counter("trunkline_bots_late_records", "late_records", "Records left out because a bot did not read in time"),
)
"""`pipeline.bots.BotStats`."""

SINK = (
    _counter("trunkline_sink_coalesced_partials", "coalesced_partials", "Partials replaced by newer ones, unsent"),
    _gauge("trunkline_sink_connected", "connected", "1: the destination took what it was given last"),
    _counter("trunkline_sink_dead_lettered", "dead_lettered", "Durable records given up and kept, by reason"),
    _gauge("trunkline_sink_degraded", "degraded", "1: the disk refuses, what is spooled is in memory alone"),
    _counter("trunkline_sink_delivered", "delivered", "Durable records that the destination has acknowledged"),
    _counter("trunkline_sink_delivered_partials", "delivered_partials", "Partials that the destination has taken"),
    _counter("trunkline_sink_dropped_partials", "dropped_partials", "Partials that were dropped"),
    _counter("trunkline_sink_errors", "errors", "Attempts to deliver that failed"),
    _counter("trunkline_sink_lost", "lost", "Durable records that were dropped: to be zero"),
    _gauge("trunkline_sink_oldest_age_seconds", "oldest_age_s", "How long the oldest spooled record waits"),
    _gauge("trunkline_sink_spooled", "spooled", "Durable records neither delivered nor dead-lettered yet"),
)
"""`sinks.delivery.Delivery`, labelled with `sink`; what is counted by kind with `reason`, too."""

ENDPOINT = (
    _gauge("trunkline_sink_endpoint_configured", "configured", "0: only records that wait are left of the endpoint"),
    _gauge("trunkline_sink_endpoint_connected", "connected", "1: the endpoint took what it was given last"),
    _gauge("trunkline_sink_endpoint_oldest_age_seconds", "oldest_age_s", "How long the oldest record on disk waits"),
    _gauge("trunkline_sink_endpoint_spooled", "spooled", "Records that wait on disk for the endpoint"),
)
"""`sinks.delivery.EndpointDelivery`, labelled with `sink` and `endpoint`."""

CONNECTOR = (
    _gauge("trunkline_connector_active", "active", "Streams that run now"),
    _counter("trunkline_connector_bad_upgrades", "bad_upgrades", "Upgrades that are no WebSocket"),
    _counter("trunkline_connector_closed", "closed", "Sockets closed by us with a code other than 1000"),
    _counter("trunkline_connector_crowded", "crowded", "Sockets refused because too many had no stream yet"),
    _counter("trunkline_connector_duplicates", "duplicates", "Messages that had come already"),
    _counter("trunkline_connector_ended", "ended", "Streams that ended"),
    _counter("trunkline_connector_foreign_origins", "foreign_origins", "Requests of web pages of other sites"),
    _counter(
        "trunkline_connector_implausible", "implausible", "Sequence numbers and timestamps that were not believed"
    ),
    _counter(
        "trunkline_connector_irregular", "irregular", "Messages that are not as the protocol has them and were taken"
    ),
    _counter("trunkline_connector_late", "late", "Messages or packets that came after their turn and were dropped"),
    _counter("trunkline_connector_lost", "lost", "Messages or packets that never came"),
    _counter("trunkline_connector_malformed", "malformed", "Messages that could not be read"),
    _counter("trunkline_connector_packets", "packets", "Media messages or packets"),
    _gauge("trunkline_connector_pending", "pending", "Sockets without a stream now"),
    _counter("trunkline_connector_refused", "refused", "Streams refused for what they are"),
    _counter("trunkline_connector_restarts", "restarts", "Streams whose peer began to count anew"),
    _counter("trunkline_connector_started", "started", "Streams that began"),
    _counter("trunkline_connector_turned_away", "turned_away", "Streams refused for want of room"),
    _counter(
        "trunkline_connector_unknown_events", "unknown_events", "Messages of a kind that the protocol does not have"
    ),
    _counter("trunkline_connector_unknown_languages", "unknown_languages", "Streams whose language became the default"),
    _counter("trunkline_connector_unsigned", "unsigned", "Requests refused for their signature or token"),
    _counter("trunkline_connector_upgrades", "upgrades", "Sockets accepted"),
)
"""`connectors.stats.ConnectorStats`, labelled with `connector`; what is counted by kind with `reason`, too."""

SIP = (
    _gauge("trunkline_sip_calls", "calls", "Dialogs now"),
    _counter("trunkline_sip_digest_accepted", "digest.accepted", "Requests with right credentials"),
    _counter("trunkline_sip_digest_challenged", "digest.challenged", "Requests without credentials of ours"),
    _counter("trunkline_sip_digest_malformed", "digest.malformed", "Credentials that cannot be read"),
    _counter("trunkline_sip_digest_replayed", "digest.replayed", "Right credentials with a nonce count that was used"),
    _counter("trunkline_sip_digest_stale", "digest.stale", "Right credentials with a nonce that is over or not ours"),
    _counter("trunkline_sip_digest_wrong", "digest.wrong", "Wrong user or password"),
    _counter("trunkline_sip_failed", "failed", "Calls that a fault of ours ended"),
    _counter(
        "trunkline_sip_recording_asked",
        "recording.asked",
        "Times all metadata were asked for anew, as what came could not be read",
    ),
    _counter("trunkline_sip_recording_bad_documents", "recording.bad_documents", "Documents of metadata left out"),
    _counter(
        "trunkline_sip_recording_differences",
        "recording.differences",
        "Differences from RFC 7865 and in the join with the description",
    ),
    _counter("trunkline_sip_recording_documents", "recording.documents", "Documents of metadata taken in"),
    _counter(
        "trunkline_sip_recording_duplicate_streams",
        "recording.duplicate_streams",
        "Streams that another dialog records already",
    ),
    _counter("trunkline_sip_recording_refused_legs", "recording.refused_legs", "Legs over the limit"),
    _counter(
        "trunkline_sip_recording_unmerged",
        "recording.unmerged",
        "Dialogs that turned out to record a running call after they had begun as one of their own",
    ),
    _counter(
        "trunkline_sip_refused_lines",
        "refused_lines",
        "Audio lines that running calls wanted to add and had no room for",
    ),
    _counter("trunkline_sip_requests_accepted", "requests.accepted", "INVITEs that were answered with 200"),
    _counter("trunkline_sip_requests_ended", "requests.ended", "Calls that ended, by reason"),
    _counter(
        "trunkline_sip_requests_ignored_headers",
        "requests.ignored_headers",
        "Header fields that cannot be read and that nothing needed, by name",
    ),
    _counter("trunkline_sip_requests_invites", "requests.invites", "INVITEs that begin a call"),
    _counter(
        "trunkline_sip_requests_malformed",
        "requests.malformed",
        "Messages answered with the parser's words or not at all",
    ),
    _counter(
        "trunkline_sip_requests_mended_headers",
        "requests.mended_headers",
        "Header fields that break the grammar and have one plain meaning, by name",
    ),
    _counter("trunkline_sip_requests_refused", "requests.refused", "Requests answered with a failure, by status"),
    _counter("trunkline_sip_requests_stray_acks", "requests.stray_acks", "ACKs that belong to nothing"),
    _counter(
        "trunkline_sip_requests_unanswered_offers",
        "requests.unanswered_offers",
        "ACKs of running calls without the answer to our offer",
    ),
    _counter("trunkline_sip_sdp_ignored", "sdp_ignored", "Lines of session descriptions that were left out"),
    _counter(
        "trunkline_sip_sdp_mended",
        "sdp_mended",
        "Lines of session descriptions that are written wrongly and were taken as meant",
    ),
    _counter(
        "trunkline_sip_transactions_full", "transactions.full", "Requests refused because too many transactions run"
    ),
    _counter(
        "trunkline_sip_transactions_merged",
        "transactions.merged",
        "Requests that came on two ways (RFC 3261, section 8.2.2.2)",
    ),
    _counter("trunkline_sip_transactions_repeated", "transactions.repeated", "Messages of ours sent again"),
    _counter("trunkline_sip_transactions_requests", "transactions.requests", "Requests that began a transaction"),
    _counter(
        "trunkline_sip_transactions_retransmissions",
        "transactions.retransmissions",
        "Requests that had been answered already",
    ),
    _counter("trunkline_sip_transactions_stray", "transactions.stray", "Responses that belong to no transaction"),
    _counter("trunkline_sip_transactions_timeouts", "transactions.timeouts", "Requests of ours without an answer"),
    _counter(
        "trunkline_sip_transactions_unacknowledged", "transactions.unacknowledged", "Answers to INVITE without an ACK"
    ),
    _counter("trunkline_sip_transport_connections", "transport.accepted", "TCP and TLS connections accepted"),
    _counter("trunkline_sip_transport_crowded", "transport.crowded", "Connections refused for the limits"),
    _counter(
        "trunkline_sip_transport_dropped", "transport.dropped", "Messages that are no SIP, or that nothing answers"
    ),
    _counter(
        "trunkline_sip_transport_idle", "transport.idle", "Connections ended because no whole message came in time"
    ),
    _counter("trunkline_sip_transport_keepalives", "transport.keepalives", "Keep-alives"),
    _counter("trunkline_sip_transport_malformed", "transport.malformed", "Messages that cannot be taken"),
    _counter("trunkline_sip_transport_received", "transport.received", "Messages that came"),
    _counter("trunkline_sip_transport_sent", "transport.sent", "Messages sent"),
    _counter("trunkline_sip_transport_strangers", "transport.strangers", "Messages from outside the allowed networks"),
    _counter("trunkline_sip_transport_unsent", "transport.unsent", "Answers whose peer is gone or does not read"),
    _counter("trunkline_sip_unread_infos", "unread_infos", "Bodies of INFO of which no key could be read"),
)
"""`connectors.sip.SipStats`; what is counted by kind is labelled with `kind`."""

ACCESS = (
    _counter(
        "trunkline_http_foreign_hosts",
        "foreign_hosts",
        "Requests for a host that is not ours, to a server without a token",
    ),
    _counter(
        "trunkline_http_foreign_origins",
        "foreign_origins",
        "Requests of a web page of another site, to a server without a token",
    ),
    _counter("trunkline_http_forwarded", "forwarded", "Requests through a proxy to a server without a token"),
    _counter("trunkline_http_malformed", "malformed", "Requests that are no HTTP"),
    _counter("trunkline_http_slowed", "slowed", "Wrong tokens that were answered late"),
    _counter("trunkline_http_turned_away", "turned_away", "Wrong tokens that were answered with 429"),
    _counter("trunkline_http_wrong_tokens", "wrong_tokens", "Wrong tokens at any endpoint"),
)
"""`liveview.attempts.AccessStats`."""

CONNECTIONS = (
    _gauge("trunkline_http_connections", "connections", "HTTP connections now"),
    _counter("trunkline_http_crowded", "crowded", "Connections refused as nothing could make room"),
    _counter("trunkline_http_late", "late", "Connections ended because the head of a request did not come in time"),
    _counter("trunkline_http_shed", "shed", "Connections without a request under way, ended to make room"),
)
"""`trunkline.connections.ConnectionStats`."""
