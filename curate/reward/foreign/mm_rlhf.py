"""MM-RLHF-RewardBench (Zhang et al., 2025, arXiv 2502.10391): pairs; acc, and acc+ of whole prompts.

Columns of mm_reward_bench.jsonl, by llava/eval/eval_mm_reward_bench.py of github.com/yfzhang114/MM-RLHF: id (shared by
the pairs of one prompt), prompt, image or video (a folder of frames), chosen, rejected. Metrics follow a third party's
script, assumed to match cal_performance_mmreward_bench.py, which was not accessible: a pair is right when chosen scores
strictly above rejected; acc over pairs, acc+ over ids; the category is the first of mcq, long, short, safety, video
that occurs in the path. The columns of the Parquet variant were not accessible; where they differ, rename them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curate.reward.data import Example
from curate.reward.foreign.benchmark import Benchmark, Media, group_means, hits, preferred
from curate.reward.metrics import Float, Scores
from curate.reward.rows import BadRowError, Row

CATEGORIES = ("mcq", "long", "short", "safety", "video")
OTHER = "other"
"""The category of all other paths: included only in the overall figures."""


def parse(row: Row, media: Media) -> Example:
    """The example of a row. Raises BadRowError."""
    if row.cells.get("id") is None:
        raise BadRowError("id", None, "the id of its prompt, required by acc+")
    where = str(row.cells.get("image") or row.cells.get("video") or "")
    return preferred(
        # Several pairs have the id of their prompt.
        f"{row.identity()}#{row.number}",
        row.text("prompt"),
        (row.text("chosen", empty=True),),
        (row.text("rejected", empty=True),),
        source=next((category for category in CATEGORIES if category in where), OTHER),
        images=media.images(row, "image"),
        video=media.video(row, "video"),
    )


def metric(examples: Sequence[Example], scores: Scores) -> dict[str, float]:
    """acc and acc+, overall and by category (``acc/mcq``); a tie of scores counts as wrong."""
    right = (hits(examples, scores) == 1).astype(np.float64)
    figures = {"acc": float(right.mean()), "acc+": _all_right(examples, right)}
    for name, accuracy in group_means(right, [example.source for example in examples]).items():
        if name != OTHER:
            own = [i for i, example in enumerate(examples) if example.source == name]
            figures[f"acc/{name}"] = accuracy
            figures[f"acc+/{name}"] = _all_right([examples[i] for i in own], right[own])
    return figures


def _all_right(examples: Sequence[Example], right: Float) -> float:
    """Share of prompts whose pairs are all right. right: (I,) 0 or 1."""
    prompts = [example.item_id.rsplit("#", 1)[0] for example in examples]
    return float(np.mean([share == 1 for share in group_means(right, prompts).values()]))


MM_RLHF = Benchmark(
    name="mm-rlhf-rewardbench",
    title="MM-RLHF-RewardBench",
    required={"id", "prompt", "chosen", "rejected"},
    one_of={"image", "video"},
    absent={"category", "subset"},
    parse=parse,
    metric=metric,
    citation="Zhang et al. (2025). MM-RLHF: The Next Step Forward in Multimodal LLM Alignment. arXiv 2502.10391",
)
