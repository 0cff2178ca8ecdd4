"""RewardBench 2 (Malik et al., 2025, arXiv 2506.01937): text, best of four; a weighted score for the subset Ties.

Columns of huggingface.co/datasets/allenai/reward-bench-2: id, prompt, chosen and rejected (lists of texts),
num_correct, subset. Rules, by rewardbench/utils.py (reroll_and_score_dataset, process_single_model) and
scripts/run_v2.py of github.com/allenai/reward-bench: outside Ties one response of four is chosen, and an item counts
1 / k when it shares the highest score with k − 1 others; in Ties, whose ids are ref:N or tied:N, 0.3 × accuracy on tied
+ 0.3 × on ref + 0.2 × two shares of margins + 0.01 × a mean tanh. The leaderboard averages over the six subsets (data
set card): overall is undefined for a file without one of them. Equal to both functions on random scores. The package
0.1.4 on PyPI is older than the repository: its mean tanh leaves out prompts whose correct answers all have one score,
where the repository (since June 2025) and this module count 1, −1 or 0.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from curate.reward.data import Example
from curate.reward.figures import Figure, Mean, average
from curate.reward.foreign.benchmark import Benchmark, Media, by_group, hits, preferred
from curate.reward.metrics import Scores
from curate.shards.rows import BadRowError, Row

TIES = "Ties"
TIES_ID = re.compile(r"(ref|tied):(\d+)")
SUBSETS = 6
SHARES = (0.3, 0.3, 0.2, 0.2, 0.01)
"""Shares of the terms of the score of Ties: tied right, ref right, tied margin, smaller margin, tanh."""


def parse(row: Row, _media: Media) -> Example:
    """The example of a row. Raises BadRowError."""
    chosen, rejected = row.texts("chosen"), row.texts("rejected")
    item_id, subset, stated = row.identity(), row.text("subset"), row.cells.get("num_correct")
    if stated is not None and stated != len(chosen):
        raise BadRowError("num_correct", stated, f"{len(chosen)}, the number of responses in column 'chosen'")
    if subset == TIES and not TIES_ID.fullmatch(item_id):
        raise BadRowError("id", item_id, "ref:N or tied:N in subset Ties")
    if item_id.startswith("tied:") and len(chosen) < 2:
        raise BadRowError("chosen", list(chosen), "two or more correct texts in tied:N")
    if subset != TIES and len(chosen) != 1:
        raise BadRowError("chosen", list(chosen), f"one text in subset {subset}")
    return preferred(item_id, row.text("prompt"), chosen, rejected, source=subset)


def metric(examples: Sequence[Example], scores: Scores) -> dict[str, Figure]:
    """overall (mean of the six subsets; undefined where one is missing), and each subset."""
    subsets = by_group(hits(examples, scores), [example.source for example in examples])
    if TIES in subsets:
        subsets[TIES] = ties_score(examples, scores)
    missing = [(Mean(np.zeros(len(examples)), np.zeros(len(examples))),)] * (SUBSETS - len(subsets))
    return {"overall": average([*subsets.values(), *missing]), **subsets}


def ties_score(examples: Sequence[Example], scores: Scores) -> Figure:
    """The official score of subset Ties, 0 to 1.01; higher is better. Items of other subsets have weight 0.

    Of each prompt: margin, the lowest correct score minus the highest wrong one, and range, the highest correct score
    minus the lowest. A prompt is right when its margin is above 0. Over numbers N that have both ref:N and tied:N, with
    the range of tied: the share whose tied margin exceeds the range, the share whose smaller margin of both does, and
    the mean tanh(smaller margin / range − 1). Where the official code divides by zero: 0 / 0 counts 0, and the score is
    undefined without any such number. Both prompts of a number are one item, so that they fall into one cluster.
    """
    prompts: dict[int, dict[str, tuple[list[float], list[float]]]] = {}
    rows: dict[int, int] = {}
    for i, (example, score) in enumerate(zip(examples, scores, strict=True)):
        if found := TIES_ID.match(example.item_id) if example.source == TIES else None:
            number = int(found[2])
            rows.setdefault(number, i)
            correct, wrong = prompts.setdefault(number, {}).setdefault(found[1], ([], []))
            for value, rank in zip(np.asarray(score, dtype=np.float64).tolist(), example.ranks, strict=True):
                (correct if rank == 1 else wrong).append(value)
    values, weights = np.zeros((2, len(SHARES), len(examples)))
    for number, kinds in prompts.items():
        margin, row = {kind: min(correct) - max(wrong) for kind, (correct, wrong) in kinds.items()}, rows[number]
        for term, kind in enumerate(("tied", "ref")):
            if kind in margin:
                values[term, row], weights[term, row] = margin[kind] > 0, 1.0
        if len(kinds) == 2:
            width, smaller = float(np.ptp(kinds["tied"][0])), min(margin.values())
            ratio = np.tanh(smaller / width - 1) if width > 0 else np.sign(smaller)
            values[2:, row] = margin["tied"] > width, smaller > width, ratio
            weights[2:, row] = 1.0
    return tuple(Mean(*term) for term in zip(values, weights, SHARES, strict=True))


REWARD_BENCH_2 = Benchmark(
    name="reward-bench-2",
    title="RewardBench 2",
    required={"id", "prompt", "chosen", "rejected", "subset"},
    absent={"image", "video"},
    parse=parse,
    metric=metric,
    citation="Malik et al. (2025). RewardBench 2: Advancing Reward Model Evaluation. arXiv 2506.01937",
)
