"""Votes to rankings, as one pure function of arrays: ``rank_votes``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import cast

import numpy as np
import polars as pl

from curate.annotators.copying import Copying
from curate.array_types import Bool, Float, Index
from curate.denoising.exclusion import Kept, exclude_copies, exclude_spammers, keep
from curate.denoising.selection import Choice, choose, silent
from curate.engine import Engine
from curate.evaluation.acceptability import Acceptability, acceptability
from curate.evaluation.agreement import kendall_tau
from curate.evaluation.overdispersion import overdispersion, widened
from curate.rankers.base import Fit, PosteriorRanker, Ranking, ranks
from curate.rankers.ensemble import combine
from curate.rankers.hierarchical import HierarchicalFit
from curate.rankers.registry import POSTERIOR, build, compared_rankers, spec_of
from curate.uncertainty.bootstrap import bootstrap_ranks
from curate.uncertainty.intervals import LEVEL, expected_tau, percentile_intervals, rank_intervals
from curate.votes.arrays import VoteArrays
from curate.votes.coverage import Coverage, component_labels
from curate.votes.merging import Merged, merge
from schemas.config import DenoiseConfig
from schemas.errors import CurateError
from schemas.rankers import AUTO, BUILT_IN, STACK, MethodName
from schemas.validation import Overdispersion

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, repr=False)
class Denoised:
    """The rankings of all prompts that the votes cover well enough: below, P and R count only these.

    R counts responses with equal texts once; ``texts`` has them all.
    """

    votes: VoteArrays
    """On the ranked prompts, without those of excluded annotators and those between equal texts."""
    texts: Merged
    """The text of each response to the ranked prompts; its votes are the above."""
    all_texts: Merged
    """The same of all prompts."""
    coverage: Coverage
    """Of all prompts."""
    component: Index
    """(R,) responses with different numbers in one prompt cannot be compared."""
    spammers: Bool
    """(A,) annotators whose votes are excluded."""
    excluded_votes: int
    """Their number."""
    copying: Copying
    """Rings of accounts among the others, and the copies in their votes, which are excluded."""
    choice: Choice | None
    """The comparison on held-out votes; None where the config names a ranker."""
    method: MethodName
    """The ranker whose order is the ranking; "stack" for the weighted sum of several."""
    members: dict[str, float]
    """The rankers that the method combines, with their weights; empty for a single ranker."""
    rankings: dict[MethodName, Ranking]
    """The method and every other ranker that was run."""
    posterior: HierarchicalFit
    """The posterior of the strengths, always fitted, and as wide as the overdispersion requires."""
    overdispersion: Overdispersion
    """How far the noise of the votes exceeds what the hierarchical ranker assumes."""
    best_rank: Index
    """(R,) best rank of each response's 90% interval, counted like ``rank``."""
    worst_rank: Index
    """(R,) worst rank of it."""

    @property
    def final(self) -> Ranking:
        """The method's ranking."""
        return self.rankings[self.method]

    @property
    def bounded(self) -> Ranking | None:
        """The ranking of the ranker that proves a lower bound on the cost; None where none was run."""
        names = (name for name in self.rankings if name != STACK and spec_of(name).has_bound)
        return self.rankings.get(next(names, ""))

    @property
    def connected(self) -> Bool:
        """(P,) whether the prompt is one component."""
        connected: Bool = (self.coverage.status == "ranked")[self.coverage.used]
        return connected

    @property
    def group(self) -> Index:
        """(R,) a label that no two components share: ranks are counted within it."""
        return component_labels(self.votes, self.component)

    @cached_property
    def rank(self) -> Index:
        """(R,) rank by the method among all responses, 1 = best within the component; equals share the best of their
        ranks."""
        return text_ranks(self.texts, self.final.scores, self.group)

    @cached_property
    def expected_tau(self) -> Float:
        """(P,) expected Kendall tau of the ranking to the true order; NaN where the prompt is not connected."""
        tau = expected_tau(self.votes, self.final.scores, self.posterior.strength, self.posterior.covariance)
        return np.where(self.connected, tau, np.nan)

    @cached_property
    def acceptability(self) -> Acceptability | None:
        """Of each response, from votes that both are bad; None where there is none."""
        return acceptability(self.votes)

    @cached_property
    def agreement(self) -> dict[tuple[MethodName, MethodName], Float]:
        """(P,) Kendall tau-b between every two rankers that were run; NaN where the prompt is not connected."""
        offsets, rankings = self.votes.offsets, self.rankings
        return {
            (a, b): np.where(self.connected, kendall_tau(rankings[a].scores, rankings[b].scores, offsets), np.nan)
            for a, b in combinations(rankings, 2)
        }

    def frame(self) -> pl.DataFrame:
        """Return one row per response: ids, component, rank with interval, score, strength (logits), acceptability.

        Responses with equal texts have a row each.
        """
        given, text = self.texts.given, self.texts.text
        prompts, accepted = pl.Series("prompt_id", given.prompts, pl.String), self.acceptability
        unknown = np.full(len(self.rank), np.nan)
        return pl.DataFrame(
            {
                "prompt_id": prompts.gather(given.response_prompt),
                "response_id": pl.Series(given.responses, dtype=pl.String),
                "component": self.component[text],
                "rank": self.rank[text],
                "best_rank": self.best_rank[text],
                "worst_rank": self.worst_rank[text],
                "score": self.final.scores[text],
                "strength": self.posterior.strength[text],
                "strength_se": self.posterior.strength_se[text],
                "acceptable": (accepted.estimate if accepted else unknown)[text],
                "acceptable_low": (accepted.low if accepted else unknown)[text],
                "acceptable_high": (accepted.high if accepted else unknown)[text],
            }
        ).with_columns(pl.col("^acceptable.*$").fill_nan(None))

    def __repr__(self) -> str:
        ranked = f"{len(self.votes.prompts):,} of {len(self.coverage.status):,} prompts"
        return f"<Denoised: {ranked}, {len(self.votes.left):,} votes, by {self.method}>"


def rank_votes(
    votes: VoteArrays,
    config: DenoiseConfig = DenoiseConfig(),
    *,
    texts: Index | None = None,
    judged: VoteArrays | None = None,
    choice: Choice | None = None,
    engine: Engine | None = None,
    progress: Progress = silent,
) -> Denoised:
    """Rank the responses of every prompt that the votes cover well enough.

    Only the config's ranker is run (with ``compare`` all of them), besides the hierarchical ranker, whose posterior
    gives strengths and expected tau.

    Parameters
    ----------
    votes
        V votes on R responses to P prompts.
    config
        The ranker and its hyperparameters; which prompts are ranked; which annotators are excluded.
    texts
        (R,) numbers that responses of one prompt with equal texts share (``curate.votes.texts.text_numbers``). Unless
        the config keeps them apart, they are ranked as one response, and votes between them do not count.
    judged
        The votes by which annotators are judged, where ``votes`` are a part of them (see ``max_spammer``).
    choice
        The choice of an earlier run: nothing is held out then.
    engine
        Where the folds of held-out votes are fitted; None: in threads.
    progress
        Called with (what is done, steps done, steps in total).

    Returns
    -------
    Denoised
        Rankings, intervals, the choice of the ranker, and the posterior of the strengths.

    Raises
    ------
    CurateError
        Where a ranker is unknown, no prompt can be ranked, or a third-party ranker returns scores that are not finite.
    """
    texts = texts if config.equal_texts == "merge" else None
    judging, spammers = exclude_spammers(votes, judged or merge(votes, texts).votes, config)
    kept = keep(votes, judging, spammers, exclude_copies(judging, config), texts, config)
    if not kept.coverage.used.any():
        raise kept.nothing_ranked(config)
    used = kept.ranked.votes
    if config.ranker == AUTO and choice is None and not used.covariate_names:
        choice = choose(used, config, engine=engine, progress=progress)
    return rank_kept(kept, config, choice, progress=progress)


def rank_kept(
    kept: Kept,
    config: DenoiseConfig,
    choice: Choice | None,
    *,
    fit: HierarchicalFit | None = None,
    found: Overdispersion | None = None,
    progress: Progress = silent,
) -> Denoised:
    """Rank the prompts that the votes cover well enough.

    choice: of the method, where the config says auto. fit, found: of the hierarchical ranker to the ranked votes, and
    its overdispersion, if they are known.
    """
    ranked, coverage = kept.ranked, kept.coverage
    used = ranked.votes
    method = _controlling(config) if used.covariate_names else choice.method if choice else config.ranker
    members = _members(method, choice, config)
    component = coverage.component[coverage.used[kept.merged.votes.response_prompt]]
    group = component_labels(used, component)
    names = _needed(used, method, members, config, by_bucket=fit is not None)
    rankings, fits = _run(used, names, config, {POSTERIOR: fit} if fit else {}, progress)
    if members if method == "ensemble" else config.compare and config.members:
        weights = config.members
        rankings["ensemble"] = combine(used, [rankings[name] for name in weights], list(weights.values()), group=group)
    if method == STACK:
        assert choice is not None
        assert choice.stack is not None
        rankings[STACK] = choice.stack.combine(used, rankings)
    progress("comparing halves of the annotators", 0, 0)
    own = fits.get(method)
    posterior = own if isinstance(own, HierarchicalFit) else cast("HierarchicalFit", fits[POSTERIOR])
    found = found or overdispersion(used, posterior)
    low, high = _intervals(ranked, method, members, fits, group, config, found)
    rank = text_ranks(ranked, rankings[method].scores, group)
    return Denoised(
        votes=used,
        texts=ranked,
        all_texts=kept.merged,
        coverage=coverage,
        component=component,
        spammers=kept.spammers,
        excluded_votes=kept.excluded_votes,
        copying=kept.copying,
        choice=choice,
        method=method,
        members=members,
        rankings=rankings,
        posterior=widened(posterior, found),
        overdispersion=found,
        best_rank=np.minimum(low, rank),  # an interval contains the rank that it belongs to
        worst_rank=np.maximum(high, rank),
    )


def text_ranks(texts: Merged, scores: Float, group: Index) -> Index:
    """Return (N,) the rank of each text among all responses, 1 = best; ties share the best of their ranks.

    scores: (N,) higher is better. group: (N,) labels within which ranks are counted.
    """
    return ranks(scores[texts.text], group[texts.text])[texts.first]


def _controlling(config: DenoiseConfig) -> MethodName:
    """The ranker where covariates are controlled for. Raises CurateError if the config asks for another."""
    if config.ranker not in (AUTO, POSTERIOR) or config.compare:
        other = config.ranker if config.ranker not in (AUTO, POSTERIOR) else "compare"
        raise CurateError(
            f"control = {', '.join(config.control)}: only the {POSTERIOR} ranker controls for covariates, not {other}",
            hint="leave out --ranker and --compare, or --control",
        )
    return POSTERIOR


def _members(method: MethodName, choice: Choice | None, config: DenoiseConfig) -> dict[str, float]:
    if method == STACK and choice is not None and choice.stack is not None:
        return {name: weight for name, weight in choice.stack.weights.items() if weight > 0}
    return config.members if spec_of(method).combines else {}


def _needed(
    votes: VoteArrays, method: MethodName, members: dict[str, float], config: DenoiseConfig, *, by_bucket: bool
) -> list[str]:
    """The rankers to run, in a fixed order."""
    needed = [*members] if members else [method]
    if config.compare:
        known = {"annotators": bool(votes.annotators), "models": bool(votes.models)}
        needed += compared_rankers(config, **known, by_bucket=by_bucket)
    order = {name: i for i, name in enumerate(BUILT_IN)}
    return sorted({*needed, POSTERIOR}, key=lambda name: (order.get(name, len(order)), name))


def _run(
    votes: VoteArrays, names: list[str], config: DenoiseConfig, known: Mapping[str, Fit], progress: Progress
) -> tuple[dict[MethodName, Ranking], dict[str, Fit]]:
    """The ranking of each ranker, and the posterior of each that has one. known: ranker -> its posterior."""
    rankings: dict[MethodName, Ranking] = {}
    fits = dict(known)
    for i, name in enumerate(names):
        progress(name, i, len(names))
        ranker = build(name, config)
        if name not in fits and spec_of(name).has_posterior:
            fits[name] = cast("PosteriorRanker", ranker).fit(votes)
        rankings[name] = fits[name].ranking(votes) if name in fits else ranker(votes)
        scores = rankings[name].scores
        if scores.shape != (len(votes.responses),) or not np.isfinite(scores).all():
            raise CurateError(
                f"ranker {name!r} did not return one finite score per response", hint="report it to its authors"
            )
    return rankings, fits


def _intervals(
    texts: Merged,
    method: MethodName,
    members: dict[str, float],
    fits: dict[str, Fit],
    group: Index,
    config: DenoiseConfig,
    found: Overdispersion,
) -> tuple[Index, Index]:
    """(R,) best and (R,) worst rank of each response's 90% interval.

    From the method's own posterior; from the hierarchical one for the stack and for an ensemble with a member that has
    a posterior; else from the bootstrap over annotators. All are as wide as the overdispersion requires.
    """
    votes, group = texts.votes, np.unique(group, return_inverse=True)[1]
    fit = fits.get(method)
    if fit is None and (method == STACK or any(name in fits for name in members)):
        fit = fits[POSTERIOR]
    if fit is not None:
        covariance = tuple(found.widening * matrices for matrices in fit.covariance)
        return rank_intervals(votes, fit.strength, covariance, group, copies=texts.copies)
    specs = [spec_of(name) for name in members or (method,)]
    best, worst = bootstrap_ranks(
        votes,
        build(method, config.unproven),
        group=group,
        text=texts.text,
        pools=any(spec.pools_prompts for spec in specs),
        annotators=any(spec.needs_annotators for spec in specs),
        overdispersion=(found.factor or 1.0) if found.widening > 1 else 1.0,
        seed=0,
    )
    worst = worst[:, texts.first] - (texts.copies - 1)  # a text has the best of the ranks of its copies
    return percentile_intervals(best[:, texts.first], worst, LEVEL)
