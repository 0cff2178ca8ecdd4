"""VL-RewardBench (Li et al., 2024, arXiv 2411.17451): pairs on one image; overall and macro accuracy of three groups.

Columns, by the dataset card of huggingface.co/datasets/MMInstruction/VL-RewardBench: id, query, response (two texts),
image (an embedded image; a path in the JSONL variant), human_ranking ([0, 1]: the first is preferred). Metrics, by
cal.py of github.com/vl-rewardbench/VL_RewardBench (distribution_dataset): the group follows from the start of the id,
not from query_source; overall accuracy over all pairs, and the mean of the three groups; pairs with the same id, query
and responses count once. cal.py reads the judgments of a generative model and has no rule for equal scores: they count
half, which is what a random judgment scores on average. Equal to cal.py on random scores.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from curate.reward.data import Example
from curate.reward.figures import Figure, average, mean
from curate.reward.foreign.benchmark import SHARED, Benchmark, Media, by_group, hits
from curate.reward.metrics import Scores
from curate.shards.rows import BadRowError, Row

GROUPS = {
    "wildvision": "general",
    "RLAIF": "hallucination",
    "RLHF": "hallucination",
    "hallucination": "hallucination",
    "mmmu": "reasoning",
    "mathverse": "reasoning",
}
"""Start of the id, up to the first - or _ -> group; every other id is of VLFeedback, which is general."""
NAMES = ("general", "hallucination", "reasoning")


def parse(row: Row, media: Media) -> Example:
    """The example of a row. Raises BadRowError."""
    responses = row.texts("response")
    if len(responses) != 2:
        raise BadRowError("response", list(responses), "two texts")
    places = row.integers("human_ranking", 2)
    if sorted(places) != [0, 1]:
        raise BadRowError("human_ranking", list(places), "[0, 1] or [1, 0], 0 = better")
    if row.cells.get("id") is None:
        raise BadRowError("id", None, "the id, by which pairs are grouped")
    return Example(
        item_id=row.identity(),
        prompt=row.text("query"),
        responses=responses,
        ranks=tuple(place + 1 for place in places),
        images=media.images(row, "image"),
        source=GROUPS.get(re.split("[-_]", row.identity())[0], "general"),
    )


def metric(examples: Sequence[Example], scores: Scores) -> dict[str, Figure]:
    """overall, macro (mean of the three groups; undefined without pairs of one), and each group."""
    first: dict[tuple[str, ...], int] = {}
    for i, example in enumerate(examples):
        first.setdefault((SHARED.sub("", example.item_id), example.prompt, *sorted(example.responses)), i)
    right, kept = hits(examples, scores), set(first.values())
    sources = [example.source if i in kept else "" for i, example in enumerate(examples)]
    groups = by_group(right, sources, NAMES)
    return {"overall": mean(right, np.array(sources) != ""), "macro": average(list(groups.values())), **groups}


VL_REWARDBENCH = Benchmark(
    name="vl-rewardbench",
    title="VL-RewardBench",
    required={"id", "query", "response", "human_ranking"},
    parse=parse,
    metric=metric,
    citation="Li et al. (2024). VL-RewardBench: A Challenging Benchmark for Vision-Language Generative Reward Models. "
    "arXiv 2411.17451",
)
