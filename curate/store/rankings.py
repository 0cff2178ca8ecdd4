"""Votes read from the store as arrays, and rankings written to it as frames."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from curate.array_types import Float
from curate.rankers.base import ranks
from curate.store.chosen import Numbering, chosen, digest_of
from curate.store.database import Store
from curate.votes.arrays import VoteArrays
from curate.votes.covariates import OF_TEXT, POSITION, covariates
from curate.votes.merging import Merged, merge
from curate.votes.texts import TextNumbers, text_numbers
from schemas.choices import TextComparison
from schemas.errors import CurateError, NoVotesError
from schemas.tables import TABLES
from schemas.votes import OUTCOMES

if TYPE_CHECKING:
    from curate.denoising.ranking import Denoised


PROMPT_COLUMNS = tuple(column.name for column in TABLES["prompts"])


@dataclass(frozen=True)
class Loaded:
    """Votes as arrays, and a digest of everything in them that a ranker may use."""

    votes: VoteArrays
    digest: str
    labels: pl.Series | None = None
    """(V,) the value of ``by`` of each vote; null where it has none."""
    places: pl.DataFrame | None = None
    """(V rows) file_id and line of each vote."""
    texts: TextNumbers | None = None
    """None where texts were not compared."""
    criterion: str = ""
    """The one that all votes are by, "(none)" if they have none; empty where they may be by several."""

    @property
    def merged(self) -> Merged:
        """The votes with equal texts as one response."""
        return merge(self.votes, self.texts.equal if self.texts else None)


def load_votes(
    store: Store,
    *,
    prompts: Sequence[str] = (),
    criterion: str = "",
    both_bad: str = "tie",
    by: str | None = None,
    control: Sequence[str] = (),
    places: bool = False,
    texts: TextComparison | None = None,
    batches: Sequence[str] | None = None,
    numbering: Numbering | None = None,
) -> Loaded:
    """Return the votes on the given prompts (all when empty), with every response to these. both_bad: tie | drop.

    criterion: the one whose votes are loaded; needed if the votes are by several.
    by: a column of the table prompts, a key of the votes' meta, or "criterion", whose value is loaded with each vote.
    control: the covariates to load with the responses (curate.votes.covariates); the side is not one of them.
    places: load where each vote was read, and no digest.
    texts: how the texts of responses are compared; None: not at all.
    batches: the ingests whose votes are loaded; None: all.
    numbering: load the votes on its buckets by its criterion, with its numbers and no digest; there may be none.
    Votes are sorted by content, so that equal votes give equal arrays in whatever order they were ingested.
    Raises NoVotesError where there are none, CurateError for an unknown prompt, where no vote has a value of ``by``,
    and where the votes are by several criteria and neither ``criterion`` nor ``by`` separates them.
    """
    with chosen(store, criterion, prompts=prompts, by=by, batches=batches, numbering=numbering) as only:
        responses = store.frame("SELECT * FROM chosen_responses ORDER BY number")
        columns = _vote_columns(store, both_bad, by, places=places)
        if by is not None and numbering is None and columns["label"].is_null().all():
            raise no_value(store, by)
        annotators = store.frame("SELECT annotator_id FROM chosen_annotators ORDER BY number")["annotator_id"]
        prompt = store.frame(
            "SELECT prompt_id, video FROM chosen_prompts JOIN prompts USING (prompt_id) ORDER BY number"
        )
        names = tuple(name for name in control if name != POSITION)
        values = covariates(names, _properties(store, names)) if names else None
        digest, equal = "" if places or numbering else digest_of(store, values), None
        if texts is not None:
            equal = _text_numbers(store, texts)
            if digest and len(np.unique(equal.equal)) < len(equal.equal):
                digest += f"-{sha256(equal.equal.tobytes()).hexdigest()[:16]}"
    if columns.is_empty() and numbering is None:
        raise NoVotesError(f"{store.path}: no votes to rank", hint="ingest some: curate ingest VOTES")
    models = numbering.models if numbering else tuple(responses["model"].drop_nulls().unique().sort())
    models_by_name = {name: i for i, name in enumerate(models)}
    votes = VoteArrays(
        left=columns["left"].to_numpy().astype(np.int32),
        right=columns["right"].to_numpy().astype(np.int32),
        outcome=columns["outcome"].to_numpy().astype(np.int8),
        weight=columns["weight"].to_numpy().astype(np.float64),
        sides_known=columns["sides_known"].to_numpy().astype(np.bool_),
        annotator=columns["annotator"].to_numpy().astype(np.int32),
        group=columns["group"].to_numpy().astype(np.int32),
        response_prompt=responses["prompt"].to_numpy().astype(np.int32),
        response_model=responses["model"].replace_strict(models_by_name, default=-1, return_dtype=pl.Int32).to_numpy(),
        prompts=tuple(prompt["prompt_id"]),
        responses=tuple(responses["response_id"]),
        models=models,
        annotators=tuple(annotators),
        covariates=values,
        covariate_names=names,
        prompt_video=(prompt["video"].rank("dense").cast(pl.Int32).fill_null(0) - 1).to_numpy(),
    )
    labels = columns["label"] if by is not None else None
    found = columns.select("file_id", "line") if places else None
    return Loaded(votes, digest, labels, found, equal, only or "")


def _vote_columns(store: Store, both_bad: str, by: str | None, *, places: bool) -> pl.DataFrame:
    """The chosen votes as numbers, sorted by content, each with its value of ``by`` as the column label."""
    label = label_of(by)
    return store.frame(
        f"""
        SELECT l.number AS "left", r.number AS "right", list_position({list(OUTCOMES)!r}, v.outcome) - 1 AS outcome,
            v.weight, v.sides_known, coalesce(a.number, -1) AS annotator,
            CASE WHEN v.group_id IS NULL THEN -1 ELSE dense_rank() OVER (ORDER BY v.group_id) - 1 END AS "group",
            {label} AS label{", v.file_id, v.line" if places else ""}
        FROM chosen_votes v
        JOIN prompts p USING (prompt_id)
        JOIN chosen_responses l ON l.prompt_id = v.prompt_id AND l.response_id = v.response_left
        JOIN chosen_responses r ON r.prompt_id = v.prompt_id AND r.response_id = v.response_right
        LEFT JOIN chosen_annotators a USING (annotator_id)
        WHERE $both_bad = 'tie' OR v.outcome <> 'both_bad'
        ORDER BY v.vote_key, l.number, r.number
        """,
        {"both_bad": both_bad, **({"by": by} if "$by" in label else {})},
    )


def no_value(store: Store, by: str) -> CurateError:
    """Return the error that no vote has a value of ``by``."""
    keys = "SELECT DISTINCT unnest(json_keys(meta)) AS key FROM votes WHERE meta IS NOT NULL ORDER BY key"
    known = ["criterion", *PROMPT_COLUMNS, *store.frame(keys)["key"]]
    return CurateError(f"{store.path}: no vote has a value of {by!r}", hint=f"known: {', '.join(known)}")


def _text_numbers(store: Store, how: TextComparison) -> TextNumbers:
    return text_numbers(
        store.frame(
            """SELECT c.prompt, r.text FROM chosen_responses c JOIN responses r USING (prompt_id, response_id)
            ORDER BY c.number"""
        ),
        how,
    )


def label_of(by: str | None) -> str:
    """Return the SQL of the value of ``by`` of vote v on prompt p."""
    if by is None:
        return "NULL::VARCHAR"
    if by == "criterion":
        return "v.criterion"
    return f"p.{by}::VARCHAR" if by in PROMPT_COLUMNS else "v.meta ->> ('$.' || json_quote($by))"


def ranking_tables(denoised: Denoised) -> dict[str, pl.DataFrame]:
    """Return table -> the rows that ``save_rankings`` writes."""
    return {
        "rankings": _rankings_frame(denoised),
        "ranker_scores": _ranker_scores_frame(denoised),
        "prompt_stats": _prompt_stats_frame(denoised),
    }


def save_rankings(store: Store, run_id: str, tables: Mapping[str, pl.DataFrame]) -> None:
    """Write results of a run, in the transaction that records it. tables: of ``ranking_tables``."""
    for table, frame in tables.items():
        columns = ", ".join(column.name for column in TABLES[table])
        store.append(table, frame.with_columns(run_id=pl.lit(run_id)), columns)


def _properties(store: Store, names: Sequence[str]) -> pl.DataFrame:
    """Return the chosen responses' text and numbers of these names (NULL where they have none)."""
    known = store.frame("SELECT DISTINCT unnest(json_keys(meta)) AS key FROM responses ORDER BY key")["key"]
    unknown = [name for name in names if name not in OF_TEXT and name not in known]
    if unknown:
        raise CurateError(
            f"{store.path}: no covariate {unknown[0]!r}",
            hint=f"known: {', '.join((*OF_TEXT, POSITION, *known))}; numeric columns of a file of responses are, too",
        )
    stored = [name for name in names if name not in OF_TEXT]
    numbers = [f', (meta ->> $k{k})::DOUBLE AS "k{k}"' for k in range(len(stored))]
    return store.frame(
        f"""SELECT text{"".join(numbers)} FROM chosen_responses JOIN responses USING (prompt_id, response_id)
        ORDER BY number""",
        {f"k{k}": f"$.{json.dumps(name)}" for k, name in enumerate(stored)},
    ).rename({f"k{k}": name for k, name in enumerate(stored)})


def _rankings_frame(denoised: Denoised) -> pl.DataFrame:
    """Return the table ``rankings``: one row per response of a ranked prompt."""
    return denoised.frame().with_columns(covariance=_covariance_rows(denoised))


def _ranker_scores_frame(denoised: Denoised) -> pl.DataFrame:
    """Return the table ``ranker_scores``: one row per response and ranker that was run."""
    ids, text = _ids(denoised.texts.given), denoised.texts.text
    group = denoised.group[text]
    frames = []
    for name, ranking in denoised.rankings.items():
        score = ranking.scores[text]
        frames.append(ids.with_columns(ranker=pl.lit(name), rank=ranks(score, group).astype(np.int32), score=score))
    return pl.concat(frames)


def _prompt_stats_frame(denoised: Denoised) -> pl.DataFrame:
    """Return the table ``prompt_stats``: one row per prompt, ranked or not."""
    coverage, bounded, every = denoised.coverage, denoised.bounded, denoised.all_texts
    responses, texts = np.diff(every.given.offsets), np.diff(every.votes.offsets)
    unknown = np.full(len(denoised.votes.prompts), np.nan)
    converged = np.logical_and.reduce([ranking.converged for ranking in denoised.rankings.values()])
    between = [tau for pair, tau in denoised.agreement.items() if set(pair) <= set(denoised.members)]

    def of_all(values: Float) -> pl.Series:
        """Values of the ranked prompts among all; null for the others and for NaN."""
        found = np.full(len(coverage.status), np.nan)
        found[coverage.used] = values
        return pl.Series(found, nan_to_null=True)

    return pl.DataFrame(
        {
            "prompt_id": pl.Series(every.given.prompts, dtype=pl.String),
            "status": coverage.status.tolist(),
            "votes": coverage.votes,
            "ties": coverage.ties,
            "responses": responses.astype(np.int32),
            "pairs_covered": coverage.pairs.astype(np.int32),
            "pairs_possible": (texts * (texts - 1) // 2).astype(np.int32),
            "components": coverage.components.astype(np.int32),
            "cyclic_triads": coverage.triads,
            "cost": of_all(denoised.final.cost),
            "fas_cost": of_all(bounded.cost if bounded else unknown),
            "bound": of_all(bounded.bound if bounded else unknown),
            "agreement": of_all(np.mean(between, axis=0) if between else unknown),
            "expected_tau": of_all(denoised.expected_tau),
            "converged": of_all(converged.astype(np.float64)).fill_null(0) == 1,
        }
    )


def _ids(votes: VoteArrays) -> pl.DataFrame:
    prompts = pl.Series("prompt_id", votes.prompts, pl.String)
    return pl.DataFrame([prompts.gather(votes.response_prompt), pl.Series("response_id", votes.responses, pl.String)])


def _covariance_rows(denoised: Denoised) -> pl.Series:
    """(R,) lists: a response's covariances with those of its prompt, in their order."""
    rows = pl.Series(dtype=pl.List(pl.Float32))
    numbers = np.zeros(0, dtype=np.int64)
    for slots, matrices in denoised.texts.matrices(denoised.posterior.covariance):
        lists = pl.Series(matrices.reshape(-1, matrices.shape[2]).astype(np.float32)).cast(pl.List(pl.Float32))
        rows, numbers = rows.append(lists), np.append(numbers, slots.ravel())
    return rows.gather(np.argsort(numbers, kind="stable"))
