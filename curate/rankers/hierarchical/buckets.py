"""The hierarchical ranker on more votes than memory holds: rounds over files of votes, with one file in memory.

A round is a sum over prompts. For each file a worker takes the steps of its strengths and prompts, keeps these in a
file, and returns sums for annotators, models and priors. They are added in the order of the files, so that results do
not depend on the number of workers, nor on which is first. The posterior of the models' means is that of the round
before, so that a round is one pass over the files; the fixed point is that of the ranker on all votes at once. Which
structure the votes support (errors of perception, scales, correlations, a mixture) is decided on a sample.

What is in the folder is not computed again, so that a fit that was interrupted goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import numpy as np

from curate.array_types import Float
from curate.engine import Engine, Part, map_parts
from curate.rankers.hierarchical.annotators import Cast, cast_votes, first_annotators
from curate.rankers.hierarchical.fit import HierarchicalFit
from curate.rankers.hierarchical.mixture import Mixture
from curate.rankers.hierarchical.perception import VoteSites
from curate.rankers.hierarchical.posterior import MeanSums, solve_means
from curate.rankers.hierarchical.priors import (
    PROMPT_TIE_VARIANCE,
    EffectSums,
    Normal,
    PriorSums,
    PromptEffect,
    StrengthPrior,
)
from curate.rankers.hierarchical.ranker import WHOLE_STEPS, Hierarchical
from curate.rankers.hierarchical.rounds import Aitken, Rounds, RoundSums, State, added, jump
from curate.votes.arrays import VoteArrays
from curate.votes.blocks import vote_data
from curate.votes.files import Arrays, read_arrays, read_votes, write_arrays

NOTHING = np.zeros(0)
TOTAL = "total.npz"
"""The sums of a round over all files, in its folder."""


class Own(NamedTuple):
    """What stays with the prompts of a file between two rounds."""

    precision: Float  # (V,) of the votes' sites
    linear: Float  # (V,)
    strength: Float  # (R,) posterior mean
    log_scale: Float  # (P,)
    tie: Float  # (P,)

    def within(self, shared: State) -> State:
        """The state of these prompts."""
        scale, tie = shared.prior.log_scale, shared.prompt_tie
        return shared._replace(
            sites=VoteSites(self.precision, self.linear),
            posterior=Normal(self.strength, NOTHING),
            prior=replace(shared.prior, log_scale=scale._replace(value=self.log_scale - (scale.mean or 0.0))),
            prompt_tie=tie._replace(value=self.tie - (tie.mean or 0.0)),
        )


@dataclass(frozen=True)
class SharedFit:
    """What all prompts share, fitted to the votes of all files."""

    state: State
    """Without what is a prompt's own; the posterior of the models' means is ``prior.known_means``."""
    other_priors: tuple[StrengthPrior, ...]
    error_ratio_se: float
    mixture: Mixture | None
    rounds: int
    converged: bool
    folder: Path
    """A file of what stays with the prompts, for each file of votes."""

    def of_votes(self, votes: VoteArrays, name: str) -> HierarchicalFit:
        """Return the fit of the votes in the file of this name."""
        state = Own(**read_arrays(self.folder / name, Own._fields)).within(self.state)
        others = [replace(prior, log_scale=state.prior.log_scale) for prior in self.other_priors]
        rounds = Rounds(state, self.rounds, self.converged)
        return Hierarchical().given(vote_data(votes), rounds, others, self.error_ratio_se, self.mixture)


def fit_files(
    files: Sequence[Path],
    sample: VoteArrays,
    folder: Path,
    *,
    tolerance: float = Hierarchical.tolerance,
    engine: Engine | None = None,
    progress: Callable[[str, int, int], None] = lambda _doing, _done, _total: None,
) -> SharedFit:
    """Fit the hierarchical ranker to the votes in files, and return what all prompts share.

    files: of ``write_votes``, with equal annotators and models; no prompt is in two of them. sample: votes on some of
    the prompts. folder: for what stays with the prompts. tolerance: as of ``Hierarchical``. engine: whose workers
    compute the files; None: this process.
    """
    ranker = Hierarchical(tolerance=tolerance)
    start, fit = ranker.start(sample)
    cast = reduce(added, map_parts(_cast, [Part(path.name, path) for path in files], engine=engine))
    shared, models, aitken = _first(start.state, fit, cast), len(fit.model_mean), Aitken()
    old, factor = shared, 0.0  # the state from which the last round started, and how far to go on in its direction
    for number in range(1, ranker.max_iterations + 1):
        step_size = 1.0 if number <= WHOLE_STEPS else 0.5
        earlier, before, now = (folder / f"round-{n}" for n in (number - 2, number - 1, number))
        if not (now / TOTAL).exists():
            progress(f"hierarchical, round {number}", 0, 0)
            tasks = [_Round(path, earlier, before, now, old, shared, factor, step_size) for path in files]
            parts = [Part(task.votes.name, task) for task in tasks]
            write_arrays(now / TOTAL, _packed(*_total(map_parts(_round, parts, engine=engine))))
        for path in files:
            (earlier / path.name).unlink(missing_ok=True)
        sums, step = _unpacked(read_arrays(now / TOTAL))
        shared = jump(shared, old, factor)
        means = solve_means(sums.means, models, shared.prior)
        of_models = means.mean[:models], means.covariance[:models, :models]
        se, others = shared.prior.other_ratios(sums.prior) if shared.prior.error_variance else (0.0, [])
        new = ranker.of_all(shared, sums, of_models, step_size)
        old, shared = shared, new._replace(model_mean=of_models[0], prior=replace(new.prior, known_means=means))
        if converged := number > 1 and step.change <= tolerance:
            break
        factor = aitken.factor(step.squares, step.along, max(step.largest, *shared.prior.log_changes(old.prior)))
    return SharedFit(
        state=shared,
        other_priors=tuple(replace(prior, known_means=means) for prior in others),
        error_ratio_se=fit.error_ratio_se if np.isinf(fit.error_ratio_se) else se,  # infinite: not estimated
        mixture=fit.mixture,
        rounds=number,
        converged=converged,
        folder=now,
    )


def _first(start: State, fit: HierarchicalFit, cast: Cast) -> State:
    """The shared state that the first round starts from. start, fit: of the sample. cast: of all votes."""
    annotators, tie_variance = first_annotators(cast), PROMPT_TIE_VARIANCE.typical if cast.tied else 0.0
    if start.annotators.has_ties == annotators.has_ties:
        annotators = replace(start.annotators, votes=cast.votes, sided=cast.sided).normalised()
        tie_variance = start.prompt_tie.variance
    tie = PromptEffect(NOTHING, tie_variance, mean=0.0)
    log_scale = PromptEffect(NOTHING, start.prior.log_scale.variance, mean=0.0)
    prior = replace(start.prior, log_scale=log_scale, known_means=fit.means)
    return State(VoteSites(NOTHING, NOTHING), Normal(NOTHING, NOTHING), start.model_mean, prior, annotators, tie)


def _cast(path: Path) -> Cast:
    return cast_votes(vote_data(read_votes(path)[0]))


class _Round(NamedTuple):
    """A round of the votes in one file."""

    votes: Path
    earlier: Path
    before: Path
    """What the two rounds before have left, in files with the name of ``votes``; none before the first round."""
    after: Path
    """For what this round leaves."""
    old: State
    """From which the round before started."""
    shared: State
    """At which it ended."""
    factor: float
    """How many times its step the round starts further in its direction."""
    step_size: float


class Step(NamedTuple):
    """How far strengths have moved in a round."""

    squares: float
    """Σ of squares"""
    along: float
    """Σ of products with the movement in the round before"""
    largest: float
    """Largest absolute movement, logits"""
    change: float
    """As of ``State.change_from``"""


def _round(task: _Round) -> tuple[RoundSums, Step]:
    """Compute a round, unless that is done."""
    name = task.votes.name
    if not (task.after / name).exists():
        data, last = vote_data(read_votes(task.votes)[0]), None
        if (task.before / name).exists():
            found = read_arrays(task.before / name, (*Own._fields, STEP))
            last = found.pop(STEP)
            start = Own(**found).within(task.shared)
        else:
            strength = np.append(task.shared.model_mean, 0.0)[data.response_model]
            of_votes, of_prompts = np.zeros(len(data.left)), np.zeros(data.prompts)
            start = Own(of_votes, of_votes, strength, of_prompts, of_prompts).within(task.shared)
        if task.factor:
            start = jump(start, Own(**read_arrays(task.earlier / name, Own._fields)).within(task.old), task.factor)
        new, sums, _ = Hierarchical().of_prompts(data, start, task.step_size)
        own = Own(*new.sites, new.posterior.mean, new.prior.log_scale.value, new.prompt_tie.value)
        step = own.strength - start.posterior.mean
        along, largest = 0.0 if last is None else float(step @ last), float(np.abs(step).max(initial=0.0))
        moved = Step(float(step @ step), along, largest, own.within(start).change_from(start))
        write_arrays(task.after / name, {**own._asdict(), STEP: step, **_packed(sums, moved)})
    return _unpacked(read_arrays(task.after / name, SUMS))


def _total(found: Iterable[tuple[RoundSums, Step]]) -> tuple[RoundSums, Step]:
    """The sums and the steps of all files, in their order."""

    def both(one: tuple[RoundSums, Step], other: tuple[RoundSums, Step]) -> tuple[RoundSums, Step]:
        a, b = one[1], other[1]
        largest = max(a.largest, b.largest), max(a.change, b.change)
        return added(one[0], other[0]), Step(a.squares + b.squares, a.along + b.along, *largest)

    return reduce(both, found)


STEP = "step"
"""The array of the movement of the strengths."""
SUMS = ("gradient", "hessian", "tie_sums", "prior_sums", "mean_linear", "mean_precision", "moved")
"""The arrays that ``_packed`` makes of the sums of a round."""


def _packed(sums: RoundSums, step: Step) -> Arrays:
    prior = np.array([*sums.prior[:-1], *sums.prior.scale])
    arrays = (sums.gradient, sums.hessian, np.array(sums.tie), prior, *sums.means, np.array(step))
    return dict(zip(SUMS, arrays, strict=True))


def _unpacked(arrays: Arrays) -> tuple[RoundSums, Step]:
    gradient, hessian, tie, prior, linear, precision, moved = (arrays[name] for name in SUMS)
    own, scale = np.split(prior, [len(PriorSums._fields) - 1])
    of_prior = PriorSums._make([*own.tolist(), EffectSums(*scale.tolist())])
    sums = RoundSums(gradient, hessian, EffectSums(*tie.tolist()), of_prior, MeanSums(linear, precision))
    return sums, Step(*moved.tolist())
