"""What the votes of a store say of their annotators: from all at once, or with one bucket of prompts in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
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
from schemas.errors import ResourceError

NOT_CONVERGED = "the hierarchical ranker did not converge"


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
    warning: str
    """Whether the fit did not converge; empty if it did."""
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
        f"{NOT_CONVERGED} on {count} prompts" if fit and (count := int((~fit.converged).sum())) else "",
        loaded.votes,
    )


def _by_bucket(
    store: Store, prompts: Sequence[str], criterion: str, config: EngineConfig | None, progress: Progress
) -> AnnotatorVotes:
    numbering = number_votes(store, criterion, digest=False)
    with _scratch(work_folder(store.path)) as folder, engine_or_none(config) as engine:
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
        "" if fit is None or fit.converged else NOT_CONVERGED,
        load_votes(store, prompts=list(known), numbering=numbering).votes if len(known) else sample,
    )


@contextmanager
def _scratch(home: Path) -> Iterator[Path]:
    """Yield a temporary folder in ``home``, which is removed as well if nothing else is in it."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        folder = TemporaryDirectory(prefix="annotators-", dir=home)
    except OSError as error:
        raise ResourceError(
            f"{home}: cannot be used for temporary files ({error.strerror})", hint="set temporary_folder in curate.toml"
        ) from error
    try:
        with folder as name:
            yield Path(name)
    finally:
        with suppress(OSError):
            home.rmdir()


def _of_file(folder: Path, path: Path) -> Sums:
    """Return the sums over the votes of a file, and write those with equal texts merged to the folder."""
    votes, others = read_votes(path)
    merged = merge(votes, others[EQUAL]).votes
    if len(merged.left):
        write_votes(folder / path.name, merged)
    return _sums(votes, merged)


def _sums(votes: VoteArrays, merged: VoteArrays) -> Sums:
    return Sums(len(votes.left), int((votes.annotator < 0).sum()), tally(merged), judged(votes))
