"""Questions whose answer is known: from a file, from pairs that votes have made certain, and checks of attention."""

from __future__ import annotations

from collections.abc import Mapping as Lookup
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from scipy.special import ndtr

from curate.store import Store
from pipelines.campaign_batches import Askable, Pair
from pipelines.ingestion import ingest
from schemas.campaign import Task
from schemas.config import IngestConfig, Mapping
from schemas.errors import CurateError

CERTAIN, CLEAR = 0.99, 2.0
"""A pair is known where one is better with this probability, by so many logits: nearly all who look say so."""
MOST = 200
"""Known answers that are drawn from a store, and checks of attention, at most."""
PER_PROMPT = 2
CHECK = "This is a check of attention: please choose this answer, whatever the question."


def gold_of_file(path: Path, can: Askable, mapping: Mapping = Mapping()) -> tuple[list[Task], dict[str, int]]:
    """The pairs of a file of votes as known answers; and why others are left out, with counts.

    path: in any format that ingest reads; who voted in it does not matter. Raises CurateError where none is of use.
    """
    with TemporaryDirectory() as folder:
        read = ingest(path, Path(folder) / "gold.duckdb", config=IngestConfig(mapping=mapping, repeats="all"))
        with Store.open(Path(folder) / "gold.duckdb", read_only=True) as opened:
            rows = opened.votes().select("prompt_id", "response_left", "response_right", "outcome")
    answers: dict[Pair, set[str]] = {}
    unknown = 0
    for prompt, left, right, outcome in rows.iter_rows():
        if left not in can.texts.get(prompt, ()) or right not in can.texts.get(prompt, ()):
            unknown += 1
            continue
        first, second = sorted((left, right))
        said = {"left": "first" if left == first else "second", "right": "second" if left == first else "first"}
        answers.setdefault((prompt, first, second), set()).add(said.get(outcome, outcome))
    tasks = [
        can.task(pair, kind="gold", answer=next(iter(said))) for pair, said in sorted(answers.items()) if len(said) == 1
    ]
    dropped = {
        "rows that cannot be read": read.rejects,
        "rows on what is not asked": unknown,
        "pairs with more than one answer": sum(len(said) > 1 for said in answers.values()),
    }
    if not tasks:
        why = ", ".join(f"{count} {what}" for what, count in dropped.items() if count) or "it has no rows"
        raise CurateError(f"{path}: no known answer in it: {why}", hint="give prompt_id, left, right and outcome")
    return tasks, {what: count for what, count in dropped.items() if count}


def gold_of_store(store: Path, can: Askable) -> list[Task]:
    """Pairs that the latest denoise run is certain of, the clearest first, a few a prompt; none where there is no run.

    Certain: P(better) ≥ CERTAIN by the joint model's posterior, and a gap of CLEAR logits or more.
    """
    with Store.open(store, read_only=True) as opened:
        try:
            ranking = opened.rankings()
        except CurateError:
            return []
    columns = ["prompt_id", "response_id", "component", "strength", "strength_se"]
    one = ranking.select(columns).drop_nulls()
    pairs = one.join(one, on=["prompt_id", "component"], suffix="_b").filter(
        pl.col("response_id") < pl.col("response_id_b")
    )
    if pairs.is_empty():
        return []
    gap = (pairs["strength"] - pairs["strength_b"]).to_numpy()
    # Strengths of one prompt vary together, mostly upwards; without their covariance the chance is a little too low.
    spread = np.hypot(pairs["strength_se"].to_numpy(), pairs["strength_se_b"].to_numpy())
    sure = ndtr(np.abs(gap) / np.maximum(spread, 1e-9))
    found = pairs.with_columns(gap=pl.Series(gap), size=pl.Series(np.abs(gap)), sure=pl.Series(sure)).filter(
        (pl.col("sure") >= CERTAIN) & (pl.col("size") >= CLEAR)
    )
    tasks: list[Task] = []
    taken: dict[str, int] = {}
    for row in found.sort(
        ["size", "prompt_id", "response_id", "response_id_b"], descending=[True, *[False] * 3]
    ).iter_rows(named=True):
        prompt, pair = row["prompt_id"], (row["prompt_id"], row["response_id"], row["response_id_b"])
        texts: Lookup[str, str] = can.texts.get(prompt, {})
        shown = pair[1] in texts and pair[2] in texts and texts[pair[1]] != texts[pair[2]]
        if shown and taken.get(prompt, 0) < PER_PROMPT and len(tasks) < MOST:
            taken[prompt] = taken.get(prompt, 0) + 1
            tasks.append(can.task(pair, kind="gold", answer="first" if row["gap"] > 0 else "second"))
    return tasks


def attention_checks(can: Askable, pairs: list[Pair]) -> list[Task]:
    """Pairs of the first batch, one a prompt, one answer of which is replaced by the request to choose it."""
    tasks: list[Task] = []
    for prompt, (first, second) in {pair[0]: pair[1:] for pair in pairs}.items():
        if len(tasks) == MOST:
            break
        task = can.task((prompt, first, second), kind="attention", answer="first")
        tasks.append(task.model_copy(update={"first_text": CHECK}))
    return tasks
