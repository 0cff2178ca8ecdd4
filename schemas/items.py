"""One item of a shard: the columns of the Parquet files and the keys of the official trainer's JSONL."""

from __future__ import annotations

from typing import NamedTuple


class ItemColumn(NamedTuple):
    name: str
    type: str
    meaning: str


ITEM_COLUMNS: tuple[ItemColumn, ...] = (
    ItemColumn("item_id", "string", "digest of the prompt id and the set of response ids; unique within a config"),
    ItemColumn("prompt_id", "string", "the prompt"),
    ItemColumn("prompt", "string", "its question (its id if the question is unknown)"),
    ItemColumn("video", "string", "path of its video as ingested; null if it has none"),
    ItemColumn("response_ids", "list<string>", "the responses, in the order shown"),
    ItemColumn("models", "list<string>", "the model of each; null if unknown"),
    ItemColumn("responses", "list<string>", "text of each (its id if the text is unknown)"),
    ItemColumn("ranks", "list<int32>", "rank of each within the item, 1 = best, ties share a rank"),
    ItemColumn("scores", "list<float64>", "score of each in the prompt's ranking, higher is better"),
    ItemColumn(
        "best",
        "int32",
        "0-based position of the labelled best response, that of rank 1; null if the best rank is shared",
    ),
    ItemColumn(
        "confidence",
        "float64",
        "probability that the labelled best response is the best of the item; null if best is null",
    ),
    ItemColumn(
        "best_probabilities",
        "list<float64>",
        "probability of each response to be the best of the item; sums to 1. In benchmark and benchmark_pairwise, that "
        "of best is the largest; in other configs another may be larger, since ranks follow the ranker, and "
        "probabilities the strengths and their uncertainty",
    ),
    ItemColumn(
        "margin",
        "float64",
        "strength of the labelled best minus that of the strongest other, logits (negative if the ranker and the "
        "strengths disagree); null if best is null",
    ),
    ItemColumn(
        "difficulty",
        "string",
        "hard | medium | easy: terciles of margin, smallest first, over the eligible candidates; null if best is null",
    ),
    ItemColumn(
        "fragility",
        "int32",
        "of best, in benchmark and benchmark_pairwise of a release: votes in the smallest set found whose removal "
        "changes it, 0 if the strengths favour another response with all votes; null if no set does, and elsewhere",
    ),
    ItemColumn("run_id", "string", "the denoise run behind the ranks"),
)

RENAMED_COLUMNS = {"gap": "margin", "num_correct": "num_preferred"}
"""Old name -> current name of columns that were renamed; readers of items accept the old names."""

REMOVED_COLUMNS = ("num_incorrect",)
"""Columns that only releases of earlier versions have."""

ADDED_COLUMNS = ("fragility",)
"""Columns that releases of earlier versions lack."""

DIFFICULTIES = ("hard", "medium", "easy")

JSONL_KEYS = ("prompt", "responses", "rankings", "image", "video")
"""Keys that the trainer of arXiv 2604.10966 reads. rankings: 1 = best, aligned with responses; image and video: a path
or null."""
