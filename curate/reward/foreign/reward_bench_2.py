"""RewardBench 2 (Malik et al., 2025, arXiv 2506.01937): text, best of four; the Ties subset by its weighted rule.

Columns of huggingface.co/datasets/allenai/reward-bench-2, by rewardbench/utils.py of github.com/allenai/reward-bench:
id, prompt, chosen and rejected (lists of texts), num_correct, subset. Rules, by reroll_and_score_dataset and
process_single_model there: outside Ties one response of four is chosen, and an item counts 1 / k when it shares the
highest score with k − 1 others; in Ties, whose ids are ref:N or tied:N, 0.3 × accuracy on tied + 0.3 × on ref + 0.2 ×
two shares of margins + 0.01 × a mean tanh. That the leaderboard's figure is the plain mean of the subsets is by
secondary sources.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from curate.reward.examples import Example
from curate.reward.foreign.benchmark import Benchmark, Schema, grouped, hits, preferred
from curate.reward.foreign.media import Media
from curate.reward.foreign.tables import BadRow, Row
from curate.reward.metrics import Float, Scores

TIES = "Ties"
TIES_ID = re.compile(r"(ref|tied):\d+")


def parse(row: Row, _media: Media) -> Example:
    chosen, rejected = row.texts("chosen"), row.texts("rejected")
    item_id, subset, stated = row.identity(), row.text("subset"), row.cells.get("num_correct")
    if stated is not None and stated != len(chosen):
        raise BadRow("num_correct", stated, f"{len(chosen)}, the responses of column 'chosen'")
    if subset == TIES and not TIES_ID.fullmatch(item_id):
        raise BadRow("id", item_id, "ref:N or tied:N, as subset Ties has it")
    if subset != TIES and len(chosen) != 1:
        raise BadRow("chosen", list(chosen), f"one text, as subset {subset} is not Ties")
    return preferred(item_id, row.text("prompt"), chosen, rejected, source=subset)


def metric(examples: Sequence[Example], scores: Scores) -> dict[str, float]:
    """overall, the mean of the subsets that occur, and each subset; NaN with Ties but no prompt in both halves."""
    subsets = grouped(hits(examples, scores), [example.source for example in examples])
    if TIES in subsets:
        own = [i for i, example in enumerate(examples) if example.source == TIES]
        subsets[TIES] = ties_score([examples[i] for i in own], [scores[i] for i in own])
    return {"overall": float(np.mean(list(subsets.values()))), **subsets}


def ties_score(examples: Sequence[Example], scores: Scores) -> float:
    """The official figure of subset Ties, 0 to 1.01; higher is better.

    Of each prompt: gap, its lowest correct score less its highest wrong one, and spread, its highest correct score less
    its lowest. An item is right when its gap is above 0. Over prompts N that have both ref:N and tied:N, with the
    spread of tied: the share whose tied gap is above the spread, the share whose smaller gap of both is, and the mean
    tanh(smaller gap / spread − 1). Ours, where the official code divides by nothing: 0 / 0 counts 0, and NaN without
    any such prompt.
    """
    gaps: dict[str, dict[str, float]] = {"ref": {}, "tied": {}}
    spreads: dict[str, float] = {}
    for example, score in zip(examples, scores, strict=True):
        kind, number = example.item_id.split(":")
        of, correct = np.asarray(score, dtype=np.float64), np.array(example.ranks) == min(example.ranks)
        gaps[kind][number] = float(of[correct].min() - of[~correct].max())
        if kind == "tied":
            spreads[number] = float(np.ptp(of[correct]))
    both = sorted(gaps["ref"].keys() & gaps["tied"].keys())
    if not both:
        return float("nan")
    tied, spread = np.array([gaps["tied"][n] for n in both]), np.array([spreads[n] for n in both])
    smaller = np.minimum(tied, [gaps["ref"][n] for n in both])
    return float(
        0.3 * _above_zero(gaps["tied"])
        + 0.3 * _above_zero(gaps["ref"])
        + 0.2 * (tied > spread).mean()
        + 0.2 * (smaller > spread).mean()
        + 0.01 * _margin(smaller, spread).mean()
    )


def _above_zero(gaps: dict[str, float]) -> float:
    return float(np.mean([gap > 0 for gap in gaps.values()]))


def _margin(gap: Float, spread: Float) -> Float:
    """(P,) tanh(gap / spread − 1); by its limit where the spread is 0, and 0 for 0 / 0."""
    some = np.where(spread > 0, spread, 1.0)
    margin: Float = np.where(spread > 0, np.tanh(gap / some - 1), np.sign(gap))
    return margin


REWARD_BENCH_2 = Benchmark(
    name="reward-bench-2",
    title="RewardBench 2",
    schema=Schema(
        required=frozenset({"id", "prompt", "chosen", "rejected", "subset"}),
        absent=frozenset({"image", "video"}),
    ),
    parse=parse,
    metric=metric,
    citation="Malik et al. (2025). RewardBench 2: Advancing Reward Model Evaluation. arXiv 2506.01937",
)
