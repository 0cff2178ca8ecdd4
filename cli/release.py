"""``curate release``: build, compare, verify and list releases."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import (
    CriterionOption,
    EngineOption,
    JsonOption,
    StoreOption,
    WorkersOption,
    engine_config,
    settings,
)
from cli.output import listed, plural, progress_bar, put, put_json, put_table, say
from schemas.errors import CHECK_FAILED, UsageError

if TYPE_CHECKING:
    from schemas.release import ClientReport, DiffReport, Funnel, ReleaseLine, ReleaseReport, VerifyReport

app = typer.Typer(
    name="release",
    help="Immutable, versioned releases: training data and benchmark, with their videos.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

PreviousOption = Annotated[
    list[Path] | None,
    typer.Option("--previous", help="An earlier release to check for leakage; may be repeated.", metavar="DIR"),
]
SHOWN = 20
"""Lines of one kind that are printed; --json has all."""


@app.command()
def build(
    out: Annotated[Path, typer.Option("--out", help="Where to create the folder NAME-VERSION.", metavar="DIR")],
    store: StoreOption = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the release.", metavar="NAME")] = None,
    version: Annotated[
        str | None,
        typer.Option("--version", help="Release number, or next; default: the digest.", metavar="1.0.0"),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="A TOML file with the fields of ReleaseConfig.", metavar="FILE")
    ] = None,
    media: Annotated[
        Path | None, typer.Option("--media", help="The folder that video names are relative to.", metavar="DIR")
    ] = None,
    media_as: Annotated[
        str | None,
        typer.Option(
            "--media-as",
            help="Plain files, tar shards, bytes in the rows, or names only.",
            metavar="<files|webdataset|embedded|none>",
        ),
    ] = None,
    previous: PreviousOption = None,
    run: Annotated[
        str | None, typer.Option("--run", help="A denoise run, by its id or a prefix.", metavar="ID")
    ] = None,
    criterion: CriterionOption = None,
    exact: Annotated[bool, typer.Option("--exact", help="--out is the release's own folder.")] = False,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build a release: train and benchmark configs, other formats, media, card, Croissant metadata, manifest.

    The folder appears atomically; datasets.load_dataset(FOLDER, "benchmark") loads it. A leak between training and
    benchmark, in this release or with an earlier one, stops the build.

    \b
    Example:
      curate release build --out releases --name mr2bench-video --version 1.0.0 --media world
    """
    from pipelines.releasing import LeakError
    from pipelines.releasing import build as job
    from pipelines.settings import load_toml, updated
    from schemas.release import ReleaseConfig

    base = settings()
    chosen = load_toml(config, ReleaseConfig) if config else ReleaseConfig(split=base.export.split)
    changes = {"name": name, "version": version, "run": run, "media_as": media_as}
    chosen = updated(chosen, changes, where="curate release build")
    try:
        with progress_bar() as progress:
            report = job(
                store or base.store,
                out=out,
                config=chosen,
                media=media,
                previous=previous or (),
                exact=exact,
                criterion=criterion or ("" if chosen.run else base.denoise.criterion),
                engine=engine_config(engine, workers),
                progress=progress,
            )
    except LeakError as error:
        if not as_json:
            raise
        from schemas.outputs import Failure

        put_json(Failure(error=str(error), hint=error.hint, exit_code=error.exit_code, leaks=tuple(error.leaks)))
        raise typer.Exit(CHECK_FAILED) from error
    put_json(report) if as_json else print_build(report)


def print_build(report: ReleaseReport) -> None:
    """Print the report on stderr, the folder on stdout."""
    reused = " (exists already; nothing written)" if report.reused else ""
    say(f"{report.name} {report.release}".rstrip() + f", version {report.version}, run {report.run}{reused}")
    if report.criterion:
        say(f"  by the criterion {report.criterion}")
    print_funnel(report.funnel)
    for config, items in report.items.items():
        ceiling = report.ceiling.get(config)
        score = f"; a perfect judge would score about {ceiling.mean:.2f}" if ceiling else ""
        say(f"  {config}: {plural(items, 'item')}{score}")
        if figures := report.fragility.get(config):
            say(f"    {figures.summary}")
        if stable := report.stability.get(config):
            say(f"    {stable.summary}")
    say(f"  {plural(report.votes, 'vote')} by {plural(report.annotators, 'annotator')}")
    how = {"none": "by name only", "embedded": "in the rows", "files": "as files", "webdataset": "in tar shards"}
    say(f"  {plural(report.videos, 'video or image', 'videos or images')} {how[report.media_as]}")
    say(f"  {plural(report.files, 'file')}, {report.bytes / 1e6:.1f} MB")
    if report.previous:
        say(f"  checked for leakage against {', '.join(report.previous)}")
    for note in report.notes:
        say(f"  note: {note}")
    if report.newer_votes:
        say(f"  note: {plural(report.newer_votes, 'vote')} newer than that run: run curate denoise to include them")
    put(report.out)


def print_funnel(funnel: Funnel) -> None:
    """Print one line per stage on stderr: input, kept, and dropped by reason."""
    for stage in funnel.stages:
        dropped = f" (dropped: {listed(stage.dropped)})" if stage.dropped else ""
        say(f"  {stage.stage}: {stage.kept:,} of {stage.input:,} {stage.unit}{dropped}")


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="A release.", metavar="DIR")],
    previous: PreviousOption = None,
    media: Annotated[
        bool, typer.Option("--media/--no-media", help="Decode the media and compare their frames.")
    ] = True,
    key: Annotated[
        str,
        typer.Option("--key", help="The public key of who must have signed it, or its file.", metavar="FILE|KEY"),
    ] = "",
    engine: EngineOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check all of a release; exit code 7 if there is a finding.

    This hashes every file, recomputes the figures of the manifest and the card from the tables, and decodes every
    video and compares the hashes of its frames (skipped by --no-media). Only --key finds a forgery whose hashes agree.

    \b
    Example:
      curate release verify releases/mr2bench-video-1.0.0
      curate release verify releases/mr2bench-video-1.0.0 --key lab.key.pub
    """
    from pipelines.releasing import verify as job

    report = job(folder, previous=previous or (), media=media, key=key, engine=engine_config(engine, workers))
    put_json(report) if as_json else print_verify(report)
    if report.findings:
        raise typer.Exit(CHECK_FAILED)


def print_verify(report: VerifyReport) -> None:
    """Print the findings on stdout, one per line; the summary on stderr."""
    checked = ", ".join(f"{number:,} {check}" for check, number in report.checks.items())
    for finding in report.findings:
        put(f"{finding.check}: {finding.where}: {finding.what}")
    for note in report.notes:
        say(f"  note: {note}")
    if report.signature == "not checked":
        say(f"  note: signed by key {report.signed_by}, not checked: give the public key, --key FILE")
    result = plural(len(report.findings), "finding") if report.findings else "valid"
    result += f", signed by key {report.signed_by}" if report.signature == "valid" else ""
    say(f"{report.folder}: {report.name}, version {report.version}: {result} (checked {checked})")


@app.command()
def sign(
    folder: Annotated[Path, typer.Argument(help="A release.", metavar="DIR")],
    key: Annotated[Path, typer.Option("--key", help="The secret key of minisign.", metavar="FILE")],
    as_json: JsonOption = False,
) -> None:
    """Sign a release: manifest.json.minisig shows that the owner of the key published exactly these files.

    The password of the key is asked for, or read as the first line of stdin. Publish the public key elsewhere. Anyone
    can check the manifest with it: minisign -Vm manifest.json -p FILE.pub; curate release verify checks all files.

    \b
    Example:
      curate release sign releases/mr2bench-video-1.0.0 --key lab.key
    """
    from pipelines.signing import sign as job

    report = job(folder, key, lambda: _password(f"Password of {key}"))
    if as_json:
        put_json(report)
        return
    say(f"{report.name}, version {report.version}: signed by key {report.key_id}")
    put(str(folder / report.file))


@app.command()
def keygen(
    out: Annotated[Path, typer.Argument(help="The file of the secret key.", metavar="FILE")],
    password: Annotated[bool, typer.Option("--password/--no-password", help="Encrypt the secret key.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Make a pair of keys for sign and verify --key, as minisign -G does: FILE is secret, FILE.pub is for everyone.

    The password is asked for, or read as the first line of stdin.

    \b
    Example:
      curate release keygen lab.key
    """
    from pipelines.signing import generate_key
    from schemas.outputs import KeyPair

    chosen = _password(f"Password for {out}", confirm=True) if password else ""
    if password and not chosen:
        raise UsageError("the password is empty", hint="--no-password makes a secret key without one")
    made = KeyPair(key_id=generate_key(out, chosen), secret=str(out), public=f"{out}.pub")
    if as_json:
        put_json(made)
        return
    say(f"key {made.key_id}: keep {out} secret, publish {made.public}")
    put(made.public)


def _password(prompt: str, *, confirm: bool = False) -> str:
    """Return what is typed, not shown; or the first line of stdin if that is no terminal."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    return str(typer.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True))


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(help="A release.", metavar="A")],
    after: Annotated[Path, typer.Argument(help="A later release.", metavar="B")],
    as_json: JsonOption = False,
) -> None:
    """Print the prompts, votes, ranks and items that changed from one release to another, and the causes.

    \b
    Example:
      curate release diff releases/mr2bench-video-1.0.0 releases/mr2bench-video-1.1.0
    """
    from pipelines.releasing import diff as job

    report = job(before, after)
    put_json(report) if as_json else print_diff(report)


def print_diff(report: DiffReport) -> None:
    """Print the changes on stdout: causes, prompts, items."""
    put(f"{report.before} → {report.after}: {'the same data' if report.same else 'because of ' + _and(report.causes)}")
    if report.votes[0] != report.votes[1]:
        put(f"votes: {report.votes[0]:,} → {report.votes[1]:,}")
    for key, (old, new) in report.config.items():
        put(f"config: {key}: {old!r} → {new!r}")
    if report.code[0] != report.code[1]:
        put(f"code: {report.code[0]} → {report.code[1]}")
    for what, prompts in (("added", report.prompts_added), ("removed", report.prompts_removed)):
        if prompts:
            put(f"prompts {what}: {len(prompts):,}: {_some(prompts)}")
    if report.prompts:
        put(f"prompts changed: {len(report.prompts):,}")
    for change in report.prompts[:SHOWN]:
        votes = f"votes {change.votes[0]} → {change.votes[1]}; " if change.votes[0] != change.votes[1] else ""
        side = f"{change.side[0]} → {change.side[1]}; " if change.side[0] != change.side[1] else ""
        ranks = [f"{response} {old or '–'} → {new or '–'}" for response, (old, new) in change.ranks.items()]
        put(f"  {change.prompt_id} ({_and(change.why)}): {side}{votes}ranks: {_some(ranks) if ranks else 'unchanged'}")
    if len(report.prompts) > SHOWN:
        put(f"  … and {len(report.prompts) - SHOWN:,} more (--json has all)")
    for config, items in report.items.items():
        parts = [
            f"{len(some):,} {word}"
            for word, some in (("added", items.added), ("removed", items.removed), ("changed", items.changed))
            if some
        ]
        moved = f" ({', '.join(parts)})" if parts else ""
        put(f"items of {config}: {items.before:,} → {items.after:,}{moved}")
        if items.kept or items.retired:
            put(f"  {items.summary}")


def _and(causes: tuple[str, ...]) -> str:
    return " and ".join(causes) if causes else "no recorded cause"


def _some(names: tuple[str, ...] | list[str], most: int = 6) -> str:
    more = f", … ({len(names) - most:,} more)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="A release.", metavar="RELEASE")],
    client: Annotated[str, typer.Option("--for", help="The client; an unknown name lists them.", metavar="NAME")],
    out: Annotated[Path, typer.Option("--out", help="The folder to create.", metavar="DIR")],
    as_json: JsonOption = False,
) -> None:
    """Write a release in the format of another program, with the media that it reads.

    The folder appears atomically; its README.md states how the client reads it. Media are hard links where possible.

    \b
    Example:
      curate release export releases/mr2bench-video-1.0.0 --for trl --out trl
    """
    from pipelines.client_export import export_for

    report = export_for(folder, client=client, out=out)
    put_json(report) if as_json else print_client(report)


def print_client(report: ClientReport) -> None:
    """Print the report on stderr, the folder on stdout."""
    say(f"{report.release}, version {report.version}, for {report.client}")
    for name, rows in report.rows.items():
        say(f"  {name}: {plural(rows, 'row')}")
    if report.media:
        say(f"  media: {plural(report.media, 'file')}")
    for reason, rows in report.skipped.items():
        say(f"  skipped: {plural(rows, 'row')} {reason}")
    for note in report.notes:
        say(f"  note: {note}")
    put(report.out)


@app.command(name="ls")
def list_releases(
    folder: Annotated[Path, typer.Argument(help="The folder that contains the releases.", metavar="DIR")] = Path(),
    as_json: JsonOption = False,
) -> None:
    """List the releases of a folder: version, prompts, items, votes, run, key of the signature (not checked), state.

    \b
    Example:
      curate release ls releases
    """
    from pipelines.releasing import releases_in

    lines = releases_in(folder)
    if as_json:
        put_json(lines)
    elif lines:
        put_table(COLUMNS, [_cells(line) for line in lines])
    else:
        say(f"{folder}: no releases")


COLUMNS = ("folder", "name", "release", "version", "prompts", "items", "votes", "denoise run", "signed by", "state")


def _cells(line: ReleaseLine) -> tuple[object, ...]:
    if not line.name:
        return (line.folder, "", "", "", None, None, None, "", "", line.state)
    return (
        line.folder,
        line.name,
        line.release,
        line.version,
        line.prompts,
        line.items,
        line.votes,
        line.run,
        line.signed_by or "not signed",
        line.state,
    )
