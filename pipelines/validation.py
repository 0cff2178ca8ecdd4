"""The job ``validate``: scores of every method on held-out votes, and split-half reliability of its orders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from curate.array_types import Bool
from curate.denoising.selection import with_stack
from curate.engine import engine_or_none
from curate.evaluation.cross_validation import fitted_at_once, hold_out, mean_and_error, scores, units
from curate.evaluation.overdispersion import widened_fit
from curate.evaluation.reliability import Agreement, SplitHalf, split_half, step_up
from curate.rankers.registry import compared_rankers
from curate.store import Store
from curate.store.rankings import load_votes
from curate.votes.arrays import LEFT, RIGHT
from curate.votes.coverage import cover
from pipelines.progress import Progress, silent
from schemas.choices import HoldOut
from schemas.config import DenoiseConfig
from schemas.engine import EngineConfig
from schemas.errors import CurateError, UsageError
from schemas.rankers import MethodName
from schemas.validation import MethodReliability, Reliability, ValidationReport


def validate(
    store_path: str | Path,
    *,
    config: DenoiseConfig = DenoiseConfig(),
    folds: int = 5,
    by: HoldOut = "vote",
    splits: int = 10,
    seed: int = 0,
    engine: EngineConfig | None = None,
    progress: Progress = silent,
) -> ValidationReport:
    """Score every method on the decisive votes of each fold, fitted to the other folds. The store is only read.

    Standard errors treat prompts as independent; with ``by="annotator"``, annotators instead (each anonymous vote or
    ranking is then one of its own). With few of them (a dozen prompts) they are rough.

    Parameters
    ----------
    store_path
        The DuckDB file.
    config
        Hyperparameters of the rankers, members of the ensemble, and the prompts to use.
    folds
        Number of parts, 2 or more.
    by
        The unit that is held out whole.
    splits
        Random splits of the votes for the reliability of the orders; 0: none.
    seed
        Of the folds and splits.
    engine
        Where the folds are fitted; None: in threads.
    progress
        Called with (what is done, steps done, steps in total).

    Raises
    ------
    UsageError
        For fewer than two folds, or splits below 0.
    CurateError
        Where there are fewer units than folds, no held-out vote can be scored, or the votes are by several criteria and
        the config names none.
    """
    if folds < 2:
        raise UsageError(f"{folds} folds: no votes would be left to fit", hint="give at least 2 folds")
    if splits < 0:
        raise UsageError(f"{splits} splits: a number below 0", hint="give 0 for no reliability")
    with Store.open(store_path, read_only=True) as store:
        progress("reading votes", 0, 0)
        votes = load_votes(
            store,
            prompts=config.prompts,
            criterion=config.criterion,
            both_bad=config.both_bad,
            texts=config.text_comparison if config.equal_texts == "merge" else None,
        ).merged.votes
    unit = units(votes, by)
    number = int(unit.max()) + 1
    if number < folds:
        raise CurateError(
            f"{store_path}: too few votes for {folds} folds: by {by}, there are {number} units to hold out",
            hint="use fewer --folds" + ("" if by == "vote" else ", or --hold-out vote"),
        )
    names = compared_rankers(config, annotators=bool(votes.annotators), models=bool(votes.models))
    with engine_or_none(engine, workers=fitted_at_once(folds, votes)) as opened:
        held = hold_out(votes, unit, config, names=names, folds=folds, seed=seed, progress=progress, engine=opened)
    if not len(held.vote):
        raise CurateError(
            f"{store_path}: too few votes: no decisive vote is on two responses that the votes of other folds connect",
            hint="collect more votes on each prompt, or use more --folds",
        )
    cluster = unit if by == "annotator" else votes.response_prompt[votes.left].astype(np.int64)
    decisive = int(np.isin(votes.outcome, [LEFT, RIGHT]).sum())
    methods = scores(with_stack(held)[0], cluster[held.vote])
    progress("comparing halves of the annotators", 0, 0)
    used = votes.of_prompts(cover(votes, config).used)
    reliability = None
    if splits:
        halves = split_half(votes, config, splits=splits, seed=seed, progress=progress)
        reliability = reliability_of(halves, [score.method for score in methods], splits=splits)
    return ValidationReport(
        store=str(store_path),
        by=by,
        folds=folds,
        seed=seed,
        votes=len(votes.left),
        scored=len(held.vote),
        ties=len(votes.left) - decisive,
        not_ranked=decisive - len(held.vote),
        clustered_by="annotator" if by == "annotator" else "prompt",
        clusters=len(np.unique(cluster[held.vote])),
        methods=methods,
        overdispersion=widened_fit(used)[1],
        reliability=reliability,
    )


def reliability_of(found: SplitHalf, order: Sequence[MethodName], *, splits: int) -> Reliability:
    """Return means over prompts with their standard errors. order: of the methods."""
    compared = ~np.isnan(next(iter(found.methods.values())).tau)  # the same prompts for all methods
    names = sorted(found.methods, key=order.index) if compared.any() else []
    return Reliability(
        by=found.by,
        splits=splits,
        prompts=int(compared.sum()),
        methods=tuple(_method(name, found.methods[name], compared) for name in names),
    )


def _method(name: MethodName, agreement: Agreement, compared: Bool) -> MethodReliability:
    """Means over the compared prompts, with equal weights. compared: (P,)."""
    ones, each = np.ones(int(compared.sum())), np.arange(int(compared.sum()))
    tau, tau_se = mean_and_error(agreement.tau[compared], ones, each)
    rho, rho_se = mean_and_error(agreement.rho[compared], ones, each)
    against, against_se = mean_and_error(agreement.against_bt[compared], ones, each)
    return MethodReliability(
        method=name,
        tau=tau,
        tau_se=tau_se,
        rho=rho,
        rho_se=rho_se,
        full_rho=step_up(rho) if rho > 0 else None,
        full_rho_se=None if rho_se is None or rho <= 0 else 2 * rho_se / (1 + rho) ** 2,  # the slope of step_up
        against_bt=against,
        against_bt_se=against_se,
    )
