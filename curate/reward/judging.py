"""A scorer on held-out examples, beside what any figure must be shown beside: blind data, chance, length, consensus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from curate.reward import metrics
from curate.reward.baselines import baselines, shuffled_media, shuffled_prompts
from curate.reward.examples import Example
from curate.reward.scoring import Scorer
from schemas.errors import CurateError
from schemas.reward import EvaluationReport

ORDERS = 4
"""Orders of the responses under which the winner is asked for, where order may count."""


def judge(
    scorer: Scorer,
    examples: Sequence[Example],
    *,
    data: str,
    training: Sequence[Example] | None = None,
    orders: int = ORDERS,
    seed: int = 0,
) -> list[EvaluationReport]:
    """Reports on ranked examples: the model; the model with each prompt, then each video or image, replaced by that of
    another example; and the baselines. training: examples on which the better of the length baselines is chosen."""
    ranked = [example for example in examples if example.ranks]
    # Where order cannot count, a second one is asked for as a check.
    tables = scorer.by_order(ranked, max(2, orders) if scorer.model.shape.layout == "causal" else 2)
    scores = [table[: scorer.orders].mean(axis=0) for table in tables]
    reports = [metrics.evaluate("model", data, ranked, scores, orders=tables)]
    for name, blind in blinded(ranked, seed):
        kept, shown = _fitting(scorer, ranked, blind)
        if kept:
            reports.append(metrics.evaluate(name, data, kept, scorer.score_examples(shown)))
    return reports + without_model(ranked, data=data, training=training)


def without_model(
    examples: Sequence[Example], *, data: str, training: Sequence[Example] | None = None
) -> list[EvaluationReport]:
    """Reports of the baselines, which look at the responses alone."""
    return [
        metrics.evaluate(name, data, examples, scorer(examples), logits=False)
        for name, scorer in baselines(training).items()
    ]


def blinded(examples: Sequence[Example], seed: int) -> list[tuple[str, list[Example]]]:
    """The examples without what they ask, and without what they show; what cannot be exchanged is left out."""
    kinds = [("blind to the prompt", shuffled_prompts)]
    if any(example.video or example.images for example in examples):
        kinds.append(("blind to the media", shuffled_media))
    found = []
    for name, shuffle in kinds:
        try:
            found.append((name, shuffle(examples, seed=seed)))
        except CurateError:  # one prompt or video is that of most examples: there is no other to exchange it for
            continue
    return found


def _fitting(
    scorer: Scorer, examples: Sequence[Example], blind: Sequence[Example]
) -> tuple[list[Example], list[Example]]:
    """The examples, and the same made blind, without those that it made too long; the reports count their items."""
    good, skips = scorer.loader.check(blind)
    if not skips:
        return list(examples), list(blind)
    fits = set(map(id, good))
    kept = [(example, other) for example, other in zip(examples, blind, strict=True) if id(other) in fits]
    return [example for example, _ in kept], [other for _, other in kept]


def glance(scorer: Scorer, examples: Sequence[Example]) -> dict[str, Any]:
    """The few figures that are looked at during a training."""
    row = metrics.evaluate("model", "held out", examples, scorer.score_examples(examples)).overall
    return {"top1": row.top1, "pairwise": row.pairwise, "tau": row.tau, "nll": row.nll, "ece": row.ece}
