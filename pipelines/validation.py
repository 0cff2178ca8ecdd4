"""The job ``validate``: which method foretells best what annotators say, by votes held out of the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.special import stdtrit

from curate.store import Store
from curate.store.rankings import load_votes
from curate.validation import HeldOut, Int, calibration_error, hold_out, mean_and_error, units
from curate.votes import LEFT, RIGHT
from pipelines.progress import Progress, silent
from schemas.config import DenoiseConfig, RankerName
from schemas.errors import CurateError, UsageError
from schemas.validation import HoldOut, MethodScore, ValidationReport

LEVEL = 0.05
"""Two methods are told apart where a difference as large has less than this chance between equals."""


def validate(
    store_path: str | Path,
    *,
    config: DenoiseConfig = DenoiseConfig(),
    folds: int = 5,
    by: HoldOut = "vote",
    seed: int = 0,
    progress: Progress = silent,
) -> ValidationReport:
    """Log-loss, accuracy and calibration of every method on decisive votes of each fold, fitted on the other folds.

    Standard errors take prompts for independent; where by is "annotator", annotators instead (each anonymous vote or
    ranking is then one of its own). With few of them (a dozen prompts) they are rough. The store is only read.
    Raises UsageError for fewer than two folds, CurateError where the votes cannot be dealt or no held-out vote can be
    scored.
    """
    if folds < 2:
        raise UsageError(f"{folds} folds: nothing would be left to fit", hint="give at least 2 folds")
    with Store.open(store_path, read_only=True) as store:
        progress("reading votes", 0, 0)
        votes = load_votes(store, prompts=config.prompts, both_bad=config.both_bad).votes
    unit = units(votes, by)
    number = int(unit.max()) + 1
    if number < folds:
        raise CurateError(
            f"{store_path}: too few votes for {folds} folds: by {by} they are {number} to hold out whole",
            hint="ask for fewer folds, or hold out by vote",
        )
    held = hold_out(votes, unit, config, folds=folds, seed=seed, progress=progress)
    if not len(held.vote):
        raise CurateError(
            f"{store_path}: too few votes: no decisive one is on two responses that the votes of other folds connect",
            hint="collect more votes on each prompt, or ask for more folds",
        )
    cluster = unit if by == "annotator" else votes.response_prompt[votes.left].astype(np.int64)
    decisive = int(np.isin(votes.outcome, [LEFT, RIGHT]).sum())
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
        methods=_scores(held, cluster[held.vote]),
    )


def _scores(held: HeldOut, cluster: Int) -> tuple[MethodScore, ...]:
    """Best first. cluster: (S,)."""
    losses = {name: held.loss(name) for name in held.odds}
    order = sorted(losses, key=lambda name: mean_and_error(losses[name], held.weight, cluster)[0])
    freedom = len(np.unique(cluster)) - 1

    def score(name: RankerName) -> MethodScore:
        loss, loss_se = mean_and_error(losses[name], held.weight, cluster)
        accuracy, accuracy_se = mean_and_error(held.hit(name), held.weight, cluster)
        behind, behind_se = mean_and_error(losses[name] - losses[order[0]], held.weight, cluster)
        apart = None if behind_se is None else behind > behind_se * float(stdtrit(freedom, 1 - LEVEL / 2))
        return MethodScore(
            method=name,
            log_loss=loss,
            log_loss_se=loss_se,
            accuracy=accuracy,
            accuracy_se=accuracy_se,
            calibration_error=calibration_error(held.odds[name], held.left, held.weight),
            behind=behind,
            behind_se=behind_se,
            told_apart=None if name == order[0] else apart,
        )

    return tuple(score(name) for name in order)
