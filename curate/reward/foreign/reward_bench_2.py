"""RewardBench 2 (Malik et al., 2025, arXiv 2506.01937): text, best of four; a weighted score for the subset Ties.

Columns of huggingface.co/datasets/allenai/reward-bench-2, by rewardbench/utils.py of github.com/allenai/reward-bench:
id, prompt, chosen and rejected (lists of texts), num_correct, subset. Rules, by reroll_and_score_dataset and
process_single_model there: outside Ties one response of four is chosen, and an item counts 1 / k when it shares the
highest score with k − 1 others; in Ties, whose ids are ref:N or tied:N, 0.3 × accuracy on tied + 0.3 × on ref + 0.2 ×
two shares of margins + 0.01 × a mean tanh. That the leaderboard reports the plain mean of the subsets comes from
secondary sources.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from curate.reward.data import Example
from curate.reward.foreign.benchmark import Benchmark, Media, group_means, hits, preferred
from curate.reward.metrics import Float, Scores
from curate.reward.rows import BadRowError, Row

TIES = "Ties"
TIES_ID = re.compile(r"(ref|tied):\d+")


def parse(row: Row, _media: Media) -> Example:
    """The example of a row. Raises BadRowError."""
    chosen, rejected = row.texts("chosen"), row.texts("rejected")
    item_id, subset, stated = row.identity(), row.text("subset"), row.cells.get("num_correct")
    if stated is not None and stated != len(chosen):
        raise BadRowError("num_correct", stated, f"{len(chosen)}, the number of responses in column 'chosen'")
    if subset == TIES and not TIES_ID.fullmatch(item_id):
        raise BadRowError("id", item_id, "ref:N or tied:N in subset Ties")
    if subset != TIES and len(chosen) != 1:
        raise BadRowError("chosen", list(chosen), f"one text in subset {subset}")
    return preferred(item_id, row.text("prompt"), chosen, rejected, source=subset)


def metric(examples: Sequence[Example], scores: Scores) -> dict[str, float]:
    """overall (mean of the subsets that occur) and each subset; NaN where Ties has no prompt with both ref and tied."""
    subsets = group_means(hits(examples, scores), [example.source for example in examples])
    if TIES in subsets:
        own = [i for i, example in enumerate(examples) if example.source == TIES]
        subsets[TIES] = ties_score([examples[i] for i in own], [scores[i] for i in own])
    return {"overall": float(np.mean(list(subsets.values()))), **subsets}


def ties_score(examples: Sequence[Example], scores: Scores) -> float:
    """The official score of subset Ties, 0 to 1.01; higher is better.

    Of each item: margin, the lowest correct score minus the highest wrong one, and range, the highest correct score
    minus the lowest. An item is right when its margin is above 0. Over prompts N that have both ref:N and tied:N, with
    the range of tied: the share whose tied margin exceeds the range, the share whose smaller margin of both does, and
    the mean tanh(smaller margin / range − 1). Where the official code divides by zero: 0 / 0 counts 0, and the score is
    NaN without any such prompt.
    """
    margins: dict[str, dict[str, float]] = {"ref": {}, "tied": {}}
    ranges: dict[str, float] = {}
    for example, score in zip(examples, scores, strict=True):
        kind, number = example.item_id.split(":")
        values, correct = np.asarray(score, dtype=np.float64), np.array(example.ranks) == min(example.ranks)
        margins[kind][number] = float(values[correct].min() - values[~correct].max())
        if kind == "tied":
            ranges[number] = float(np.ptp(values[correct]))
    both = sorted(margins["ref"].keys() & margins["tied"].keys())
    if not both:
        return float("nan")
    tied, width = np.array([margins["tied"][n] for n in both]), np.array([ranges[n] for n in both])
    smaller = np.minimum(tied, [margins["ref"][n] for n in both])
    return float(
        0.3 * _share_positive(margins["tied"])
        + 0.3 * _share_positive(margins["ref"])
        + 0.2 * (tied > width).mean()
        + 0.2 * (smaller > width).mean()
        + 0.01 * _tanh_ratio(smaller, width).mean()
    )


def _share_positive(margins: dict[str, float]) -> float:
    return float(np.mean([margin > 0 for margin in margins.values()]))


def _tanh_ratio(margin: Float, width: Float) -> Float:
    """(P,) tanh(margin / width − 1); its limit where the width is 0, and 0 for 0 / 0."""
    positive = np.where(width > 0, width, 1.0)
    ratio: Float = np.where(width > 0, np.tanh(margin / positive - 1), np.sign(margin))
    return ratio


REWARD_BENCH_2 = Benchmark(
    name="reward-bench-2",
    title="RewardBench 2",
    required={"id", "prompt", "chosen", "rejected", "subset"},
    absent={"image", "video"},
    parse=parse,
    metric=metric,
    citation="Malik et al. (2025). RewardBench 2: Advancing Reward Model Evaluation. arXiv 2506.01937",
)
