"""What the votes of a store say of their annotators: from all at once, or with one bucket of prompts in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from pathlib import Path
from tempfile import TemporaryDirectory

from curate.annotators.statistics import Judged, Tally, judged, tally
from curate.denoising.buckets import EQUAL
from curate.engine import Part, engine_or_none, map_parts
from curate.rankers.hierarchical import Annotators, Hierarchical
from curate.rankers.hierarchical.buckets import fit_files
from curate.store import Store
from curate.store.buckets import many_votes, write_buckets
from curate.store.chosen import number_votes
from curate.store.opening import work_folder
from curate.store.rankings import load_votes
from curate.votes.arrays import VoteArrays
from curate.votes.files import read_votes, write_votes
from curate.votes.merging import merge
from pipelines.progress import Progress
from schemas.engine import EngineConfig


@dataclass(frozen=True)
class Sums:
    """Sums over votes."""

    votes: int
    anonymous: int
    """How many of them"""
    tally: Tally
    judged: Judged

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.votes + other.votes,
            self.anonymous + other.anonymous,
            self.tally + other.tally,
            self.judged + other.judged,
        )


@dataclass(frozen=True)
class AnnotatorVotes:
    """What the votes of a store say of their annotators."""

    sums: Sums
    people: Annotators | None
    """As fitted to the votes with equal texts as one response; None where all votes are anonymous."""
    not_converged: int
    """Prompts on which the fit did not converge."""
    votes: VoteArrays
    """All votes, or at least those on the prompts asked for; with all annotators."""


def annotator_votes(
    store: Store, prompts: Sequence[str], *, criterion: str, engine: EngineConfig | None, progress: Progress
) -> AnnotatorVotes:
    """Return what the votes by a criterion say of their annotators. prompts: on which the votes are needed, too."""
    if many_votes(store):
        return _by_bucket(store, prompts, criterion, engine, progress)
    loaded = load_votes(store, criterion=criterion, texts="careful")
    merged = loaded.merged.votes
    fit = Hierarchical().fit(merged) if merged.annotators else None
    return AnnotatorVotes(
        _sums(loaded.votes, merged),
        fit.annotators if fit else None,
        int((~fit.converged).sum()) if fit else 0,
        loaded.votes,
    )


def _by_bucket(
    store: Store, prompts: Sequence[str], criterion: str, config: EngineConfig | None, progress: Progress
) -> AnnotatorVotes:
    numbering = number_votes(store, criterion, digest=False)
    home = work_folder(store.path)
    home.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="annotators-", dir=home) as name, engine_or_none(config) as engine:
        folder = Path(name)
        files, some = write_buckets(store, folder, numbering, texts="careful", progress=progress)
        parts = [Part(path.name, path) for path in files]
        sums = reduce(add, map_parts(partial(_of_file, folder / "merged"), parts, engine=engine))
        sample, others = read_votes(some)
        fit = None
        if sample.annotators:
            merged = sorted((folder / "merged").iterdir())
            own = merge(sample, others[EQUAL]).votes
            fit = fit_files(merged, own, folder / "fit", engine=engine, progress=progress)
    asked = "SELECT prompt_id FROM prompts WHERE prompt_id IN (SELECT unnest(?::VARCHAR[]))"
    known = store.frame(asked, [list(prompts)])["prompt_id"]
    return AnnotatorVotes(
        sums,
        fit.state.annotators if fit else None,
        0 if fit is None or fit.converged else int(store.value("SELECT count(*) FROM prompts")),
        load_votes(store, prompts=list(known), numbering=numbering).votes if len(known) else sample,
    )


def _of_file(folder: Path, path: Path) -> Sums:
    """Return the sums over the votes of a file, and write those with equal texts merged to the folder."""
    votes, others = read_votes(path)
    merged = merge(votes, others[EQUAL]).votes
    if len(merged.left):
        write_votes(folder / path.name, merged)
    return _sums(votes, merged)


def _sums(votes: VoteArrays, merged: VoteArrays) -> Sums:
    return Sums(len(votes.left), int((votes.annotator < 0).sum()), tally(merged), judged(votes))
