"""Items: which responses of a prompt form an item, and in which order they are shown."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from curate.array_types import Float, Index
from curate.sampling.kept import Standing, standing
from curate.sampling.sets import band_sets, choose, random_groups
from curate.sampling.world import World, by_size, generator, one_of_equals
from curate.uncertainty.posterior import (
    count_correct,
    draw_strengths,
)
from schemas.items import DIFFICULTIES

STRICT_RULE = (
    "The prompt's ranking is divided into {n} bands of equal size (ties in random order). A candidate has one response "
    "from each band, so that an item covers the whole ranking; candidates whose best rank is shared, or in which "
    "another response is more probably the best, are excluded. Prompts choose in turn among the candidates that reach "
    "the minimum confidence, those with the fewest candidates first: each takes the candidate whose difficulty, best "
    "model, models and responses were chosen least so far. The best response has each position equally often; the "
    "others are in random order."
)
GROUPS_RULE = (
    "The prompt's responses are shuffled and divided into groups of {n}, the remainder into a smaller group of two or "
    "more; rounds continue until the prompt has its items. Groups are distinct; a group whose ranks are all equal is "
    "excluded."
)
WHOLE_RULE = "An item holds all responses of its prompt, shuffled. A prompt whose ranks are all equal is excluded."
ONE_OF_EQUALS = " Of responses with equal texts, one at random is used."

UNCERTAIN = "prompt: every set below min_confidence, or without a clear best"
FRAGILE = "below min_fragility, or unknown"
"""Why an item is dropped after the draw."""

CANDIDATES = 1024
"""Sets considered for one prompt: all of them up to this number, else this number drawn at random."""
DRAWS = 1000
"""Draws of the true strengths for the scores of a perfect judge; half of them mirror the others. The ends of the
scores' interval have a standard error of a fifteenth of the scores' standard deviation."""


class Label(NamedTuple):
    """A claim that a response is the best of some."""

    prompt_id: str
    best: str
    others: Sequence[str]
    """Response ids."""
    item_id: str = ""


Fragility = Callable[[Sequence[Label]], Float]
"""From labels to (L,) the number of votes in the smallest set found whose removal changes each: 0 where the strengths
favour another response with all votes, infinite where no set changes it, NaN where it is unknown."""


@dataclass(frozen=True)
class Rule:
    """How the items of one config of an export are drawn."""

    name: str
    """Name of the config: train, 4way, pairwise. Part of the seed, so that configs are drawn independently."""
    responses: int
    """Responses of an item; 0 takes all responses of the prompt."""
    items: int
    """Largest number of items of one prompt."""
    strict: bool
    """Every item has one strictly best response (benchmark); else items are random groups (training)."""
    repeat_texts: bool = False
    """An item may have responses with equal texts (a full ranking); else only one of them is drawn."""

    @property
    def description(self) -> str:
        """The rule in English, for dataset cards."""
        text = STRICT_RULE if self.strict else GROUPS_RULE if self.responses else WHOLE_RULE
        return text.format(n=self.responses) + ("" if self.repeat_texts else ONE_OF_EQUALS)


@dataclass(frozen=True)
class Drawn:
    """The items of one config and the numbers of candidates."""

    items: pl.DataFrame
    """Sorted by prompt, then in the order drawn; the columns of ``schemas.items`` except run_id."""
    candidates: int
    """Sets considered (strict) or groups formed."""
    eligible: int
    """Candidates at or above min_confidence."""
    excluded: dict[str, int]
    """Reason -> number."""
    scores: Float
    """(DRAWS,) share of the items with a best response that a perfect judge labels correctly, for each draw of the true
    strengths from the posterior; empty if no item has a best response."""
    retired: dict[str, str]
    """Id -> reason, of the earlier items that are not kept."""


def draw_items(
    ranked: pl.DataFrame,
    rule: Rule,
    *,
    seed: int = 0,
    min_confidence: float = 0.0,
    fragility: Fragility | None = None,
    min_fragility: int = 0,
    earlier: pl.DataFrame | None = None,
) -> Drawn:
    """Return the items that the rule draws from candidates at or above min_confidence.

    A prompt's candidates, and the random groups of training, depend on the prompt and the seed only; which candidates
    are chosen depends on all prompts.

    Parameters
    ----------
    ranked
        One row per response, sorted by prompt_id and response_id; the rows of one prompt are comparable: prompt_id,
        prompt, video, response_id, model, response, rank (1 = best), score, strength (logits), covariance (list: of
        strength with the responses of the prompt, logits²), place (own position in such a list) and text (equal for
        responses of one prompt with equal texts).
    min_confidence
        Lowest probability that an item's labelled best response is the best.
    fragility
        Of the labels of a benchmark; None: not computed.
    min_fragility
        Items whose labels fewer votes change, or whose fragility is unknown, are dropped after the draw; 0: none.
    earlier
        Items of the previous version of a benchmark (item_id, prompt_id, response_ids, best), in its order. Those whose
        label still holds are kept with their order of responses (``curate.sampling.kept``); the others are retired, and
        the new items restore the balance.
    """
    usable = np.ones(len(ranked), np.bool_) if rule.repeat_texts else one_of_equals(ranked, rule.name, seed)
    world = World.of(ranked, usable)
    pool = (_band_candidates if rule.strict else _group_candidates)(world, rule, seed, min_confidence)
    kept = standing(ranked, world, earlier, rule.responses, rule.items, min_confidence)
    fragile = f"fragility below {min_fragility}"
    if kept.items and fragility is not None and min_fragility > 0:
        sizes = fragility(_labels(ranked, kept.rows))
        pool = pool.without(kept.rows[~(sizes >= min_fragility)])  # else they may be drawn again
        kept = kept.without(~(sizes >= min_fragility), fragile)
    pool = pool.with_kept(world, kept)
    items = pool.sets
    if rule.strict and items.rows:
        rng = generator(seed, rule.name)
        items = _chosen(world, items, rule, rng)
        if fragility is not None:
            sizes = fragility(_labels(ranked, items.rows))
            items = items._replace(fragility=sizes)
            if min_fragility > 0:
                enough = sizes >= min_fragility  # NaN is not
                items = items.of(np.flatnonzero(enough))
                pool.excluded[f"item: {FRAGILE}"] += int((~enough).sum())
        items = _shuffled(items, rule, rng)
    drawn = _assemble(ranked, items, world.best_probabilities(items.rows))
    return Drawn(
        items=drawn,
        candidates=pool.considered,
        eligible=len(pool.sets.rows),
        excluded=dict(sorted((+pool.excluded).items())),
        scores=_perfect_scores(world, items, rule, seed),
        retired=kept.retired | dict.fromkeys(sorted(set(kept.items) - set(drawn["item_id"])), fragile),
    )


def item_statistics(items: pl.DataFrame) -> dict[str, Any]:
    """Return the statistics of the items of one config.

    difficulty: level -> number of items. confidence: mean over items, None if no item has one. floor: expected score of
    a judge that guesses, None if no item has a best response. items: the columns of ``schemas.items``.
    """
    levels = dict(items["difficulty"].value_counts().iter_rows())
    sizes = items.filter(pl.col("best").is_not_null())["response_ids"].list.len().to_numpy()
    return {
        "difficulty": {name: levels.get(name, 0) for name in DIFFICULTIES},
        "confidence": items["confidence"].mean(),
        "floor": float((1 / sizes).mean()) if len(sizes) else None,
    }


class _Sets(NamedTuple):
    """S sets of responses, sorted by prompt."""

    rows: list[Index]
    """Row numbers of each set's responses, in the order shown."""
    margin: Float
    """(S,) strength of the labelled best minus that of the strongest other, logits; NaN if the best rank is shared."""
    difficulty: Index
    """(S,) index into DIFFICULTIES; −1 if the best rank is shared."""
    fragility: Float
    """(S,) number of votes; infinite if no set of votes changes the label, NaN if unknown."""
    position: Index
    """(S,) where a kept item shows its best; −1 for other sets."""

    def of(self, at: Index) -> _Sets:
        """Return the sets at these positions."""
        rows = [self.rows[i] for i in at]
        return _Sets(rows, self.margin[at], self.difficulty[at], self.fragility[at], self.position[at])


class _Pool(NamedTuple):
    """The eligible sets of all prompts."""

    sets: _Sets
    considered: int
    """Number of sets before exclusions."""
    excluded: Counter[str]
    """Reason -> number."""

    def without(self, sets: Index) -> _Pool:
        """Return the pool without these (D, N) sets, in any order of responses."""
        if not len(sets) or not self.sets.rows:
            return self
        both = np.sort(np.concatenate([np.stack(self.sets.rows), sets]), axis=1)
        key = np.unique(both, axis=0, return_inverse=True)[1].ravel()
        count = len(self.sets.rows)
        other = np.flatnonzero(~np.isin(key[:count], key[count:]))
        return self._replace(sets=self.sets.of(other), considered=self.considered - count + len(other))

    def with_kept(self, world: World, kept: Standing) -> _Pool:
        """Return the pool with the kept items as candidates, after those of their prompts."""
        if not kept.items:
            return self
        pool = self.without(kept.rows)
        rows = [*pool.sets.rows, *kept.rows]
        margin = np.append(pool.sets.margin, world.margin(kept.rows))
        position = np.append(pool.sets.position, kept.position)
        order = np.argsort([world.prompt[members[0]] for members in rows], kind="stable")
        sets = _with_difficulty([rows[i] for i in order], margin[order])._replace(position=position[order])
        return pool._replace(sets=sets, considered=pool.considered + len(kept.items))


def _band_candidates(world: World, rule: Rule, seed: int, min_confidence: float) -> _Pool:
    """Return the eligible band sets of all prompts, the best response of each first."""
    excluded = Counter[str]()
    kept: list[tuple[Index, Float]] = []
    considered = 0
    for p, prompt in enumerate(world.prompts):
        rows = world.rows(p)
        if len(rows) < rule.responses:
            excluded["prompt: too few responses"] += 1
            continue
        limit = max(CANDIDATES, 4 * rule.items)
        sets = rows[band_sets(world.rank[rows], rule.responses, limit, generator(seed, rule.name, prompt))]
        considered += len(sets)
        excluded["prompt: best rank shared in every set"] += not len(sets)
        if len(sets):
            sets = sets[world.reaches(sets, min_confidence)]
            excluded[UNCERTAIN] += not len(sets)
        kept.append((sets, world.margin(sets)))
    if not kept:
        return _Pool(_with_difficulty([], np.empty(0)), considered, excluded)
    sets, margin = (np.concatenate(column) for column in zip(*kept, strict=True))
    return _Pool(_with_difficulty(list(sets), margin), considered, excluded)


def _group_candidates(world: World, rule: Rule, seed: int, min_confidence: float) -> _Pool:
    """Return the eligible random groups of all prompts."""
    excluded = Counter[str]()
    groups: list[Index] = []
    for p, prompt in enumerate(world.prompts):
        rows = world.rows(p)
        if len(rows) < 2:
            excluded["prompt: too few responses"] += 1
            continue
        size = rule.responses or len(rows)
        found = random_groups(world.rank[rows], size, rule.items, generator(seed, rule.name, prompt))
        excluded["item: all ranks equal"] += found.equal
        groups += [rows[group] for group in found.groups]
    margin, eligible = np.empty(len(groups)), np.ones(len(groups), dtype=np.bool_)
    for at, sets in by_size(groups):
        margin[at] = world.margin(sets)
        if min_confidence > 0:
            eligible[at] = world.reaches(sets, min_confidence, largest=False)
    shared = np.isnan(margin)
    excluded["item: best rank shared"] += int((shared & ~eligible).sum())
    excluded["item: below min_confidence"] += int((~shared & ~eligible).sum())
    at = np.flatnonzero(eligible)
    return _Pool(_with_difficulty([groups[i] for i in at], margin[at]), len(groups), excluded)


def _with_difficulty(rows: list[Index], margin: Float) -> _Sets:
    """Return the sets with their difficulty: terciles of the margin over all of them."""
    known = np.isfinite(margin)
    cuts = np.quantile(margin[known], [1 / 3, 2 / 3]) if known.any() else np.zeros(2)
    difficulty = np.where(known, np.searchsorted(cuts, margin, side="right"), -1)
    return _Sets(rows, margin, difficulty, np.full(len(rows), np.nan), np.full(len(rows), -1))


def _chosen(world: World, pool: _Sets, rule: Rule, rng: np.random.Generator) -> _Sets:
    """Return the items of a benchmark, those kept and a balanced choice; the best response of each is first."""
    kept = pool.position >= 0
    sets = np.stack(pool.rows)
    new = choose(sets, pool.difficulty, world.model, world.prompt, rule.items, rng, kept)
    at = np.append(np.flatnonzero(kept), new)
    return pool.of(at[np.argsort(world.prompt[sets[at, 0]], kind="stable")])


def _shuffled(items: _Sets, rule: Rule, rng: np.random.Generator) -> _Sets:
    """Return the items of a benchmark in the order shown: the best has each position equally often.

    Those kept stay as they are, and the new ones restore the balance of positions.
    """
    position, new = items.position.copy(), items.position < 0
    shows = np.bincount(position[~new], minlength=rule.responses)
    fill = np.zeros(int(new.sum()), dtype=np.int64)
    for i in range(len(fill)):
        fill[i] = shows.argmin()
        shows[fill[i]] += 1
    position[new] = rng.permutation(fill)
    sets = np.array(items.rows, dtype=np.int64).reshape(len(items.rows), rule.responses)
    others = sets[:, 1:].copy()
    others[new] = rng.permuted(others[new], axis=1)
    shown, at_best = np.empty_like(sets), np.arange(rule.responses) == position[:, None]
    shown[at_best], shown[~at_best] = sets[:, 0], others.ravel()
    return items._replace(rows=list(shown))


def _labels(ranked: pl.DataFrame, sets: Sequence[Index] | Index) -> list[Label]:
    """Return the labels of sets whose best response is first."""
    prompt, response = ranked["prompt_id"].to_list(), ranked["response_id"].to_list()
    return [Label(prompt[rows[0]], response[rows[0]], [response[row] for row in rows[1:]]) for rows in sets]


def _assemble(ranked: pl.DataFrame, sets: _Sets, probabilities: Float) -> pl.DataFrame:
    """Return one row per item. probabilities: of each response of each set to be its best, concatenated."""
    sizes = np.array([len(rows) for rows in sets.rows], dtype=np.int64)
    members = np.concatenate(sets.rows) if sets.rows else np.zeros(0, dtype=np.int64)
    item = pl.Series(np.repeat(np.arange(len(sizes)), sizes), dtype=pl.Int64)
    columns = ranked.select("prompt_id", "prompt", "video", "response_id", "model", "response", "rank", "score")
    flat = columns[members].with_columns(item=item, probability=probabilities)
    flat = flat.with_columns(rank=pl.col("rank").rank("min").over("item").cast(pl.Int32))
    items = flat.group_by("item", maintain_order=True).agg(
        pl.col("prompt_id", "prompt", "video").first(),
        pl.col("response_id").alias("response_ids"),
        pl.col("model").alias("models"),
        pl.col("response").alias("responses"),
        pl.col("rank").alias("ranks"),
        pl.col("score").alias("scores"),
        pl.when((pl.col("rank") == 1).sum() == 1).then(pl.col("rank").arg_min()).cast(pl.Int32).alias("best"),
        (pl.col("probability") / pl.col("probability").sum()).alias("best_probabilities"),
        pl.col("probability"),
    )
    return items.with_columns(
        pl.Series("item_id", _item_ids(items), dtype=pl.String),
        pl.col("best_probabilities").list.get(pl.col("best")).alias("confidence"),
        pl.Series("margin", sets.margin, dtype=pl.Float64, nan_to_null=True),
        pl.Series("difficulty", [DIFFICULTIES[d] if d >= 0 else None for d in sets.difficulty], dtype=pl.String),
        pl.Series("fragility", [int(f) if np.isfinite(f) else None for f in sets.fragility], dtype=pl.Int32),
    ).drop("item", "probability")


def _perfect_scores(world: World, items: _Sets, rule: Rule, seed: int) -> Float:
    """Return (DRAWS,) the share of the items with a best whose best is the strongest, in draws of the true strengths.

    The items of a prompt share the draws, because their labels are right or wrong together.
    """
    of_prompt: dict[int, list[Index]] = {}
    for rows, margin in zip(items.rows, items.margin, strict=True):
        if not np.isnan(margin):
            of_prompt.setdefault(int(world.prompt[rows[0]]), []).append(rows)
    if not of_prompt:
        return np.empty(0)
    correct = np.zeros(DRAWS, dtype=np.int64)
    for p, groups in of_prompt.items():
        rows = np.unique(np.concatenate(groups))
        rng = generator(seed, rule.name, world.prompts[p], "judge")
        strength = draw_strengths(*world.posterior.of(rows), DRAWS, rng)
        for _, sets in by_size(groups):
            correct += count_correct(strength, np.searchsorted(rows, sets), world.rank[sets].argmin(axis=1))
    return correct / sum(map(len, of_prompt.values()))


def _item_ids(items: pl.DataFrame) -> list[str]:
    """Return 16 hex digits per item: a hash of the prompt and its set of responses, independent of their order."""
    return [
        hashlib.sha256(json.dumps([prompt, sorted(responses)]).encode()).hexdigest()[:16]
        for prompt, responses in zip(items["prompt_id"], items["response_ids"].to_list(), strict=True)
    ]
