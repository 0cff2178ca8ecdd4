"""Items of the previous version that are kept, because their label still holds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from curate.array_types import Bool, Index
from curate.sampling.world import World

SIZE, REMOVED, EQUAL = "other number of responses", "response removed", "equal texts"
BEST, SURPLUS = "best changed", "more items than the config allows"


class Standing(NamedTuple):
    """K earlier items that are kept, sorted by prompt, and the others."""

    items: list[str]
    """(K,) item ids."""
    rows: Index
    """(K, N) row numbers of their responses, the best first, then the others in the order shown."""
    position: Index
    """(K,) position at which the best is shown."""
    retired: dict[str, str]
    """Item id -> reason, of the others."""

    def without(self, drop: Bool, reason: str) -> Standing:
        """Return the standing with further items retired. drop: (K,)"""
        more = {item: reason for item, out in zip(self.items, drop, strict=True) if out}
        items = [item for item in self.items if item not in more]
        return Standing(items, self.rows[~drop], self.position[~drop], self.retired | more)


def standing(
    ranked: pl.DataFrame, world: World, earlier: pl.DataFrame | None, size: int, most: int, min_confidence: float
) -> Standing:
    """Return which earlier items are kept.

    An item is kept if its responses are still ranked and of different texts, and its labelled best still is the one
    best of them with at least min_confidence, and no other is more probably the best.

    Parameters
    ----------
    ranked, world
        As in ``draw_items``.
    earlier
        item_id, prompt_id, response_ids (in the order shown) and best; None: there are none.
    size, most
        Responses of an item, and the largest number of items of one prompt.
    """
    if earlier is None or earlier.is_empty():
        return Standing([], np.zeros((0, size), dtype=np.int64), np.zeros(0, dtype=np.int64), {})
    fits = pl.col("response_ids").list.len() == size
    retired = dict.fromkeys(earlier.filter(~fits)["item_id"], SIZE)
    earlier = earlier.filter(fits)
    number = ranked.select("prompt_id", response_ids="response_id", row=pl.int_range(pl.len(), dtype=pl.Int64))
    members = earlier.select("prompt_id", "response_ids").explode("response_ids")
    found = members.join(number, on=["prompt_id", "response_ids"], how="left", maintain_order="left")
    rows = found["row"].fill_null(-1).to_numpy().reshape(-1, size)
    position = earlier["best"].to_numpy().astype(np.int64)
    known = np.flatnonzero((rows >= 0).all(axis=1))
    retired |= dict.fromkeys(earlier["item_id"].gather(np.setdiff1d(np.arange(len(rows)), known)), REMOVED)
    rows, position = rows[known], position[known]
    own = np.arange(size) == position[:, None]
    rows = np.concatenate([rows[own][:, None], rows[~own].reshape(-1, size - 1)], axis=1)
    order = np.argsort(world.prompt[rows[:, 0]], kind="stable")
    result = Standing(earlier["item_id"].gather(known[order]).to_list(), rows[order], position[order], retired)
    text = np.sort(world.text[result.rows], axis=1)
    result = result.without((text[:, 1:] == text[:, :-1]).any(axis=1), EQUAL)
    rank = world.rank[result.rows]
    result = result.without(rank[:, 0] >= rank[:, 1:].min(axis=1), BEST)
    sure = world.reaches(result.rows, min_confidence, largest=False)
    result = result.without(~sure, f"confidence below {min_confidence:g}")
    result = result.without(~world.reaches(result.rows, min_confidence), BEST)
    prompt = world.prompt[result.rows[:, 0]]
    place = np.arange(len(prompt)) - np.searchsorted(prompt, prompt)  # among the items of its prompt
    return result.without(place >= most, SURPLUS)
