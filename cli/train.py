"""``curate train`` and ``curate merge``: train a reward model on shards; merge its adapters into the backbone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.options import (
    FpsOption,
    FramesOption,
    FullOption,
    JsonOption,
    LayoutOption,
    MaxLengthOption,
    PrecisionOption,
    PresetOption,
    VideoTokensOption,
)
from cli.output import plural, progress_bar, put_json, put_table, say, values
from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.reward import EvaluationReport, TrainConfig, TrainReport

Paths = list[Path] | None


def train(
    out: Annotated[Path, typer.Option("--out", help="The folder to write.", metavar="DIR")],
    config: Annotated[
        Path | None, typer.Argument(help="A TOML file with settings; options override it.", metavar="CONFIG.toml")
    ] = None,
    shards: Annotated[Paths, typer.Option("--shards", help="Training data; may be repeated.", metavar="DIR")] = None,
    validation: Annotated[
        Paths,
        typer.Option(
            "--validation", help="Held-out data; may be repeated. Default: a tenth of the prompts.", metavar="DIR"
        ),
    ] = None,
    media: Annotated[
        Path | None, typer.Option("--media", help="Folder that relative paths of videos start from.", metavar="DIR")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", help='A folder, a hub id, or "scratch".', metavar="PATH")
    ] = None,
    preset: PresetOption = None,
    layout: LayoutOption = None,
    template: Annotated[
        Literal["curate", "official-train", "official-readme"] | None,
        typer.Option("--template", help="How an example becomes a sequence; the official ones need layout causal."),
    ] = None,
    loss: Annotated[
        Literal["top1", "plackett-luce", "bradley-terry"] | None, typer.Option("--loss", help="Loss to minimise.")
    ] = None,
    targets: Annotated[
        Literal["labels", "confidence"] | None,
        typer.Option("--targets", help="Train toward the labels, or toward P(i is the best)."),
    ] = None,
    full: FullOption = False,
    epochs: Annotated[int | None, typer.Option("--epochs", metavar="N")] = None,
    batch: Annotated[int | None, typer.Option("--batch", help="Examples per step.", metavar="N")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", metavar="X")] = None,
    frames: FramesOption = None,
    fps: FpsOption = None,
    video_tokens: VideoTokensOption = None,
    max_length: MaxLengthOption = None,
    precision: PrecisionOption = None,
    sharding: Annotated[
        Literal["none", "fsdp"] | None,
        typer.Option("--sharding", help="Shard all weights over the processes of torchrun."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N")] = None,
    allow_skips: Annotated[
        bool, typer.Option("--allow-skips", help="Skip examples that cannot train, and count them.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the newest checkpoint in --out.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a multi-response reward model on shards: N responses, one forward pass, N scores.

    Every example is read before the first step; missing or broken media and rows that cannot train stop the training.
    Requires the extra "train". Several processes: torchrun --nproc-per-node 2 --no-python curate train …

    \b
    Example:
      curate train --shards shards/train --validation shards/benchmark --backbone Qwen/Qwen3-VL-4B-Instruct --out model
    """
    from curate.reward.quiet import quiet
    from pipelines.training import train as job

    changes: dict[str, Any] = {
        "shards": shards,
        "validation": validation,
        "media": media,
        "backbone": backbone,
        "layout": layout,
        "template": template,
        "loss": loss,
        "targets": targets,
        "epochs": epochs,
        "batch": batch,
        "learning_rate": learning_rate,
        "frames": frames,
        "fps": fps,
        "video_tokens": video_tokens,
        "max_length": max_length,
        "precision": precision,
        "sharding": sharding,
        "seed": seed,
        "allow_skips": allow_skips or None,
    }
    chosen = training_config(config, preset, changes, full=full)
    with quiet(), progress_bar() as progress:
        report = job(chosen, out, resume=resume, progress=progress, say=say)
    if report is not None:
        put_json(report) if as_json else print_train(report)


def merge(
    model: Annotated[Path, typer.Argument(help="A trained model with adapters.", metavar="MODEL_DIR")],
    out: Annotated[Path, typer.Option("--out", help="The folder to write.", metavar="DIR")],
    dtype: Annotated[
        Literal["float32", "bfloat16"], typer.Option("--dtype", help="Precision of the weights.")
    ] = "float32",
    as_json: JsonOption = False,
) -> None:
    """Merge a model's LoRA adapters into its backbone, so that the folder is self-contained.

    \b
    Example:
      curate merge model --out model-merged
    """
    from curate.reward.quiet import quiet
    from pipelines.evaluation import merge as job
    from schemas.outputs import MergedModel

    with quiet():
        made = job(model, out, dtype=dtype)
    if as_json:
        put_json(MergedModel(out=str(made), model=str(model), dtype=dtype))
    else:
        say(f"{made}: {model} with its adapters merged")


def print_train(report: TrainReport) -> None:
    """Print the report for people."""
    again = " (unchanged: the model existed already)" if report.reused else ""
    say(f"{report.out}: {report.layout}, {report.loss}, on {report.backbone}{again}")
    share = report.trained / report.parameters
    say(f"  {report.parameters:,} weights, {report.trained:,} of them trained ({share:.1%}), {report.computation}")
    before = f", {report.resumed} of them before this run" if report.resumed else ""
    say(f"  {plural(report.examples, 'example')}, {plural(report.steps, 'step')}{before}; {report.held_out:,} held out")
    for skip in report.skipped:
        say(f"  skipped: {skip.item_id}: {skip.reason}")
    print_evaluations(report.evaluations)
    if report.ceiling:
        say(f"expected top-1 of a judge that knows the true order: {report.ceiling.mean:.2f}")


def print_evaluations(evaluations: tuple[EvaluationReport, ...], *, sources: bool = True) -> None:
    """Print a table on stdout, one line per scorer; sources: then one line per source for the first scorer."""
    from schemas.reward import BY_SOURCE, TABLE

    columns = {"items": "items", **TABLE}
    if evaluations:
        rows = zip((e.scorer for e in evaluations), values(columns, [e.overall for e in evaluations]), strict=True)
        put_table(("scorer", *columns), [(scorer, *row) for scorer, row in rows])
    if sources and evaluations and evaluations[0].by_source:
        say(f"{evaluations[0].scorer}, by source:")
        put_table(tuple(BY_SOURCE), values(BY_SOURCE, evaluations[0].by_source))


def training_config(path: Path | None, preset: str | None, changes: dict[str, Any], *, full: bool) -> TrainConfig:
    """The settings of the file, else of the preset, else the defaults, overridden by the options."""
    from pipelines.settings import load_toml, updated
    from schemas.reward import PRESETS, TrainConfig

    if path is not None and preset is not None:
        raise UsageError("give a config or a preset, not both", hint="copy the preset's settings into the file")
    changes = {name: [str(p) for p in value] if isinstance(value, list) else value for name, value in changes.items()}
    base = load_toml(path, TrainConfig) if path else TrainConfig.model_validate(PRESETS[preset or "small"])
    return updated(base, {**changes, "lora": False if full else None}, where="curate train")
