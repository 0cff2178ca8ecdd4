"""Items: which responses of a prompt stand together, and in which order."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.sampling.draw import band_sets, choose, deal
from curate.uncertainty.orthant import count_right
from curate.uncertainty.posterior import Posterior, best_probabilities, best_probability, draw_strengths
from schemas.items import DIFFICULTIES

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

STRICT_RULE = (
    "The prompt's ranking is cut into {n} bands of equal size (equals in random order); a candidate takes one response "
    "from each, so that an item spans the whole ranking, and one whose best rank is shared is none. Of the candidates "
    "that are certain enough, prompts choose in turn, those with the fewest first: the one whose difficulty, model "
    "labelled best, models and responses have been chosen least so far. The best stands in each place equally often, "
    "the others in random order."
)
DEAL_RULE = (
    "The prompt's responses are shuffled and dealt into groups of {n}, each response once a round, what is left "
    "making a smaller group of two or more; rounds go on until the prompt has its items. Groups are distinct; a group "
    "whose ranks are all equal says nothing and is left out."
)
WHOLE_RULE = "An item holds all responses of its prompt, shuffled. A prompt whose ranks are all equal is left out."

CANDIDATES = 1024
"""Sets considered for one prompt: all of them up to this many, else this many drawn at random."""
DRAWS = 1000
"""Draws of the true strengths behind the scores of a perfect judge; half of them mirror the others. The ends
of the scores' interval are good to a fifteenth of its deviation."""


@dataclass(frozen=True)
class Rule:
    """How the items of one config of an export are drawn."""

    name: str
    """The config: train, 4way, pairwise. Part of the seed, so that configs are drawn independently."""
    responses: int
    """Responses in an item; 0 takes all that a prompt has."""
    items: int
    """Items of one prompt, at most."""
    strict: bool
    """The best of every item is strictly best (benchmark); else responses are dealt as they come (training)."""

    @property
    def words(self) -> str:
        """The rule, for people."""
        text = STRICT_RULE if self.strict else DEAL_RULE if self.responses else WHOLE_RULE
        return text.format(n=self.responses)


@dataclass(frozen=True)
class Drawn:
    """The items of one config, and what they were drawn from."""

    items: pl.DataFrame
    """Ordered by prompt, in the order drawn; the columns of ``schemas.items`` but run_id."""
    candidates: int
    """Sets considered (strict), or groups dealt."""
    eligible: int
    """Of them at or above min_confidence."""
    left_out: dict[str, int]
    """Reason -> how many."""
    scores: Float
    """(DRAWS,) share of the items with a best that a perfect judge gets right, for each draw of the truth from the
    posterior; empty where no item has a best."""


def draw_items(ranked: pl.DataFrame, rule: Rule, *, seed: int = 0, min_confidence: float = 0.0) -> Drawn:
    """The items that the rule draws from what is at or above min_confidence.

    ranked: one row a response, sorted by prompt_id and response_id, those of one prompt comparable with each other:
    prompt_id, prompt, video, response_id, model, response, rank (1 = best), score, strength (logits), covariance (of
    strength with responses of the prompt, logits²) and place (its own position among these).
    Candidates of a prompt, and items dealt, depend on it and the seed alone; which candidates are chosen depends on
    all prompts.
    """
    world = _World.of(ranked)
    pool, considered, left_out = (_candidates if rule.strict else _dealt)(world, rule, seed, min_confidence)
    items = _balanced(world, pool, rule, generator(seed, rule.name)) if rule.strict else pool
    return Drawn(
        items=_assemble(ranked, items, world.best_probabilities(items.sets)),
        candidates=considered,
        eligible=len(pool.sets),
        left_out=dict(sorted((+left_out).items())),
        scores=_perfect_scores(world, items, rule, seed),
    )


def generator(seed: int, *names: str) -> np.random.Generator:
    """The generator that belongs to a seed and these names, whatever else is drawn."""
    digest = hashlib.sha256(json.dumps([seed, *names]).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


class _Pool(NamedTuple):
    """S sets of responses, those of one prompt standing together."""

    sets: list[Int]
    """Rows of the responses of each, in the order shown."""
    gap: Float
    """(S,) strength of the labelled best less that of the strongest other, logits; NaN where several share its rank."""
    difficulty: Int
    """(S,) place in DIFFICULTIES; −1 likewise."""


@dataclass(frozen=True)
class _World:
    """What the draw reads of the R rows of the frame."""

    prompts: list[str]
    """(P,) their ids."""
    bounds: Int
    """(P + 1,) rows of prompt p are ``bounds[p] … bounds[p + 1] − 1``."""
    prompt: Int
    """(R,)"""
    rank: Int
    """(R,) 1 = best, equals share a rank."""
    model: Int
    """(R,) 0, 1, …; a response whose model is not known is a model of its own."""
    posterior: Posterior
    """Of their strengths."""

    @classmethod
    def of(cls, ranked: pl.DataFrame) -> _World:
        starts = np.flatnonzero((ranked["prompt_id"] != ranked["prompt_id"].shift()).fill_null(True).to_numpy())
        alone = pl.concat_str("prompt_id", "response_id", separator="\0")
        length = ranked["covariance"].list.len().to_numpy().astype(np.int64)
        return cls(
            prompts=ranked["prompt_id"].gather(starts).to_list(),
            bounds=np.append(starts, len(ranked)),
            prompt=np.searchsorted(starts, np.arange(len(ranked)), side="right") - 1,
            rank=ranked["rank"].to_numpy().astype(np.int64),
            model=ranked.select(pl.coalesce("model", alone).rank("dense")).to_series().to_numpy().astype(np.int64) - 1,
            posterior=Posterior(
                strength=ranked["strength"].to_numpy(),
                covariance=ranked["covariance"].explode().to_numpy().astype(np.float64),
                first=np.cumsum(length) - length,
                place=ranked["place"].to_numpy().astype(np.int64),
            ),
        )

    def rows(self, prompt: int) -> Int:
        return np.arange(self.bounds[prompt], self.bounds[prompt + 1])

    def gap(self, sets: Int) -> Float:
        """(S,) lead of the labelled best of (S, K) sets over the strongest other, logits; NaN where it is shared."""
        rank, strength = self.rank[sets], self.posterior.strength[sets]
        is_best = rank == rank.min(axis=1, keepdims=True)
        most, other = (np.where(which, strength, -np.inf).max(axis=1) for which in (is_best, ~is_best))
        return np.where(is_best.sum(axis=1) == 1, most - other, np.nan)

    def confidence(self, sets: Int) -> Float:
        """(S,) chance that the labelled best of (S, K) sets is the strongest; NaN where the best rank is shared."""
        rank = self.rank[sets]
        alone = (rank == rank.min(axis=1, keepdims=True)).sum(axis=1) == 1
        confidence = np.full(len(sets), np.nan)
        confidence[alone] = best_probability(*self.posterior.of(sets[alone]), rank[alone].argmin(axis=1))
        return confidence

    def best_probabilities(self, sets: list[Int]) -> Float:
        """For each response of each set, end to end: P(it is the strongest of its set)."""
        ends = np.cumsum([len(rows) for rows in sets])
        chances = np.empty(ends[-1] if sets else 0)
        for at, same in _by_size(sets):
            size = same.shape[1]
            places = ends[at][:, None] - size + np.arange(size)
            chances[places] = best_probabilities(*self.posterior.of(same))
        return chances


def _by_size(sets: list[Int]) -> Iterator[tuple[Int, Int]]:
    """Where the sets of each size stand, and they themselves, (S, K)."""
    sizes = np.array([len(rows) for rows in sets])
    for size in np.unique(sizes):
        at = np.flatnonzero(sizes == size)
        yield at, np.stack([sets[i] for i in at])


def _candidates(world: _World, rule: Rule, seed: int, min_confidence: float) -> tuple[_Pool, int, Counter[str]]:
    """The sets of all prompts that are certain enough, the best of each first; of how many; and what was left out."""
    left_out = Counter[str]()
    kept: list[tuple[Int, Float]] = []
    considered = 0
    for p, prompt in enumerate(world.prompts):
        rows = world.rows(p)
        if len(rows) < rule.responses:
            left_out["prompt: too few responses"] += 1
            continue
        limit = max(CANDIDATES, 4 * rule.items)
        sets = rows[band_sets(world.rank[rows], rule.responses, limit, generator(seed, rule.name, prompt))]
        considered += len(sets)
        left_out["prompt: best rank shared in every set"] += not len(sets)
        if min_confidence > 0 and len(sets):
            sets = sets[world.confidence(sets) >= min_confidence]
            left_out["prompt: every set below min_confidence"] += not len(sets)
        kept.append((sets, world.gap(sets)))
    if not kept:
        return _pool([], np.empty(0)), considered, left_out
    sets, gap = (np.concatenate(column) for column in zip(*kept, strict=True))
    return _pool(list(sets), gap), considered, left_out


def _dealt(world: _World, rule: Rule, seed: int, min_confidence: float) -> tuple[_Pool, int, Counter[str]]:
    """The dealt groups of all prompts that are certain enough; of how many; and what was left out."""
    left_out = Counter[str]()
    groups: list[Int] = []
    for p, prompt in enumerate(world.prompts):
        rows = world.rows(p)
        if len(rows) < 2:
            left_out["prompt: too few responses"] += 1
            continue
        size = rule.responses or len(rows)
        dealt, equal = deal(world.rank[rows], size, rule.items, generator(seed, rule.name, prompt))
        left_out["item: all ranks equal"] += equal
        groups += [rows[group] for group in dealt]
    confidence, gap = np.full(len(groups), np.nan), np.empty(len(groups))
    for at, sets in _by_size(groups):
        gap[at] = world.gap(sets)
        if min_confidence > 0:
            confidence[at] = world.confidence(sets)
    shared = np.isnan(gap)
    sure = confidence >= min_confidence if min_confidence > 0 else np.ones(len(groups), dtype=np.bool_)
    left_out["item: best rank shared"] += int((shared & ~sure).sum())
    left_out["item: below min_confidence"] += int((~shared & ~sure).sum())
    at = np.flatnonzero(sure)
    return _pool([groups[i] for i in at], gap[at]), len(groups), left_out


def _pool(sets: list[Int], gap: Float) -> _Pool:
    """The sets with their difficulty: terciles of gap over all of them."""
    known = np.isfinite(gap)
    cuts = np.quantile(gap[known], [1 / 3, 2 / 3]) if known.any() else np.zeros(2)
    return _Pool(sets, gap, np.where(known, np.searchsorted(cuts, gap, side="right"), -1))


def _balanced(world: _World, pool: _Pool, rule: Rule, rng: np.random.Generator) -> _Pool:
    """The items of a benchmark: a balanced choice, the best of an item standing in each place equally often."""
    if not pool.sets:
        return pool
    chosen = choose(np.stack(pool.sets), pool.difficulty, world.model, world.prompt, rule.items, rng)
    best = rng.permutation(np.arange(len(chosen)) % rule.responses)
    shown = np.empty((len(chosen), rule.responses), dtype=np.int64)
    at_best = np.arange(rule.responses) == best[:, None]
    sets = np.stack(pool.sets)[chosen]
    shown[at_best] = sets[:, 0]
    shown[~at_best] = rng.permuted(sets[:, 1:], axis=1).ravel()
    return _Pool(list(shown), pool.gap[chosen], pool.difficulty[chosen])


def _assemble(ranked: pl.DataFrame, pool: _Pool, chances: Float) -> pl.DataFrame:
    """One row an item, in the order of the pool. chances: of each member of each set to be its best, end to end."""
    sizes = np.array([len(rows) for rows in pool.sets], dtype=np.int64)
    members = np.concatenate(pool.sets) if pool.sets else np.zeros(0, dtype=np.int64)
    item = pl.Series(np.repeat(np.arange(len(sizes)), sizes), dtype=pl.Int64)
    words = ranked.select("prompt_id", "prompt", "video", "response_id", "model", "response", "rank", "score")
    flat = words[members].with_columns(item=item, chance=chances)
    flat = flat.with_columns(rank=pl.col("rank").rank("min").over("item").cast(pl.Int32))
    items = flat.group_by("item", maintain_order=True).agg(
        pl.col("prompt_id", "prompt", "video").first(),
        pl.col("response_id").alias("response_ids"),
        pl.col("model").alias("models"),
        pl.col("response").alias("responses"),
        pl.col("rank").alias("ranks"),
        pl.col("score").alias("scores"),
        pl.when((pl.col("rank") == 1).sum() == 1).then(pl.col("rank").arg_min()).cast(pl.Int32).alias("best"),
        (pl.col("chance") / pl.col("chance").sum()).alias("best_probabilities"),
        pl.col("chance"),
    )
    return items.with_columns(
        pl.Series("item_id", _item_ids(items), dtype=pl.String),
        pl.col("chance").list.get(pl.col("best")).alias("confidence"),
        pl.Series("gap", pool.gap, dtype=pl.Float64, nan_to_null=True),
        pl.Series("difficulty", [DIFFICULTIES[d] if d >= 0 else None for d in pool.difficulty], dtype=pl.String),
    ).drop("item", "chance")


def _perfect_scores(world: _World, items: _Pool, rule: Rule, seed: int) -> Float:
    """(DRAWS,) share of the items with a best whose best is the strongest, in draws of the true strengths.

    The items of a prompt are judged by the same draws, since their labels are right or wrong together.
    """
    of_prompt: dict[int, list[Int]] = {}
    for rows, gap in zip(items.sets, items.gap, strict=True):
        if not np.isnan(gap):
            of_prompt.setdefault(int(world.prompt[rows[0]]), []).append(rows)
    if not of_prompt:
        return np.empty(0)
    right = np.zeros(DRAWS, dtype=np.int64)
    for p, groups in of_prompt.items():
        rows = np.unique(np.concatenate(groups))
        rng = generator(seed, rule.name, world.prompts[p], "judge")
        strength = draw_strengths(*world.posterior.of(rows), DRAWS, rng)
        for _, sets in _by_size(groups):
            count_right(strength, np.searchsorted(rows, sets), world.rank[sets].argmin(axis=1), right)
    return right / sum(map(len, of_prompt.values()))


def _item_ids(items: pl.DataFrame) -> list[str]:
    """16 hex digits each: of the prompt and its set of responses, in whatever order they are shown."""
    return [
        hashlib.sha256(json.dumps([prompt, sorted(responses)]).encode()).hexdigest()[:16]
        for prompt, responses in zip(items["prompt_id"], items["response_ids"].to_list(), strict=True)
    ]
