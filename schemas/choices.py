"""The choices of options and config keys. Without pydantic, so that ``curate --help`` starts fast."""

from __future__ import annotations

from typing import Literal

Sides = Literal["auto", "shown", "unknown"]
Repeats = Literal["last", "all", "reject"]
OnError = Literal["stop", "reject"]
Disconnected = Literal["components", "skip"]
BothBad = Literal["tie", "drop"]
EqualTexts = Literal["merge", "keep"]
"""Responses of one prompt with equal texts: one strength and rank for all, or one for each."""
PlotKind = Literal["leaderboard", "calibration", "pairs", "annotators", "prompt"]
TextComparison = Literal["careful", "exact", "loose"]
"""When texts are equal: see ``DenoiseConfig.text_comparison``."""
Link = Literal["logistic", "fixed-error"]
StrengthDistribution = Literal["normal", "heavy-tailed"]
Design = Literal["balanced", "adaptive"]
PerceptionUnit = Literal["sitting", "vote"]
Dependence = Literal["none", "taste-groups", "drift", "careless-majority", "copied-votes"]
"""How simulated votes depend on more than strengths and annotators."""
CopiedVotes = Literal["exclude", "keep"]
"""What becomes of copies of votes in a ring of accounts: the first of equal votes counts, or all do."""
HoldOut = Literal["vote", "pair", "annotator"]
"""The unit that is held out whole: single votes, all votes on a pair of one prompt, or all votes of an annotator."""
Effort = Literal["low", "normal", "high"]
"""How much work is done at most: a tenth of the configured limits, these limits, or ten times as much."""
Focus = Literal["order", "best"]
"""The goal of a plan: the whole order of every prompt, or its best response."""
TaskFormat = Literal["csv", "jsonl", "label-studio", "toloka", "mturk", "prodigy", "argilla", "potato"]
"""A table to fill in (csv, jsonl), or the input of a platform."""
