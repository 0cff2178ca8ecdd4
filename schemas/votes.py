"""The fields of a vote, a prompt and a response, the spellings of outcomes, and the reasons of rejects."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Outcome = Literal["left", "right", "tie", "both_bad"]
OUTCOMES: tuple[Outcome, ...] = ("left", "right", "tie", "both_bad")
"""The integer code of an outcome is its index: 0 left, 1 right, 2 tie, 3 both_bad."""


class FieldRule(NamedTuple):
    """One field of a table and its well-known column names (lower case; the first match wins)."""

    name: str
    aliases: tuple[str, ...]
    meaning: str


WORD_BREAK = r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])"
"""Between two words of a name without separators: camel case, and letters beside digits."""


def normalized(column: str) -> str:
    """Return a column name as well-known names are spelled: ``Prompt ID``, ``promptId``, ``prompt-id`` → prompt_id.

    >>> normalized("system1Id")
    'system_1_id'
    """
    parted = re.sub(WORD_BREAK, "_", column)
    return re.sub(r"[\W_]+", "_", parted).strip("_").lower()


VOTE_FIELDS: tuple[FieldRule, ...] = (
    FieldRule(
        "vote_id",
        ("vote_id", "judgment_id", "judgement_id", "annotation_id", "assignment_id", "battle_id"),
        "the platform's own id of this vote; unique per vote",
    ),
    FieldRule(
        "prompt_id",
        ("prompt_id", "question_id", "item_id", "instance_id", "qid"),
        "which prompt (a video and a question) was judged; the column prompt if there is no other",
    ),
    FieldRule(
        "question",
        ("question", "question_text", "prompt_text", "instruction", "prompt", "input", "query", "caption"),
        "its question",
    ),
    FieldRule("video", ("video", "video_path", "video_id", "video_url", "clip"), "the prompt's video, as a path or id"),
    FieldRule("category", ("category",), "the prompt's category, by which leaderboards can be split"),
    FieldRule(
        "left",
        ("left", "response_left", "left_response", "left_id", "left_model", "model_left"),
        "the response that was shown left",
    ),
    FieldRule(
        "right",
        ("right", "response_right", "right_response", "right_id", "right_model", "model_right"),
        "the response that was shown right",
    ),
    FieldRule(
        "response_a",
        ("response_a", "response_a_id", "response_1", "response_x", "answer_a", "candidate_a"),
        "one response; its side is unknown",
    ),
    FieldRule(
        "response_b",
        ("response_b", "response_b_id", "response_2", "response_y", "answer_b", "candidate_b"),
        "the other response",
    ),
    FieldRule(
        "model_a",
        ("model_a", "model_1", "model_x", "system_a", "system_1", "system_1_id", "generator_1", "generator_a"),
        "the model of the first response",
    ),
    FieldRule(
        "model_b",
        ("model_b", "model_2", "model_y", "system_b", "system_2", "system_2_id", "generator_2", "generator_b"),
        "the model of the other response",
    ),
    FieldRule(
        "text_a", ("text_a", "response_a_text", "left_text", "output_a", "output_1"), "the first response's text"
    ),
    FieldRule(
        "text_b", ("text_b", "response_b_text", "right_text", "output_b", "output_2"), "the other response's text"
    ),
    FieldRule(
        "chosen",
        ("chosen", "preferred", "winner_id", "chosen_id"),
        "the preferred response; needs rejected, no outcome",
    ),
    FieldRule("rejected", ("rejected", "loser", "loser_id", "rejected_id"), "the response that lost"),
    FieldRule(
        "outcome",
        ("outcome", "winner", "choice", "label", "preference", "verdict", "vote"),
        "the outcome: left, right, tie, both_bad, or the name of the preferred response",
    ),
    FieldRule(
        "rank_a", ("rank_a", "rank_1", "rank_left", "system_1_rank"), "the first response's rank (1 = best) as outcome"
    ),
    FieldRule("rank_b", ("rank_b", "rank_2", "rank_right", "system_2_rank"), "the other response's rank"),
    FieldRule(
        "score_a", ("score_a", "score_1", "score_left"), "the first response's score (higher is better) as outcome"
    ),
    FieldRule("score_b", ("score_b", "score_2", "score_right"), "the other response's score"),
    FieldRule(
        "responses",
        ("responses", "candidates", "answers", "models", "generations"),
        "K responses judged together, a list",
    ),
    FieldRule(
        "rankings",
        ("rankings", "ranking", "ranks"),
        "with responses: their ranks (1 = best, ties allowed) or the responses in order, best first",
    ),
    FieldRule("scores", ("scores",), "with responses: their scores (higher is better)"),
    FieldRule(
        "group_id",
        ("group_id", "ranking_id"),
        "pairs with the same value were judged together (one ranking, one sitting); they are not independent",
    ),
    FieldRule(
        "criterion",
        ("criterion", "aspect", "dimension"),
        "by what the responses were compared; each criterion is ranked separately",
    ),
    FieldRule(
        "annotator_id",
        (
            "annotator_id",
            "annotator",
            "worker_id",
            "worker",
            "judge_hash",
            "judge",
            "judge_id",
            "rater_id",
            "rater",
            "user_id",
        ),
        "who voted; empty if unknown",
    ),
    FieldRule(
        "voted_at",
        ("voted_at", "timestamp", "submit_time", "submitted_at", "created_at", "tstamp", "date"),
        "when: ISO 8601, or seconds or milliseconds since 1970; UTC if no zone is stated",
    ),
    FieldRule(
        "seconds",
        ("seconds", "seconds_on_task", "time_on_task", "work_time_seconds", "lead_time"),
        "time on the task, seconds",
    ),
    FieldRule("weight", ("weight", "vote_weight"), "how much the vote counts; 1 if absent"),
)

PROMPT_FIELDS: tuple[FieldRule, ...] = (
    FieldRule("prompt_id", ("prompt_id", "question_id", "item_id", "task_id", "id", "qid"), "the prompt's id"),
    FieldRule(
        "question", ("question", "question_text", "prompt_text", "text", "instruction", "prompt"), "its question"
    ),
    FieldRule("video", ("video", "video_path", "video_id", "video_url", "clip"), "its video"),
    FieldRule("category", ("category",), "its category"),
)

RESPONSE_FIELDS: tuple[FieldRule, ...] = (
    FieldRule("prompt_id", ("prompt_id", "question_id", "item_id", "prompt", "qid"), "the prompt it answers"),
    FieldRule("response_id", ("response_id", "response", "answer_id", "model", "id"), "the response's id"),
    FieldRule("model", ("model", "model_name", "system"), "its model"),
    FieldRule("text", ("text", "response_text", "answer", "output", "content"), "its text"),
)

# Spellings of an outcome that do not depend on the columns; "left" and "right" require columns that state the side.
TIE_WORDS = ("tie", "draw", "equal", "same", "tied")
BOTH_BAD_WORDS = ("both_bad", "bothbad", "both bad", "tie (bothbad)", "tie (both bad)", "neither")
NO_CRITERION = "(none)"
"""The criterion of votes whose file does not state one."""
LEFT_WORDS = ("left",)
RIGHT_WORDS = ("right",)
LETTER_WORDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "a": (
        ("a", "model_a", "response_a", "a_winner", "winner_a"),
        ("b", "model_b", "response_b", "b_winner", "winner_b"),
    ),
    "x": (("x", "model_x", "response_x"), ("y", "model_y", "response_y")),
}
"""Last letter of the first response's column -> spellings of (the first response, the second response)."""
ALL_LETTER_WORDS = frozenset(word for pair in LETTER_WORDS.values() for words in pair for word in words)


def outcome_words(*, sides: bool, letters: str) -> dict[str, str]:
    """Return spelling -> outcome; "left" is the first response of the pair.

    sides: "left" and "right" name the responses. letters: the last letter of the first response's column; empty if
    letters name no response.
    """
    words = dict.fromkeys(TIE_WORDS, "tie") | dict.fromkeys(BOTH_BAD_WORDS, "both_bad")
    if sides:
        words |= dict.fromkeys(LEFT_WORDS, "left") | dict.fromkeys(RIGHT_WORDS, "right")
    if letters:
        first, second = LETTER_WORDS.get(letters, LETTER_WORDS["a"])
        words |= dict.fromkeys(first, "left") | dict.fromkeys(second, "right")
    return words


REJECT_REASONS: dict[str, str] = {
    "broken-record": "the file cannot be read here",
    "parser-crash": "the process that read the file died, failed or took too long here",
    "too-deep": "the record nests more lists and objects than allowed",
    "too-large": "the record is larger than allowed",
    "too-many-digits": "a number of the record has more digits than allowed",
    "wrong-field-count": "the row has more or fewer fields than the header",
    "bad-encoding": "the bytes are not UTF-8",
    "empty-id": "a prompt or response has no id",
    "self-comparison": "a response is compared with itself",
    "unknown-outcome": "the outcome is not a known or mapped value",
    "ambiguous-outcome": "the outcome names one response and the other side",
    "bad-ranking": "the ranking does not rank its responses",
    "bad-time": "the time cannot be read (such times are stored as NULL since version 0.2)",
    "future-vote": "the vote is dated after the ingest",
    "bad-seconds": "the time on the task is not a number of seconds, 0 or more (stored as NULL since version 0.2)",
    "bad-weight": "the weight is not a number from one millionth to a million",
    "unknown-prompt": "the prompt is not in the file of prompts",
    "unknown-response": "the file of responses has other responses to the prompt, not this one",
    "vote-id-conflict": "another vote has this vote id",
    "repeated-vote": "the annotator voted on this pair again",
    "cancelled": "the annotator cancelled, skipped or discarded it",
    "no-answer": "there is no answer, or not yet",
    "refused-work": "the platform or its requester refused this work, or the participant returned it",
}
"""Why a row can be rejected: code -> meaning."""
