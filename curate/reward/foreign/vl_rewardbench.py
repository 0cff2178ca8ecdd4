"""VL-RewardBench (Li et al., 2024, arXiv 2411.17451): pairs on one image; overall and macro accuracy of three groups.

Columns, by the dataset card of huggingface.co/datasets/MMInstruction/VL-RewardBench: id, query, response (two texts),
image (an embedded image; a path in the JSONL variant), human_ranking ([0, 1]: the first is preferred), query_source.
Groups and metrics, by cal.py of github.com/vl-rewardbench/VL_RewardBench: general, hallucination, reasoning; overall
accuracy over all pairs, and the mean of the three. Both verified on stored copies. The dataset card and cal.py spell
query_source differently (only cal.py lists VLFeedback), so only letters and digits are compared.
"""

from __future__ import annotations

from collections.abc import Sequence

from curate.reward.data import Example
from curate.reward.foreign.benchmark import Benchmark, Media, group_means, hits
from curate.reward.metrics import Scores
from curate.reward.rows import BadRowError, Row

GROUPS = {
    "wildvision": "general",
    "wildvisionbattle": "general",
    "vlfeedback": "general",
    "povid": "hallucination",
    "rlaifv": "hallucination",
    "rlhfv": "hallucination",
    "mmmupro": "reasoning",
    "mathverse": "reasoning",
    "reasoningtasks": "reasoning",
}
"""query_source, reduced to letters and digits in lower case -> group."""


def parse(row: Row, media: Media) -> Example:
    """The example of a row. Raises BadRowError."""
    responses = row.texts("response")
    if len(responses) != 2:
        raise BadRowError("response", list(responses), "two texts")
    places = row.integers("human_ranking", 2)
    if sorted(places) != [0, 1]:
        raise BadRowError("human_ranking", list(places), "[0, 1] or [1, 0], 0 = better")
    source = row.text("query_source")
    if _plain(source) not in GROUPS:
        raise BadRowError("query_source", source, f"one of {', '.join(GROUPS)}, in any spelling")
    return Example(
        item_id=row.identity(),
        prompt=row.text("query"),
        responses=responses,
        ranks=tuple(place + 1 for place in places),
        images=media.images(row, "image"),
        source=source,
    )


def metric(examples: Sequence[Example], scores: Scores) -> dict[str, float]:
    """overall, macro (mean of the groups that occur), and each group."""
    right = hits(examples, scores)
    groups = group_means(right, [GROUPS[_plain(example.source)] for example in examples])
    return {"overall": float(right.mean()), "macro": sum(groups.values()) / len(groups), **groups}


def _plain(source: str) -> str:
    return "".join(letter for letter in source.lower() if letter.isalnum())


VL_REWARDBENCH = Benchmark(
    name="vl-rewardbench",
    title="VL-RewardBench",
    required={"query", "response", "human_ranking", "query_source"},
    parse=parse,
    metric=metric,
    citation="Li et al. (2024). VL-RewardBench: A Challenging Benchmark for Vision-Language Generative Reward Models. "
    "arXiv 2411.17451",
)
