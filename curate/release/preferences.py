"""Items in other people's formats: preference pairs as TRL documents them, best-of-N as RewardBench 2 has it."""

from __future__ import annotations

import polars as pl

MESSAGE = pl.Struct({"role": pl.String, "content": pl.String})


def preferences(pairs: pl.DataFrame) -> pl.DataFrame:
    """One row a pair: prompt, chosen and rejected, each a conversation of one message (TRL, dataset formats:
    preference, conversational, explicit prompt).

    pairs: items of two responses with different ranks; their media columns come along.
    """
    best = pl.col("best")
    other = 1 - best
    return pairs.with_columns(
        prompt=_messages("user", pl.col("prompt")),
        chosen=_messages("assistant", pl.col("responses").list.get(best)),
        rejected=_messages("assistant", pl.col("responses").list.get(other)),
        chosen_model=pl.col("models").list.get(best),
        rejected_model=pl.col("models").list.get(other),
    )


def _messages(role: str, content: pl.Expr) -> pl.Expr:
    return pl.concat_list(pl.struct(role=pl.lit(role, pl.String), content=content))


def best_of_n(items: pl.DataFrame) -> pl.DataFrame:
    """One row an item, in the columns of allenai/reward-bench-2: the best is chosen, the others are rejected, in the
    order shown; models likewise, the chosen one's first. subset is the item's difficulty.

    items: each with a strict best; their media columns come along.
    """
    best = pl.col("best").cast(pl.Int64)
    size = pl.col("responses").list.len().cast(pl.Int64)

    def split(column: str) -> tuple[pl.Expr, pl.Expr]:
        values = pl.col(column)
        before, after = values.list.slice(0, best), values.list.slice(best + 1, size)
        return values.list.slice(best, 1), pl.concat_list(before, after)

    chosen, rejected = split("responses")
    first, others = split("models")
    return items.with_columns(
        id=pl.col("item_id"),
        chosen=chosen,
        rejected=rejected,
        num_correct=pl.lit(1, pl.Int32),
        num_incorrect=(size - 1).cast(pl.Int32),
        total_completions=size.cast(pl.Int32),
        models=pl.concat_list(first, others),
        subset=pl.col("difficulty"),
    )
