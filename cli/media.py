"""``curate media``: are the videos and images of a store sound, what are they, and what do they show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.options import JsonOption, RunOption, StoreOption, store_path
from cli.output import listed, plural, progress_bar, put, put_json, put_table, say

if TYPE_CHECKING:
    from schemas.media import MediaFile, MediaReport

app = typer.Typer(
    name="media",
    help="Videos and images: are they sound, what are they, what do they show.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

FilesArgument = Annotated[
    list[Path] | None, typer.Argument(help="Files or folders to look at, instead of a store's.", metavar="FILE")
]
MediaOption = Annotated[
    Path | None,
    typer.Option("--media", help="Where relative paths begin. Default: the store's folder.", metavar="DIR"),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes that decode. Default: one a core.", metavar="N")
]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds for one file.", metavar="S")]
RehashOption = Annotated[
    bool, typer.Option("--rehash", help="Read every file again, whatever its size and time of change say.")
]


@app.command()
def check(
    files: FilesArgument = None,
    store: StoreOption = None,
    media: MediaOption = None,
    workers: WorkersOption = None,
    timeout: TimeoutOption = 30.0,
    rehash: RehashOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say whether every video and image can be used; list those that cannot, and exit with 1 where there are any.

    What is known from before and has not changed is not read again.

    \b
    Example:
      curate media check --media videos
    """
    report = _look(files, store, media, workers, timeout, rehash)
    if as_json:
        put_json(report.model_copy(update={"files": report.bad}))
    else:
        print_media(report)
        if report.bad:
            put_table(
                ("video", "status", "prompts", "reason"), [(f.video, f.status, f.prompts, f.reason) for f in report.bad]
            )
    if report.bad:
        raise typer.Exit(1)


@app.command()
def probe(
    files: FilesArgument = None,
    store: StoreOption = None,
    media: MediaOption = None,
    workers: WorkersOption = None,
    timeout: TimeoutOption = 30.0,
    rehash: RehashOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show what each video and image is: duration, frames, rate, size as it is shown, codec; --json has digests too.

    Files are read by processes of their own, each with a time limit: what is missing, broken or hangs is listed with
    its reason and stops nothing. What is found is kept in the store; of given files nothing is kept.

    \b
    Example:
      curate media probe --media videos
      curate media probe clips/ still.png --json
    """
    report = _look(files, store, media, workers, timeout, rehash)
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
        int, typer.Option("--count", min=1, max=1000, help="Frames, spread evenly over the time.", metavar="N")
    ] = 8,
    form: Annotated[Literal["jpeg", "npy"], typer.Option("--format", help="JPEG files, or one array.")] = "jpeg",
    quality: Annotated[int, typer.Option("--quality", min=1, max=100, help="Of JPEG.", metavar="N")] = 90,
    contact_sheet: Annotated[
        bool, typer.Option("--contact-sheet", help="Draw one picture: frames, question, responses by rank.")
    ] = False,
    font: Annotated[
        Path | None, typer.Option("--font", help="A TrueType font with the letters that are needed.", metavar="FILE")
    ] = None,
    run: RunOption = "",
    store: StoreOption = None,
    media: MediaOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Write frames of a prompt's video, or of a file, each from the middle of an equal slice of its time.

    DIR gets frame-01.jpg, … (or frames.npy, of shape (T, H, W, 3) RGB), frames.json with their times in seconds, and
    contact-sheet.png where it is asked for. It appears when it is whole.

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
        timeout=timeout,
    )
    if as_json:
        put_json(report)
        return
    say(f"{report.out}: {plural(len(report.times), 'frame')} of {report.video}")
    for file in report.files:
        put(str(Path(report.out) / file))
    if report.unreadable:
        say(f"note: the font has no picture of {report.unreadable}: --font FILE gives one that has")


def _look(
    files: list[Path] | None,
    store: Path | None,
    media: Path | None,
    workers: int | None,
    timeout: float,
    rehash: bool,
) -> MediaReport:
    from pipelines.media import probe_files, probe_media
    from schemas.errors import UsageError

    if files and (store or media or rehash):
        raise UsageError("files and --store, --media or --rehash: give one or the other", hint="files are always read")
    with progress_bar() as progress:
        if files:
            return probe_files(files, workers=workers, timeout=timeout, progress=progress)
        return probe_media(
            store_path(store), media=media, workers=workers, timeout=timeout, rehash=rehash, progress=progress
        )


def print_media(report: MediaReport) -> None:
    """The counts in words."""
    where = f" in {report.media}" if report.media else ""
    read = f"{report.probed:,} read now, {report.total - report.probed:,} known" if report.store else ""
    say(f"{plural(report.total, 'file')}{where}" + (f": {read}" if read else ""))
    kinds = f"{plural(report.ok - report.images, 'video')} ({report.seconds:,.0f} s), {plural(report.images, 'image')}"
    say(f"  ok  {report.ok:,}: {kinds}, {report.bytes / 1e6:.1f} MB")
    if report.variable:
        say(f"  {plural(report.variable, 'video')} of a variable frame rate: sample by time, not by frame number")
    if report.rejected:
        hit = f"; {plural(report.prompts_bad, 'prompt')} cannot be shown" if report.prompts_bad else ""
        say(f"  not usable  {report.total - report.ok:,}: {listed(report.rejected)}{hit}")
    if report.prompts_without:
        say(f"  {plural(report.prompts_without, 'prompt')} without a video")
    if report.store and report.total and report.rejected.get("missing") == report.total:
        say("hint: all are missing: --media DIR gives the folder that their paths start from")


def _row(file: MediaFile) -> tuple[object, ...]:
    rate = "variable" if file.variable else ""
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
