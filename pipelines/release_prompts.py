"""The prompts of a release: split, selected by filters, usable media and leaks; and the run of the build."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from curate.engine import Engine
from curate.leakage.detect import Subject, compare_videos, find_leaks, units
from curate.release.figures import (
    denoise_stage,
    dropping_stage,
    filtered,
    ingest_stage,
    ranking_stage,
)
from curate.release.history import previous_version
from curate.release.leakage import (
    LeakError,
    Sides,
    earlier_subjects,
    leaks_of,
    limits_of,
    subjects_of,
)
from curate.release.manifest import read_release, siblings
from curate.release.media import MediaFacts, public_name
from curate.store import Store
from curate.store.exports import (
    assign_splits,
    manifest_batches,
    manifest_run,
    prompt_facts,
    published,
    ranked_responses,
)
from curate.store.runs import Run
from pipelines.exporting import text_digest
from pipelines.progress import Progress
from pipelines.provenance import code_version, run_id
from schemas.errors import CurateError
from schemas.manifest import ManifestRun
from schemas.release import (
    SIDES,
    FunnelStage,
    MediaAs,
    Release,
    ReleaseConfig,
)

Folder = tuple[Path, Release]
"""The folder of a release, and its manifest."""


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
    excluded: dict[str, str]
    """prompt -> why it is not selected, of the ranked ones."""
    stages: list[FunnelStage]
    runs: list[tuple[Run, Folder | None]]
    """The runs that this build may be, each with the previous version whose items it keeps; the last is a new one."""
    notes: tuple[str, ...]
    """What could not be checked for leakage."""

    @property
    def media(self) -> dict[str, tuple[str, str | None]]:
        """prompt -> public name and digest (None: unknown) of its video."""
        found = self.usable if self.config.media_as != "none" else {}
        return {
            prompt: (public_name(video), found[video].sha256 if video in found else None)
            for prompt, video in self.prompts.select("prompt_id", "video").iter_rows()
            if video
        }


def select_prompts(
    store: Store,
    parent: Path,
    config: ReleaseConfig,
    media_as: MediaAs,
    facts: Mapping[str, MediaFacts],
    previous: Sequence[Path],
    engine: Engine | None,
    progress: Progress,
) -> Selection:
    """Split the store's prompts, if they are not, and select those of the release.

    config: with the full id of the denoise run. parent: the folder of releases. facts: name -> facts of each medium;
    empty without media. engine: where their videos are compared; None: in this process.
    """
    config = config.model_copy(update={"media_as": media_as})
    upstream = manifest_run(store, config.run)
    prompts = prompt_facts(store, upstream)
    usable = {name: fact for name, fact in facts.items() if fact.status == "ok"}
    subjects = {subject.prompt_id: subject for subject in subjects_of(prompts, usable)}
    earlier = earlier_subjects(published(store), previous, siblings(parent))
    progress("comparing prompts", 0, 0)
    every = [*subjects.values(), *earlier["train"], *earlier["benchmark"]]
    compare_videos((subject.fingerprint for subject in every), config.leakage, engine=engine)
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
    excluded = dict.fromkeys(set(with_rank) - chosen, "prompt excluded by filters")
    stages.append(stage)
    if config.media_as != "none":
        bad = _bad_media(store, prompts, chosen, facts, config)
        chosen, stage = dropping_stage("media", chosen, bad)
        excluded |= dict.fromkeys(bad, "prompt without usable media")
        stages.append(stage)
    leaking = _leaking(store, ranked, chosen, subjects, earlier, config)
    chosen, stage = dropping_stage("leakage", chosen, leaking)
    excluded |= dict.fromkeys(leaking, "prompt leaks")
    stages.append(stage)

    given = [(folder, read_release(folder)) for folder in previous]
    bases: list[Folder | None] = [None, *previous_version(config.name, config.version, parent, given)]
    # A release of that name may be this build itself: then its base is an earlier one.
    bases = bases if config.version == "next" else bases[-1:]
    runs = [(run, base) for base, run in zip(bases, _runs(config, ranked, chosen, usable, given, bases), strict=True)]
    ranked = ranked.filter(pl.col("prompt_id").is_in(sorted(chosen)))
    notes = limits_of([*earlier["train"], *earlier["benchmark"]])
    return Selection(config, upstream, prompts, subjects, usable, ranked, excluded, stages, runs, notes)


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


def _runs(
    config: ReleaseConfig,
    ranked: pl.DataFrame,
    chosen: Set[str],
    facts: Mapping[str, MediaFacts],
    previous: Sequence[Folder],
    bases: Sequence[Folder | None],
) -> list[Run]:
    """Return the run of a build from each previous version; inputs have digests of texts, sides, media and prompts.

    The ledger is not an input, since it has the release itself afterwards; its effect is in the chosen prompts.
    """
    media = "".join(f"{name}\0{facts[name].sha256}\0{facts[name].phash}\n" for name in sorted(facts))
    document = config.model_dump(mode="json")
    inputs = {
        "denoise": config.run,
        "prompts": text_digest(ranked),
        "media": hashlib.sha256(media.encode()).hexdigest(),
        "chosen": hashlib.sha256("\n".join(sorted(chosen)).encode()).hexdigest(),
        "previous": sorted({release.label for _, release in previous}),
    }
    every = [inputs | ({"items": f"{base[1].label} {base[1].version}"} if base else {}) for base in bases]
    code = code_version()
    return [Run(run_id("release", document, own), "release", document, own, code, config.seed) for own in every]
