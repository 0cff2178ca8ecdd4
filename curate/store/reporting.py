"""Queries for the report on a run: votes by pair and by side, prompts, responses, counts of ingests."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import polars as pl

from curate.store.criteria import CRITERION, RUN_CRITERION
from curate.store.database import RESPONSES, SIDE_COUNTS, Store
from curate.votes.texts import comparable
from schemas.choices import TextComparison
from schemas.config import EARLIER_DENOISE

_SEEN = """(SELECT file_id FROM files WHERE $batches IS NULL OR batch_id IN (SELECT unnest($batches::VARCHAR[])))"""
"""The files that were ingested before the run; all files if the run has no list of them."""


def run_votes(store: Store, run_id: str, *, by_pair: bool = False) -> pl.DataFrame:
    """One row per vote of a run, or per pair with votes, sorted by ids.

    prompt_id, first, second (response ids, first < second), for_first, for_second, tied (weights; both_bad is a tie
    unless the run dropped it), votes (number). Of single votes also annotator_id (null: anonymous), both_bad, and
    first_left: whether the first was shown left (null: unknown).
    Excludes votes that were ingested after the run or are by another criterion than the run's, votes of the spammers
    that it excluded, and votes between equal texts if it merged them.
    """
    found = store.run(run_id)
    without = found["report"].get("spammer_ids", []) if found else []
    single = """annotator_id, outcome = 'both_bad' AS both_bad,
        CASE WHEN sides_known THEN response_left < response_right END AS first_left, vote_key, """
    pairs = store.frame(
        f"""
        SELECT prompt_id, least(response_left, response_right) AS first,
            greatest(response_left, response_right) AS second, {"" if by_pair else single}
            coalesce(sum(weight) FILTER ((outcome = 'left') = (response_left < response_right)
                AND outcome IN ('left', 'right')), 0) AS for_first,
            coalesce(sum(weight) FILTER ((outcome = 'right') = (response_left < response_right)
                AND outcome IN ('left', 'right')), 0) AS for_second,
            coalesce(sum(weight) FILTER (outcome NOT IN ('left', 'right')), 0) AS tied, count(*) AS votes
        FROM votes WHERE file_id IN {_SEEN} AND (NOT $drop OR outcome <> 'both_bad')
            AND $criterion IN ('', {CRITERION})
            AND (annotator_id IS NULL OR annotator_id NOT IN (SELECT unnest($without::VARCHAR[])))
        GROUP BY ALL ORDER BY ALL
        """,
        {
            "batches": _batches(store, run_id),
            "drop": _config(store, run_id).get("both_bad") == "drop",
            "without": without,
            "criterion": criterion_of(store, run_id),
        },
    )
    config = EARLIER_DENOISE | _config(store, run_id)
    if config["equal_texts"] == "merge":
        pairs = _of_different_texts(store, pairs, config["text_comparison"])
    return pairs.drop("vote_key", strict=False)


def pair_votes(store: Store, run_id: str) -> pl.DataFrame:
    """One row per pair with votes of a run: see ``run_votes``."""
    return run_votes(store, run_id, by_pair=True)


def _of_different_texts(store: Store, pairs: pl.DataFrame, how: TextComparison) -> pl.DataFrame:
    responses = store.responses().select("prompt_id", "response_id", key=comparable(pl.col("text"), how)).drop_nulls()
    for side in ("first", "second"):
        own = responses.rename({"response_id": side, "key": f"{side}_text"})
        pairs = pairs.join(own, on=["prompt_id", side], how="left", maintain_order="left")
    equal = (pl.col("first_text") == pl.col("second_text")).fill_null(False)
    return pairs.filter(~equal).drop("first_text", "second_text")


def criterion_of(store: Store, run_id: str) -> str:
    """Return the criterion whose votes a run ranked; empty for a run of an earlier version that did not choose one."""
    found = store.rows(f"SELECT {RUN_CRITERION} AS criterion FROM runs WHERE run_id = $run", {"run": run_id})
    return found[0]["criterion"] if found else ""


def votes_by_side(store: Store, criterion: str = "", *, without: Sequence[str] = ()) -> pl.DataFrame:
    """annotator_id (null: anonymous), left, right, undecided: numbers of votes whose sides are known.

    criterion: only the votes by it. without: ids of annotators whose votes are excluded.
    """
    return store.frame(
        f"""SELECT annotator_id, {SIDE_COUNTS} FROM votes
        WHERE sides_known AND $criterion IN ('', {CRITERION})
            AND (annotator_id IS NULL OR annotator_id NOT IN (SELECT unnest($without::VARCHAR[])))
        GROUP BY annotator_id ORDER BY annotator_id NULLS LAST""",
        {"criterion": criterion, "without": list(without)},
    )


def prompt_facts(store: Store, run_id: str) -> pl.DataFrame:
    """The prompt_stats of a run with question, video and split (null if unknown), sorted by prompt_id."""
    return store.frame(
        """SELECT s.* EXCLUDE (run_id), p.question, p.video, d.split
        FROM prompt_stats s JOIN prompts p USING (prompt_id) LEFT JOIN splits d USING (prompt_id)
        WHERE s.run_id = ? ORDER BY s.prompt_id""",
        [run_id],
    )


def ranked_responses(store: Store, run_id: str) -> pl.DataFrame:
    """Every response to the prompts of a run: prompt_id, response_id, model, text, and its ranking.

    component, rank, best_rank, worst_rank, score, strength, strength_se are null if the run did not rank it.
    """
    return store.frame(
        f"""SELECT r.prompt_id, r.response_id, r.model, r.text, k.component, k.rank, k.best_rank, k.worst_rank,
            k.score, k.strength, k.strength_se
        FROM ({RESPONSES}) r JOIN prompt_stats s ON s.run_id = $run AND s.prompt_id = r.prompt_id
        LEFT JOIN rankings k ON k.run_id = $run AND k.prompt_id = r.prompt_id AND k.response_id = r.response_id
        ORDER BY r.prompt_id, k.component NULLS LAST, k.rank, r.response_id""",
        {"run": run_id},
    )


def ingested(store: Store) -> tuple[dict[str, int], dict[str, int]]:
    """Return sums over all ingests (rows, votes, duplicates, rejects, pairs), and rejects by reason, most first.

    Rows that were read again count once. Counts that ingests of an earlier version lack are absent.
    """
    total: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for text in store.batches()["counts"]:
        counts: dict[str, Any] = json.loads(text)
        recovered = counts.get("recovered_reasons", {})  # counted before as rejects
        reasons.update(counts.pop("reasons", {}))
        reasons.subtract(recovered)
        total.subtract({name: sum(recovered.values()) for name in ("rows", "rejects") if name in counts})
        total.update({name: value for name, value in counts.items() if isinstance(value, int)})
    return dict(total), dict(sorted((+reasons).items(), key=lambda pair: (-pair[1], pair[0])))


def runs_over(store: Store, run_id: str) -> list[dict[str, Any]]:
    """The exports and releases of a denoise run in the order of their latest use: step, run_id and report."""
    rows = store.frame(
        "SELECT step, run_id, inputs::VARCHAR AS inputs, report::VARCHAR AS report FROM runs ORDER BY seq"
    )
    return [
        {"step": row["step"], "run_id": row["run_id"], "report": json.loads(row["report"])}
        for row in rows.to_dicts()
        if json.loads(row["inputs"]).get("denoise") == run_id
    ]


def release_of(store: Store, run_id: str) -> str:
    """The first release that was built from a denoise run, name-version; empty if there is none."""
    for run in runs_over(store, run_id):
        if run["step"] == "release":
            report = run["report"]
            return f"{report['name']}-{report['release'] or report['version']}"
    return ""


def _batches(store: Store, run_id: str) -> list[str] | None:
    found = store.run(run_id)
    return found["inputs"].get("batches") if found else None


def _config(store: Store, run_id: str) -> dict[str, Any]:
    found = store.run(run_id)
    return found["config"] if found else {}
