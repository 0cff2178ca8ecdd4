"""MR²Bench-Image and -Video (Yang et al., 2026, arXiv 2604.10966): N responses with ranks; top-1, of four or of all.

Columns, by README.md and mr2rm/data/dataset.py of github.com/yinuoyang01/multi-response-rm: prompt, responses, rankings
(1 = best, ties allowed), image, video (a file or a folder of frames). The files of
huggingface.co/datasets/yinuoy/MR2Bench were not accessible, except that they are JSON; that they have the trainer's
columns, and that top-1 is their metric ("accuracy" in the README's tables), is inferred. The JSONL of curate's exports
has these columns too; id and category are optional. A file with images is MR²Bench-Image, one with videos -Video.
"""

from __future__ import annotations

from collections.abc import Sequence

from curate.reward.data import Example
from curate.reward.figures import Figure, mean
from curate.reward.foreign.benchmark import Benchmark, Media, by_group, hits
from curate.reward.metrics import Scores
from curate.shards.rows import BadRowError, Row

CITATION = (
    "Yang, Ma, Ganti, Zhang and Krishna (2026). You Only Judge Once: Multi-response Reward Modeling in a Single "
    "Forward Pass. arXiv 2604.10966"
)


def parse(row: Row, media: Media) -> Example:
    """The example of a row. Raises BadRowError."""
    responses = row.texts("responses")
    ranks = row.integers("rankings", len(responses))
    if min(ranks) != 1:
        raise BadRowError("rankings", list(ranks), "ranks whose best is 1")
    images, video = media.images(row, "image"), media.video(row, "video")
    if not images and video is None:
        raise BadRowError("image or video", None, "a path, as in the other rows")
    return Example(
        item_id=row.identity(),
        prompt=row.text("prompt"),
        responses=responses,
        ranks=ranks,
        images=images,
        video=video,
        source=row.optional_text("category"),
    )


def metric(examples: Sequence[Example], scores: Scores) -> dict[str, Figure]:
    """top1 over all items, and over the items of each N (``top1 of 4``)."""
    right = hits(examples, scores)
    sizes = by_group(right, [f"{len(example.responses):06d}" for example in examples])
    return {"top1": mean(right), **{f"top1 of {int(size)}": figure for size, figure in sizes.items()}}


def _bench(name: str, title: str, medium: str, other: str) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        required={"prompt", "responses", "rankings", medium},
        absent={other},
        parse=parse,
        metric=metric,
        citation=CITATION,
    )


MR2BENCH_IMAGE = _bench("mr2bench-image", "MR²Bench-Image", "image", "video")
MR2BENCH_VIDEO = _bench("mr2bench-video", "MR²Bench-Video", "video", "image")
