"""The figures of a release that say whether its items are balanced: over models, positions and difficulty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import polars as pl


def figures(items: Mapping[str, pl.DataFrame], prompts: pl.DataFrame) -> dict[str, Any]:
    """What the tables of a release say together: votes, models, the means of what the rankings are sure of, balance.

    items: config -> its items. prompts: those with an item (votes, agreement, expected_tau).
    """
    models = pl.concat(frame["models"].explode() for frame in items.values()).drop_nulls()
    return {
        "votes": int(prompts["votes"].sum()),
        "models": models.n_unique(),
        "agreement": {"rankers": prompts["agreement"].mean(), "expected_tau": prompts["expected_tau"].mean()},
        "balance": {name: balance(frame) for name, frame in items.items()},
    }


def balance(items: pl.DataFrame) -> dict[str, Any]:
    """models: model -> (items it is in, items whose best it is); positions: how often the best stands in each place;
    entropy of models: of 1 where all occur equally often. Models that are not known are left out."""
    rows = items.select("models", "best").to_dicts()
    shown, best = Counter[str](), Counter[str]()
    positions = Counter[int]()
    for row in rows:
        shown.update({model for model in row["models"] if model})
        if row["best"] is not None:
            positions[row["best"]] += 1
            if row["models"][row["best"]]:
                best[row["models"][row["best"]]] += 1
    size = max((len(row["models"]) for row in rows), default=0)
    return {
        "models": {model: [shown[model], best[model]] for model in sorted(shown)},
        "positions": [positions[place] for place in range(size)],
    }


def spread(counts: list[int]) -> str:
    """ "12 to 15" of the least and the most; "12" where they are equal, "none" of nothing."""
    if not counts:
        return "none"
    return f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"
