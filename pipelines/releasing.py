"""``curate release build``: a denoise run becomes an immutable, versioned folder of training data and benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from curate.release.diff import diff
from curate.release.figures import figures
from curate.release.funnel import item_stages
from curate.release.media import MediaFacts, facts_of
from curate.release.rules import rules_of
from curate.release.sealing import Numbered, check_free_version, next_version, numbered, read_release, siblings
from curate.release.sealing import releases_in as releases
from curate.release.subjects import ledger_rows, read_subjects
from curate.release.verify import verify as look
from curate.release.writing import Contents, write_release
from curate.sampling.items import Rule
from curate.shards.atomic import finished, publishing
from curate.store import Store
from curate.store.exports import as_manifest_run, manifest_batches
from curate.store.media import media_of
from curate.store.releases import annotators_of, numbers_given, publish
from curate.store.runs import Run, recall, record
from pipelines.exporting import draw
from pipelines.media import probe_media
from pipelines.progress import Progress, silent
from pipelines.provenance import code_version
from pipelines.release_basis import Basis, LeakError, basis_of, words
from schemas.errors import CurateError
from schemas.manifest import ManifestRun
from schemas.release import (
    SIDES,
    Funnel,
    FunnelStage,
    MediaAs,
    Release,
    ReleaseConfig,
    ReleaseReport,
    Side,
    VerifyReport,
)
from schemas.tables import SCHEMA_VERSION

__all__ = ["LeakError", "build", "diff", "releases", "verify", "words"]


def build(
    store_path: str | Path,
    *,
    out: str | Path,
    config: ReleaseConfig = ReleaseConfig(),
    media: Path | None = None,
    previous: Sequence[Path] = (),
    exact: bool = False,
    progress: Progress = silent,
) -> ReleaseReport:
    """Build a release of a denoise run as the folder ``out/NAME-VERSION``, which appears whole or not at all.

    media: the folder that the names of videos start from. They are looked at first (``probe_media``: new and changed
    ones only), so that what does not decode is refused and near-duplicates are known. previous: folders of earlier
    releases, from which this one is kept apart, as from the store's ledger of what was published. exact: ``out`` is
    the release's own folder.
    Equal rankings, config, media and earlier releases give equal bytes; a release that is there already is left as it
    is. The first build or export of a store fixes its split, by groups of what is alike.
    Raises LeakError where training and benchmark are not apart, and CurateError where there is nothing to release,
    media are missing, or the version for people was given to other content.
    """
    out = Path(out)
    media_as = _media_as(config, media)
    if media is not None:
        probe_media(store_path, media=media, progress=progress)
    with Store.open(store_path) as store:
        facts = facts_of(media_of(store), media) if media is not None else {}
        with store.transaction():
            basis = basis_of(store, out.parent if exact else out, config, media_as, facts, previous, progress)
            there = _standing(out, basis.run, exact=exact)
            drawn = None if there else _drawn(store, basis, progress)  # inside: a release of nothing fixes no split
        if there:
            folder, release, reused = *there, True
        else:
            assert drawn is not None
            progress("writing", 0, 0)
            folder, release, reused = _publish(store, out, *drawn, basis.config, previous, exact=exact)
        benchmark = sorted(subject.prompt_id for subject in read_subjects(folder, release.label)["benchmark"])
        rows = ledger_rows(release.label, [basis.subjects[prompt] for prompt in benchmark])
        report = _report(folder, release, reused=reused, newer_votes=store.newer_votes(basis.config.run))
        with store.transaction():
            publish(store, rows)
            if recall(store, basis.run.run_id) is None:
                record(store, basis.run, report.model_dump(mode="json"))
    return report


def verify(
    folder: Path, *, previous: Sequence[Path] = (), media: bool = True, validated: Path | None = None
) -> VerifyReport:
    """Look at all of a release again: every byte, row and figure, and what the media show (``media``: decode them).

    previous: earlier releases that it must be apart from. validated: see curate.release.verify. Raises CurateError
    where there is no release.
    """
    return look(folder, previous=previous, decode=media, code=code_version(), validated=validated)


def _drawn(store: Store, basis: Basis, progress: Progress) -> tuple[Release, Contents]:
    """The manifest, still without files, and the items. Raises CurateError where there are none."""
    config, run = basis.config, basis.run
    assert config.media_as is not None
    progress("drawing items", 0, 0)
    items, counts, rules = _draw(basis.ranked, config)
    if not any(counts["items"].values()):
        why = "; ".join(_stage_words(stage) for stage in basis.stages)
        raise CurateError(f"{store.path}: nothing to release", hint=why)
    counts |= _figures(store, basis.upstream, items, basis.sound, basis.prompts)
    own: dict[str, int] = {side: _prompts_of(basis.ranked, side) for side in SIDES}
    release = Release(
        kind="release",
        schema_version=SCHEMA_VERSION,
        version="",
        run=as_manifest_run(run),
        upstream=(basis.upstream,),
        batches=manifest_batches(store, basis.upstream),
        counts=counts,
        files=(),
        name=config.name,
        release=config.version,
        seal="",
        media_as=config.media_as,
        previous=tuple(run.inputs["previous"]),
        funnel=Funnel(stages=(*basis.stages, *item_stages(counts, own))),
    )
    return release, Contents(items, rules, basis.prompts, basis.sound if config.media_as != "none" else {})


def _stage_words(stage: FunnelStage) -> str:
    why = "".join(f", {number:,} {reason}" for reason, number in stage.dropped.items())
    return f"{stage.stage}: {stage.kept:,} of {stage.came:,} {stage.unit} kept{why}"


def _media_as(config: ReleaseConfig, media: Path | None) -> MediaAs:
    if media is not None and not media.is_dir():
        raise CurateError(f"{media}: no such folder", hint="give the folder that the names of videos start from")
    if config.media_as is None:
        return "files" if media is not None else "none"
    if config.media_as != "none" and media is None:
        raise CurateError(f"media as {config.media_as} need the media", hint="give their folder: --media DIR")
    return config.media_as


def _draw(
    ranked: pl.DataFrame, config: ReleaseConfig
) -> tuple[dict[str, pl.DataFrame], dict[str, Any], tuple[Rule, ...]]:
    """The items of all configs, the counts of an export over them (prompts and left_out by side), and the rules."""
    sure = {"train": config.train_min_confidence, "benchmark": config.benchmark_min_confidence}
    items: dict[str, pl.DataFrame] = {}
    counts: dict[str, Any] = {"prompts": {}, "left_out": {}}
    rules: list[Rule] = []
    for side in SIDES:
        several, pairs, whole = rules_of(config, side)
        counts["left_out"][side] = {}
        prompts: set[str] = set()
        for own, least in (((several, pairs), sure[side]), ((whole,), 0.0)):
            drawn, found = draw(ranked, side, own, config.export(side, min_confidence=least), unseen=0)
            items |= drawn
            rules += own
            prompts |= {prompt for frame in drawn.values() for prompt in frame["prompt_id"]}
            suffix = f" ({whole.name})" if own == (whole,) else ""
            for reason, number in found.pop("left_out").items():
                own_reason = reason.startswith(("item:", "prompt: too", "prompt: every", "prompt: best"))
                counts["left_out"][side][reason + (suffix if own_reason else "")] = number
            found.pop("prompts")
            for key, values in found.items():
                counts.setdefault(key, {}).update(values)
        counts["prompts"][side] = len(prompts)
    return items, counts, tuple(rules)


def _figures(
    store: Store,
    run: ManifestRun,
    items: Mapping[str, pl.DataFrame],
    facts: Mapping[str, MediaFacts],
    prompts: pl.DataFrame,
) -> dict[str, Any]:
    """What the card says beyond the counts of an export."""
    used = sorted({prompt for frame in items.values() for prompt in frame["prompt_id"]})
    own = prompts.filter(pl.col("prompt_id").is_in(used))
    named = set(own["video"].drop_nulls())
    denoised = store.run(run.run)
    report = denoised["report"] if denoised else {}
    found = figures(items, own)
    found["agreement"]["contradicted"] = report.get("disagreement")
    return found | {
        "annotators": annotators_of(store, used, run, without=report.get("spammer_ids", [])),
        "videos": len(named),
        "hashed": bool(named) and all(facts[name].phash for name in named if name in facts) and named <= facts.keys(),
        "method": report.get("method", run.config.get("ranker", "")),
        "strengths": (report.get("strengths") or {}).get("summary", "how strengths are spread was not looked at"),
    }


def _prompts_of(ranked: pl.DataFrame, side: Side) -> int:
    return ranked.filter(pl.col("split") == side)["prompt_id"].n_unique()


def _standing(out: Path, run: Run, *, exact: bool) -> tuple[Path, Release] | None:
    """The release that this run built already, as it was built. Raises CurateError where it is no longer that."""
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
    *,
    exact: bool,
) -> tuple[Path, Release, bool]:
    """Write the release, unless it is there: its folder, its manifest, and whether it was there."""
    parent = out.parent if exact else out
    beside = siblings(parent)
    if exact and finished(out) is not None:
        raise CurateError(f"{out}: holds another release ({read_release(out).label})", hint="choose another --out")
    written: list[Release] = []
    earlier = [(path, read_release(path)) for path in previous]
    told = [Numbered(**row, where=str(store.path)) for row in numbers_given(store).to_dicts()]
    given = [*numbered([*beside, *earlier]), *told]
    target = out if exact else parent / release.name

    def number(digest: str) -> str:
        return next_version(config.name, digest, given) if config.version == "next" else config.version

    try:
        with publishing(target, name=None if exact else lambda: written[0].label) as folder:
            written.append(write_release(folder, release, contents, config, number))
            check_free_version(written[0], given)
            there = parent / written[0].label
            if not exact and finished(there) is not None:
                raise _ThereAlready(there, read_release(there))
    except _ThereAlready as found:
        return found.path, found.release, True
    return (out if exact else parent / written[0].label), written[0], False


class _ThereAlready(Exception):
    """The same data lies there, by another run."""

    def __init__(self, path: Path, release: Release) -> None:
        super().__init__(str(path))
        self.path, self.release = path, release


def _report(folder: Path, release: Release, *, reused: bool, newer_votes: int) -> ReleaseReport:
    counts = release.counts
    return ReleaseReport(
        out=str(folder),
        name=release.name,
        release=release.release,
        version=release.version,
        run=release.run.run,
        reused=reused,
        media_as=release.media_as,
        prompts=counts["prompts"],
        items=counts["items"],
        ceiling={name: counts["ceiling"].get(name) for name in counts["items"]},
        videos=counts["videos"],
        votes=counts["votes"],
        annotators=counts["annotators"],
        funnel=release.funnel,
        previous=release.previous,
        files=len(release.files),
        bytes=sum(file.bytes for file in release.files),
        newer_votes=newer_votes,
    )
