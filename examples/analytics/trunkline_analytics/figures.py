"""The figures of the report, in SQL over the tables of `trunkline_analytics.database`.

The sentences in `DEFINITIONS` say what each figure counts; they stand in the report, and the SQL does what they say.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import duckdb

PAUSE_S = 0.3
"""Shorter pauses between the segments of a leg are talk."""

INTERRUPTION_S = 0.3
SAME_START_S = 1.0
SHORTEST_KEYWORD = 4
KEYWORDS = 25

DEFINITIONS = {
    "talk": f"From the first to the last word of a final segment; pauses of a leg under {PAUSE_S} s count as talk. A "
    "leg's talk share is its part of the talk of all legs; the rest is what it listened to.",
    "clock": f"Legs of a call start together, unless the arrival times say that one began over {SAME_START_S:.0f} s "
    "later.",
    "silence": "Nobody talks, between the first and the last word of the call; as part of that time.",
    "overlap": "At least two legs talk at the same time; as part of the same time.",
    "interruption": f"A leg begins while another has over {INTERRUPTION_S} s still to talk, and goes on after that one "
    "has stopped. Short words of assent while the other goes on are none.",
    "languages": "Of words in final segments, as far as the language is known. A switch is a word of a leg in another "
    "language than the word before it.",
    "words a minute": "Words of a leg in a minute of its talk.",
    "keywords": f"Words of at least {SHORTEST_KEYWORD} letters, by how often they come, and more so the fewer calls "
    "have them.",
    "latency": "From the arrival of the newest audio that a transcript is based on to its emission; records without "
    "one, as of files, are left out.",
    "missing": "Numbers between 0 and the greatest `seq` of a leg that no record has. Partials that were dropped, or "
    "whose topic was not read, are among them.",
    "reordered": "Records behind one of a greater `seq` of their leg in the same partition or file.",
}

_TABLES = f"""
CREATE TABLE envelope AS
    SELECT call_id, run, leg, seq, "at", topic, partition, "offset" FROM transcript
    UNION ALL SELECT call_id, run, leg, seq, "at", topic, partition, "offset" FROM call
    UNION ALL SELECT call_id, run, leg, seq, "at", topic, partition, "offset" FROM turn
    UNION ALL SELECT call_id, run, leg, seq, "at", topic, partition, "offset" FROM dtmf;

CREATE TABLE step AS
    SELECT call_id, run, arg_min(connector, seq) AS connector, arg_max(reason, seq) AS reason
    FROM call GROUP BY call_id, run;

CREATE TABLE leg AS
    SELECT call_id, run, leg, role, CASE WHEN late > {SAME_START_S} THEN late ELSE 0 END AS late
    FROM (
        SELECT call_id, run, leg, role, coalesce(zero - min(zero) OVER (PARTITION BY call_id, run), 0) AS late
        FROM (
            SELECT call_id, run, leg, arg_max(speaker_role, seq) AS role,
                   min(epoch("at") - latency_ms / 1000 - (start + duration))
                       FILTER (WHERE latency_ms > 0 AND connector IS NOT NULL) AS zero
            FROM transcript LEFT JOIN step USING (call_id, run) GROUP BY call_id, run, leg
        )
    );

CREATE TABLE segment AS
    SELECT call_id, run, leg, role, transcript, words,
           coalesce(words[1]."start", start) + late AS begin_s,
           greatest(coalesce(words[1]."start", start), coalesce(words[-1]."end", start + duration)) + late AS end_s
    FROM (
        SELECT *, row_number() OVER (PARTITION BY call_id, run, leg, segment_id
                                     ORDER BY revision DESC, seq DESC) AS place
        FROM transcript WHERE is_final
    ) JOIN leg USING (call_id, run, leg)
    WHERE place = 1 AND (transcript <> '' OR len(words) > 0);

CREATE TABLE spoken AS
    SELECT call_id, run, leg, role, word.word AS word, word.language AS language, word."start" AS start_s, place
    FROM (SELECT call_id, run, leg, role, unnest(words) AS word, generate_subscripts(words, 1) AS place FROM segment);

CREATE TABLE utterance AS
    SELECT call_id, run, leg, any_value(role) AS role, min(begin_s) AS begin_s, max(end_s) AS end_s
    FROM (
        SELECT *, sum(is_new) OVER (PARTITION BY call_id, run, leg ORDER BY begin_s, end_s
                                    ROWS UNBOUNDED PRECEDING) AS number
        FROM (
            SELECT *, CASE WHEN begin_s < {PAUSE_S} + max(end_s) OVER (
                        PARTITION BY call_id, run, leg ORDER BY begin_s, end_s
                        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) THEN 0 ELSE 1 END AS is_new
            FROM segment
        )
    ) GROUP BY call_id, run, leg, number;
"""

_LEGS = f"""
WITH talk AS (SELECT call_id, run, leg, sum(end_s - begin_s) AS talk_s FROM utterance GROUP BY ALL),
    counted AS (SELECT call_id, run, leg, count(*) AS words FROM spoken GROUP BY ALL),
    interrupting AS (
        SELECT b.call_id, b.run, b.leg, count(DISTINCT b.begin_s) AS interruptions
        FROM utterance a JOIN utterance b
            ON a.call_id = b.call_id AND a.run = b.run AND a.leg <> b.leg
            AND b.begin_s > a.begin_s AND b.begin_s < a.end_s - {INTERRUPTION_S} AND b.end_s > a.end_s
        GROUP BY ALL
    ),
    switched AS (
        SELECT call_id, run, leg, count(*) FILTER (WHERE language <> before) AS switches FROM (
            SELECT *, lag(language) OVER (PARTITION BY call_id, run, leg ORDER BY start_s, place) AS before
            FROM spoken WHERE language IS NOT NULL
        ) GROUP BY ALL
    )
SELECT call_id, run, leg, role, coalesce(talk_s, 0), coalesce(words, 0), coalesce(interruptions, 0),
    coalesce(switches, 0)
FROM leg LEFT JOIN talk USING (call_id, run, leg) LEFT JOIN counted USING (call_id, run, leg)
    LEFT JOIN interrupting USING (call_id, run, leg) LEFT JOIN switched USING (call_id, run, leg)
ORDER BY call_id, run, leg
"""

_CALLS = """
WITH edge AS (
        SELECT call_id, run, begin_s AS t, 1 AS delta FROM utterance
        UNION ALL SELECT call_id, run, end_s AS t, -1 AS delta FROM utterance
    ),
    stretch AS (
        SELECT call_id, run, lead(t) OVER following - t AS lasts,
               sum(delta) OVER (PARTITION BY call_id, run ORDER BY t, delta DESC ROWS UNBOUNDED PRECEDING) AS talking
        FROM edge WINDOW following AS (PARTITION BY call_id, run ORDER BY t, delta DESC)
    ),
    time AS (
        SELECT call_id, run, sum(lasts) AS span_s, sum(lasts) FILTER (WHERE talking = 0) AS silence_s,
               max(lasts) FILTER (WHERE talking = 0) AS longest_s, sum(lasts) FILTER (WHERE talking > 1) AS overlap_s
        FROM stretch GROUP BY ALL
    ),
    ordered AS (
        SELECT call_id, run, leg, seq, seq < max(seq) OVER (
                   PARTITION BY call_id, run, leg, topic, partition ORDER BY "offset"
                   ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS is_behind
        FROM envelope
    ),
    sequence AS (
        SELECT call_id, run, sum(missing)::BIGINT AS missing, sum(reordered)::BIGINT AS reordered FROM (
            SELECT call_id, run, leg, max(seq) + 1 - count(DISTINCT seq) AS missing,
                   count(*) FILTER (WHERE is_behind) AS reordered
            FROM ordered GROUP BY ALL
        ) GROUP BY ALL
    ),
    told AS (
        SELECT call_id, run, list(language ORDER BY words DESC, language) AS languages FROM (
            SELECT call_id, run, language, count(*) AS words FROM spoken WHERE language IS NOT NULL GROUP BY ALL
        ) GROUP BY ALL
    ),
    known AS (SELECT call_id, run, min("at") AS started, count(*) AS records FROM envelope GROUP BY ALL)
SELECT call_id, run, started, records, connector, reason, coalesce(span_s, 0), coalesce(silence_s, 0),
    coalesce(longest_s, 0), coalesce(overlap_s, 0), coalesce(languages, []), missing, reordered
FROM known LEFT JOIN step USING (call_id, run) LEFT JOIN time USING (call_id, run)
    LEFT JOIN sequence USING (call_id, run) LEFT JOIN told USING (call_id, run)
ORDER BY started DESC, call_id, run
"""

_LATENCY = """
SELECT coalesce(connector, 'unknown'), is_final, count(*),
       quantile_cont(latency_ms, 0.5), quantile_cont(latency_ms, 0.95), quantile_cont(latency_ms, 0.99)
FROM transcript LEFT JOIN step USING (call_id, run) WHERE latency_ms > 0 GROUP BY 1, 2 ORDER BY 1, 2 DESC
"""

_KEYWORDS = f"""
WITH total AS (SELECT count(DISTINCT (call_id, run)) AS calls FROM spoken)
SELECT word, count(*) AS times, count(DISTINCT (call_id, run)) AS within
FROM spoken WHERE length(word) >= {SHORTEST_KEYWORD}
GROUP BY word ORDER BY count(*) * ln(1 + (SELECT calls FROM total) / count(DISTINCT (call_id, run))) DESC, word
LIMIT {KEYWORDS}
"""

_PHRASE = """
SELECT coalesce(sum(times), 0)::BIGINT, count(DISTINCT (call_id, run)) FILTER (WHERE times > 0) FROM (
    SELECT call_id, run,
           len(string_split(' ' || array_to_string([lower(w.word) for w in words], '  ') || ' ', $phrase)) - 1 AS times
    FROM segment
)
"""


@dataclass(frozen=True, slots=True)
class LegFigures:
    """`talk_share`: of the talk of all legs, 0 to 1; None where nobody talked."""

    leg: str
    role: str
    talk_s: float
    talk_share: float | None
    words: int
    words_a_minute: float | None
    interruptions: int
    switches: int


@dataclass(frozen=True, slots=True)
class CallFigures:
    """`span_s`: from the first to the last word. `connector`: None where no call record is there."""

    call_id: str
    run: str
    started: datetime
    records: int
    connector: str | None
    reason: str | None
    span_s: float
    silence_s: float
    longest_silence_s: float
    overlap_s: float
    languages: Sequence[str]
    missing: int
    reordered: int
    legs: tuple[LegFigures, ...] = ()

    @property
    def interruptions(self) -> int:
        return sum(leg.interruptions for leg in self.legs)

    @property
    def switches(self) -> int:
        return sum(leg.switches for leg in self.legs)


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds."""

    connector: str
    is_final: bool
    count: int
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Keyword:
    text: str
    times: int
    calls: int


@dataclass(slots=True)
class Figures:
    """`calls`: the newest first. `languages`: words of each. `asked`: the phrases that the user named."""

    calls: list[CallFigures]
    languages: dict[str, int]
    keywords: list[Keyword]
    asked: list[Keyword] = field(default_factory=list)
    latencies: list[Latency] = field(default_factory=list)
    turns: dict[str, int] = field(default_factory=dict)
    key_presses: int = 0


def compute(connection: duckdb.DuckDBPyConnection, phrases: Sequence[str] = ()) -> Figures:
    """All figures of what is loaded."""
    connection.execute(_TABLES)

    def rows(query: str, **parameters: Any) -> list[tuple[Any, ...]]:
        return connection.execute(query, parameters or None).fetchall()

    legs: dict[tuple[str, str], list[tuple[Any, ...]]] = defaultdict(list)
    for call_id, run, *rest in rows(_LEGS):
        legs[call_id, run].append(tuple(rest))
    calls = [replace(CallFigures(*row), legs=_legs(legs[row[0], row[1]])) for row in rows(_CALLS)]
    languages = rows("SELECT language, count(*) FROM spoken WHERE language IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1")
    [(key_presses,)] = rows("SELECT count(*) FROM dtmf")
    return Figures(
        calls=calls,
        languages=dict(languages),
        keywords=[Keyword(*row) for row in rows(_KEYWORDS)],
        asked=[Keyword(phrase, *rows(_PHRASE, phrase=_padded(phrase))[0]) for phrase in phrases],
        latencies=[Latency(*row) for row in rows(_LATENCY)],
        turns=dict(rows("SELECT coalesce(event, 'unknown'), count(*) FROM turn GROUP BY 1 ORDER BY 1")),
        key_presses=key_presses,
    )


def _padded(phrase: str) -> str:
    """As the words of a segment are joined: each between two spaces of its own."""
    return f" {'  '.join(phrase.lower().split())} "


def _legs(rows: Sequence[tuple[Any, ...]]) -> tuple[LegFigures, ...]:
    total = sum(talk_s for _, _, talk_s, *_ in rows)
    return tuple(
        LegFigures(
            leg=leg,
            role=role,
            talk_s=talk_s,
            talk_share=talk_s / total if total else None,
            words=words,
            words_a_minute=60 * words / talk_s if talk_s else None,
            interruptions=interruptions,
            switches=switches,
        )
        for leg, role, talk_s, words, interruptions, switches in rows
    )
