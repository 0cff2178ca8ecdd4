"""``curate evaluate`` and ``curate score``: metrics and scores of a reward model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cli.options import (
    DeviceOption,
    DtypeOption,
    EngineOption,
    JsonOption,
    TemplateOption,
    WorkersOption,
    engine_config,
    pairs,
)
from cli.output import progress_bar, put, put_json, put_table, say, values
from cli.train import print_evaluations

MediaOption = Annotated[
    Path | None, typer.Option("--media", help="Folder that relative paths start from.", metavar="DIR")
]


def evaluate(
    data: Annotated[Path, typer.Argument(help="A folder of shards, or a file.", metavar="DATA")],
    model: Annotated[
        Path | None, typer.Option("--model", help="A trained model; without one, only baselines.", metavar="DIR")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="Compare with this model on the same items.", metavar="DIR")
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option("--benchmark", help="DATA is this foreign benchmark; auto: detect it.", metavar="NAME"),
    ] = None,
    config: Annotated[
        str, typer.Option("--subset", help="Config of the shards: 4way, pairwise, …", metavar="NAME")
    ] = "",
    rename: Annotated[
        list[str] | None,
        typer.Option("--rename", help="Rename a column of the file to the benchmark's name.", metavar="COLUMN=NAME"),
    ] = None,
    media: MediaOption = None,
    orders: Annotated[int, typer.Option("--orders", min=2, help="Orders of the responses to score.", metavar="K")] = 4,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    template: TemplateOption = None,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a reward model on a benchmark, next to shuffled controls and baselines.

    Foreign benchmarks are read from local files and also scored by their own metrics: vl-rewardbench,
    multimodal-rewardbench, mm-rlhf-rewardbench, videorewardbench, reward-bench-2, mr2bench-image, mr2bench-video,
    omni-rewardbench. ± is one standard error, clustered by video; p a paired permutation test over these clusters.

    \b
    Example:
      curate evaluate shards/benchmark --model model
      curate evaluate vlrb.parquet --benchmark auto --model model
      curate evaluate vlrb.parquet --benchmark auto --model model --against other
    """
    from curate.reward.quiet import quiet
    from pipelines.evaluation import evaluate as job
    from schemas.reward import COMPARISON, OFFICIAL

    with quiet():
        report = job(
            data,
            model,
            against=against,
            benchmark=benchmark,
            config=config,
            media=media,
            rename=pairs(rename, "--rename") or None,
            orders=orders,
            device=device,
            dtype=dtype,
            template=template,
            engine=engine_config(engine, workers),
        )
    if as_json:
        put_json(report)
        return
    say(f"{report.data}: {model or 'baselines'}")
    print_evaluations(report.evaluations, sources=not report.official)
    if report.official:
        say("official metrics:")
        put_table(tuple(OFFICIAL), values(OFFICIAL, report.official))
    if report.comparison:
        say(f"{model} against {against}, on the same items:")
        put_table(tuple(COMPARISON), values(COMPARISON, report.comparison))
    ceiling = report.ceiling.mean if report.ceiling else report.evaluations[0].overall.ceiling
    if ceiling is None:
        say("expected top-1 of a judge that knows the true order: unknown, the data have no votes")
    else:
        say(f"expected top-1 of a judge that knows the true order: {ceiling:.2f}")


def score(
    model: Annotated[Path, typer.Argument(help="A trained model.", metavar="MODEL_DIR")],
    data: Annotated[Path, typer.Argument(help="A shard folder, a Parquet or a JSONL file.", metavar="DATA")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write JSONL to this file instead of stdout.", metavar="FILE")
    ] = None,
    media: MediaOption = None,
    orders: Annotated[
        int, typer.Option("--orders", min=1, help="Average over this many orders (layout causal).", metavar="K")
    ] = 1,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    template: TemplateOption = None,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score the N responses of each example in one pass; print a JSON line per example, in the order of the data.

    \b
    Example:
      curate score model prompts.jsonl --out scores.jsonl
      curate score model prompts.jsonl --engine ray --workers 8 --out scores.jsonl
    """
    from curate.reward.quiet import quiet
    from pipelines.evaluation import score as job
    from pipelines.evaluation import write_scores
    from schemas.outputs import WrittenScores

    with quiet(), progress_bar() as progress:
        rows = job(
            model,
            data,
            media=media,
            orders=orders,
            device=device,
            dtype=dtype,
            template=template,
            engine=engine_config(engine, workers),
            progress=progress,
        )
        if out is None:
            for row in rows:
                put(json.dumps(row))
            return
        written = WrittenScores(out=str(out), examples=write_scores(rows, out))
    put_json(written) if as_json else say(f"{out}: {written.examples:,} examples")
