"""The task file: one row a vote to ask, to be handed to annotators, filled in, and read by ``curate ingest``."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl

from annotations.tasks.formats import labelling_config, rendered
from schemas.errors import CurateError
from schemas.plan import TaskFormat

COLUMNS = (
    "task_id",
    "prompt_id",
    "question",
    "video",
    "left",
    "right",
    "left_text",
    "right_text",
    "outcome",
    "annotator_id",
)
"""outcome (left, right, tie or both_bad) and annotator_id are empty: they are the annotator's to fill in."""
PAIR = ("prompt_id", "first", "second")


def lay_out(
    asked: pl.DataFrame, prompts: pl.DataFrame, responses: pl.DataFrame, *, plan: str, rng: np.random.Generator
) -> pl.DataFrame:
    """The tasks, COLUMNS as text, in the order in which to ask them.

    asked: prompt_id, first, second; one row a vote. prompts: prompt_id, question, video. responses: prompt_id,
    response_id, text. plan: what the task ids begin with.
    A pair that is asked again swaps sides, and over all pairs each stands left as often as right, to one vote. Tasks on
    one prompt are spread over the file, so that whoever takes a stretch of it sees many.
    """
    asked = asked.sort(PAIR)[rng.permutation(len(asked))]
    jitter = pl.Series(rng.random(len(asked)))
    sides = asked.group_by(PAIR, maintain_order=True).agg(odd=pl.len() % 2 == 1)
    sides = sides.sort("odd", maintain_order=True).with_columns(start=pl.int_range(pl.len()) % 2).drop("odd")
    asked = asked.join(sides, on=PAIR, how="left", maintain_order="left").with_columns(
        swapped=(pl.col("start") + pl.int_range(pl.len()).over(PAIR)) % 2 == 1,
        turn=(pl.int_range(pl.len()).over("prompt_id") + jitter) / pl.len().over("prompt_id"),
    )
    tasks = asked.sort("turn", maintain_order=True).with_columns(
        task_id=pl.format("{}-{}", pl.lit(plan), (pl.int_range(pl.len()) + 1).cast(pl.String).str.zfill(5)),
        left=pl.when("swapped").then("second").otherwise("first"),
        right=pl.when("swapped").then("first").otherwise("second"),
        outcome=pl.lit(None, pl.String),
        annotator_id=pl.lit(None, pl.String),
    )
    told = prompts.select("prompt_id", "question", "video")
    tasks = tasks.join(told, on="prompt_id", how="left", maintain_order="left", validate="m:1")
    for side in ("left", "right"):
        texts = responses.select("prompt_id", pl.col("response_id").alias(side), pl.col("text").alias(f"{side}_text"))
        tasks = tasks.join(texts, on=["prompt_id", side], how="left", maintain_order="left", validate="m:1")
    return tasks.select(COLUMNS)


def write_tasks(tasks: pl.DataFrame, out: Path, file_format: TaskFormat) -> tuple[bool, Path | None]:
    """Write the tasks as the file ``out``, and what belongs beside it, each whole or not at all.

    Returns whether anything was written (not where the very same stands there already), and the file beside it.
    Raises CurateError where something else stands there, which may be half filled in.
    """
    contents = {out: rendered(tasks, file_format)}
    beside = out.with_name(f"{out.stem}-config.xml") if file_format == "label-studio" else None
    if beside:
        contents = {beside: labelling_config(tasks), **contents}
    missing = [path for path, content in contents.items() if not _stands(path, content)]
    for path in missing:
        _write(path, contents[path])
    return bool(missing), beside


def _stands(path: Path, content: bytes) -> bool:
    """Whether the file holds just this. Raises CurateError where it holds something else."""
    if not path.exists() and not path.is_symlink():
        return False
    if path.is_file() and path.read_bytes() == content:
        return True
    what = "exists, and holds something else" if path.is_file() else "exists, and is no file"
    raise CurateError(f"{path}: {what}", hint="give another --out, or remove it if nobody has filled it in")


def _write(path: Path, content: bytes) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    finally:
        fresh.unlink(missing_ok=True)
