"""``curate status`` and ``curate run``: the content of a store, and whole recipes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import EngineOption, JsonOption, StoreOption, WorkersOption, engine_config, settings
from cli.output import listed, plural, progress_bar, put, put_json, put_table, say
from schemas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.base import Document


def status(
    store: StoreOption = None,
    equal_texts: Annotated[
        bool,
        typer.Option("--equal-texts", help="List responses of one prompt with equal or nearly identical texts."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the content of the store: votes, rejects, batches, runs.

    With --equal-texts, the groups of responses with equal texts, which curate denoise ranks as one, and those of
    nearly identical ones (the same words), which it does not.

    \b
    Example:
      curate status
      curate status --equal-texts
    """
    from pipelines import status as job

    base = settings()
    report = job(store or base.store, equal_texts=equal_texts, comparison=base.denoise.text_comparison)
    if as_json:
        put_json(report)
        return
    if equal_texts:
        groups = report.equal_texts
        rows = [
            (one.prompt_id, one.kind, " ".join(one.response_ids), " | ".join(dict.fromkeys(one.texts)))
            for one in groups
        ]
        put_table(("prompt", "kind", "responses", "texts"), rows)
        equal = sum(one.kind == "equal" for one in groups)
        say(f"{plural(equal, 'group')} of equal texts, {len(groups) - equal:,} of nearly identical ones")
        return
    ingests = plural(report.batches, "ingest")
    put(f"{report.store}  {report.bytes / 1e6:.1f} MB, schema {report.schema_version}, {ingests}")
    put(f"votes        {report.votes:,}" + (f"  ({listed(report.outcomes)})" if report.votes else ""))
    unknown = "  (elsewhere left is the first response named)" if report.sides_known < report.votes else ""
    if report.criteria:
        put(f"criteria     {len(report.criteria):,}  ({listed(report.criteria)})")
    put(f"sides known  {report.sides_known:,}{unknown}")
    put(f"rankings     {report.groups:,} K-wise")
    put(f"prompts      {report.prompts:,}" + (f"  ({listed(report.splits)})" if report.splits else ""))
    put(f"responses    {report.responses:,}  of {plural(report.models, 'model')}")
    put(f"annotators   {report.annotators:,}")
    if report.controls:
        put(f"controls     {report.controls:,} answers to control questions")
    put(f"rejects      {sum(report.rejects.values()):,}" + (f"  ({listed(report.rejects)})" if report.rejects else ""))
    if report.runs:
        put("")
        put_table(("run", "step", "did"), [(run["run"], run["step"], run["did"]) for run in report.runs])


def run(
    recipe: Annotated[str, typer.Argument(help="A TOML file, or the name of a contained recipe.", metavar="RECIPE")],
    folder: Annotated[Path, typer.Option("--dir", help="Folder that paths are relative to.", metavar="DIR")] = Path(),
    votes: Annotated[
        list[Path] | None,
        typer.Option("--vote-file", help="Your votes instead of simulated ones; may be repeated.", metavar="PATH"),
    ] = None,
    prompts: Annotated[Path | None, typer.Option("--prompts", help="Prompts of these votes.", metavar="FILE")] = None,
    responses: Annotated[
        Path | None, typer.Option("--responses", help="Responses of these votes.", metavar="FILE")
    ] = None,
    videos: Annotated[
        Path | None, typer.Option("--media", help="Folder that video paths are relative to.", metavar="DIR")
    ] = None,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the jobs of a recipe: simulate, ingest, denoise, export, release, compare, report, train.

    Finished steps are recognised, so a recipe can be run again after a change or a failure.

    \b
    Example:
      curate run mr2bench-video --dir demo
      curate run mr2bench-video --dir build --vote-file v.csv --prompts p.csv --responses r.csv --media clips
    """
    from pipelines import load_recipe
    from pipelines import run as job
    from pipelines.recipe import on_own_files, with_settings

    loaded = load_recipe(recipe)
    if votes:
        loaded = on_own_files(loaded, votes=votes, prompts=prompts, responses=responses, videos=videos)
    elif prompts or responses or videos:
        raise UsageError(
            "--prompts, --responses and --media need --vote-file", hint="--vote-file PATH gives your votes"
        )
    loaded = with_settings(loaded, settings())
    printer = printers()

    def done(step: str, report: Document) -> None:
        if not as_json:
            say(f"\n── {step} ──")
            printer[step.partition(" ")[0]](report)

    if not as_json:
        say(loaded.title)
    from contextlib import nullcontext

    from curate.reward.quiet import quiet

    with quiet() if loaded.train else nullcontext(), progress_bar() as progress:
        where = engine_config(engine, workers)
        reports = job(loaded, folder, engine=where, progress=progress, done=done, say=say)
    if as_json:
        put_json(reports)


def printers() -> dict[str, Callable[[Any], None]]:
    """Step of a recipe -> the function that prints its report."""
    from cli.denoise import print_denoise
    from cli.export import print_export
    from cli.ingest import print_ingest
    from cli.release import print_build, print_verify
    from cli.report import print_report
    from cli.simulate import print_compare, print_simulate
    from cli.train import print_train

    return {
        "simulate": print_simulate,
        "ingest": print_ingest,
        "denoise": print_denoise,
        "export": print_export,
        "release": print_build,
        "verify": print_verify,
        "compare": print_compare,
        "report": print_report,
        "train": print_train,
    }
