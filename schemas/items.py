"""One item of a shard: the columns of the Parquet files, and the keys of the trainer's JSONL."""

from __future__ import annotations

from typing import NamedTuple


class ItemColumn(NamedTuple):
    name: str
    type: str
    meaning: str


ITEM_COLUMNS: tuple[ItemColumn, ...] = (
    ItemColumn("item_id", "string", "digest of the prompt and the set of its responses; unique within a config"),
    ItemColumn("prompt_id", "string", "the prompt"),
    ItemColumn("prompt", "string", "its question (its id where no question is known)"),
    ItemColumn("video", "string", "path of its video as ingested; null when none"),
    ItemColumn("response_ids", "list<string>", "the responses, in the order shown"),
    ItemColumn("models", "list<string>", "the model of each; null when not known"),
    ItemColumn("responses", "list<string>", "what each says (its id where no text is known)"),
    ItemColumn("ranks", "list<int32>", "rank of each within the item, 1 = best, equals share a rank"),
    ItemColumn("scores", "list<float64>", "score of each in the prompt's ranking, higher is better"),
    ItemColumn("best", "int32", "0-based position of the best response; null when the best rank is shared"),
    ItemColumn(
        "confidence",
        "float64",
        "P(the labelled best is the best of the item), strengths taken as jointly normal; null when best is null",
    ),
    ItemColumn(
        "best_probabilities",
        "list<float64>",
        "P(it is the best of the item) of each response, strengths taken as jointly normal; sums to 1",
    ),
    ItemColumn(
        "gap",
        "float64",
        "strength of the labelled best less that of the strongest other, logits (below 0 where the ranker and the "
        "strengths disagree); null when best is null",
    ),
    ItemColumn(
        "difficulty",
        "string",
        "hard | medium | easy: terciles of gap, from the smallest, over the sets that items were drawn from; null when "
        "best is null",
    ),
    ItemColumn("run_id", "string", "the denoise run behind the ranks"),
)

DIFFICULTIES = ("hard", "medium", "easy")

JSONL_KEYS = ("prompt", "responses", "rankings", "image", "video")
"""The paper's trainer reads these: rankings 1 = best, aligned with responses; image null; video a path or null."""
