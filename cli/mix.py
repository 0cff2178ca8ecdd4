"""``curate mix``: public preference datasets to one training mixture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import EngineOption, JsonOption, WorkersOption, engine_config
from cli.output import listed, plural, progress_bar, put, put_json, put_table, say
from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.mixture import MixtureReport


def mix(
    recipe: Annotated[Path | None, typer.Argument(help="A TOML file.", metavar="MIXTURE.toml")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The folder to create.", metavar="DIR")] = None,
    example: Annotated[
        bool, typer.Option("--example", help="Print the recipe of the paper's mixture, with all ten datasets.")
    ] = False,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Convert preference datasets to N-way items, without duplicates and without prompts of benchmarks.

    Reads MM-RLHF, LLaVA-Critic, RLAIF-V, VLFeedback, POVID, WildVision, Tulu, Skywork, Nectar and PKU-SafeRLHF as
    downloaded from the Hub, and items of curate. The folder appears completely or not at all; curate train --shards DIR
    and the trainer of arXiv 2604.10966 (DIR/train.jsonl) read it.

    \b
    Example:
      curate mix --example > mixture.toml
      curate mix mixture.toml --out shards/mixture
    """
    if example:
        import curate.mixture

        put((Path(curate.mixture.__file__).parent / "paper.toml").read_text(encoding="utf-8").rstrip())
        return
    if recipe is None or out is None:
        raise UsageError("give a recipe and --out", hint="curate mix --example > mixture.toml prints one")
    from pipelines.mixing import load_mixture
    from pipelines.mixing import mix as job

    with progress_bar() as progress:
        report = job(load_mixture(recipe), out, engine=engine_config(engine, workers), progress=progress)
    put_json(report) if as_json else print_mixture(report)


def print_mixture(report: MixtureReport) -> None:
    """Print the counts of each stage as a table on stdout, and the reasons on stderr."""
    from curate.mixture.writing import funnel

    header, *rows = funnel(report.sources)
    put_table(header, rows)
    for one in report.sources:
        for stage in ("invalid", "filtered", "contaminated", "duplicates"):
            if reasons := getattr(one, stage):
                say(f"{one.source}: {stage}: {listed(reasons)}")
        for reason, first in one.examples.items():
            say(f"  first {reason}: {first}")
        if one.kept_apart:
            say(f"{one.source}: {plural(one.kept_apart, 'item')} kept apart: those of one prompt give no single order")
        if not one.licence:
            say(f"{one.source}: the licence of {one.dataset} is not verified")
    for name, prompts in report.benchmarks.items():
        say(
            f"kept apart from {name}: {plural(prompts, 'prompt')}, {plural(report.contaminated[name], 'item')} left out"
        )
    media = plural(report.media, "image or video", "images and videos")
    sizes = ", ".join(f"{items:,} of {size}" for size, items in report.responses.items())
    say(f"{report.out}: {plural(report.items, 'item')} ({sizes} responses), {media}, version {report.version}")
