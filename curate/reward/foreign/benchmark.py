"""What a foreign benchmark is: the columns it is known by, how a row becomes an example, and its official metric."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from curate.reward.examples import Example
from curate.reward.foreign.media import Media
from curate.reward.foreign.tables import BadRow, Row, Table, listed, read_table, refuse
from curate.reward.metrics import Float, Scores, top1
from schemas.errors import CurateError


@dataclass(frozen=True)
class Schema:
    """The columns that tell a benchmark. A column that is null in every row counts as absent."""

    required: frozenset[str]
    one_of: frozenset[str] = frozenset()
    """At least one of them must be there; empty: no such rule."""
    absent: frozenset[str] = frozenset()
    """What only other benchmarks have."""

    def misfits(self, columns: Collection[str]) -> tuple[str, ...]:
        """What speaks against these columns, in words; nothing where they fit."""
        missing = [f"no column {column}" for column in sorted(self.required - set(columns))]
        if self.one_of and not self.one_of & set(columns):
            missing.append(f"no column {' or '.join(sorted(self.one_of))}")
        return (
            *missing,
            *(f"a column {column}, which it does not have" for column in sorted(self.absent & set(columns))),
        )


@dataclass(frozen=True)
class Benchmark:
    """One foreign benchmark: how to tell its file, how to read it, and what its authors report."""

    name: str
    title: str
    schema: Schema
    parse: Callable[[Row, Media], Example]
    """One row to one example; raises BadRow."""
    metric: Callable[[Sequence[Example], Scores], dict[str, float]]
    """Examples and their (N,) scores, higher is better, to the official figures by name; shares, 0 to 1."""
    citation: str

    def detect(self, columns: Collection[str]) -> tuple[str, ...]:
        """What speaks against a file with these columns, in words; empty where it fits."""
        return self.schema.misfits(columns)

    def read(
        self,
        path: Path,
        *,
        media: Path | None = None,
        cache: Path | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> list[Example]:
        """Every row of the file as an example, in the order of the file.

        media: what relative paths are relative to; the file's folder without. cache: where embedded images are written.
        rename: column of the file → column of the benchmark. Ids that several rows share get the row's number. Raises
        CurateError where the columns do not fit, or any row does not: its message lists the first bad rows.
        """
        return self.examples(read_table(path, rename=rename), Media(media or path.parent, cache))

    def examples(self, table: Table, media: Media) -> list[Example]:
        """As ``read``, of a table that was read before."""
        misfits = self.detect(table.columns)
        if misfits:
            raise CurateError(
                f"{table.path}: not {self.title}: {'; '.join(misfits)}; it has {listed(table.columns)}",
                hint="columns of other names can be renamed",
            )
        examples, problems = [], []
        for row in table.rows:
            try:
                examples.append(self.parse(row, media))
            except BadRow as error:
                problems.append(f"{table.path}:{row.number}: {error}")
        refuse(table.path, problems)
        times = Counter(example.item_id for example in examples)
        return [
            replace(example, item_id=f"{example.item_id}#{row.number}") if times[example.item_id] > 1 else example
            for example, row in zip(examples, table.rows, strict=True)
        ]


def preferred(
    item_id: str,
    prompt: str,
    chosen: Sequence[str],
    rejected: Sequence[str],
    *,
    source: str,
    images: tuple[Path, ...] = (),
    video: Path | None = None,
) -> Example:
    """An example of responses that share rank 1 and responses that share the rank behind them.

    They are ordered by a digest of the item and the response: what a file lists chosen first would else give the place
    of the best away to a model that reads all responses at once.
    """
    ranked = [(text, 1) for text in chosen] + [(text, 1 + len(chosen)) for text in rejected]
    ranked.sort(key=lambda pair: hashlib.sha256(f"{item_id}\0{prompt}\0{pair[0]}".encode()).digest())
    return Example(
        item_id=item_id,
        prompt=prompt,
        responses=tuple(text for text, _ in ranked),
        ranks=tuple(rank for _, rank in ranked),
        images=images,
        video=video,
        source=source,
    )


def hits(examples: Sequence[Example], scores: Scores) -> Float:
    """(I,) top-1 of each; a tie at the top counts as the share of it that is best: what a coin would make of it."""
    return top1(scores, [example.ranks for example in examples])


def grouped(values: Float, groups: Sequence[str]) -> dict[str, float]:
    """The mean of the values of each group, in the order of the alphabet."""
    names, group = np.unique(np.array(groups), return_inverse=True)
    means = np.bincount(group, values) / np.bincount(group)
    return dict(zip(names.tolist(), means.tolist(), strict=True))
