"""Evaluation of a model on held-out examples, next to shuffled controls and baselines that need no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from curate.array_types import Bool, Float
from curate.reward import metrics
from curate.reward.controls import baselines, shuffled_controls
from curate.reward.data import Example
from curate.reward.figures import cluster_of, clustered, mean
from curate.reward.metrics import Scores
from schemas.errors import CurateError
from schemas.reward import EvaluationReport, EvaluationRow

if TYPE_CHECKING:
    from curate.reward.scoring import Scorer
    from curate.reward.workers import EngineScorer

ORDERS = 4
"""Orders of the responses in which order sensitivity is measured."""


def evaluate_model(
    scorer: Scorer | EngineScorer,
    examples: Sequence[Example],
    *,
    data: str,
    training: Sequence[Example] | None = None,
    orders: int = ORDERS,
    seed: int = 0,
) -> tuple[list[EvaluationReport], list[Float]]:
    """Reports on the ranked examples (the model, its shuffled controls, then the baselines), and the model's scores.

    training: examples by which the better of the two length baselines is chosen. Examples that no longer fit after
    shuffling are excluded from the control; the reports count their items.
    """
    ranked = [example for example in examples if example.ranks]
    # Layouts that do not depend on the order are checked with a second one.
    tables = scorer.score_orders(ranked, max(2, orders) if scorer.layout == "causal" else 2)
    scores = [table[: scorer.orders].mean(axis=0) for table in tables]
    reports = [evaluate("model", data, ranked, scores, orders=tables)]
    for name, exchanged in shuffled_controls(ranked, seed):
        refusals = scorer.refusals(exchanged)
        kept = [(own, other) for own, other, why in zip(ranked, exchanged, refusals, strict=True) if not why]
        if kept:
            scores_of = scorer.score_examples([other for _, other in kept])
            reports.append(evaluate(name, data, [own for own, _ in kept], scores_of))
    return reports + evaluate_baselines(ranked, data=data, training=training), scores


def evaluate_baselines(
    examples: Sequence[Example], *, data: str, training: Sequence[Example] | None = None
) -> list[EvaluationReport]:
    """Reports of the baselines."""
    found = {name: baseline(examples) for name, baseline in baselines(training).items()}
    return [evaluate(name, data, examples, scores, logits=False) for name, scores in found.items()]


def quick_metrics(scorer: Scorer, examples: Sequence[Example]) -> dict[str, Any]:
    """The metrics that are logged during training."""
    row = evaluate("model", "held out", examples, scorer.score_examples(examples)).overall
    return {"top1": row.top1, "pairwise": row.pairwise, "tau": row.tau, "nll": row.nll, "ece": row.ece}


def evaluate(
    scorer: str,
    data: str,
    examples: Sequence[Example],
    scores: Scores,
    *,
    logits: bool = True,
    orders: Sequence[npt.ArrayLike] | None = None,
) -> EvaluationReport:
    """Compute all metrics of one scorer on one data set: over all items, by N, and by source.

    logits: the scores are logits; without it ece, nll and brier are null. orders: I items, each (K, N) scores under
    K ≥ 2 orders of the responses, column n for response n; without it the order metrics are null. Raises CurateError
    where an item has no ranks, or scores that are missing or not finite.
    """
    for example in examples:
        if not example.ranks:
            raise CurateError(f"item {example.item_id} has no ranks", hint="only ranked items can be evaluated")
    ranks, unknown = [example.ranks for example in examples], np.full(len(examples), np.nan)
    top1, (right, pairs) = metrics.top1(scores, ranks), metrics.pairwise(scores, ranks)
    best = metrics.confidences(scores, ranks)
    by_item = np.divide(right, pairs, out=unknown.copy(), where=pairs > 0)
    ceiling = np.array([_ceiling(example) for example in examples])
    clusters = np.array([cluster_of(example) for example in examples])
    means = {
        "chance_level": metrics.chance_level(ranks),
        "pairwise_by_item": by_item,
        "tau": metrics.kendall(scores, ranks),
        "nll": best.nll if logits else unknown,
        "brier": best.brier if logits else unknown,
        "order_sensitivity": unknown if orders is None else metrics.winner_changes(orders),
        "order_score_difference": unknown if orders is None else metrics.score_differences(orders),
    }

    def row(part: str, name: str, mask: Bool) -> EvaluationRow:
        """The metrics of the items selected by (I,) mask."""
        hits, pooled = (
            clustered(each, clusters[mask]) for each in (mean(top1[mask]), mean(by_item[mask], pairs[mask]))
        )
        ece, bins = metrics.calibration_error(best.top[mask], best.hit[mask]) if logits else (None, None)
        values = {
            "items": int(mask.sum()),
            "clusters": hits.clusters,
            "top1": hits.value,
            "top1_se": hits.se,
            "ceiling": float(ceiling[mask].mean()) if mask.any() else None,
            "pairwise": pooled.value,
            "pairwise_se": pooled.se,
            "ece": ece,
            "ece_bins": bins or None,
            "shared_best": int(np.isnan(best.top[mask]).sum()),
        }
        values |= {key: _mean(value[mask]) for key, value in means.items()}
        return EvaluationRow.model_validate({"part": part, "name": name, **values})

    sizes, sources = np.array([len(own) for own in ranks]), np.array([example.source for example in examples])
    rows = [row("all", "all", np.ones(len(ranks), dtype=np.bool_))]
    rows += [row("size", str(size), sizes == size) for size in np.unique(sizes)]
    rows += [row("source", str(source), sources == source) for source in np.unique(sources)]
    return EvaluationReport(scorer=scorer, data=data, rows=tuple(rows))


def _mean(values: Float) -> float:
    """The mean of the finite values; NaN where there is none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan


def _ceiling(example: Example) -> float:
    """Expected top-1 of a judge that knows the true order: P(the best response has the best rank); NaN if unknown."""
    return sum(example.best_probabilities[i] for i in example.best) if example.best_probabilities else np.nan
