"""Equal texts: which responses of a prompt have the same text, and which nearly so.

``careful``, the default, must not merge different answers. In maths and code, case, signs and indentation carry meaning
(5 mW and 5 MW, F(x) and f(x), Python blocks); there only the Unicode form and whitespace at the ends of lines are
ignored. In words, case and runs of whitespace are ignored too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.choices import TextComparison

if TYPE_CHECKING:
    import polars as pl

    from curate.array_types import Index

Labels = npt.NDArray[np.integer[Any]]

NOT_WORDS = (
    r"[^\p{L}\p{M}\p{P}\s]|[#%&*/@\\_\[\]{}]"  # a digit or a sign of maths, code or markup
    r"|\p{L}[.:]\p{L}|\p{L}\(|\n[^\S\n]+\S"  # os.path, f(x), an indented line
    r"|\p{Ll}\p{Lu}|\p{Lu}\p{Lu}"  # mW, camelCase, US
    r"|\b[\p{Lu}--[AI]]\b"  # a variable or an option: N, B
)
"""A text in which this is found is compared as code."""


def comparable(text: pl.Expr, how: TextComparison) -> pl.Expr:
    """Return the form of a text that two equal texts share; null for a text that is unknown or empty.

    Examples
    --------
    >>> import polars as pl
    >>> texts = pl.DataFrame({"text": ["The  red one.", "the red one.", "5 mW", "5 MW ", "5 MW"]})
    >>> texts.select(comparable(pl.col("text"), "careful")).to_series().to_list()
    ['the red one.', 'the red one.', '5 mW', '5 MW', '5 MW']
    """
    import polars as pl

    if how == "exact":
        key = text
    elif how == "loose":
        key = _words(text.str.normalize("NFKC"))
    else:
        text = text.str.normalize("NFC")
        lines = text.str.replace_all(r"[^\S\n]*(\r?\n)", "\n").str.strip_chars_end().str.replace(r"^\s*\n", "")
        code = pl.when(lines.str.contains("\n")).then(lines).otherwise(lines.str.strip_chars())
        key = pl.when(text.str.contains(NOT_WORDS)).then(code).otherwise(_words(text))
    return pl.when(key != "").then(key)


def _words(text: pl.Expr) -> pl.Expr:
    return text.str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()


def same_words(text: pl.Expr) -> pl.Expr:
    """Return the form that nearly identical texts share: the words, whatever their case, order and punctuation.

    Null for a text without a letter or digit.
    """
    import polars as pl

    words = text.str.normalize("NFKC").str.to_lowercase().str.extract_all(r"[\p{L}\p{M}\p{N}]+")
    return pl.when(words.list.len() > 0).then(words.list.sort().list.join(" "))


@dataclass(frozen=True)
class TextNumbers:
    """Which of R responses have equal texts, and which nearly."""

    equal: Index
    """(R,) two responses share a number if and only if they answer one prompt with equal texts. An unknown text equals
    no other."""
    near: Index
    """(R,) the same for texts with the same words."""

    def counts(self, prompt: Labels) -> TextCounts:
        """Return the numbers of groups of equal and of nearly identical texts. prompt: (R,) of each response."""
        _, first, same, size = np.unique(self.equal, return_index=True, return_inverse=True, return_counts=True)
        shared = size[same] > 1  # (R,)
        texts = np.unique(self.near[first], return_inverse=True, return_counts=True)
        near = texts[2][texts[1]] > 1  # of each text
        return TextCounts(
            groups=int((size > 1).sum()),
            responses=int(shared.sum()),
            prompts=len(np.unique(prompt[shared])),
            near_groups=int((texts[2] > 1).sum()),
            near_prompts=len(np.unique(prompt[first[near]])),
        )


class TextCounts(NamedTuple):
    """How many texts are equal or nearly identical."""

    groups: int
    """Groups of responses with equal texts."""
    responses: int
    """Responses in them."""
    prompts: int
    """Prompts with such a group."""
    near_groups: int
    """Groups of texts that are not equal but have the same words."""
    near_prompts: int
    """Prompts with such a group."""


def text_numbers(texts: pl.DataFrame, how: TextComparison) -> TextNumbers:
    """Return which responses have equal texts. texts: prompt and text (null: unknown) of each response."""
    import polars as pl

    text = pl.col("text")
    keys = texts.select("prompt", equal=comparable(text, how), near=same_words(text))
    equal, near = (first_equal(keys.select("prompt", key)).to_numpy().astype(np.int64) for key in ("equal", "near"))
    return TextNumbers(equal, near)


def first_equal(keys: pl.DataFrame) -> pl.Series:
    """Return for each row the first row that is equal to it; its own where the last column is null."""
    import polars as pl

    row = pl.col("row")
    first = pl.when(pl.col(keys.columns[-1]).is_null()).then(row).otherwise(row.first().over(keys.columns))
    return keys.with_row_index("row").select(first).to_series()


def text_groups(responses: pl.DataFrame, how: TextComparison) -> pl.DataFrame:
    """Return the groups of equal and nearly identical texts, sorted by prompt and first response.

    responses: prompt_id, response_id, text; of any prompts.
    Columns: prompt_id, kind ("equal", or "near": the same words in texts that are not equal), response_ids (sorted),
    texts (of these, in their order).
    """
    import polars as pl

    known = responses.sort("prompt_id", "response_id").select(
        "prompt_id", "response_id", "text", equal=comparable(pl.col("text"), how), near=same_words(pl.col("text"))
    )
    found = []
    for kind in ("equal", "near"):
        groups = known.drop_nulls([kind, "equal"]).group_by("prompt_id", kind, maintain_order=True)
        listed = groups.agg(
            pl.col("response_id").alias("response_ids"),
            pl.col("text").alias("texts"),
            size=pl.len() if kind == "equal" else pl.col("equal").n_unique(),
        )
        found.append(listed.filter(pl.col("size") > 1).select("prompt_id", pl.lit(kind).alias("kind"), pl.nth(2, 3)))
    return pl.concat(found).sort("prompt_id", pl.col("response_ids").list.first(), "kind")
