"""The votes of a store in files, one for each bucket of prompts, for jobs that have one of them in memory at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from curate.denoising.buckets import EQUAL
from curate.store.chosen import Numbering
from curate.store.database import Store
from curate.store.rankings import load_votes
from curate.votes.files import read_arrays, write_votes
from schemas.choices import TextComparison
from schemas.errors import NoVotesError

AT_ONCE = 20_000_000
"""Votes above which jobs have those on one bucket of prompts in memory at a time."""
SAMPLE = 200_000
"""Votes, at least, of the buckets in which the choice of a ranker and the structure of its model are decided."""


def many_votes(store: Store) -> bool:
    """Return whether a store has too many votes to have all in memory."""
    return bool(store.value("SELECT count(*) FROM votes") > AT_ONCE)


def write_buckets(
    store: Store,
    folder: Path,
    numbering: Numbering,
    *,
    both_bad: str = "tie",
    texts: TextComparison,
    progress: Callable[[str, int, int], None],
) -> tuple[list[Path], Path]:
    """Write the votes of each bucket to a file, with the arrays equal and near of ``TextNumbers``.

    Returns these files, and one with the votes on the first buckets: 200,000 or more, if there are that many. Files
    that exist are kept. Raises NoVotesError where there are no votes.
    """

    def write(path: Path, buckets: tuple[int, ...]) -> Path:
        if not path.exists():
            some = replace(numbering, buckets=buckets)
            loaded = load_votes(store, both_bad=both_bad, texts=texts, numbering=some)
            assert loaded.texts is not None
            write_votes(path, loaded.votes, **{EQUAL: loaded.texts.equal, "near": loaded.texts.near})
        return path

    files, buckets = list[Path](), numbering.buckets
    for done, bucket in enumerate(buckets):
        progress("reading votes", done, len(buckets))
        files.append(write(folder / "votes" / f"{bucket:02}.npz", (bucket,)))
    votes = [len(read_arrays(path, ["left"])["left"]) for path in files]
    if not sum(votes):
        raise NoVotesError(f"{store.path}: no votes to rank", hint="ingest some: curate ingest VOTES")
    enough = 1 + int(np.searchsorted(np.cumsum(votes), min(SAMPLE, sum(votes))))
    return files, write(folder / "sample.npz", buckets[:enough])
