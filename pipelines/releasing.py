"""``curate release build``: a denoise run becomes an immutable, versioned folder of training data and benchmark."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import polars as pl

from curate.items import Rule
from curate.leakage import Subject, find_leaks, units
from curate.publish import finished, publishing
from curate.release.columns import (
    BENCHMARK,
    FULL,
    PAIRWISE,
    TRAIN,
    TRAIN_FULL,
    TRAIN_PAIRWISE,
)
from curate.release.diff import diff
from curate.release.figures import balance
from curate.release.funnel import denoise_stage, dropping_stage, filtered, ingest_stage, item_stages, ranking_stage
from curate.release.media import MediaFacts, facts_of, hashed
from curate.release.sealing import check_free_version, next_version, read_release, siblings
from curate.release.sealing import releases_in as releases
from curate.release.subjects import ledger_rows, ledger_subjects, read_subjects, subjects_of
from curate.release.verify import verify
from curate.release.writing import Contents, write_release
from curate.store import Store
from curate.store.exports import assign_splits, manifest_batches, manifest_run, ranked_responses
from curate.store.media import media_of
from curate.store.releases import annotators_of, prompt_facts, publish, published
from curate.store.runs import Run, recall, record
from pipelines.exporting import draw
from pipelines.media import probe_media
from pipelines.progress import Progress, silent
from pipelines.provenance import code_version, run_id
from schemas.errors import CurateError
from schemas.leakage import Leak, LeakConfig
from schemas.manifest import ManifestRun
from schemas.release import SIDES, Funnel, FunnelStage, MediaAs, Release, ReleaseConfig, ReleaseReport, Side
from schemas.tables import SCHEMA_VERSION

__all__ = ["LeakError", "build", "diff", "releases", "verify", "words"]

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


def build(
    store_path: str | Path,
    *,
    out: str | Path,
    config: ReleaseConfig = ReleaseConfig(),
    media: Path | None = None,
    facts: Mapping[str, MediaFacts] | None = None,
    previous: Sequence[Path] = (),
    exact: bool = False,
    probe: bool = False,
    progress: Progress = silent,
) -> ReleaseReport:
    """Build a release of a denoise run as the folder ``out/NAME-VERSION``, which appears whole or not at all.

    media: the folder that the names of videos start from. facts: name -> what is known of each video, where somebody
    has looked already; else their bytes are digested here. previous: folders of earlier releases, from which this one
    is kept apart, as from the store's ledger of what was published. exact: ``out`` is the release's own folder. probe:
    look at the media first (``probe_media``), so that what does not decode is refused and near-duplicates are known.
    Equal rankings, config, media and earlier releases give equal bytes; a release that is there already is left as it
    is. The first build or export of a store fixes its split, by groups of what is alike.
    Raises LeakError where training and benchmark are not apart, and CurateError where there is nothing to release,
    media are missing, or the version for people was given to other content.
    """
    out = Path(out)
    media_as = _media_as(config, media, facts)
    if probe and media is not None and facts is None:
        probe_media(store_path, media=media, progress=progress)
        with Store.open(store_path, read_only=True) as store:
            facts = facts_of(media_of(store), media)
    with Store.open(store_path) as store:
        with store.transaction():
            config = config.model_copy(update={"run": store.denoise_run(config.run), "media_as": media_as})
            upstream = manifest_run(store, config.run)
            prompts = prompt_facts(store, upstream)
            if facts is None:
                progress("reading media", 0, 0)
                facts = hashed(media, prompts["video"].drop_nulls().unique()) if media else {}
            if media_as == "none":
                facts = {name: fact for name, fact in facts.items() if fact.status == "ok"}
            sound = {name: fact for name, fact in facts.items() if fact.status == "ok"}
            subjects = {subject.prompt_id: subject for subject in subjects_of(prompts, sound)}
            earlier = _earlier(store, previous, siblings(out.parent if exact else out))
            progress("comparing prompts", 0, 0)
            alike = units(list(subjects.values()), config.leakage)
            assign_splits(
                store, config.split, units=alike, reserved=_reserved(subjects, earlier["benchmark"], config.leakage)
            )
            ranked = ranked_responses(store, config.run)
            chosen, stages = _choose(store, prompts, ranked, subjects, facts, earlier, config)
            run = _run(config, ranked, chosen, sound, previous)
            there = _standing(out, run, exact=exact)
            if there is None:
                progress("drawing items", 0, 0)
                ranked = ranked.filter(pl.col("prompt_id").is_in(sorted(chosen)))
                items, counts, rules = _draw(ranked, config)
                if not any(counts["items"].values()):
                    raise CurateError(
                        f"{store.path}: nothing to release",
                        hint="; ".join(f"{s.stage}: {s.kept:,} of {s.came:,} {s.unit} kept" for s in stages),
                    )
                counts |= _figures(store, upstream, items, counts, sound, prompts)
                sides = {side: _side_of(ranked, side) for side in SIDES}
                stages += item_stages(counts, {side: len(sides[side]) for side in SIDES})
        if there is None:
            release = Release(
                kind="release",
                schema_version=SCHEMA_VERSION,
                version="",
                run=ManifestRun(
                    run=run.run_id, step=run.step, config=run.config, inputs=run.inputs, code_version=run.code_version
                ),
                upstream=(upstream,),
                batches=manifest_batches(store, upstream),
                counts=counts,
                files=(),
                name=config.name,
                release=config.version,
                seal="",
                media_as=media_as,
                previous=tuple(run.inputs["previous"]),
                funnel=Funnel(stages=tuple(stages)),
            )
            contents = Contents(items, rules, prompts, sound if media_as != "none" else {})
            progress("writing", 0, 0)
            folder, release, reused = _publish(out, release, contents, config, previous, exact=exact)
        else:
            folder, release, reused = *there, True
        benchmark = {subject.prompt_id for subject in read_subjects(folder, release.label)["benchmark"]}
        rows = ledger_rows(release.label, [subjects[prompt] for prompt in sorted(benchmark)])
        report = _report(folder, release, reused=reused, newer_votes=store.newer_votes(config.run))
        with store.transaction():
            publish(store, rows)
            if recall(store, run.run_id) is None:
                record(store, run, report.model_dump(mode="json"))
    return report


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


def _stage_words(stage: FunnelStage) -> str:
    why = "".join(f", {number:,} {reason}" for reason, number in stage.dropped.items())
    return f"{stage.stage}: {stage.kept:,} of {stage.came:,} {stage.unit} kept{why}"


def _media_as(config: ReleaseConfig, media: Path | None, facts: Mapping[str, MediaFacts] | None) -> MediaAs:
    given = media is not None or facts is not None
    if media is not None and not media.is_dir():
        raise CurateError(f"{media}: no such folder", hint="give the folder that the names of videos start from")
    if config.media_as is None:
        return "files" if given else "none"
    if config.media_as != "none" and not given:
        raise CurateError(f"media as {config.media_as} need the media", hint="give their folder: --media DIR")
    return config.media_as


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


def _draw(
    ranked: pl.DataFrame, config: ReleaseConfig
) -> tuple[dict[str, pl.DataFrame], dict[str, Any], tuple[Rule, ...]]:
    """The items of all configs, the counts of an export over them (prompts and left_out by side), and the rules."""
    per = {"train": config.train_items_per_prompt, "benchmark": config.benchmark_items_per_prompt}
    sure = {"train": config.train_min_confidence, "benchmark": config.benchmark_min_confidence}
    names: dict[Side, tuple[str, str, str]] = {
        "train": (TRAIN, TRAIN_PAIRWISE, TRAIN_FULL),
        "benchmark": (BENCHMARK, PAIRWISE, FULL),
    }
    items: dict[str, pl.DataFrame] = {}
    counts: dict[str, Any] = {"prompts": {}, "left_out": {}}
    rules: list[Rule] = []
    for side in SIDES:
        several, pairs, whole = names[side]
        strict = side == "benchmark"
        drawn_by = (
            ((Rule(several, config.responses, per[side], strict), Rule(pairs, 2, per[side], strict)), sure[side]),
            ((Rule(whole, 0, 1, strict=False),), 0.0),
        )
        counts["left_out"][side] = {}
        prompts: set[str] = set()
        for own, least in drawn_by:
            drawn, found = draw(ranked, side, own, config.export(side, min_confidence=least), unseen=0)
            items |= drawn
            rules += own
            prompts |= {prompt for frame in drawn.values() for prompt in frame["prompt_id"]}
            suffix = f" ({whole})" if len(own) == 1 else ""
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
    counts: Mapping[str, Any],
    facts: Mapping[str, MediaFacts],
    prompts: pl.DataFrame,
) -> dict[str, Any]:
    """What the card says beyond the counts of an export."""
    used = sorted({prompt for frame in items.values() for prompt in frame["prompt_id"]})
    own = prompts.filter(pl.col("prompt_id").is_in(used))
    models = pl.concat(frame["models"].explode() for frame in items.values()).drop_nulls()
    named = set(own["video"].drop_nulls())
    denoised = store.run(run.run)
    report = denoised["report"] if denoised else {}
    return {
        "votes": int(own["votes"].sum()),
        "annotators": annotators_of(store, used, run, without=report.get("spammer_ids", [])),
        "models": models.n_unique(),
        "videos": len(named),
        "hashed": bool(named) and all(facts[name].phash for name in named if name in facts) and named <= facts.keys(),
        "method": report.get("method", run.config.get("ranker", "")),
        "agreement": {
            "rankers": own["agreement"].mean(),
            "expected_tau": own["expected_tau"].mean(),
            "contradicted": report.get("contradicted"),
        },
        "balance": {name: balance(items[name]) for name in counts["items"]},
    }


def _side_of(ranked: pl.DataFrame, side: Side) -> set[str]:
    return set(ranked.filter(pl.col("split") == side)["prompt_id"])


def _standing(out: Path, run: Run, *, exact: bool) -> tuple[Path, Release] | None:
    """The release that this run built already, as it was built. Raises CurateError where it is no longer that."""
    for path, other in siblings(out.parent if exact else out):
        if other.run.run == run.run_id and path.name == (out.name if exact else other.label):
            finished(path)
            return path, other
    return None


def _publish(
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
    others = [*beside, *((path, read_release(path)) for path in previous)]
    target = out if exact else parent / release.name

    def number(digest: str) -> str:
        known = [other for _, other in others]
        return next_version(config.name, digest, known) if config.version == "next" else config.version

    try:
        with publishing(target, name=None if exact else lambda: written[0].label) as folder:
            written.append(write_release(folder, release, contents, config, number))
            check_free_version(written[0], others)
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
