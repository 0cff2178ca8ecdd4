"""``curate release build``: a denoise run becomes an immutable, versioned folder of training data and benchmark.

The steps of a build: probe the media; split the prompts and select those that may be published; draw the items; write
the folder; record the run and the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from curate.engine import Engine, engine_or_none
from curate.release import verify as verification
from curate.release.build import Contents, write_release
from curate.release.diff import diff
from curate.release.leakage import (
    LeakError,
    ledger_rows,
    read_subjects,
)
from curate.release.manifest import Numbered, check_number, next_number, numbered, read_release, releases_in, siblings
from curate.release.media import facts_of
from curate.shards.atomic import finished, publishing
from curate.store import Store
from curate.store.exports import (
    numbers_given,
    publish,
)
from curate.store.media import media_of
from curate.store.runs import Run, recall, record
from pipelines.media import probe_media
from pipelines.progress import Progress, silent
from pipelines.provenance import code_version
from pipelines.release_items import draw_release
from pipelines.release_prompts import Folder, Selection, select_prompts
from schemas.engine import EngineConfig
from schemas.errors import ConflictError, CurateError, MissingError
from schemas.release import (
    MediaAs,
    Release,
    ReleaseConfig,
    ReleaseReport,
    VerifyReport,
)

__all__ = ["LeakError", "build", "diff", "releases_in", "verify"]


LOST = (
    "the folder of no earlier version is here, so that all benchmark items are new: give the last one by --previous to "
    "keep its items"
)


def build(
    store_path: str | Path,
    *,
    out: str | Path,
    config: ReleaseConfig = ReleaseConfig(),
    media: Path | None = None,
    previous: Sequence[Path] = (),
    exact: bool = False,
    criterion: str = "",
    engine: EngineConfig | None = None,
    progress: Progress = silent,
) -> ReleaseReport:
    """Build a release of a denoise run as the folder ``out/NAME-VERSION``, which appears atomically.

    Equal rankings, config, media and earlier releases give equal bytes; a release that exists already is left
    unchanged. Benchmark items of the previous version of that name, in the same folder or given, are kept while their
    labels hold (``curate.release.history``). The first build or export of a store fixes its split, by groups of
    near-duplicates.

    Parameters
    ----------
    media
        The folder that the names of videos are relative to. New and changed media are probed first.
    previous
        Folders of earlier releases. They, and the store's ledger of published benchmarks, are checked for leakage.
    exact
        ``out`` is the release's own folder.
    criterion
        Of the denoise run; needed if the store has runs by several and the config names none.
    engine
        Where media are probed, compared and copied; None: they are probed in processes of this machine, and compared
        and copied in this one.

    Raises
    ------
    LeakError
        Prompts leak between training and benchmark.
    CurateError
        There is nothing to release, media are missing, the release number was given to other content, or the previous
        version of that name is by another criterion.
    """
    out = Path(out)
    parent = out.parent if exact else out
    media_as = _packaging(config, media)
    with engine_or_none(engine) as workers, ExitStack() as stack:
        if media is not None:
            probe_media(store_path, media=media, engine=workers, progress=progress)
        store = stack.enter_context(Store.open(store_path))
        facts = facts_of(media_of(store), media) if media is not None else {}
        config = config.model_copy(update={"run": store.denoise_run(config.run, criterion=criterion)})
        with store.transaction():  # includes the draw, so that a release without items fixes no split
            selection = select_prompts(store, parent, config, media_as, facts, previous, workers, progress)
            numbers = [row for row in numbers_given(store).to_dicts() if row["release"] != config.version]
            run, base, existing = _found(store, out, selection, exact=exact)
            manifest, contents = (None, None) if existing else draw_release(store, selection, run, base, progress)
        if existing:
            folder, release, reused = *existing, True
        else:
            assert manifest is not None
            assert contents is not None
            progress("writing", 0, 0)
            folder, release, reused = _publish(
                store, out, manifest, contents, selection.config, previous, workers, exact=exact
            )
        benchmark = sorted(subject.prompt_id for subject in read_subjects(folder)["benchmark"])
        rows = ledger_rows(release.label, [selection.subjects[prompt] for prompt in benchmark])
        lost = not (existing or base) and any(row["name"] == config.name for row in numbers)
        notes = (*((LOST,) if lost else ()), *selection.notes)
        newer = store.newer_votes(selection.config.run)
        report = _report(folder, release, reused=reused, newer_votes=newer, notes=notes)
        with store.transaction():
            publish(store, rows)
            if recall(store, run.run_id) is None:
                record(store, run, report.model_dump(mode="json"))
    return report


def verify(
    folder: Path,
    *,
    previous: Sequence[Path] = (),
    media: bool = True,
    validated: Path | None = None,
    key: str = "",
    engine: EngineConfig | None = None,
) -> VerifyReport:
    """Check every byte, row and figure of a release, and with ``media`` the decoded frames of its media.

    previous, validated, key, engine: see ``curate.release.verify``. Raises CurateError if there is no release.
    """
    with engine_or_none(engine) as workers:
        return verification.verify(
            folder,
            previous=previous,
            decode=media,
            code=code_version(),
            validated=validated,
            key=key,
            engine=workers,
        )


def _packaging(config: ReleaseConfig, media: Path | None) -> MediaAs:
    """Return how the media are packaged. Raises CurateError if they are needed and not given."""
    if media is not None and not media.is_dir():
        raise MissingError(f"{media}: no such folder", hint="give the folder that the names of videos are relative to")
    if config.media_as is None:
        return "files" if media is not None else "none"
    if config.media_as != "none" and media is None:
        raise CurateError(f"media_as = {config.media_as!r} needs the media", hint="give their folder: --media DIR")
    return config.media_as


def _found(store: Store, out: Path, selection: Selection, *, exact: bool) -> tuple[Run, Folder | None, Folder | None]:
    """Return the run of this build, the previous version whose items it keeps, and its release if that exists.

    It is a run that was built before, even if its folder was removed since, or else one from the latest version.
    """
    for run, base in selection.runs:
        if existing := _existing(out, run, exact=exact):
            return run, base, existing
    built = [(run, base) for run, base in selection.runs if store.run(run.run_id)]
    return *(built or selection.runs)[-1], None


def _existing(out: Path, run: Run, *, exact: bool) -> tuple[Path, Release] | None:
    """Return the release that this run built before. Raises CurateError if it was changed since."""
    for path, other in siblings(out.parent if exact else out):
        if other.run.run == run.run_id and path.name == (out.name if exact else other.label):
            finished(path)
            return path, other
    return None


def _publish(
    store: Store,
    out: Path,
    release: Release,
    contents: Contents,
    config: ReleaseConfig,
    previous: Sequence[Path],
    engine: Engine | None,
    *,
    exact: bool,
) -> tuple[Path, Release, bool]:
    """Write the release unless it exists; return its folder, its manifest, and whether it existed."""
    parent = out.parent if exact else out
    if exact and finished(out) is not None:
        raise ConflictError(f"{out}: holds another release ({read_release(out).label})", hint="choose another --out")
    written: list[Release] = []
    folders = [*siblings(parent), *((path, read_release(path)) for path in previous)]
    recorded = [Numbered(**row, where=str(store.path)) for row in numbers_given(store).to_dicts()]
    given = [*numbered(folders), *recorded]

    def number(digest: str) -> str:
        return next_number(config.name, digest, given) if config.version == "next" else config.version

    try:
        target = out if exact else parent / release.name
        with publishing(target, name=None if exact else lambda: written[0].label) as folder:
            written.append(write_release(folder, release, contents, config, number, engine=engine))
            check_number(written[0], given)
            existing = parent / written[0].label
            if not exact and finished(existing) is not None:
                raise _Existing
    except _Existing:
        return existing, read_release(existing), True
    return (out if exact else existing), written[0], False


class _Existing(Exception):
    """Another run built the same data: the new folder is discarded."""


def _report(folder: Path, release: Release, *, reused: bool, newer_votes: int, notes: tuple[str, ...]) -> ReleaseReport:
    counts = release.counts
    return ReleaseReport(
        out=str(folder),
        name=release.name,
        release=release.release,
        version=release.version,
        run=release.run.run,
        criterion=counts.get("criterion", ""),
        reused=reused,
        media_as=release.media_as,
        prompts=counts["prompts"],
        items=counts["items"],
        ceiling={name: counts["ceiling"].get(name) for name in counts["items"]},
        fragility=counts.get("fragility", {}),
        stability=counts.get("stability", {}),
        videos=counts["videos"],
        votes=counts["votes"],
        annotators=counts["annotators"],
        funnel=release.funnel,
        previous=release.previous,
        files=len(release.files),
        bytes=sum(file.bytes for file in release.files),
        newer_votes=newer_votes,
        notes=notes,
    )
