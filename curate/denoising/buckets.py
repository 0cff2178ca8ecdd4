"""Votes to rankings as ``rank_votes`` does it, with the votes on one bucket of prompts in memory.

What concerns all prompts (annotators, priors, rings of accounts) is computed from all votes, as sums over buckets. What
needs only many prompts (the choice of the ranker, the structure of the hierarchical model, the overdispersion) is
decided on some of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from curate.annotators.copying import Compared, Comparisons, Copying, Counters, no_copying, no_counters, rings_of
from curate.annotators.statistics import spam_probability
from curate.array_types import Bool, Float, Index
from curate.denoising.exclusion import Kept, keep
from curate.denoising.ranking import Denoised, Progress, rank_kept
from curate.denoising.selection import Choice, choose, silent
from curate.engine import Engine, Part, map_parts
from curate.evaluation.overdispersion import pooled_overdispersion
from curate.rankers.hierarchical import Hierarchical
from curate.rankers.hierarchical.buckets import SharedFit, fit_files
from curate.rankers.registry import ranks_by_bucket
from curate.votes.arrays import VoteArrays
from curate.votes.files import read_arrays, read_votes, write_votes
from schemas.config import DenoiseConfig
from schemas.errors import CurateError
from schemas.rankers import AUTO
from schemas.validation import Overdispersion

T = TypeVar("T")


EQUAL = "equal"
"""The array beside the votes of a file: (R,) numbers that responses of one prompt with equal texts share."""


@dataclass(frozen=True)
class Exclusion:
    """Which votes do not count."""

    config: DenoiseConfig
    spammers: Bool
    """(A,)"""
    ring: Index
    """(A,) the ring of each annotator; −1 in none."""

    def kept(self, votes: VoteArrays, equal: Index) -> Kept:
        """Return the votes that count. equal: (R,) numbers of equal texts."""
        judging = self.judging(votes)
        rings = bool((self.ring >= 0).any())
        copying = Copying(self.ring, Compared(judging).copies(self.ring)) if rings else no_copying(judging)
        texts = equal if self.config.equal_texts == "merge" else None
        return keep(votes, judging, self.spammers, copying, texts, self.config)

    def judging(self, votes: VoteArrays, _equal: Index | None = None) -> VoteArrays:
        """Return the votes without those of spammers."""
        return votes.of_votes(~np.append(self.spammers, False)[votes.annotator])

    def ranked(self, votes: VoteArrays, equal: Index) -> VoteArrays:
        """Return the votes that rankings are made from."""
        return self.kept(votes, equal).ranked.votes

    def merged(self, votes: VoteArrays, equal: Index) -> VoteArrays:
        """Return the votes on all prompts that count."""
        return self.kept(votes, equal).merged.votes


@dataclass(frozen=True)
class Decided:
    """What is decided once for all prompts."""

    exclusion: Exclusion
    choice: Choice | None
    fit: SharedFit
    overdispersion: Overdispersion

    def rank(self, path: Path) -> Denoised:
        """Return the rankings of the prompts in a file."""
        votes, others = read_votes(path)
        kept = self.exclusion.kept(votes, others[EQUAL])
        used = kept.ranked.votes
        fit = self.fit.of_votes(used, path.name) if used.prompts else Hierarchical().fit(used)
        return rank_kept(kept, self.exclusion.config, self.choice, fit=fit, found=self.overdispersion)


def unable_by_bucket(names: Iterable[str]) -> list[str]:
    """Return the rankers among these that need the votes on all prompts at once."""
    return sorted(name for name in names if not ranks_by_bucket(name))


def check_by_bucket(config: DenoiseConfig) -> None:
    """Raise CurateError if the config asks for what needs the votes on all prompts at once."""
    combining = config.ranker in (AUTO, "ensemble")
    if unable := unable_by_bucket(config.members if combining else [config.ranker]):
        raise CurateError(
            f"ranker {unable[0]!r} needs the votes on all prompts in memory at once",
            hint="use auto, hierarchical or a ranker of single prompts, or --at-once",
        )
    if config.control:
        raise CurateError(
            f"control = {', '.join(config.control)}: effects of covariates are estimated with all votes in memory",
            hint="add --at-once, or leave out --control",
        )


def decide(
    files: Sequence[Path],
    sample: tuple[VoteArrays, Index],
    config: DenoiseConfig,
    folder: Path,
    *,
    choice: Choice | None = None,
    engine: Engine | None = None,
    progress: Progress = silent,
) -> Decided:
    """Return what is decided once for the votes in all files.

    Parameters
    ----------
    files
        Votes on different prompts, of ``write_votes`` with the array EQUAL; annotators and models are numbered equally.
    sample
        Votes on some of the prompts, and their array EQUAL.
    folder
        For files of votes and of strengths. What is there from an interrupted call is not computed again.
    choice
        The choice of an earlier run: nothing is held out then.
    engine
        Whose workers compute the files, one at a time each; None: this process.

    Raises CurateError where no prompt can be ranked.
    """
    people = len(sample[0].annotators)
    exclusion = Exclusion(config, np.zeros(people, dtype=np.bool_), np.full(people, -1))

    def each(function: Callable[[Path], T]) -> Iterator[T]:
        return map_parts(function, [Part(path.name, path) for path in files], engine=engine)

    def fitted(name: str, votes_of: Callable[[VoteArrays, Index], VoteArrays]) -> tuple[list[Path], SharedFit]:
        counts = each(partial(_write, votes_of, folder / name))
        chosen = [folder / name / path.name for path, count in zip(files, counts, strict=True) if count]
        if not chosen:
            raise exclusion.kept(*sample).nothing_ranked(config)
        fit = fit_files(chosen, votes_of(*sample), folder / f"{name}-fit", engine=engine, progress=progress)
        return chosen, fit

    if config.max_spammer < 1 and people:
        progress("judging annotators", 0, 0)
        _, judge = fitted("judged", exclusion.merged)
        exclusion = replace(exclusion, spammers=spam_probability(judge.state.annotators) > config.max_spammer)
    if config.copied_votes == "exclude" and people:
        progress("looking for copied votes", 0, 0)
        exclusion = replace(exclusion, ring=_rings(exclusion, people, sum(each(_count)), each, fitted))
    ranked, fit = fitted("ranked", exclusion.ranked)
    if config.ranker == AUTO and choice is None:
        choice = choose(exclusion.ranked(*sample), config, engine=engine, by_bucket=True, progress=progress)
    progress("comparing halves of the annotators", 0, 0)
    parts = ((votes := read_votes(path)[0], fit.of_votes(votes, path.name)) for path in ranked)
    return Decided(exclusion, choice, fit, pooled_overdispersion(parts))


def _rings(
    exclusion: Exclusion,
    people: int,
    votes: int,
    each: Callable[[Callable[[Path], Any]], Iterator[Any]],
    fitted: Callable[[str, Callable[[VoteArrays, Index], VoteArrays]], tuple[list[Path], SharedFit]],
) -> Index:
    """Return the (A,) ring of each annotator, as ``find_copying`` does. people, votes: their numbers."""
    counters = no_counters(votes)
    for place, number in each(partial(_counted, exclusion, len(counters))):
        counters[place] += number
    found: Comparisons = reduce(add, each(partial(_comparisons, exclusion, counters)))
    suspects = found.suspects
    if not len(suspects.accounts):
        return np.full(people, -1)
    _, fit = fitted("judging", exclusion.judging)
    agreement = reduce(add, each(partial(_agreement, exclusion, fit, suspects.accounts)))
    return rings_of(suspects, agreement, found.level, people)


def _write(votes_of: Callable[[VoteArrays, Index], VoteArrays], folder: Path, path: Path) -> int:
    """Write a part of the votes of a file under the same name, and return how many there are."""
    target = folder / path.name
    if not target.exists():
        votes, others = read_votes(path)
        write_votes(target, votes_of(votes, others[EQUAL]))
    return _count(target)


def _count(path: Path) -> int:
    return len(read_arrays(path, ["left"])["left"])


def _counted(exclusion: Exclusion, counters: int, path: Path) -> tuple[Index, Index]:
    return Compared(exclusion.judging(read_votes(path)[0])).counted(counters)


def _comparisons(exclusion: Exclusion, counters: Counters, path: Path) -> Comparisons:
    return Compared(exclusion.judging(read_votes(path)[0])).comparisons(counters)


def _agreement(exclusion: Exclusion, fit: SharedFit, accounts: Index, path: Path) -> Float:
    votes = exclusion.judging(read_votes(path)[0])
    if not len(votes.left):
        return np.zeros(len(accounts))
    return Compared(votes).expected_agreement(fit.of_votes(votes, path.name), accounts)
