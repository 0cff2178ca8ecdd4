"""VideoRewardBench (Zhang et al., 2025, arXiv 2509.00484): pairs on a video; accuracy overall and by category.

By its abstract and secondary pages: 1,563 triplets of a video-text prompt, a chosen and a rejected response, in five
categories (long-form and short-form perception, knowledge, reasoning, safety); overall accuracy is the share of all
pairs judged right. The columns of huggingface.co/datasets/Dragonriser/VideoRewardBench could NOT be read: prompt,
video, chosen, rejected and category are our names for what the paper describes, and a file with others is read by
renaming them. That macro, the mean over categories, is among the official figures is not verified either.
"""

from __future__ import annotations

from collections.abc import Sequence

from curate.reward.examples import Example
from curate.reward.foreign.benchmark import Benchmark, Schema, grouped, hits, preferred
from curate.reward.foreign.media import Media
from curate.reward.foreign.tables import BadRow, Row
from curate.reward.metrics import Scores


def parse(row: Row, media: Media) -> Example:
    video = media.video(row, "video")
    if video is None:
        raise BadRow("video", None, "the path of its video")
    return preferred(
        row.identity(),
        row.text("prompt"),
        (row.text("chosen", empty=True),),
        (row.text("rejected", empty=True),),
        source=row.text("category"),
        video=video,
    )


def metric(examples: Sequence[Example], scores: Scores) -> dict[str, float]:
    """overall (over all pairs), macro (mean of the categories), and each category."""
    right = hits(examples, scores)
    categories = grouped(right, [example.source for example in examples])
    return {"overall": float(right.mean()), "macro": sum(categories.values()) / len(categories), **categories}


VIDEO_REWARDBENCH = Benchmark(
    name="videorewardbench",
    title="VideoRewardBench",
    schema=Schema(
        required=frozenset({"prompt", "video", "chosen", "rejected", "category"}),
        absent=frozenset({"subset"}),
    ),
    parse=parse,
    metric=metric,
    citation="Zhang et al. (2025). VideoRewardBench: Comprehensive Evaluation of Multimodal Reward Models for Video "
    "Understanding. arXiv 2509.00484",
)
