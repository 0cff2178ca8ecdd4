"""VideoRewardBench (Zhang et al., 2025, arXiv 2509.00484): pairs on a video; accuracy overall and by category.

According to its abstract and secondary pages: 1,563 triplets of a video-text prompt, a chosen and a rejected response,
in five categories (long-form and short-form perception, knowledge, reasoning, safety); overall accuracy is the share of
all pairs ordered correctly. Not verified, because neither a repository nor the data set card was accessible: the
columns of huggingface.co/datasets/Dragonriser/VideoRewardBench (prompt, video, chosen, rejected and category are names
for what the paper describes; others can be renamed), the rule for equal scores (they count half), and whether macro,
the mean over categories, is an official metric.
"""

from __future__ import annotations

from collections.abc import Sequence

from curate.reward.data import Example
from curate.reward.figures import Figure, average, mean
from curate.reward.foreign.benchmark import Benchmark, Media, by_group, hits, preferred
from curate.reward.metrics import Scores
from curate.shards.rows import BadRowError, Row


def parse(row: Row, media: Media) -> Example:
    """The example of a row. Raises BadRowError."""
    video = media.video(row, "video")
    if video is None:
        raise BadRowError("video", None, "the path of a video")
    return preferred(
        row.identity(),
        row.text("prompt"),
        (row.text("chosen", empty=True),),
        (row.text("rejected", empty=True),),
        source=row.text("category"),
        video=video,
    )


def metric(examples: Sequence[Example], scores: Scores) -> dict[str, Figure]:
    """overall (over all pairs), macro (mean of the categories), and each category."""
    right = hits(examples, scores)
    categories = by_group(right, [example.source for example in examples])
    return {"overall": mean(right), "macro": average(list(categories.values())), **categories}


VIDEO_REWARDBENCH = Benchmark(
    name="videorewardbench",
    title="VideoRewardBench",
    required={"prompt", "video", "chosen", "rejected", "category"},
    absent={"subset"},
    parse=parse,
    metric=metric,
    citation="Zhang et al. (2025). VideoRewardBench: Comprehensive Evaluation of Multimodal Reward Models for Video "
    "Understanding. arXiv 2509.00484",
)
