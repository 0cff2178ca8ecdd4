"""Omni-RewardBench (Jin et al., 2025, arXiv 2510.23451): pairs under a criterion in words; accuracy.

Columns, by README.md of github.com/HongbangYuan/OmniReward: id, prompt, image or video, response1, response2, criteria,
criteria_preference (response1, response2 or tie). Of its nine tasks, one file each, those whose responses are texts are
read (text-to-text, text-image-to-text, text-video-to-text). Metric, by evaluation_experiments/run_exp.py there: the
share of right judgments, without the ties. Equal to that script on random scores. Ours: the criterion follows the
prompt (that script has it in the system message of a judge), and a tie of scores counts half.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from curate.reward.data import Example
from curate.reward.figures import Figure, mean
from curate.reward.foreign.benchmark import Benchmark, Media, hits
from curate.reward.metrics import Scores
from curate.shards.rows import BadRowError, Row

RANKS = {"response1": (1, 2), "response2": (2, 1), "tie": (1, 1)}
FILES = {".mp4", ".avi", ".mov", ".webm", ".gif", ".png", ".jpg", ".jpeg", ".webp", ".wav", ".mp3", ".flac"}


def parse(row: Row, media: Media) -> Example:
    """The example of a row. Raises BadRowError."""
    preference = row.text("criteria_preference")
    if preference not in RANKS:
        raise BadRowError("criteria_preference", preference, "response1, response2 or tie")
    responses = tuple(row.text(name, empty=True) for name in ("response1", "response2"))
    if Path(responses[0]).suffix.lower() in FILES and not any(map(str.isspace, responses[0])):
        raise BadRowError("response1", responses[0], "a text: tasks whose responses are media are not supported")
    return Example(
        item_id=row.identity(),
        prompt=f"{row.text('prompt')}\n\nCriterion: {row.text('criteria')}",
        responses=responses,
        ranks=RANKS[preference],
        images=media.images(row, "image"),
        video=media.video(row, "video"),
    )


def metric(examples: Sequence[Example], scores: Scores) -> dict[str, Figure]:
    """accuracy, over the pairs that are no ties."""
    return {"accuracy": mean(hits(examples, scores), np.array([len(set(example.ranks)) > 1 for example in examples]))}


OMNI_REWARDBENCH = Benchmark(
    name="omni-rewardbench",
    title="Omni-RewardBench",
    required={"prompt", "response1", "response2", "criteria", "criteria_preference"},
    absent={"response1_path", "response2_path", "audio", "audio_path"},
    parse=parse,
    metric=metric,
    citation="Jin et al. (2025). Omni-Reward: Towards Generalist Omni-Modal Reward Modeling with Free-Form "
    "Preferences. arXiv 2510.23451",
)
