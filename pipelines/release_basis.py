"""Which prompts a release may hold: split by what is alike, sound in their media, good enough, and leaking nowhere."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from curate.leakage.detect import Subject, find_leaks, units
from curate.release.funnel import denoise_stage, dropping_stage, filtered, ingest_stage, ranking_stage
from curate.release.media import MediaFacts
from curate.release.sealing import read_release, siblings
from curate.release.subjects import ledger_subjects, read_subjects, subjects_of
from curate.store import Store
from curate.store.exports import assign_splits, manifest_batches, manifest_run, ranked_responses
from curate.store.releases import prompt_facts, published
from curate.store.runs import Run
from pipelines.progress import Progress
from pipelines.provenance import code_version, run_id
from schemas.errors import CurateError
from schemas.leakage import Leak, LeakConfig
from schemas.manifest import ManifestRun
from schemas.release import SIDES, FunnelStage, MediaAs, Release, ReleaseConfig, Side

SHOWN = 8
"""Leaks that an error tells in full; it counts the rest."""


class LeakError(CurateError):
    """A build that was refused because training and benchmark are not apart; ``leaks`` is the evidence."""

    def __init__(self, leaks: Sequence[Leak], store: Path) -> None:
        told = "".join(f"\n  {words(leak)}" for leak in leaks[:SHOWN])
        more = f"\n  … and {len(leaks) - SHOWN} more" if len(leaks) > SHOWN else ""
        super().__init__(
            f"{store}: training and benchmark are not apart, in {len(leaks)} pairs of prompts:{told}{more}",
            hint="mend the data, in a new store (a first build keeps what is alike on one side); or leave such prompts "
            "out: leakage.on_leak = 'drop'; or, where you looked at a pair and it is no leak, name it in "
            "leakage.cleared",
        )
        self.leaks = tuple(leaks)


@dataclass(frozen=True)
class Basis:
    """What a release is drawn from: the prompts that it may hold, and the run that drawing them is."""

    config: ReleaseConfig
    """With the denoise run and the way of the media filled in."""
    upstream: ManifestRun
    prompts: pl.DataFrame
    subjects: dict[str, Subject]
    sound: dict[str, MediaFacts]
    """Of the videos that can be used."""
    ranked: pl.DataFrame
    """Responses of the chosen prompts."""
    stages: list[FunnelStage]
    run: Run


def basis_of(
    store: Store,
    home: Path,
    config: ReleaseConfig,
    media_as: MediaAs,
    facts: Mapping[str, MediaFacts],
    previous: Sequence[Path],
    progress: Progress,
) -> Basis:
    """Split the store, where that was not done, and choose its prompts.

    home: the folder that will hold the release. facts: name -> what is known of each video; nothing without media.
    """
    config = config.model_copy(update={"run": store.denoise_run(config.run), "media_as": media_as})
    upstream = manifest_run(store, config.run)
    prompts = prompt_facts(store, upstream)
    sound = {name: fact for name, fact in facts.items() if fact.status == "ok"}
    subjects = {subject.prompt_id: subject for subject in subjects_of(prompts, sound)}
    earlier = _earlier(store, previous, siblings(home))
    progress("comparing prompts", 0, 0)
    alike = units(list(subjects.values()), config.leakage)
    reserved = _reserved(subjects, earlier["benchmark"], config.leakage)
    assign_splits(store, config.split, units=alike, reserved=reserved)
    ranked = ranked_responses(store, config.run)
    chosen, stages = _choose(store, prompts, ranked, subjects, facts, earlier, config)
    run = _run(config, ranked, chosen, sound, previous)
    ranked = ranked.filter(pl.col("prompt_id").is_in(sorted(chosen)))
    return Basis(config, upstream, prompts, subjects, sound, ranked, stages, run)


def words(leak: Leak) -> str:
    """The leak in a line: which prompts, by which rule, and the evidence."""
    train = f"{leak.train!r}" + (f" of {leak.train_release}" if leak.train_release else "")
    benchmark = f"{leak.benchmark!r}" + (f" of {leak.benchmark_release}" if leak.benchmark_release else "")
    evidence = []
    if leak.rule != "question":
        evidence += [f"videos {leak.videos[0]!r} and {leak.videos[1]!r}"] if any(leak.videos) else []
    if leak.distance is not None:
        evidence.append(f"{leak.distance:.2f} apart")
    if leak.similarity > 0:
        evidence.append(f"questions {leak.questions[0]!r} and {leak.questions[1]!r} share {leak.similarity:.0%}")
    return f"same {leak.rule}: training {train}, benchmark {benchmark} ({', '.join(evidence)})"


def _earlier(
    store: Store, previous: Sequence[Path], beside: Sequence[tuple[Path, Release]]
) -> dict[Side, list[Subject]]:
    """The prompts of earlier releases: of the folders given, of the benchmarks in the store's ledger, and of those that
    lie where this one will (another store may have made them)."""
    found: dict[Side, list[Subject]] = {"train": [], "benchmark": ledger_subjects(published(store))}
    known = {(subject.release, subject.prompt_id) for subject in found["benchmark"]}
    for folder, release in beside:
        own = read_subjects(folder, release.label)["benchmark"]
        found["benchmark"] += [subject for subject in own if (subject.release, subject.prompt_id) not in known]
    known |= {(subject.release, subject.prompt_id) for subject in found["benchmark"]}
    for folder in previous:
        label = read_release(folder).label
        for side, subjects in read_subjects(folder, label).items():
            found[side] += [s for s in subjects if (s.release, s.prompt_id) not in known or side == "train"]
    return found


def _labels(previous: Sequence[Path]) -> list[str]:
    return sorted({read_release(folder).label for folder in previous})


def _reserved(subjects: Mapping[str, Subject], benchmark: Sequence[Subject], config: LeakConfig) -> set[str]:
    """Prompts that are, or are too close to, a published benchmark's: where they have no side yet, they keep to it."""
    return {leak.train for leak in find_leaks(list(subjects.values()), benchmark, config)}


def _choose(
    store: Store,
    prompts: pl.DataFrame,
    ranked: pl.DataFrame,
    subjects: Mapping[str, Subject],
    facts: Mapping[str, MediaFacts],
    earlier: Mapping[Side, Sequence[Subject]],
    config: ReleaseConfig,
) -> tuple[set[str], list[FunnelStage]]:
    """The prompts that a release may hold, and the stages up to them. Raises where media or leaks stop the build."""
    run = manifest_run(store, config.run)
    denoised = store.run(config.run)
    stages = [
        ingest_stage(manifest_batches(store, run)),
        denoise_stage(prompts, denoised["report"] if denoised else {}),
        ranking_stage(prompts),
    ]
    connected = ranked.filter(pl.col("component") == 0)
    sizes = dict(connected["prompt_id"].value_counts().iter_rows())
    chosen, stage = filtered(
        prompts.filter(pl.col("prompt_id").is_in(ranked.filter(pl.col("rank").is_not_null())["prompt_id"].to_list())),
        sizes,
        config.filters,
    )
    stages.append(stage)
    video = dict(prompts.select("prompt_id", "video").iter_rows())
    if config.media_as != "none":
        bad = {
            prompt: facts[name].status if name in facts else "missing"
            for prompt in sorted(chosen)
            if (name := video[prompt]) and (name not in facts or facts[name].status != "ok")
        }
        _check_media(store, bad, video, facts, config)
        chosen, stage = dropping_stage("media", chosen, bad)
        stages.append(stage)
    side = dict(ranked.select("prompt_id", "split").unique().iter_rows())
    sides = {name: [subjects[p] for p in sorted(chosen) if side[p] == name] for name in SIDES}
    leaks = (
        *find_leaks(sides["train"], [*sides["benchmark"], *earlier["benchmark"]], config.leakage),
        *find_leaks(earlier["train"], sides["benchmark"], config.leakage),
    )
    if leaks and config.leakage.on_leak == "stop":
        raise LeakError(leaks, store.path)
    dropped = {leak.benchmark if leak.train_release else leak.train: f"leaks: same {leak.rule}" for leak in leaks}
    chosen, stage = dropping_stage("leakage", chosen, dropped)
    return chosen, [*stages, stage]


def _check_media(
    store: Store,
    bad: Mapping[str, str],
    video: Mapping[str, str | None],
    facts: Mapping[str, MediaFacts],
    config: ReleaseConfig,
) -> None:
    if bad and config.bad_media == "stop":
        prompt = next(iter(bad))
        name = video[prompt] or ""
        reason = facts[name].reason if name in facts else "not among the media"
        reason = reason if name in reason else f"{name}: {reason}"
        count = ", ".join(f"{number} {status}" for status, number in sorted(Counter(bad.values()).items()))
        raise CurateError(
            f"{store.path}: the media of {len(bad)} prompts cannot be released ({count}); the first: {reason}",
            hint="fetch them (curate media check lists all); or leave these prompts out, and have them counted: "
            "bad_media = 'drop' in the config of the release",
        )


def _run(
    config: ReleaseConfig,
    ranked: pl.DataFrame,
    chosen: Set[str],
    facts: Mapping[str, MediaFacts],
    previous: Sequence[Path],
) -> Run:
    """The run that this build is: words, sides, media and earlier releases are in its digests.

    The ledger is not, which holds the release itself once it is there; what it keeps out is not among the chosen.
    """
    words = ranked.select("prompt_id", "split", "prompt", "video", "response_id", "model", "response")
    digest = hashlib.sha256()
    for part in words.iter_slices(100_000):
        digest.update(part.write_ndjson().encode())
    media = hashlib.sha256(
        "".join(f"{name}\0{facts[name].sha256}\0{facts[name].phash}\n" for name in sorted(facts)).encode()
    )
    document = config.model_dump(mode="json")
    inputs = {
        "denoise": config.run,
        "prompts": digest.hexdigest(),
        "media": media.hexdigest(),
        "chosen": hashlib.sha256("\n".join(sorted(chosen)).encode()).hexdigest(),
        "previous": _labels(previous),
    }
    return Run(run_id("release", document, inputs), "release", document, inputs, code_version(), config.seed)
