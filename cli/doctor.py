"""``curate doctor``: what a backbone can do, found out by running it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from cli.output import plural, put_json, put_table, say
from cli.train import training_config
from schemas.errors import CHECK_FAILED

if TYPE_CHECKING:
    from schemas.reward import DoctorReport, ModalityReport


def doctor(
    backbone: Annotated[str, typer.Argument(help="A folder or a hub id.", metavar="BACKBONE")],
    config: Annotated[
        Path | None, typer.Option("--config", help="A TOML file with the settings of a training.", metavar="FILE")
    ] = None,
    preset: PresetOption = None,
    layout: LayoutOption = None,
    full: FullOption = False,
    frames: FramesOption = None,
    fps: FpsOption = None,
    video_tokens: VideoTokensOption = None,
    max_length: MaxLengthOption = None,
    precision: PrecisionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a backbone on a text, an image and a video: layouts that keep responses apart, media, LoRA, memory.

    Exit code 7 if the planned training would not work: with the layout, scores would depend on the other responses or
    their order; pixels would have no effect; LoRA finds nothing to adapt. Every training checks its layout as well.
    Requires the extra "train".

    \b
    Example:
      curate doctor Qwen/Qwen3-VL-4B-Instruct --preset paper
    """
    from curate.reward.quiet import quiet
    from pipelines.training import doctor as job

    changes: dict[str, Any] = {
        "layout": layout,
        "frames": frames,
        "fps": fps,
        "video_tokens": video_tokens,
        "max_length": max_length,
        "precision": precision,
    }
    with quiet():
        report = job(backbone, training_config(config, preset, {**changes, "backbone": backbone}, full=full))
    put_json(report) if as_json else print_doctor(report)
    if not report.sound:
        raise typer.Exit(CHECK_FAILED)


def print_doctor(report: DoctorReport) -> None:
    """Print the report: a table on stdout, the rest on stderr."""
    say(f"{report.backbone}: {report.model_type}, {report.parameters:,} parameters ({report.weights_gib:.1f} GiB)")
    header = ("modality", "status", "trains", "tokens", "tree − single", "order", "pixels", "note")
    put_table(header, [_row(modality) for modality in report.modalities])
    for name, why in report.layouts.items():
        say(f"  layout {name:<7}{f'does not work: {why}' if why else 'works'}")
    if report.lora_refusal:
        say(f"  LoRA: {report.lora_refusal}")
    elif report.lora:
        say(f"  LoRA adapts {plural(len(report.lora), 'kind')} of layers: {', '.join(report.lora)}")
    if report.activations_gib is not None:
        how = "measured" if report.measured else "extrapolated from a short pass"
        say(f"  a pass keeps {report.activations_gib:.1f} GiB and takes {report.pass_seconds:.1f} s, {how}")
    if report.tokens_1080p is not None:
        say(f"  a clip of 1080p has {report.tokens_1080p:,} tokens")
    for warning in report.warnings:
        say(f"  note: {warning}")
    working = [name for name, why in report.layouts.items() if not why]
    if report.layouts[report.layout]:
        say(f"the layout {report.layout} does not work: use --layout {' or '.join(working)}")


def _row(report: ModalityReport) -> tuple[str, ...]:
    differences = (report.tree_difference, report.order_difference, report.media_difference)
    cells = ("" if value is None else f"{value:.0e}" for value in differences)
    trains = "yes" if report.trains else "no" if report.status == "works" else ""
    tokens = "" if report.tokens is None else f"{report.tokens:,}"
    return (report.modality, report.status, trains, tokens, *cells, report.reason or report.tree_refusal)
