"""K-wise sets: one annotator ranks K responses at once, as in K-Sort Arena.

K-Sort Arena (arXiv 2408.14468) shows K = 4 videos or images at a time and records their ranks; we know of no published
file of its raw votes. Two shapes of such sets are read: one column per response (model_1, rank_1, model_2, rank_2, ...,
also with letters), and the log of a server that descends from FastChat (models, ranks, states, tstamp). Rank 1 is best;
equal ranks are ties. A table with ``responses`` and ``rankings`` needs no platform.

Sides are unknown: none of K responses is left.
"""

from __future__ import annotations

import re

import polars as pl

from annotations.platforms.base import SKIPPED, Head, Platform, by_columns, first_of, reject_where
from annotations.readers.json_text import LIST, query

NAMES, RANKS = ("model", "response", "candidate"), ("rank", "ranking")
SLOT = re.compile(r"(model|response|candidate|rank|ranking)_?([0-9]+|[a-z])")
LISTS = ("ranks", "rank", "ranking", "rankings", "models_rank")
PROMPTS = ("prompt", "question", "text_input")
IDS, PEOPLE, TIMES = ("prompt_id", "question_id"), ("annotator_id", "user_id"), ("tstamp", "timestamp")
READ = ("models", "states", "ip", "responses", *LISTS, *PROMPTS, *IDS, *PEOPLE, *TIMES)


def _recognizes(head: Head) -> bool:
    slots = [SLOT.fullmatch(name) for name in head.columns]
    ranked = {found[2] for found in slots if found and found[1] in RANKS}
    named = {found[2] for found in slots if found and found[1] in NAMES}
    log = head.has("models", "tstamp") and any(isinstance(r.get(n), list) for r in head.records for n in LISTS)
    return log or len(ranked & named) > 2


def _rows(sets: pl.DataFrame) -> pl.DataFrame:
    rest = {f"k_wise.{n}": pl.col(n) for n in sets.columns if n not in READ and not SLOT.fullmatch(n)}
    question = pl.coalesce(first_of(sets, *PROMPTS), "log.prompt")
    person, address = first_of(sets, *PEOPLE), first_of(sets, "ip")
    no_ranks = pl.coalesce(first_of(sets, "type"), pl.lit("lines without ranks"))
    columns = {
        SKIPPED: pl.when(pl.col("is_log") & pl.col("log.rankings").is_null()).then(no_ranks),
        "prompt_id": pl.coalesce(first_of(sets, *IDS), "log.prompt_id", question),
        "question": question,
        "responses": pl.col("log.responses"),
        "rankings": pl.col("log.rankings"),
        "annotator_id": pl.coalesce(person, address),
        "voted_at": first_of(sets, *TIMES),
        "k_wise.ip": pl.when(person.is_not_null()).then(address),
        **reject_where((pl.col("unranked"), "no-answer", "a response has no rank")),
    }
    return sets.hstack(_sets(sets)).select(**columns, **rest)


def _sets(sets: pl.DataFrame) -> pl.DataFrame:
    """Return responses and their ranks as JSON lists: those of a log, else of the slots that hold a response."""
    slots = dict.fromkeys(found[2] for name in sets.columns if (found := SLOT.fullmatch(name)))
    parts = {"names": ("response", "candidate", "model"), "places": RANKS}
    listed = {
        part: pl.concat_list(first_of(sets, *(f"{n}{_}{slot}" for n in names for _ in ("_", ""))) for slot in slots)
        if slots
        else pl.lit(None, LIST)
        for part, names in parts.items()
    }
    ranks, models, states = (first_of(sets, *names) for names in (LISTS, ("models",), ("states",)))
    return query(
        """
        WITH taken AS (
            SELECT *, coalesce(json_type(TRY(models::JSON)) = 'ARRAY', false) AS is_log,
                   list_filter(coalesce(list_zip(names, places), []), lambda slot: slot[1] IS NOT NULL) AS slots
              FROM chunk),
        ranked AS (
            SELECT states, is_log,
                   if(is_log, models, to_json(list_transform(slots, lambda slot: slot[1]))::VARCHAR) AS responses,
                   if(is_log, ranks, to_json(list_transform(slots, lambda slot: slot[2]))::VARCHAR) AS rankings
              FROM taken)
        SELECT is_log, responses AS "log.responses", rankings AS "log.rankings",
               list_count(items(rankings)) < len(items(rankings)) AS unranked,
               items(states)[1] ->> '$.prompt' AS "log.prompt", items(states)[1] ->> '$.conv_id' AS "log.prompt_id"
          FROM ranked
        """,
        chunk=sets.select(**listed, ranks=ranks, models=models, states=states),
    )


PLATFORM = Platform(
    name="k-wise",
    description="rankings of K responses with one column per response, or as a server's log (K-Sort Arena)",
    detected_by="three or more pairs of columns like model_1 and rank_1; or models and ranks with tstamp",
    sides="unknown",
    dropped="addresses; the states of a log, except the prompt",
    recognizes=_recognizes,
    read=by_columns(_rows),
)
