"""The tables of a store: every column with its SQL type and meaning."""

from __future__ import annotations

from typing import NamedTuple

SCHEMA_VERSION = 1
"""Version of the tables below and of the shards; written into every manifest."""


class Column(NamedTuple):
    name: str
    type: str
    meaning: str


TABLES: dict[str, tuple[Column, ...]] = {
    "prompts": (
        Column("prompt_id", "VARCHAR PRIMARY KEY", "the prompt"),
        Column("question", "VARCHAR", "what is asked"),
        Column("video", "VARCHAR", "path or id of its video"),
        Column("from_file", "BOOLEAN NOT NULL", "true: from a file of prompts; false: only mentioned in votes"),
        Column("category", "VARCHAR", "its category; NULL if unknown"),
    ),
    "responses": (
        Column("prompt_id", "VARCHAR NOT NULL", "the prompt it answers"),
        Column("response_id", "VARCHAR NOT NULL", "unique within its prompt"),
        Column("model", "VARCHAR", "the model that gave it; NULL when not known"),
        Column("text", "VARCHAR", "what it says"),
        Column("from_file", "BOOLEAN NOT NULL", "true: from a file of responses; false: only mentioned in votes"),
    ),
    "batches": (
        Column("batch_id", "VARCHAR PRIMARY KEY", "digest of the batch's files, mapping and place in the store"),
        Column("seq", "INTEGER NOT NULL", "1, 2, … in the order of ingest"),
        Column("config", "JSON NOT NULL", "how it was read"),
        Column("counts", "JSON NOT NULL", "rows, votes, duplicates, rejects, …"),
    ),
    "files": (
        Column("batch_id", "VARCHAR NOT NULL", "the ingest that read it"),
        Column("file_id", "INTEGER NOT NULL", "1, 2, … over the whole store"),
        Column("path", "VARCHAR NOT NULL", "as it was given"),
        Column("sha256", "VARCHAR NOT NULL", "digest of its bytes"),
        Column("counts", "JSON NOT NULL", "rows, votes, duplicates, rejects"),
    ),
    "votes": (
        Column("vote_key", "UHUGEINT NOT NULL", "identity: md5 of the platform id, or of content and occurrence"),
        Column("prompt_id", "VARCHAR NOT NULL", "the prompt judged"),
        Column("response_left", "VARCHAR NOT NULL", "the response shown left; if not sides_known, the first named"),
        Column("response_right", "VARCHAR NOT NULL", "the other response"),
        Column("outcome", "VARCHAR NOT NULL", "left | right | tie | both_bad"),
        Column("sides_known", "BOOLEAN NOT NULL", "whether left and right are what the annotator saw"),
        Column("annotator_id", "VARCHAR", "who voted; NULL when anonymous"),
        Column("voted_at", "TIMESTAMP", "when, UTC"),
        Column("seconds", "DOUBLE", "time on the task, seconds"),
        Column("weight", "DOUBLE NOT NULL", "how much it counts, above 0"),
        Column("group_id", "VARCHAR", "votes that were judged together share it (one ranking, one session); else NULL"),
        Column("platform_id", "VARCHAR", "the platform's id of the vote"),
        Column("file_id", "INTEGER NOT NULL", "the file it came from"),
        Column("line", "BIGINT NOT NULL", "its line there"),
        Column("meta", "JSON", "what the platform's export says beyond these, without personal data; else NULL"),
        Column("criterion", "VARCHAR", "by what the responses were compared; NULL if the file does not say"),
    ),
    "controls": (
        Column("control_key", "UHUGEINT NOT NULL", "identity: md5 of platform id, content and occurrence"),
        Column("prompt_id", "VARCHAR NOT NULL", "the prompt of a question whose answer was known; it is no vote"),
        Column("response_left", "VARCHAR NOT NULL", "as in votes"),
        Column("response_right", "VARCHAR NOT NULL", "as in votes"),
        Column("outcome", "VARCHAR NOT NULL", "what was answered: left | right | tie | both_bad"),
        Column("answer", "VARCHAR NOT NULL", "what is right: left | right | tie | both_bad"),
        Column("sides_known", "BOOLEAN NOT NULL", "as in votes"),
        Column("annotator_id", "VARCHAR", "who answered; NULL when anonymous"),
        Column("voted_at", "TIMESTAMP", "when, UTC"),
        Column("seconds", "DOUBLE", "time on the task, seconds"),
        Column("platform_id", "VARCHAR", "the platform's id of the answer"),
        Column("file_id", "INTEGER NOT NULL", "the file it came from"),
        Column("line", "BIGINT NOT NULL", "its line there"),
        Column("meta", "JSON", "as in votes"),
    ),
    "rejects": (
        Column("batch_id", "VARCHAR NOT NULL", "the ingest that rejected it"),
        Column("file_id", "INTEGER NOT NULL", "the file it came from"),
        Column("file", "VARCHAR NOT NULL", "that file's path"),
        Column("line", "BIGINT NOT NULL", "its line there (the item or row number in JSON arrays and Parquet)"),
        Column("column_name", "VARCHAR", "the column at fault; NULL when it is the whole row"),
        Column("value", "VARCHAR", "what stood there"),
        Column("reason", "VARCHAR NOT NULL", "a code of REJECT_REASONS"),
        Column("message", "VARCHAR NOT NULL", "the reason in words"),
        Column("row", "VARCHAR", "the row as it was read"),
        Column("vote_key", "UHUGEINT", "identity of the vote, where it got that far"),
    ),
    "runs": (
        Column("run_id", "VARCHAR PRIMARY KEY", "digest of step, config, input and code version"),
        Column("seq", "INTEGER NOT NULL", "order in which runs were last asked for"),
        Column("step", "VARCHAR NOT NULL", "denoise | export-train | export-benchmark | release"),
        Column("config", "JSON NOT NULL", "the job's whole config"),
        Column("inputs", "JSON NOT NULL", "digests and runs that it read"),
        Column("code_version", "VARCHAR NOT NULL", "version and source digest of curate"),
        Column("seed", "BIGINT", "seed of its randomness; NULL where there is none"),
        Column("report", "JSON NOT NULL", "what the job said"),
    ),
    "rankings": (
        Column("run_id", "VARCHAR NOT NULL", "the denoise run"),
        Column("prompt_id", "VARCHAR NOT NULL", "the prompt"),
        Column("response_id", "VARCHAR NOT NULL", "the response"),
        Column("component", "INTEGER NOT NULL", "responses that votes connect share it; 0 is the largest"),
        Column("rank", "INTEGER NOT NULL", "1 = best within the component; equals share a rank"),
        Column("score", "DOUBLE NOT NULL", "the ranker's score, higher is better"),
        Column("strength", "DOUBLE NOT NULL", "posterior mean strength by the hierarchical ranker, logits"),
        Column("strength_se", "DOUBLE NOT NULL", "its posterior standard deviation, logits"),
        Column("covariance", "FLOAT[] NOT NULL", "of strength with the prompt's ranked responses, by id, logits²"),
        Column("best_rank", "INTEGER NOT NULL", "best rank of its 90% interval"),
        Column("worst_rank", "INTEGER NOT NULL", "worst rank of its 90% interval"),
    ),
    "ranker_scores": (
        Column("run_id", "VARCHAR NOT NULL", "the denoise run"),
        Column(
            "ranker",
            "VARCHAR NOT NULL",
            "the ranker; those that the run used, all with --compare",
        ),
        Column("prompt_id", "VARCHAR NOT NULL", "the prompt"),
        Column("response_id", "VARCHAR NOT NULL", "the response"),
        Column("rank", "INTEGER NOT NULL", "1 = best within the component, by this ranker"),
        Column("score", "DOUBLE NOT NULL", "its score, higher is better"),
    ),
    "prompt_stats": (
        Column("run_id", "VARCHAR NOT NULL", "the denoise run"),
        Column("prompt_id", "VARCHAR NOT NULL", "the prompt"),
        Column("status", "VARCHAR NOT NULL", "ranked | disconnected | too_few_votes | skipped"),
        Column("votes", "BIGINT NOT NULL", "votes used"),
        Column("ties", "BIGINT NOT NULL", "of them tie or both_bad"),
        Column("responses", "INTEGER NOT NULL", "responses with a vote, or given in a file"),
        Column("pairs_covered", "INTEGER NOT NULL", "pairs with a vote"),
        Column("pairs_possible", "INTEGER NOT NULL", "n (n − 1) / 2"),
        Column("components", "INTEGER NOT NULL", "groups that no vote connects; 1 = connected"),
        Column("cyclic_triads", "BIGINT NOT NULL", "cyclic triads: triples whose majorities form a cycle"),
        Column("cost", "DOUBLE", "cost: vote weight that disagrees with the final order"),
        Column("fas_cost", "DOUBLE", "cost of the feedback-arc-set order; NULL if that was not run"),
        Column("bound", "DOUBLE", "proven lower bound on any order's cost; NULL if feedback-arc-set was not run"),
        Column(
            "agreement",
            "DOUBLE",
            "mean Kendall tau-b between the members of the ensemble or stack; else NULL",
        ),
        Column("expected_tau", "DOUBLE", "expected Kendall tau of the final order to the truth; NULL if not connected"),
        Column("converged", "BOOLEAN NOT NULL", "every ranker that was run converged"),
    ),
    "splits": (
        Column("prompt_id", "VARCHAR PRIMARY KEY", "the prompt"),
        Column("unit", "VARCHAR NOT NULL", "its video, itself, or what it resembles: what is never divided"),
        Column("split", "VARCHAR NOT NULL", "train | benchmark; never changes once written"),
        Column("config", "JSON NOT NULL", "the SplitConfig it was decided by; the same in every row"),
    ),
    "published": (
        Column("release", "VARCHAR NOT NULL", "the release whose benchmark holds it: name-version"),
        Column("prompt_id", "VARCHAR NOT NULL", "the prompt, which may never enter a training set again"),
        Column("question", "VARCHAR", "what was asked; NULL when not known"),
        Column("video", "VARCHAR", "its video, as ingested"),
        Column("sha256", "VARCHAR", "digest of the video's bytes; NULL where they were not seen"),
        Column("phash", "UBIGINT[]", "perceptual hashes of its frames, as in media; NULL where none were taken"),
    ),
    "media": (
        Column("video", "VARCHAR PRIMARY KEY", "as prompts name it"),
        Column("path", "VARCHAR NOT NULL", "its file, relative to the media folder; empty if there is none"),
        Column("status", "VARCHAR NOT NULL", "ok, or a code of MEDIA_REJECTS"),
        Column("reason", "VARCHAR NOT NULL", "the defect; empty if ok"),
        Column("kind", "VARCHAR", "video | image; this and the columns below are NULL if not ok"),
        Column("duration", "DOUBLE", "seconds; NULL for an image"),
        Column("frames", "BIGINT", "number of frames"),
        Column("fps", "DOUBLE", "mean frames per second; NULL for an image"),
        Column("variable_frame_rate", "BOOLEAN", "whether frames are shown for unequal durations; NULL for an image"),
        Column("width", "INTEGER", "pixels of a displayed frame, after rotation; pixels are taken as square"),
        Column("height", "INTEGER", "as width"),
        Column("codec", "VARCHAR", "codec of the video stream, or format of the image"),
        Column("sha256", "VARCHAR", "digest of its bytes"),
        Column(
            "phash", "UBIGINT[]", "perceptual hashes of 8 frames (an image: 1): whole, without 3% and 6% at each side"
        ),
        Column("bytes", "BIGINT", "size of the file; NULL if there is none"),
        Column("mtime_ns", "BIGINT", "modification time of the file: with its size it shows whether the file changed"),
        Column("timeout_s", "DOUBLE NOT NULL", "time limit for decoding, seconds"),
        Column("probe_version", "INTEGER NOT NULL", "version of the probing code"),
    ),
}
