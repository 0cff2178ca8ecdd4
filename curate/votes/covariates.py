"""Covariates of responses, whose effect on votes can be estimated and removed (style control).

Length and markup are in doublings, so that an effect is in log odds per doubling (Li et al., "Does style matter?
Disentangling style and substance in Chatbot Arena", 2024, control for the same properties).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from curate.array_types import Float
from schemas.errors import CurateError

LENGTH, MARKDOWN, POSITION = "length", "markdown", "position"
MARKUP = "|".join((r"(?m)^#{1,6} ", r"^\s*(?:[-*+]|\d+[.)])\s", r"^\s*\|", r"^\s*```", r"\*\*[^*\n]+\*\*"))
"""Headings, list items, table rows, code fences and bold text."""
OF_TEXT = {
    LENGTH: pl.col("text").str.len_chars().clip(lower_bound=1).log(2),
    MARKDOWN: (1 + pl.col("text").str.count_matches(MARKUP)).log(2),
}


def covariates(names: Sequence[str], responses: pl.DataFrame) -> Float:
    """Return the (R, K) covariates of responses.

    Parameters
    ----------
    names
        ``length``: log₂ of the number of characters; ``markdown``: log₂ of 1 + the number of headings, list items,
        table rows, code fences and bold passages; else a numeric column of ``responses``.
    responses
        (R,) rows, with a column text for the first two.

    Raises
    ------
    CurateError
        Where a response lacks a covariate.

    Examples
    --------
    >>> import polars as pl
    >>> covariates(["length", "markdown"], pl.DataFrame({"text": ["cat", "- a **cat**"]})).round(2).tolist()
    [[1.58, 0.0], [3.46, 1.58]]
    """
    own = responses.select(OF_TEXT.get(name, pl.col(name).cast(pl.Float64)).alias(name) for name in names)
    for name in names:
        lacking = own[name].null_count() + int(own[name].is_nan().sum())
        if lacking:
            raise CurateError(
                f"cannot control for {name}: {lacking:,} of {len(own):,} responses have no "
                + ("text" if name in OF_TEXT else "such number"),
                hint="give a file of all responses with their text and numeric columns: curate responses FILE",
            )
    return own.to_numpy().astype(np.float64)
