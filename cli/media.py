"""``curate media``: check, probe and show the videos and images of a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.options import (
    CriterionOption,
    EngineOption,
    JsonOption,
    RunOption,
    StoreOption,
    WorkersOption,
    criterion_of,
    engine_config,
    store_path,
)
from cli.output import listed, plural, progress_bar, put, put_json, put_table, say
from schemas.errors import CHECK_FAILED

if TYPE_CHECKING:
    from schemas.engine import EngineConfig
    from schemas.media import MediaFile, MediaReport

app = typer.Typer(
    name="media",
    help="Check, probe and show videos and images.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

FilesArgument = Annotated[
    list[Path] | None, typer.Argument(help="Files or folders instead of a store.", metavar="FILE")
]
MediaOption = Annotated[
    Path | None,
    typer.Option("--media", help="Folder that paths are relative to. Default: the store's.", metavar="DIR"),
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0.1, help="Time limit for each file, seconds.", metavar="S")
]
RehashOption = Annotated[
    bool, typer.Option("--rehash", help="Read every file again, even if its size and modification time are unchanged.")
]


@app.command()
def check(
    files: FilesArgument = None,
    store: StoreOption = None,
    media: MediaOption = None,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    timeout: TimeoutOption = 30.0,
    rehash: RehashOption = False,
    as_json: JsonOption = False,
) -> None:
    """List the videos and images that cannot be used; exit with 7 if there are any.

    Files that were probed before and have not changed are not read again.

    \b
    Example:
      curate media check --media videos
    """
    report = _probe(files, store, media, engine_config(engine, workers), timeout, rehash)
    if as_json:
        put_json(report.model_copy(update={"files": report.unusable}))
    else:
        print_media(report)
        if report.unusable:
            put_table(
                ("video", "status", "prompts", "reason"),
                [(f.video, f.status, f.prompts, f.reason) for f in report.unusable],
            )
    if report.unusable:
        raise typer.Exit(CHECK_FAILED)


@app.command()
def probe(
    files: FilesArgument = None,
    store: StoreOption = None,
    media: MediaOption = None,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    timeout: TimeoutOption = 30.0,
    rehash: RehashOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show duration, frames, frame rate, displayed size and codec of each video and image; --json adds digests.

    Worker processes decode the files within a time limit: a missing, broken or hanging file is listed with its reason.
    The results are saved in the store; results for given files are not saved.

    \b
    Example:
      curate media probe --media videos
      curate media probe clips/ still.png --json
    """
    report = _probe(files, store, media, engine_config(engine, workers), timeout, rehash)
    if as_json:
        put_json(report)
        return
    columns = ("video", "status", "seconds", "frames", "fps", "", "width", "height", "codec", "MB")
    put_table(columns, [_row(file) for file in report.files])
    print_media(report)


@app.command()
def frames(
    what: Annotated[str, typer.Argument(help="A prompt's id, or a file.", metavar="PROMPT|FILE")],
    out: Annotated[Path, typer.Option("--out", help="The folder to make.", metavar="DIR")],
    count: Annotated[
        int, typer.Option("--count", min=1, max=1000, help="Number of frames, at equal intervals.", metavar="N")
    ] = 8,
    form: Annotated[Literal["jpeg", "npy"], typer.Option("--format", help="JPEG files or one array.")] = "jpeg",
    quality: Annotated[int, typer.Option("--quality", min=1, max=100, help="JPEG quality.", metavar="N")] = 90,
    contact_sheet: Annotated[
        bool, typer.Option("--contact-sheet", help="Draw an image of frames, question and ranked responses.")
    ] = False,
    font: Annotated[
        Path | None, typer.Option("--font", help="TrueType font with the needed characters.", metavar="FILE")
    ] = None,
    run: RunOption = "",
    criterion: CriterionOption = None,
    store: StoreOption = None,
    media: MediaOption = None,
    engine: EngineOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Write frames of a prompt's video, or of a file, at equal intervals.

    DIR contains frame-01.jpg, … (or frames.npy of shape (T, H, W, 3) RGB), frames.json with their times in seconds, and
    contact-sheet.png with --contact-sheet.

    \b
    Example:
      curate media frames p0001 --out p0001 --contact-sheet
      curate media frames clip.mp4 --count 16 --format npy --out arrays
    """
    from pipelines.frames import take_frames

    report = take_frames(
        what,
        out=out,
        store=store_path(store),
        media=media,
        count=count,
        form=form,
        quality=quality,
        contact_sheet=contact_sheet,
        font=font,
        run=run,
        criterion=criterion_of(criterion, run),
        timeout=timeout,
        engine=engine_config(engine, None),
    )
    if as_json:
        put_json(report)
        return
    say(f"{report.out}: {plural(len(report.times), 'frame')} of {report.video}")
    for file in report.files:
        put(str(Path(report.out) / file))
    if report.missing_glyphs:
        say(f"note: the font lacks {report.missing_glyphs}: give another one with --font FILE")


def _probe(
    files: list[Path] | None,
    store: Path | None,
    media: Path | None,
    engine: EngineConfig | None,
    timeout: float,
    rehash: bool,
) -> MediaReport:
    from pipelines.media import probe_files, probe_media
    from schemas.errors import UsageError

    if files and (store or media or rehash):
        raise UsageError("--store, --media and --rehash cannot be combined with files", hint="files are always read")
    with progress_bar() as progress:
        if files:
            return probe_files(files, engine=engine, timeout=timeout, progress=progress)
        return probe_media(
            store_path(store), media=media, engine=engine, timeout=timeout, rehash=rehash, progress=progress
        )


def print_media(report: MediaReport) -> None:
    """Print the counts."""
    where = f" in {report.media}" if report.media else ""
    read = f"{report.probed:,} read now, {report.total - report.probed:,} unchanged" if report.store else ""
    say(f"{plural(report.total, 'file')}{where}" + (f": {read}" if read else ""))
    kinds = f"{plural(report.ok - report.images, 'video')} ({report.seconds:,.0f} s), {plural(report.images, 'image')}"
    say(f"  ok  {report.ok:,}: {kinds}, {report.bytes / 1e6:.1f} MB")
    if report.variable_frame_rate:
        say(f"  {plural(report.variable_frame_rate, 'video')} of a variable frame rate: sample frames by time")
    if report.rejected:
        hit = report.prompts_with_unusable_media
        prompts = f"; named by {plural(hit, 'prompt')}" if hit else ""
        say(f"  not usable  {report.total - report.ok:,}: {listed(report.rejected)}{prompts}")
    if report.prompts_without_media:
        say(f"  {plural(report.prompts_without_media, 'prompt')} without a video")
    if report.store and report.total and report.rejected.get("missing") == report.total:
        say("hint: all are missing: --media DIR sets the folder that paths are relative to")


def _row(file: MediaFile) -> tuple[object, ...]:
    rate = "variable" if file.variable_frame_rate else ""
    size = None if file.bytes is None else file.bytes / 1e6
    return (
        file.video,
        file.status,
        file.duration,
        file.frames,
        file.fps,
        rate,
        file.width,
        file.height,
        file.codec,
        size,
    )
