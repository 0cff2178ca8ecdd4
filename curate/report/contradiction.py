"""How the votes on each pair stand to the ranking: with it, against it, or on responses that it holds equal."""

from __future__ import annotations

import polars as pl


def judged_pairs(pairs: pl.DataFrame, placed: pl.DataFrame) -> pl.DataFrame:
    """The pairs with first_rank, second_rank, total (all weight) and against; null where the run does not compare them.

    against: the weight that goes against the order; a tied vote counts half, and a pair of equal ranks pays half its
    weight, as in the cost of a ranking. pairs: ``pair_votes``; placed: ``placed_responses`` of the same run.
    """
    found = pairs
    for side in ("first", "second"):
        own = placed.select(
            "prompt_id",
            pl.col("response_id").alias(side),
            pl.col("rank").alias(f"{side}_rank"),
            pl.col("component").alias(f"{side}_component"),
        )
        found = found.join(own, on=["prompt_id", side], how="left", maintain_order="left")
    half = pl.col("tied") / 2
    ahead = pl.col("second_rank") - pl.col("first_rank")
    against = (
        pl.when(ahead > 0)
        .then(pl.col("for_second") + half)
        .when(ahead < 0)
        .then(pl.col("for_first") + half)
        .otherwise(pl.col("total") / 2)
    )
    together = pl.col("first_component") == pl.col("second_component")  # null where either is not ranked
    return found.with_columns(total=pl.col("for_first") + pl.col("for_second") + pl.col("tied")).with_columns(
        against=pl.when(together).then(against)
    )


def by_prompt(judged: pl.DataFrame) -> pl.DataFrame:
    """Of ranked prompts: prompt_id, against, compared (weight on pairs that the run compares) and contradicted, their
    ratio."""
    compared = judged.filter(pl.col("against").is_not_null())
    return (
        compared.group_by("prompt_id")
        .agg(pl.col("against").sum(), pl.col("total").sum().alias("compared"))
        .with_columns(contradicted=pl.col("against") / pl.col("compared"))
        .sort("prompt_id")
    )
