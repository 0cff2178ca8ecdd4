"""``curate evaluate`` and ``curate score``: what a reward model is worth, and what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cli.options import JsonOption, pairs
from cli.output import progress_bar, put, put_json, put_table, say
from cli.train import put_evaluations

Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, …; the best there is when absent.", metavar="NAME")
]
MediaOption = Annotated[Path | None, typer.Option("--media", help="Where relative paths begin.", metavar="DIR")]


def evaluate(
    data: Annotated[Path, typer.Argument(help="A benchmark folder of ours, or a file.", metavar="DATA")],
    model: Annotated[
        Path | None, typer.Option("--model", help="A trained model; without one, the baselines.", metavar="DIR")
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option("--benchmark", help="DATA is this foreign benchmark; auto: by its columns.", metavar="NAME"),
    ] = None,
    config: Annotated[str, typer.Option("--config", help="Of our own: 4way, pairwise, …", metavar="NAME")] = "",
    rename: Annotated[
        list[str] | None,
        typer.Option("--map", help="A column of the file that the benchmark calls otherwise.", metavar="ITS=THEIRS"),
    ] = None,
    media: MediaOption = None,
    orders: Annotated[int, typer.Option("--orders", min=2, help="Orders of the responses to ask in.", metavar="K")] = 4,
    device: Device = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a reward model on a benchmark, beside chance, length, consensus and itself made blind.

    Foreign benchmarks: vl-rewardbench, multimodal-rewardbench, mm-rlhf-rewardbench, videorewardbench, reward-bench-2,
    mr2bench-image, mr2bench-video, from local files, by their own metrics too.

    \b
    Example:
      curate evaluate shards/benchmark --model model
      curate evaluate vlrb.parquet --benchmark auto --model model
    """
    from curate.reward.quiet import quiet
    from pipelines.evaluation import evaluate as job

    with quiet():
        report = job(
            data,
            model,
            benchmark=benchmark,
            config=config,
            media=media,
            rename=pairs(rename, "--map") or None,
            orders=orders,
            device=device,
        )
    if as_json:
        put_json(report)
        return
    say(f"{report.data}: by {model or 'the baselines'}")
    put_evaluations(report.evaluations)
    if report.official:
        say("by its own metric:")
        put_table(("figure", "value"), [(name, round(value, 4)) for name, value in report.official.items()])
    if report.ceiling:
        say(f"a judge who knows the true order would score about {report.ceiling.mean:.2f}")


def score(
    model: Annotated[Path, typer.Argument(help="A trained model.", metavar="MODEL_DIR")],
    data: Annotated[Path, typer.Argument(help="A shard folder, a Parquet or a JSONL file.", metavar="DATA")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write JSONL here instead of to stdout.", metavar="FILE")
    ] = None,
    media: MediaOption = None,
    orders: Annotated[
        int, typer.Option("--orders", min=1, help="Average over so many orders (layout causal).", metavar="K")
    ] = 1,
    device: Device = None,
) -> None:
    """Score the responses of every example, N in one pass: a JSON line each, in the order of the data.

    \b
    Example:
      curate score model prompts.jsonl --out scores.jsonl
    """
    from curate.reward.quiet import quiet
    from pipelines.evaluation import score as job
    from pipelines.evaluation import write_scores

    with quiet(), progress_bar() as progress:
        rows = job(model, data, media=media, orders=orders, device=device, progress=progress)
        if out is None:
            for row in rows:
                put(json.dumps(row))
        else:
            say(f"{out}: {write_scores(rows, out):,} examples")
