"""Items: which responses of a prompt stand together, and in which order."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.confidence import best_probability

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

STRICT_RULE = (
    "The prompt's ranking is cut into {n} bands of equal size (equals in random order) and one response is drawn from "
    "each, so that an item spans the whole ranking; a set whose best rank is shared is never drawn, sets are distinct, "
    "and the order within an item is shuffled."
)
DEAL_RULE = (
    "The prompt's responses are shuffled and dealt into groups of {n}, each response once a round, what is left "
    "making a smaller group of two or more; rounds go on until the prompt has its items. Groups are distinct; a group "
    "whose ranks are all equal says nothing and is left out."
)
WHOLE_RULE = "An item holds all responses of its prompt, shuffled. A prompt whose ranks are all equal is left out."

CANDIDATES = 4096
"""Sets considered for one prompt: all of them up to this many, else this many drawn at random."""
PATIENCE = 16
"""Rounds of dealing without a new group after which a prompt is taken to have no more."""


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


def draw_items(
    ranked: pl.DataFrame, rule: Rule, *, seed: int = 0, min_confidence: float = 0.0
) -> tuple[pl.DataFrame, dict[str, int]]:
    """The items that the rule draws, ordered by prompt and item number, and what was left out: reason -> how many.

    ranked: one row a response, sorted by prompt_id and response_id, those of one prompt comparable with each other:
    prompt_id, prompt, video, response_id, model, response, rank (1 = best), score, strength and strength_se (logits).
    The items have the columns of ``schemas.items`` but run_id. A prompt's items depend on it and the seed alone.
    """
    ranks = ranked["rank"].to_numpy().astype(np.int64)
    starts = np.flatnonzero((ranked["prompt_id"] != ranked["prompt_id"].shift()).fill_null(True).to_numpy())
    prompts = ranked["prompt_id"].gather(starts).to_list()
    groups: list[Int] = []
    left_out: Counter[str] = Counter()
    for prompt, start, stop in zip(prompts, starts, np.append(starts, len(ranks))[1:], strict=True):
        rng = generator(seed, rule.name, prompt)
        drawn, reasons = draw_prompt(ranks[start:stop], rule, rng)
        groups.extend(start + group for group in drawn)
        left_out.update(reasons)
    items = _assemble(ranked, groups)
    if min_confidence > 0:
        shared = items["best"].null_count()
        kept = items.filter(pl.col("confidence") >= min_confidence)
        left_out.update(
            {"item: best rank shared": shared, "item: below min_confidence": len(items) - len(kept) - shared}
        )
        items = kept
    return items, dict(sorted((+left_out).items()))


def generator(seed: int, *names: str) -> np.random.Generator:
    """The generator that belongs to a seed and these names, whatever else is drawn."""
    digest = hashlib.sha256(json.dumps([seed, *names]).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def draw_prompt(ranks: Int, rule: Rule, rng: np.random.Generator) -> tuple[Sequence[Int], dict[str, int]]:
    """The items of one prompt, each the positions of its responses in the order shown, and what was left out.

    ranks: (n,) 1 = best, equals share a rank.
    """
    if len(ranks) < (rule.responses if rule.strict else 2):
        return [], {"prompt: too few responses": 1}
    if rule.strict:
        sets = draw_strict(ranks, rule.responses, rule.items, rng)
        return list(sets), {} if len(sets) else {"prompt: best rank shared in every set": 1}
    groups, equal = deal(ranks, rule.responses or len(ranks), rule.items, rng)
    return groups, {"item: all ranks equal": equal}


def draw_strict(ranks: Int, size: int, items: int, rng: np.random.Generator) -> Int:
    """(≤ items, size) distinct sets of positions, one from each of ``size`` equal bands of the ranking, rows shuffled.

    The best of each set is strictly best. ranks: (n,) 1 = best, n ≥ size.
    """
    order = np.lexsort((rng.random(len(ranks)), ranks))
    bands = np.array_split(order, size)
    picks = _combinations([len(band) for band in bands], max(CANDIDATES, 4 * items), rng)
    sets = np.stack([band[pick] for band, pick in zip(bands, picks.T, strict=True)], axis=1)
    # Bands never overtake each other, so the first is the best, and strictly so where it beats the second.
    strict = ranks[sets[:, 0]] < ranks[sets[:, 1]]
    return rng.permuted(sets[strict][:items], axis=1)


def _combinations(sizes: list[int], limit: int, rng: np.random.Generator) -> Int:
    """(≤ limit, len(sizes)) distinct rows in random order, column k below sizes[k]; all rows where they are so few."""
    total = math.prod(sizes)
    if total <= limit:
        return np.stack(np.unravel_index(rng.permutation(total), sizes), axis=1).astype(np.int64)
    picks = rng.integers(0, sizes, size=(limit, len(sizes)))
    _, first = np.unique(picks, axis=0, return_index=True)
    return picks[np.sort(first)]


def deal(ranks: Int, size: int, items: int, rng: np.random.Generator) -> tuple[list[Int], int]:
    """Up to ``items`` distinct groups of ``size`` positions (a round's last may be smaller), and how many were equal.

    Each round deals every response once. ranks: (n,) 1 = best.
    """
    groups: list[Int] = []
    seen: set[frozenset[int]] = set()
    equal = idle = 0
    while len(groups) < items and idle < PATIENCE:
        idle += 1
        order = rng.permutation(len(ranks))
        for start in range(0, len(order) - 1, size):  # a single response left over is no group
            group = order[start : start + size]
            members = frozenset(group.tolist())
            if members in seen:
                continue
            seen.add(members)
            idle = 0
            if np.all(ranks[group] == ranks[group[0]]):
                equal += 1
            elif len(groups) < items:
                groups.append(group)
    return groups, equal


def _assemble(ranked: pl.DataFrame, groups: list[Int]) -> pl.DataFrame:
    """One row an item, in the order of the groups: arrays of row numbers of ``ranked``."""
    sizes = np.array([len(group) for group in groups], dtype=np.int64)
    members = np.concatenate(groups) if groups else np.zeros(0, dtype=np.int64)
    flat = ranked[members].with_columns(item=pl.Series(np.repeat(np.arange(len(groups)), sizes), dtype=pl.Int64))
    flat = flat.with_columns(rank=pl.col("rank").rank("min").over("item").cast(pl.Int32))
    items = flat.group_by("item", maintain_order=True).agg(
        pl.col("prompt_id", "prompt", "video").first(),
        pl.col("response_id").alias("response_ids"),
        pl.col("model").alias("models"),
        pl.col("response").alias("responses"),
        pl.col("rank").alias("ranks"),
        pl.col("score").alias("scores"),
        pl.when((pl.col("rank") == 1).sum() == 1).then(pl.col("rank").arg_min()).cast(pl.Int32).alias("best"),
    )
    chances = _confidence(
        flat["strength"].to_numpy(), flat["strength_se"].to_numpy(), sizes, items["best"].fill_null(-1).to_numpy()
    )
    return items.with_columns(
        pl.Series("item_id", _item_ids(items), dtype=pl.String),
        pl.Series("confidence", chances, dtype=pl.Float64, nan_to_null=True),
    ).drop("item")


def _confidence(strength: Float, se: Float, sizes: Int, best: npt.NDArray[np.int32]) -> Float:
    """(I,) confidence of items laid end to end, ``sizes`` long; NaN where best is −1."""
    starts = np.cumsum(sizes) - sizes
    chances = np.full(len(sizes), np.nan)
    for size in np.unique(sizes):
        rows = np.flatnonzero((sizes == size) & (best >= 0))
        at = starts[rows, None] + np.arange(size)
        chances[rows] = best_probability(strength[at], se[at], best[rows].astype(np.int64))
    return chances


def _item_ids(items: pl.DataFrame) -> list[str]:
    """16 hex digits each: of the prompt and its set of responses, in whatever order they are shown."""
    return [
        hashlib.sha256(json.dumps([prompt, sorted(responses)]).encode()).hexdigest()[:16]
        for prompt, responses in zip(items["prompt_id"], items["response_ids"].to_list(), strict=True)
    ]
