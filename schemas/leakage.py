"""Leakage between training and benchmark: the thresholds, and one pair of prompts that is too similar."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Document

LeakRule = Literal["prompt", "video", "near video", "video and question", "question"]


class LeakConfig(Document):
    """Thresholds above which a training prompt and a benchmark prompt count as the same."""

    renamed = {"least_bits": "min_bits"}

    near_video: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Largest distance of near-duplicate videos (curate.media.copies): edited copies are up to about 0.2 from their
    original, unrelated natural videos more than 0.6. For videos of earlier releases, which have no fingerprints: the
    share of the bits in the perceptual hashes of both that only one has."""
    near_video_with_question: Annotated[float, Field(ge=0, le=1)] = 0.3
    """The same threshold if the questions are near-duplicates too."""
    min_bits: Annotated[int, Field(ge=0)] = 24
    """Mean number of hash bits that two videos need to be compared by hashes: those of almost uniform pictures have few
    bits and may be equal by accident."""
    question_similarity: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Smallest Jaccard similarity of near-duplicate questions, over their words and pairs of words
    (curate.leakage.questions)."""
    unhashed_videos: Literal["by-name", "suspect"] = "by-name"
    """How to compare videos without a known digest: by their names, or (suspect) by the question alone."""
    on_leak: Literal["stop", "drop"] = "stop"
    """On a leak: stop the build with the evidence, or exclude the training prompt and count it. If an earlier release
    trained on it, the benchmark prompt is excluded."""
    cleared: tuple[tuple[str, str], ...] = ()
    """Pairs of prompt ids, training first, that were reviewed and are no leak."""


class Leak(Document):
    """One training prompt that is too similar to one benchmark prompt, with the evidence."""

    rule: LeakRule
    train: str
    """The training prompt."""
    benchmark: str
    """The benchmark prompt."""
    train_release: str
    """The release that trains on it; empty: the one being built or verified."""
    benchmark_release: str
    """The release whose benchmark has the other; empty: the one being built or verified."""
    distance: float | None
    """Distance of the videos, 0 (equal) to 1; null if unknown or above both thresholds."""
    similarity: float
    """Jaccard similarity of the questions, 0 to 1; 1: the same words."""
    videos: tuple[str | None, str | None]
    questions: tuple[str, str]
