"""Multimodal RewardBench (Yasunaga et al., 2025, arXiv 2502.14191): pairs on one image; accuracy by category.

Columns of data/all_data.json, by README.md and scripts/1_run_model_as_judge_gpt4o.py of
github.com/facebookresearch/multimodal_rewardbench: ID, Text, Image (a path relative to the file's folder), Output1,
Output2, Better (Output1 or Output2), Category. Metrics, by compute_acc of scripts/2_get_accuracy.py: all pairs
(overall), and each category, with safety split into bias (ids that start with pairs) and toxicity, reasoning into math
(ids that start with math) and coding; the leaderboard does not split them (figures safety and reasoning). A tie of
scores counts half, the expectation of that script's random choice. Equal to it on random scores. Not verified: which
images may be null (a null image gives a text-only example), and the names of all categories (any is accepted).
"""

from __future__ import annotations

from collections.abc import Sequence

from curate.reward.data import Example
from curate.reward.figures import Figure, mean
from curate.reward.foreign.benchmark import Benchmark, Media, by_group, hits
from curate.reward.metrics import Scores
from curate.shards.rows import BadRowError, Row

RANKS = {"Output1": (1, 2), "Output2": (2, 1)}
SPLIT = {"safety": ("pairs", "bias", "toxicity"), "reasoning": ("math", "math", "coding")}
"""Category -> prefix of the ids of its first half, and the names of both halves."""


def parse(row: Row, media: Media) -> Example:
    """The example of a row. Raises BadRowError."""
    better = row.text("Better")
    if better not in RANKS:
        raise BadRowError("Better", better, "Output1 or Output2")
    item_id, category = row.text("ID"), row.text("Category")
    if category in SPLIT:
        begin, one, other = SPLIT[category]
        category = f"{category}/{one if item_id.lower().startswith(begin) else other}"
    return Example(
        item_id=item_id,
        prompt=row.text("Text"),
        responses=(row.text("Output1", empty=True), row.text("Output2", empty=True)),
        ranks=RANKS[better],
        images=media.images(row, "Image"),
        source=category,
    )


def metric(examples: Sequence[Example], scores: Scores) -> dict[str, Figure]:
    """overall (over all pairs), each category, and the halves of safety and reasoning."""
    right = hits(examples, scores)
    halves = by_group(right, [example.source for example in examples])
    whole = [example.source.split("/")[0] if _is_half(example.source) else example.source for example in examples]
    return {"overall": mean(right), **halves, **by_group(right, whole)}


def _is_half(source: str) -> bool:
    category, _, half = source.partition("/")
    return category in SPLIT and half in SPLIT[category][1:]


MULTIMODAL_REWARDBENCH = Benchmark(
    name="multimodal-rewardbench",
    title="Multimodal RewardBench",
    required={"ID", "Text", "Output1", "Output2", "Better", "Category"},
    parse=parse,
    metric=metric,
    citation="Yasunaga, Zettlemoyer and Ghazvininejad (2025). Multimodal RewardBench: Holistic Evaluation of Reward "
    "Models for Vision Language Models. arXiv 2502.14191",
)
