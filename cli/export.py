"""``curate export``: rankings to training and benchmark shards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.options import CriterionOption, JsonOption, StoreOption, settings
from cli.output import plural, put_json, say

if TYPE_CHECKING:
    from schemas.reports import ExportReport


def export(
    kind: Annotated[Literal["train", "benchmark"], typer.Argument(help="The side to export.")],
    out: Annotated[Path, typer.Option("--out", help="The folder to create.", metavar="DIR")],
    store: StoreOption = None,
    run: Annotated[
        str | None, typer.Option("--run", help="A denoise run, by its id or a prefix.", metavar="ID")
    ] = None,
    criterion: CriterionOption = None,
    responses: Annotated[
        int | None, typer.Option("--responses-per-item", help="Responses in an item; 0: all (train).", metavar="N")
    ] = None,
    items_per_prompt: Annotated[
        int | None, typer.Option("--items-per-prompt", help="Largest number of items of one prompt.", metavar="N")
    ] = None,
    min_confidence: Annotated[
        float | None, typer.Option("--min-confidence", help="Smallest confidence of an item.", metavar="P")
    ] = None,
    rows_per_shard: Annotated[
        int | None, typer.Option("--rows-per-shard", metavar="N", help="Rows in a shard.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the items.", metavar="N")] = None,
    benchmark_fraction: Annotated[
        float | None,
        typer.Option("--benchmark-fraction", help="Share of the benchmark; fixed at first use.", metavar="P"),
    ] = None,
    split_seed: Annotated[
        int | None, typer.Option("--split-seed", help="Seed of the split; fixed at first use.", metavar="N")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write training or benchmark items as Parquet shards and as the JSONL of the paper's trainer.

    The folder appears atomically; datasets.load_dataset(DIR) loads it. Train and benchmark never share a prompt or a
    video.

    \b
    Example:
      curate export benchmark --out shards/benchmark --min-confidence 0.9
    """
    from pipelines import export as job
    from pipelines.settings import updated

    base = settings()
    changes = {
        "run": run,
        "responses": responses,
        "items_per_prompt": items_per_prompt,
        "min_confidence": min_confidence,
        "rows_per_shard": rows_per_shard,
        "seed": seed,
        "split.benchmark_fraction": benchmark_fraction,
        "split.seed": split_seed,
    }
    config = updated(base.export, changes, where="curate export")
    by = criterion or ("" if config.run else base.denoise.criterion)
    report = job(store or base.store, kind, out=out, config=config, criterion=by)
    put_json(report) if as_json else print_export(report)


def print_export(report: ExportReport) -> None:
    """Print the report on stderr."""
    reused = " (exists already; nothing written)" if report.reused else ""
    say(f"{report.out}: {report.kind} from run {report.run}, version {report.version}{reused}")
    if report.criterion:
        say(f"  by the criterion {report.criterion}")
    for name, items in report.items.items():
        ceiling = report.ceiling[name]
        confidence = f", mean confidence {ceiling.mean:.2f}" if ceiling else ""
        say(f"  {name}: {plural(items, 'item')}{confidence}")
        say(f"    from {report.candidates[name]:,} candidate sets, {report.eligible[name]:,} of them eligible")
        if ceiling:
            say("    " + ", ".join(f"{number:,} {level}" for level, number in report.difficulty[name].items()))
            say(
                f"    a perfect judge would score about {ceiling.mean:.2f} ({ceiling.low:.2f} to {ceiling.high:.2f}), "
                f"random guessing {report.floor[name]:.2f}"
            )
    say(f"  {plural(report.prompts, 'prompt')}, {plural(report.files, 'file')}, {report.bytes / 1e6:.1f} MB")
    if report.newer_votes:
        say(f"  note: {plural(report.newer_votes, 'vote')} newer than that run: run curate denoise to include them")
    for reason, count in report.excluded.items():
        say(f"  excluded: {count:,} {reason}")
