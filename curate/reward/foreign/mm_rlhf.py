"""MM-RLHF-RewardBench (Zhang et al., 2025, arXiv 2502.10391): pairs; acc, and acc+ of whole prompts.

Columns of mm_reward_bench.jsonl, by llava/eval/eval_mm_reward_bench.py of github.com/yfzhang114/MM-RLHF: id (shared by
the pairs of one prompt), prompt, image or video (a folder of frames), chosen, rejected. Metrics, by
llava/eval/cal_performance_mmreweard_bench.py there: a pair is right when chosen scores strictly above rejected; acc
over pairs, acc+ over ids, of which all pairs must be right. The category of a pair is the first of mcq, long, short,
safety, video that occurs in its path. An id counts as right in the first category that occurs in any of its paths, and
in the denominator of every category that does. Equal to that script on random scores. The columns of the Parquet
variant were not accessible; where they differ, rename them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curate.array_types import Float
from curate.reward.data import Example
from curate.reward.figures import Figure, mean
from curate.reward.foreign.benchmark import SHARED, Benchmark, Media, hits, preferred
from curate.reward.metrics import Scores
from curate.shards.rows import BadRowError, Row

CATEGORIES = ("mcq", "long", "short", "safety", "video")
OTHER = "other"
"""All other paths: included only in the overall figures."""


def parse(row: Row, media: Media) -> Example:
    """The example of a row. Raises BadRowError."""
    if row.cells.get("id") is None:
        raise BadRowError("id", None, "the id of its prompt, required by acc+")
    medium = row.cells.get("image") or row.cells.get("video") or ""
    where = str(medium.get("path") if isinstance(medium, dict) else medium)
    return preferred(
        row.identity(),
        row.text("prompt"),
        (row.text("chosen", empty=True),),
        (row.text("rejected", empty=True),),
        source="+".join(category for category in CATEGORIES if category in where) or OTHER,
        images=media.images(row, "image"),
        video=media.video(row, "video"),
    )


def metric(examples: Sequence[Example], scores: Scores) -> dict[str, Figure]:
    """acc and acc+, overall and by category (``acc/mcq``); a tie of scores counts as wrong."""
    right = (hits(examples, scores) == 1).astype(np.float64)
    kinds = [example.source.split("+") for example in examples]
    prompts: dict[str, list[int]] = {}
    for i, example in enumerate(examples):
        prompts.setdefault(SHARED.sub("", example.item_id), []).append(i)
    found = {"acc": mean(right), "acc+": _all_right(right, [(pairs, True) for pairs in prompts.values()])}
    all_kinds = [
        (pairs, [name for name in CATEGORIES if any(name in kinds[i] for i in pairs)]) for pairs in prompts.values()
    ]
    for name in CATEGORIES:
        if any(own := [kind[0] == name for kind in kinds]):
            found[f"acc/{name}"] = mean(right, own)
            found[f"acc+/{name}"] = _all_right(right, [(pairs, of[0] == name) for pairs, of in all_kinds if name in of])
    return found


def _all_right(right: Float, prompts: Sequence[tuple[list[int], bool]]) -> Figure:
    """Share of prompts whose pairs are all right. prompts: pairs, and whether the prompt can count as right.

    A prompt is an item: that of its first pair.
    """
    values, weights = np.zeros(len(right)), np.zeros(len(right))
    for pairs, counts in prompts:
        values[pairs[0]], weights[pairs[0]] = counts and right[pairs].all(), 1.0
    return mean(values, weights)


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
