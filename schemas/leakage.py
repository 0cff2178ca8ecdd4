"""Leakage between training and benchmark: which likeness counts, and one pair that is too alike."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Document

LeakRule = Literal["prompt", "video", "near video", "video and question", "question"]


class LeakConfig(Document):
    """From which likeness on a training prompt and a benchmark prompt count as the same thing."""

    near_video: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Videos are near-duplicates up to this distance: of the bits that the perceptual hashes of either's frames have,
    the share that the other's have not. A video encoded anew or scaled is up to about 0.2 from what it was, unrelated
    ones of natural pictures are at least 0.4."""
    near_video_with_question: Annotated[float, Field(ge=0, le=1)] = 0.3
    """The same where the question is the same as well: two prompts that are alike in both are told apart by less."""
    least_bits: Annotated[int, Field(ge=0)] = 24
    """Bits that two videos must have between them to be compared: fewer may be equal by chance, as of nearly flat
    pictures."""
    question_similarity: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Questions are near-duplicates where so many of their runs of three words, or more, are shared (Jaccard)."""
    unhashed_videos: Literal["by-name", "suspect"] = "by-name"
    """Videos whose bytes were not seen: other names are other videos, or (suspect) the question alone decides."""
    on_leak: Literal["stop", "drop"] = "stop"
    """A training prompt that leaks: stop the build with the evidence, or leave the prompt out and count it. Where the
    earlier release is the one that trained on it, the benchmark prompt is left out."""
    cleared: tuple[tuple[str, str], ...] = ()
    """Pairs of prompt ids, training first, that somebody looked at and found to be no leak."""


class Leak(Document):
    """One training prompt that is too close to one benchmark prompt, with the evidence."""

    rule: LeakRule
    train: str
    """The prompt in training."""
    benchmark: str
    """The prompt in the benchmark."""
    train_release: str
    """The release that trains on it; empty: the one being built or verified."""
    benchmark_release: str
    """The release whose benchmark holds the other; empty: the one being built or verified."""
    distance: float | None
    """Of their videos' perceptual hashes, 0 (the same) to 1; null where not known, or too far to count."""
    similarity: float
    """Share of their questions' word triples in common, 0 to 1; 1: the same but for case, punctuation and spaces."""
    videos: tuple[str | None, str | None]
    questions: tuple[str, str]
