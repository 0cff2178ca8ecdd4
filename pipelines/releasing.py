"""``curate release build``: a denoise run becomes an immutable, versioned folder of training data and benchmark.

The steps of a build: probe the media; split the prompts and select those that may be published; draw the items; write
the folder; record the run and the ledger.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from curate.evaluation.leaderboard import leaderboard
from curate.leakage.detect import Subject, find_leaks, units
from curate.release import verify as verification
from curate.release.build import Contents, write_release
from curate.release.diff import diff
from curate.release.figures import (
    denoise_stage,
    dropping_stage,
    figures,
    filtered,
    ingest_stage,
    item_stages,
    media_figures,
    ranking_stage,
)
from curate.release.leakage import (
    LeakError,
    Sides,
    earlier_subjects,
    leaks_of,
    ledger_rows,
    read_subjects,
    subjects_of,
)
from curate.release.manifest import Numbered, check_number, next_number, numbered, read_release, releases_in, siblings
from curate.release.media import MediaFacts, facts_of
from curate.release.tables import rules_of
from curate.sampling.items import Fragility, Rule
from curate.shards.atomic import finished, publishing
from curate.store import Store
from curate.store.exports import (
    annotators_of,
    as_manifest_run,
    assign_splits,
    manifest_batches,
    manifest_run,
    numbers_given,
    prompt_facts,
    publish,
    published,
    ranked_responses,
)
from curate.store.media import media_of
from curate.store.rankings import load_votes
from curate.store.runs import Run, recall, record
from pipelines.auditing import fragility
from pipelines.exporting import draw, text_digest
from pipelines.media import probe_media
from pipelines.progress import Progress, silent
from pipelines.provenance import code_version, run_id
from schemas.config import DenoiseConfig
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
    VerifyReport,
)
from schemas.tables import SCHEMA_VERSION

__all__ = ["LeakError", "build", "diff", "releases_in", "verify"]


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
    """Build a release of a denoise run as the folder ``out/NAME-VERSION``, which appears atomically.

    Equal rankings, config, media and earlier releases give equal bytes; a release that exists already is left
    unchanged. The first build or export of a store fixes its split, by groups of near-duplicates.

    Parameters
    ----------
    media
        The folder that the names of videos are relative to. New and changed media are probed first.
    previous
        Folders of earlier releases. They, and the store's ledger of published benchmarks, are checked for leakage.
    exact
        ``out`` is the release's own folder.

    Raises
    ------
    LeakError
        Prompts leak between training and benchmark.
    CurateError
        There is nothing to release, media are missing, or the release number was given to other content.
    """
    out = Path(out)
    parent = out.parent if exact else out
    media_as = _packaging(config, media)
    if media is not None:
        probe_media(store_path, media=media, progress=progress)
    with Store.open(store_path) as store:
        facts = facts_of(media_of(store), media) if media is not None else {}
        with store.transaction():  # includes the draw, so that a release without items fixes no split
            selection = select_prompts(store, parent, config, media_as, facts, previous, progress)
            existing = _existing(out, selection.run, exact=exact)
            manifest, contents = (None, None) if existing else _draw_items(store, selection, progress)
        if existing:
            folder, release, reused = *existing, True
        else:
            assert manifest is not None
            assert contents is not None
            progress("writing", 0, 0)
            folder, release, reused = _publish(store, out, manifest, contents, selection.config, previous, exact=exact)
        benchmark = sorted(subject.prompt_id for subject in read_subjects(folder)["benchmark"])
        rows = ledger_rows(release.label, [selection.subjects[prompt] for prompt in benchmark])
        report = _report(folder, release, reused=reused, newer_votes=store.newer_votes(selection.config.run))
        with store.transaction():
            publish(store, rows)
            if recall(store, selection.run.run_id) is None:
                record(store, selection.run, report.model_dump(mode="json"))
    return report


def verify(
    folder: Path, *, previous: Sequence[Path] = (), media: bool = True, validated: Path | None = None
) -> VerifyReport:
    """Check every byte, row and figure of a release, and with ``media`` the decoded frames of its media.

    previous, validated: see ``curate.release.verify``. Raises CurateError if there is no release.
    """
    return verification.verify(folder, previous=previous, decode=media, code=code_version(), validated=validated)


def _packaging(config: ReleaseConfig, media: Path | None) -> MediaAs:
    """Return how the media are packaged. Raises CurateError if they are needed and not given."""
    if media is not None and not media.is_dir():
        raise CurateError(f"{media}: no such folder", hint="give the folder that the names of videos are relative to")
    if config.media_as is None:
        return "files" if media is not None else "none"
    if config.media_as != "none" and media is None:
        raise CurateError(f"media_as = {config.media_as!r} needs the media", hint="give their folder: --media DIR")
    return config.media_as


@dataclass(frozen=True)
class Selection:
    """The prompts that a release may have, and the run of drawing items from them."""

    config: ReleaseConfig
    """With the denoise run and the packaging of the media filled in."""
    upstream: ManifestRun
    prompts: pl.DataFrame
    """Facts of all prompts of the store."""
    subjects: dict[str, Subject]
    usable: dict[str, MediaFacts]
    """name -> usable media."""
    ranked: pl.DataFrame
    """Responses of the selected prompts."""
    stages: list[FunnelStage]
    run: Run


def select_prompts(
    store: Store,
    parent: Path,
    config: ReleaseConfig,
    media_as: MediaAs,
    facts: Mapping[str, MediaFacts],
    previous: Sequence[Path],
    progress: Progress,
) -> Selection:
    """Split the store's prompts, if they are not, and select those of the release.

    parent: the folder of releases. facts: name -> facts of each medium; empty without media.
    """
    config = config.model_copy(update={"run": store.denoise_run(config.run), "media_as": media_as})
    upstream = manifest_run(store, config.run)
    prompts = prompt_facts(store, upstream)
    usable = {name: fact for name, fact in facts.items() if fact.status == "ok"}
    subjects = {subject.prompt_id: subject for subject in subjects_of(prompts, usable)}
    earlier = earlier_subjects(published(store), previous, siblings(parent))
    progress("comparing prompts", 0, 0)
    # New prompts that are near-duplicates of a published benchmark's are assigned to the benchmark.
    reserved = {leak.train for leak in find_leaks(list(subjects.values()), earlier["benchmark"], config.leakage)}
    assign_splits(store, config.split, units=units(list(subjects.values()), config.leakage), reserved=reserved)
    ranked = ranked_responses(store, config.run)
    _check_equal_texts(store, upstream, ranked)

    denoised = store.run(config.run)
    stages = [
        ingest_stage(manifest_batches(store, upstream)),
        denoise_stage(prompts, denoised["report"] if denoised else {}),
        ranking_stage(prompts),
    ]
    sizes = dict(ranked.filter(pl.col("component") == 0)["prompt_id"].value_counts().iter_rows())
    with_rank = ranked.filter(pl.col("rank").is_not_null())["prompt_id"].to_list()
    chosen, stage = filtered(prompts.filter(pl.col("prompt_id").is_in(with_rank)), sizes, config.filters)
    stages.append(stage)
    if config.media_as != "none":
        bad = _bad_media(store, prompts, chosen, facts, config)
        chosen, stage = dropping_stage("media", chosen, bad)
        stages.append(stage)
    leaking = _leaking(store, ranked, chosen, subjects, earlier, config)
    chosen, stage = dropping_stage("leakage", chosen, leaking)
    stages.append(stage)

    run = _run(config, ranked, chosen, usable, previous)
    ranked = ranked.filter(pl.col("prompt_id").is_in(sorted(chosen)))
    return Selection(config, upstream, prompts, subjects, usable, ranked, stages, run)


def _check_equal_texts(store: Store, run: ManifestRun, ranked: pl.DataFrame) -> None:
    """Raise CurateError if the run gives equal texts different ranks, although it does not keep them apart."""
    if run.config.get("equal_texts") == "keep":
        return
    ranks = ranked.filter(pl.col("component") == 0).group_by("prompt_id", "text").agg(pl.col("rank").n_unique())
    prompts = ranks.filter(pl.col("rank") > 1)["prompt_id"].unique().sort()
    if len(prompts):
        raise CurateError(
            f"{store.path}: run {run.run} gives equal texts different ranks on {len(prompts)} prompts, such as "
            f"{prompts[0]!r}: it is of an earlier version, or texts have changed since",
            hint="rank the votes again: curate denoise",
        )


def _bad_media(
    store: Store, prompts: pl.DataFrame, chosen: Set[str], facts: Mapping[str, MediaFacts], config: ReleaseConfig
) -> dict[str, str]:
    """Return prompt -> status, of prompts without usable media. Raises CurateError if they stop the build."""
    video = dict(prompts.select("prompt_id", "video").iter_rows())
    bad = {
        prompt: facts[name].status if name in facts else "missing"
        for prompt in sorted(chosen)
        if (name := video[prompt]) and (name not in facts or facts[name].status != "ok")
    }
    if bad and config.bad_media == "stop":
        name = video[next(iter(bad))]
        reason = facts[name].reason if name in facts else "missing from the media folder"
        reason = reason if name in reason else f"{name}: {reason}"
        count = ", ".join(f"{number} {status}" for status, number in sorted(Counter(bad.values()).items()))
        raise CurateError(
            f"{store.path}: the media of {len(bad)} prompts are not usable ({count}); the first: {reason}",
            hint="add them (curate media check lists all), or exclude and count these prompts: bad_media = 'drop' in "
            "the config of the release",
        )
    return bad


def _leaking(
    store: Store,
    ranked: pl.DataFrame,
    chosen: Set[str],
    subjects: Mapping[str, Subject],
    earlier: Sides,
    config: ReleaseConfig,
) -> dict[str, str]:
    """Return prompt -> reason, of prompts to exclude because they leak. Raises LeakError if leaks stop the build."""
    side = dict(ranked.select("prompt_id", "split").unique().iter_rows())
    sides = {name: [subjects[prompt] for prompt in sorted(chosen) if side[prompt] == name] for name in SIDES}
    leaks = leaks_of(sides, earlier, config.leakage)
    if leaks and config.leakage.on_leak == "stop":
        raise LeakError(leaks, store.path)
    return {leak.benchmark if leak.train_release else leak.train: f"leaks: same {leak.rule}" for leak in leaks}


def _run(
    config: ReleaseConfig,
    ranked: pl.DataFrame,
    chosen: Set[str],
    facts: Mapping[str, MediaFacts],
    previous: Sequence[Path],
) -> Run:
    """Return the run of this build; its inputs have digests of texts, sides, media, prompts and earlier releases.

    The ledger is not an input, since it has the release itself afterwards; its effect is in the chosen prompts.
    """
    media = "".join(f"{name}\0{facts[name].sha256}\0{facts[name].phash}\n" for name in sorted(facts))
    document = config.model_dump(mode="json")
    inputs = {
        "denoise": config.run,
        "prompts": text_digest(ranked),
        "media": hashlib.sha256(media.encode()).hexdigest(),
        "chosen": hashlib.sha256("\n".join(sorted(chosen)).encode()).hexdigest(),
        "previous": sorted({read_release(folder).label for folder in previous}),
    }
    return Run(run_id("release", document, inputs), "release", document, inputs, code_version(), config.seed)


def _draw_items(store: Store, selection: Selection, progress: Progress) -> tuple[Release, Contents]:
    """Return the manifest without files, and the contents. Raises CurateError if there are no items."""
    config, run = selection.config, selection.run
    assert config.media_as is not None
    progress("drawing items", 0, 0)
    items, counts, rules = _draw_sides(selection.ranked, config, fragility(store, config.run))
    if not any(counts["items"].values()):
        why = "; ".join(_describe_stage(stage) for stage in selection.stages)
        raise CurateError(f"{store.path}: nothing to release", hint=why)
    counts |= _figures(store, selection, items)
    chosen: dict[str, int] = {
        side: selection.ranked.filter(pl.col("split") == side)["prompt_id"].n_unique() for side in SIDES
    }
    release = Release(
        kind="release",
        schema_version=SCHEMA_VERSION,
        version="",
        run=as_manifest_run(run),
        upstream=(selection.upstream,),
        batches=manifest_batches(store, selection.upstream),
        counts=counts,
        files=(),
        name=config.name,
        release=config.version,
        seal="",
        media_as=config.media_as,
        previous=tuple(run.inputs["previous"]),
        funnel=Funnel(stages=(*selection.stages, *item_stages(counts, chosen))),
    )
    return release, Contents(items, rules, selection.prompts, selection.usable if config.media_as != "none" else {})


def _describe_stage(stage: FunnelStage) -> str:
    why = "".join(f", {number:,} {reason}" for reason, number in stage.dropped.items())
    return f"{stage.stage}: {stage.kept:,} of {stage.input:,} {stage.unit} kept{why}"


def _draw_sides(
    ranked: pl.DataFrame, config: ReleaseConfig, fragility: Fragility
) -> tuple[dict[str, pl.DataFrame], dict[str, Any], tuple[Rule, ...]]:
    """Return the items of all configs, the counts of an export (excluded: by side), and the rules.

    fragility: of the labels of benchmark items; full rankings and training have none.
    """
    min_confidence = {"train": config.train_min_confidence, "benchmark": config.benchmark_min_confidence}
    items: dict[str, pl.DataFrame] = {}
    counts: dict[str, Any] = {"excluded": {side: {} for side in SIDES}}
    rules: list[Rule] = []
    for side in SIDES:
        several, pairs, full = rules_of(config, side)
        for own, minimum in (((several, pairs), min_confidence[side]), ((full,), 0.0)):
            drawn, found = draw(
                ranked,
                side,
                own,
                config.export(side, min_confidence=minimum),
                unseen=0,
                fragility=fragility,
                min_fragility=config.benchmark_min_fragility,
            )
            items |= drawn
            rules += own
            for reason, number in found.pop("excluded").items():
                # Reasons of a single config do not name it; those of the side do not depend on the config.
                suffix = f" ({full.name})" if own == (full,) and reason.startswith(CONFIG_REASONS) else ""
                counts["excluded"][side][reason + suffix] = number
            del found["prompts"]  # of these configs only; ``figures`` counts those of the side
            for key, values in found.items():
                counts.setdefault(key, {}).update(values)
    return items, counts, tuple(rules)


CONFIG_REASONS = ("item:", "prompt: too", "prompt: every", "prompt: best")
"""Prefixes of reasons for exclusion that depend on the config."""


def _figures(store: Store, selection: Selection, items: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    """Return the figures of the tables, and those that only the store can give."""
    run = selection.upstream
    used = sorted({prompt for frame in items.values() for prompt in frame["prompt_id"]})
    own = selection.prompts.filter(pl.col("prompt_id").is_in(used))
    names = own["video"].drop_nulls().unique().to_list()
    denoised = store.run(run.run)
    report = denoised["report"] if denoised else {}
    strengths = report.get("strengths") or {}
    found = figures(items, own)
    found["agreement"]["disagreement"] = report.get("disagreement", report.get("contradicted"))  # renamed in 0.2
    return (
        found
        | media_figures([selection.usable[name].phash if name in selection.usable else () for name in names])
        | {
            "annotators": annotators_of(store, used, run, without=report.get("spammer_ids", [])),
            "equal_texts": report.get("equal_texts"),
            "leaderboard": _leaderboard(store, run),
            "method": report.get("method", run.config.get("ranker", "")),
            "overdispersion": (report.get("overdispersion") or {}).get("summary", "unknown"),
            "strengths": strengths.get("summary", strengths.get("words", "unknown")),  # renamed in 0.2
        }
    )


def _leaderboard(store: Store, run: ManifestRun) -> list[dict[str, Any]]:
    """Return the leaderboard of the votes that the run had, as rows of the card; empty where no models are known."""
    config = DenoiseConfig.from_stored(json.dumps(run.config))
    try:
        votes = load_votes(
            store, criterion=config.criterion, control=config.control, batches=run.inputs.get("batches")
        ).votes
        frame = leaderboard(votes).frame
    except CurateError:
        return []
    strengths = pl.col("strength", "low", "high").round(3)
    return frame.select("model", "component", "rank", "best_rank", "worst_rank", "class", strengths).to_dicts()


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
    *,
    exact: bool,
) -> tuple[Path, Release, bool]:
    """Write the release unless it exists; return its folder, its manifest, and whether it existed."""
    parent = out.parent if exact else out
    if exact and finished(out) is not None:
        raise CurateError(f"{out}: holds another release ({read_release(out).label})", hint="choose another --out")
    written: list[Release] = []
    folders = [*siblings(parent), *((path, read_release(path)) for path in previous)]
    recorded = [Numbered(**row, where=str(store.path)) for row in numbers_given(store).to_dicts()]
    given = [*numbered(folders), *recorded]

    def number(digest: str) -> str:
        return next_number(config.name, digest, given) if config.version == "next" else config.version

    try:
        target = out if exact else parent / release.name
        with publishing(target, name=None if exact else lambda: written[0].label) as folder:
            written.append(write_release(folder, release, contents, config, number))
            check_number(written[0], given)
            existing = parent / written[0].label
            if not exact and finished(existing) is not None:
                raise _Existing
    except _Existing:
        return existing, read_release(existing), True
    return (out if exact else existing), written[0], False


class _Existing(Exception):
    """Another run built the same data: the new folder is discarded."""


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
        fragility=counts.get("fragility", {}),
        videos=counts["videos"],
        votes=counts["votes"],
        annotators=counts["annotators"],
        funnel=release.funnel,
        previous=release.previous,
        files=len(release.files),
        bytes=sum(file.bytes for file in release.files),
        newer_votes=newer_votes,
    )
