"""``curate train`` and ``curate merge``: shards to a reward model, and its adapters into the backbone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.options import JsonOption
from cli.output import plural, progress_bar, put_json, put_table, say
from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.reward import EvaluationReport
    from schemas.training import TrainConfig, TrainReport

Paths = list[Path] | None


def train(
    out: Annotated[Path, typer.Option("--out", help="The folder to make.", metavar="DIR")],
    config: Annotated[
        Path | None, typer.Argument(help="What options do not say: a TOML file.", metavar="CONFIG.toml")
    ] = None,
    shards: Annotated[Paths, typer.Option("--shards", help="What to learn (again for more).", metavar="DIR")] = None,
    validation: Annotated[
        Paths, typer.Option("--validation", help="What to hold out. Default: a tenth of the prompts.", metavar="DIR")
    ] = None,
    media: Annotated[
        Path | None, typer.Option("--media", help="Where relative paths of videos begin.", metavar="DIR")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", help='A folder, a hub id, or "scratch".', metavar="PATH")
    ] = None,
    preset: Annotated[Literal["small", "paper"] | None, typer.Option("--preset", help="A set of choices.")] = None,
    layout: Annotated[
        Literal["causal", "tree", "set", "single"] | None, typer.Option("--layout", help="Who sees whom.")
    ] = None,
    loss: Annotated[
        Literal["top1", "plackett-luce", "bradley-terry"] | None, typer.Option("--loss", help="What to minimise.")
    ] = None,
    targets: Annotated[
        Literal["labels", "confidence"] | None, typer.Option("--targets", help="Labels, or P(i is the best).")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Train all weights, not LoRA.")] = False,
    epochs: Annotated[int | None, typer.Option("--epochs", metavar="N")] = None,
    batch: Annotated[int | None, typer.Option("--batch", help="Examples in a step.", metavar="N")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", metavar="X")] = None,
    frames: Annotated[int | None, typer.Option("--frames", help="Frames of a video.", metavar="N")] = None,
    max_length: Annotated[
        int | None, typer.Option("--max-length", help="Tokens of an example; longer ones are refused.", metavar="N")
    ] = None,
    precision: Annotated[Literal["float32", "bfloat16"] | None, typer.Option("--precision")] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N")] = None,
    allow_skips: Annotated[bool, typer.Option("--allow-skips", help="Leave out what cannot train.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in DIR.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a multi-response reward model on shards: N responses, one forward pass, N scores.

    Before the first step every example is read: missing or broken media, and rows that cannot train, stop it by name.
    Needs the extra "train". Under torchrun: torchrun --nproc-per-node 2 --no-python curate train …

    \b
    Example:
      curate train --shards shards/train --validation shards/benchmark --backbone Qwen/Qwen3-VL-4B-Instruct --out model
    """
    from pipelines.training import train as job

    changes: dict[str, Any] = {
        "shards": shards,
        "validation": validation,
        "media": media,
        "backbone": backbone,
        "layout": layout,
        "loss": loss,
        "targets": targets,
        "epochs": epochs,
        "batch": batch,
        "learning_rate": learning_rate,
        "frames": frames,
        "max_length": max_length,
        "precision": precision,
        "seed": seed,
        "allow_skips": allow_skips or None,
    }
    chosen = _config(config, preset, changes, full=full)
    with quiet_libraries(), progress_bar() as progress:
        report = job(chosen, out, resume=resume, progress=progress, tell=say)
    if report is not None:
        put_json(report) if as_json else tell_train(report)


def merge(
    model: Annotated[Path, typer.Argument(help="A trained model with adapters.", metavar="MODEL_DIR")],
    out: Annotated[Path, typer.Option("--out", help="The folder to make.", metavar="DIR")],
) -> None:
    """Fold a model's LoRA adapters into its backbone: one folder that needs no other.

    \b
    Example:
      curate merge model --out model-merged
    """
    from pipelines.evaluation import merge as job

    with quiet_libraries():
        made = job(model, out)
    say(f"{made}: {model}, its adapters folded in")


def tell_train(report: TrainReport) -> None:
    """The report in words."""
    again = " (was there already: nothing was done)" if report.reused else ""
    say(f"{report.out}: {report.layout}, {report.loss}, on {report.backbone}{again}")
    share = report.trained / report.parameters
    say(f"  {report.parameters:,} weights, {report.trained:,} of them trained ({share:.1%})")
    begun = f", {report.resumed} of them before this run" if report.resumed else ""
    say(f"  {plural(report.examples, 'example')}, {plural(report.steps, 'step')}{begun}; {report.held_out:,} held out")
    for skip in report.skipped:
        say(f"  left out: {skip.item_id}: {skip.reason}")
    put_evaluations(report.evaluations)
    if report.ceiling:
        say(f"a judge who knows the true order would score about {report.ceiling.mean:.2f}")


def put_evaluations(evaluations: tuple[EvaluationReport, ...]) -> None:
    """A table on stdout, a line a scorer."""
    header = ("scorer", "items", "top-1", "±", "pairs", "±", "tau", "ECE", "order")
    rows = []
    for evaluation in evaluations:
        row = evaluation.overall
        figures = (row.top1, row.top1_se, row.pairwise, row.pairwise_se, row.tau, row.ece, row.order_sensitivity)
        rows.append((evaluation.scorer, row.items, *(None if f is None else round(f, 3) for f in figures)))
    if rows:
        put_table(header, rows)


def _config(path: Path | None, preset: str | None, changes: dict[str, Any], *, full: bool) -> TrainConfig:
    """The file's choices, else the preset's, else the defaults, with what the options say."""
    from pipelines.settings import load_toml, updated
    from schemas.training import PRESETS, TrainConfig

    if path is not None and preset is not None:
        raise UsageError("a config and a preset both say what to do", hint="name the preset's choices in the file")
    changes = {name: [str(p) for p in value] if isinstance(value, list) else value for name, value in changes.items()}
    base = load_toml(path, TrainConfig) if path else TrainConfig.model_validate(PRESETS[preset or "small"])
    return updated(base, {**changes, "lora": False if full else None}, where="curate train")


def quiet_libraries() -> Any:
    """Progress bars and advice of the libraries would drown ours."""
    from curate.reward.quiet import quiet

    return quiet()
