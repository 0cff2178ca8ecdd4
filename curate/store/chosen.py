"""The votes that a job uses, as temporary tables: of some prompts, by one criterion, with numbers instead of names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import polars as pl

from curate.array_types import Float
from curate.store.criteria import CRITERION, one_criterion
from curate.store.database import K_WISE, RESPONSES, Store
from curate.store.failures import StoreError
from curate.store.partitions import BUCKET, select_votes
from schemas.errors import MissingError


@dataclass(frozen=True)
class Numbering:
    """The numbers of annotators and models, which are equal in all buckets, and the buckets to load."""

    criterion: str | None
    """None: votes by any."""
    models: tuple[str, ...]
    annotators: tuple[str, ...]
    buckets: tuple[int, ...]
    """As of ``number_votes``: all that have prompts."""
    votes: int
    """Number of all votes"""
    digest: str
    """Of everything in all votes that a ranker may use, texts included."""


def number_votes(
    store: Store,
    criterion: str = "",
    *,
    by: str | None = None,
    batches: Sequence[str] | None = None,
    digest: bool = True,
) -> Numbering:
    """Return the numbering of votes. Parameters and errors as of ``load_votes``; digest: whether to compute it.

    It leaves the table known_responses, so that ``load_votes`` of a bucket need not look at all responses.
    """
    store.execute(
        f"CREATE OR REPLACE TEMP TABLE known_responses AS SELECT prompt_id, response_id, model FROM ({RESPONSES})"
    )
    with chosen(store, criterion, by=by, batches=batches) as only:
        annotators = store.frame("SELECT annotator_id FROM chosen_annotators ORDER BY number")["annotator_id"]
        votes = store.value("SELECT count(*) FROM chosen_votes")
        computed = f"{digest_of(store)}-{_texts_digest(store)}" if digest else ""
    models = store.frame("SELECT DISTINCT model FROM known_responses WHERE model IS NOT NULL ORDER BY model")["model"]
    buckets = store.frame(f"SELECT DISTINCT {BUCKET} AS bucket FROM prompts ORDER BY bucket")["bucket"]
    return Numbering(only, tuple(models), tuple(annotators), tuple(buckets), votes, computed)


def _texts_digest(store: Store) -> str:
    return str(
        store.value("""
        SELECT lower(to_hex(coalesce(bit_xor(md5_number(concat_ws(chr(31), prompt_id, response_id, text))), 0)))
        FROM responses WHERE text IS NOT NULL
    """)
    )


@contextmanager
def chosen(
    store: Store,
    criterion: str = "",
    *,
    prompts: Sequence[str] = (),
    by: str | None = None,
    batches: Sequence[str] | None = None,
    numbering: Numbering | None = None,
) -> Iterator[str | None]:
    """Create the view chosen_votes, and the tables chosen_prompts (prompt_id, number), chosen_responses (prompt_id,
    response_id, model, prompt, number) and chosen_annotators (annotator_id, number), for the block.

    Parameters as of ``load_votes``. Yields the criterion of the votes; None: by any.
    """
    try:
        _choose_prompts(store, prompts, numbering)
        only = _choose_votes(store, criterion, batches, numbering, each=by == "criterion")
        _number_annotators(store, numbering)
        yield only
    finally:
        with suppress(StoreError):  # after an error in the block, which is the one to report
            store.execute("DROP VIEW IF EXISTS chosen_votes")
            for table in ("chosen_prompts", "chosen_responses", "chosen_annotators", "chosen_files"):
                store.execute(f"DROP TABLE IF EXISTS {table}")


def _choose_prompts(store: Store, prompts: Sequence[str], numbering: Numbering | None = None) -> None:
    """Create the tables chosen_prompts and chosen_responses."""
    in_buckets = f"{BUCKET} IN ({', '.join(map(str, numbering.buckets))})" if numbering else "true"
    if prompts:
        known = set(
            store.frame("SELECT prompt_id FROM prompts WHERE prompt_id IN (SELECT unnest(?))", [list(prompts)])[
                "prompt_id"
            ]
        )
        unknown = [prompt for prompt in prompts if prompt not in known]
        if unknown:
            raise MissingError(f"{store.path}: no prompt {unknown[0]!r}", hint="curate rankings lists the prompts")
    store.execute(
        f"""
        CREATE TEMP TABLE chosen_prompts AS
        SELECT prompt_id, (row_number() OVER (ORDER BY prompt_id) - 1)::INTEGER AS number
        FROM prompts WHERE (len($prompts) = 0 OR prompt_id IN (SELECT unnest($prompts))) AND {in_buckets}
        """,
        {"prompts": list(prompts)},
    )
    store.execute(f"""
        CREATE TEMP TABLE chosen_responses AS
        SELECT prompt_id, response_id, model, p.number AS prompt,
            (row_number() OVER (ORDER BY p.number, response_id) - 1)::INTEGER AS number
        FROM ({"FROM known_responses" if numbering else RESPONSES}) JOIN chosen_prompts p USING (prompt_id)
    """)


def _number_annotators(store: Store, numbering: Numbering | None = None) -> None:
    """Create the table chosen_annotators: of the numbering, or of the chosen votes."""
    if numbering is not None:
        with store.views(
            known=pl.DataFrame({"annotator_id": numbering.annotators}, schema={"annotator_id": pl.String})
        ):
            store.execute("""
                CREATE TEMP TABLE chosen_annotators AS
                SELECT annotator_id, (row_number() OVER (ORDER BY annotator_id) - 1)::INTEGER AS number FROM known
            """)
        return
    store.execute("""
        CREATE TEMP TABLE chosen_annotators AS
        SELECT annotator_id, (row_number() OVER (ORDER BY annotator_id) - 1)::INTEGER AS number
        FROM (SELECT DISTINCT annotator_id FROM chosen_votes WHERE annotator_id IS NOT NULL)
    """)


def _choose_votes(
    store: Store,
    criterion: str,
    batches: Sequence[str] | None = None,
    numbering: Numbering | None = None,
    *,
    each: bool = False,
) -> str | None:
    """Create the view chosen_votes: the votes on the chosen prompts by one criterion; return it.

    each: by any if none is given; then the result is None.
    """
    rows = "votes"
    if numbering and store.partitioned:  # only the files of its buckets are read
        rows = f"({select_votes(store, buckets=numbering.buckets)})"
    votes = f"{rows} SEMI JOIN chosen_prompts USING (prompt_id)"
    if batches is not None:
        known = "SELECT file_id FROM files WHERE batch_id IN (SELECT unnest(?::VARCHAR[]))"
        store.execute(f"CREATE TEMP TABLE chosen_files AS {known}", [list(batches)])
        votes += " SEMI JOIN chosen_files USING (file_id)"
    only: str | None = None
    if numbering:  # a bucket may have no vote by it
        only = numbering.criterion
    elif criterion or not each:
        only = one_criterion(store, criterion, votes)
    store.execute("SET VARIABLE criterion = ?", [only])
    store.execute(f"""
        CREATE TEMP VIEW chosen_votes AS SELECT * FROM {votes}
        WHERE getvariable('criterion') IS NULL OR {CRITERION} = getvariable('criterion')
    """)
    return only


def digest_of(store: Store, values: Float | None = None) -> str:
    """Return a hex digest of the chosen votes, responses and covariates, independent of the order of rows."""
    votes = store.value(f"""
        SELECT to_hex(coalesce(bit_xor(md5_number(concat_ws(chr(31), to_hex(vote_key), prompt_id, response_left,
            response_right, outcome, sides_known::VARCHAR, coalesce(annotator_id, chr(29)), weight::VARCHAR,
            CASE WHEN NOT {K_WISE} THEN group_id END))), 0))
        FROM chosen_votes
    """)
    responses = store.value("""
        SELECT to_hex(coalesce(bit_xor(md5_number(
            concat_ws(chr(31), prompt_id, response_id, coalesce(model, chr(29))))), 0))
        FROM chosen_responses
    """)
    numbers = "" if values is None else "-" + sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]
    return f"{votes}-{responses}{numbers}".lower()
