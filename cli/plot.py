"""``curate plot``: pictures of a store as SVG or PNG."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from cli.options import (
    ControlOption,
    CriterionOption,
    JsonOption,
    RunOption,
    StoreOption,
    criterion_of,
    names,
    settings,
)
from cli.output import put, put_json
from schemas.choices import PlotKind


def plot(
    kind: Annotated[PlotKind, typer.Argument(help="What to draw.")],
    prompt: Annotated[str, typer.Argument(help="For prompt: its id.", metavar="[ID]")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", help="The file, *.svg or *.png. Default: the name and .svg.", metavar="FILE")
    ] = None,
    store: StoreOption = None,
    run: RunOption = "",
    criterion: CriterionOption = None,
    control: ControlOption = None,
    validation: Annotated[
        Path | None,
        typer.Option("--validation-report", help="For calibration: output of curate validate --json.", metavar="FILE"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw the leaderboard, votes between pairs of models, calibration, annotators or one prompt.

    Equal data give equal bytes. In Python, curate.plot returns the same as a matplotlib figure. Requires the extra
    "plot".

    \b
    Example:
      curate plot leaderboard --out leaderboard.png
      curate plot prompt p0012
    """
    from pipelines.plotting import plot as job
    from pipelines.plotting import save

    base = settings()
    figure = job(
        kind,
        store or base.store,
        prompt=prompt,
        run=run,
        criterion=criterion_of(criterion, run),
        control=base.denoise.control if control is None else names(control),
        validation=validation,
    )
    name = re.sub(r"[^\w.-]", "-", prompt) or kind
    report = save(figure, kind, out or Path(f"{name}.svg"))
    put_json(report) if as_json else put(report.out)
