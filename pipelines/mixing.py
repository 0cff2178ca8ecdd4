"""The job ``mix``: preference datasets as downloaded to one training mixture, kept apart from benchmarks."""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from curate.media.frames import MediaError
from curate.media.probe import Probe
from curate.mixture.converters import Converter, NoPreferenceError, converter_of, files_of_source, rows_of
from curate.mixture.items import Item, in_neutral_order, merged, with_distinct_answers
from curate.mixture.overlap import Prober, Reference, contaminated, read_benchmark, repeated
from curate.mixture.writing import MEDIA, card, frame_of, place_media, write_items, write_removed
from curate.reward.foreign.benchmark import Media
from curate.reward.rows import BadRowError, Row
from curate.shards.atomic import MANIFEST, describe, publishing, version, write_manifest
from pipelines.progress import Progress, silent
from pipelines.provenance import code_version, run_id
from pipelines.settings import load_toml
from schemas.errors import CurateError
from schemas.manifest import Manifest, ManifestBatch, ManifestFile, ManifestRun
from schemas.mixture import MixtureBenchmark, MixtureConfig, MixtureReport, MixtureSource, RemovedItem, SourceCounts
from schemas.tables import SCHEMA_VERSION

Entry = TypeVar("Entry", MixtureSource, MixtureBenchmark)


@dataclass
class _Stage:
    """One source on its way: its current items and its counts."""

    source: MixtureSource
    converter: Converter
    files: list[ManifestFile]
    items: list[Item] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Stage -> reason -> number."""
    examples: dict[str, str] = field(default_factory=dict)

    def drop(self, stage: str, reason: str, evidence: str = "") -> None:
        self.reasons[stage][reason] += 1
        if evidence:
            self.examples.setdefault(reason, evidence)

    def summary(self) -> SourceCounts:
        return SourceCounts(
            source=self.source.key,
            kind=self.converter.kind,
            dataset=self.converter.dataset,
            licence=self.converter.licence,
            **self.counts,
            **{stage: dict(sorted(reasons.items())) for stage, reasons in self.reasons.items()},
            examples=dict(sorted(self.examples.items())),
        )


def load_mixture(path: str | Path) -> MixtureConfig:
    """Return the recipe in a TOML file, its relative paths from the folder of the file. Raises CurateError."""
    config, base = load_toml(path, MixtureConfig), Path(path).parent

    def rooted(entry: Entry) -> Entry:
        media = base / entry.media if entry.media else None
        return entry.model_copy(update={"path": base / entry.path, "media": media})

    return config.model_copy(
        update={
            "sources": tuple(map(rooted, config.sources)),
            "benchmarks": tuple(map(rooted, config.benchmarks)),
        }
    )


def mix(config: MixtureConfig, out: str | Path, *, progress: Progress = silent) -> MixtureReport:
    """Write the mixture of a recipe into the folder ``out``, which appears completely or not at all.

    The stages, in this order: rows become items (invalid ones are counted), ``where`` and missing preferences filter,
    pairs of one prompt are merged, items that repeat a benchmark are left out, then items that repeat an earlier
    source, then ``cap`` and ``weight`` draw. Equal files and recipe give equal bytes.

    Raises CurateError for a file that is not of its kind (the message names the columns and the kind that fits), for a
    source without any valid row, for media of a benchmark that cannot be compared, and if ``out`` is not empty.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CurateError(f"{out}: exists and is not an empty folder", hint="choose another --out, or remove it")
    stages = [_stage(source) for source in config.sources]
    with publishing(out) as folder, tempfile.TemporaryDirectory() as cache, Prober() as probed:
        for stage in stages:
            _read(stage, folder / MEDIA, progress)
        known = _probe(stages, probed, progress)
        references = []
        for number, benchmark in enumerate(config.benchmarks):
            progress("reading benchmarks", number, len(config.benchmarks))
            references.append(read_benchmark(benchmark, probed, Path(cache) / str(number)))
        for stage in stages:
            _merge(stage)
        progress("comparing prompts", 0, 0)
        removed = _remove_repeats(stages, known, references, config)
        drawn = [pair for stage in stages for pair in _draw(stage, config.seed)]
        if not drawn:
            raise CurateError("the mixture has no items", hint=f"counts: {[s.summary().model_dump() for s in stages]}")
        drawn.sort(key=lambda pair: (pair[1].draw(config.seed, "order"), pair[0]))
        return _write(folder, out, config, stages, references, drawn, known, removed, progress)


def _stage(source: MixtureSource) -> _Stage:
    converter = converter_of(source)
    root = source.path.parent if source.path.is_file() else source.path
    files = [describe(path, root=root) for path in files_of_source(source, converter)]
    return _Stage(source, converter, files)


def _read(stage: _Stage, embedded: Path, progress: Progress) -> None:
    """Fill the items of a stage from its files. embedded: folder for embedded images."""
    source, converter = stage.source, stage.converter
    root = source.path.parent if source.path.is_file() else source.path
    media = Media(source.media or root, embedded)
    label = source.label or (converter.labels or ("",))[0]
    wanted = {name: value if isinstance(value, tuple) else (value,) for name, value in source.where.items()}
    for file in stage.files:
        for row in rows_of(root / file.path, source, converter):
            stage.counts["read"] += 1
            if stage.counts["read"] % 1000 == 0:
                progress(f"reading {source.key}", stage.counts["read"], 0)
            if isinstance(row, str):
                stage.drop("invalid", "not a JSON object", row)
            elif any(row.cells.get(name) not in values for name, values in wanted.items()):
                stage.drop("filtered", f"where {', '.join(wanted)}")
            else:
                _convert(stage, row, f"{file.path}:{row.number}", media, label)
    if stage.counts["read"] == sum(stage.reasons["invalid"].values()):
        first = next(iter(stage.examples.values()), "it has no rows")
        raise CurateError(f"source {source.key}: none of its rows is valid: {first}", hint=converter.schema)


def _convert(stage: _Stage, row: Row, place: str, media: Media, label: str) -> None:
    try:
        item = stage.converter.parse(row, media, label)
    except BadRowError as error:
        stage.drop("invalid", error.reason, f"{place}: {error}")
        return
    except NoPreferenceError as error:
        stage.drop("filtered", str(error))
        return
    medium = item.medium
    name = (medium.relative_to(media.folder) if medium.is_relative_to(media.folder) else medium.name) if medium else ""
    distinct = with_distinct_answers(replace(item, source=stage.source.key, row=place, medium_name=str(name)))
    stage.counts["repeated_answers"] += len(item.responses) - len(distinct.responses)
    if len(distinct.responses) < 2:
        stage.drop("filtered", "fewer than two different responses")
    else:
        stage.items.append(distinct)


def _probe(stages: Sequence[_Stage], probed: Prober, progress: Progress) -> dict[Path, Probe]:
    """Return the properties of all media; items whose medium cannot be read become invalid."""
    paths = {item.medium for stage in stages for item in stage.items if item.medium}
    known: dict[Path, Probe] = {}
    defects: dict[Path, MediaError] = {}
    for number, (path, found) in enumerate(probed(paths)):
        progress("reading media", number, len(paths))
        if isinstance(found, Probe):
            known[path] = found
        else:
            defects[path] = found
    for stage in stages:
        kept = []
        for item in stage.items:
            if item.medium in defects:
                error = defects[item.medium]
                stage.drop("invalid", f"image or video: {error.code}", f"{item.row}: {item.medium_name}")
            else:
                kept.append(item)
        stage.items = kept
    return known


def _merge(stage: _Stage) -> None:
    """Merge the items of one prompt, then filter by the preferences and the number of responses."""
    groups: dict[Any, list[Item]] = defaultdict(list)
    for item in stage.items:
        groups[(item.prompt, item.medium) if stage.converter.pairs else item.item_id].append(item)
    kept: list[Item] = []
    low, high = stage.source.min_responses, stage.source.max_responses
    for group in groups.values():
        found, pairs = merged(group) if stage.converter.pairs else (group[:1], 0)
        stage.counts["merged"] += len(group) - len(found)
        stage.counts["kept_as_pairs"] += pairs
        for item in map(in_neutral_order, found):
            if not item.decisive:
                stage.drop("filtered", "no response is better than another")
            elif not low <= len(item.responses) <= (high or len(item.responses)):
                stage.drop("filtered", f"not {low} to {high or 'any number of'} responses")
            else:
                kept.append(item)
    stage.items = kept


def _remove_repeats(
    stages: Sequence[_Stage], known: dict[Path, Probe], references: Sequence[Reference], config: MixtureConfig
) -> list[RemovedItem]:
    """Remove the items that repeat a benchmark, then those that repeat an earlier source; return the evidence."""
    removed = []
    by_key = {stage.source.key: stage for stage in stages}
    items = [item for stage in stages for item in stage.items]
    leaks = contaminated(items, known, references, config.leakage)
    for number, leak in sorted(leaks.items()):
        item, of = items[number], leak.benchmark_release
        by_key[item.source].drop("contaminated", of)
        more: dict[str, Any] = {"rule": leak.rule, "distance": leak.distance, "similarity": leak.similarity}
        removed.append(
            RemovedItem(source=item.source, row=item.row, why="contaminated", of=of, item=leak.benchmark, **more)
        )
    clean = [item for number, item in enumerate(items) if number not in leaks]
    repeats = repeated(clean, known, config.leakage)
    for number, repeat in sorted(repeats.items()):
        item, other = clean[number], clean[repeat.of]
        by_key[item.source].drop("duplicates", other.source)
        more = {"rule": repeat.rule, "distance": repeat.distance, "similarity": repeat.similarity}
        removed.append(
            RemovedItem(source=item.source, row=item.row, why="duplicate", of=other.source, item=other.row, **more)
        )
    for stage in stages:
        stage.items = []
    for number, item in enumerate(clean):
        if number not in repeats:
            by_key[item.source].items.append(item)
    return removed


def _draw(stage: _Stage, seed: int) -> list[tuple[str, Item]]:
    """Return (item_id, item) of the items that cap and weight draw; copies have the ids ID#2, ID#3, …"""
    items = sorted(stage.items, key=lambda item: (item.draw(seed, "cap"), item.item_id))[: stage.source.cap]
    whole, part = divmod(stage.source.weight, 1)
    drawn = [
        (item.item_id + (f"#{copy + 1}" if copy else ""), item)
        for item in items
        for copy in range(int(whole) + (item.draw(seed, "weight") < part))
    ]
    stage.counts["capped"] = len(stage.items) - len(items)
    stage.counts["copies"] = len(drawn) - len(items)
    stage.counts["written"] = len(drawn)
    return drawn


def _write(
    folder: Path,
    out: Path,
    config: MixtureConfig,
    stages: Sequence[_Stage],
    references: Sequence[Reference],
    drawn: Sequence[tuple[str, Item]],
    known: dict[Path, Probe],
    removed: Sequence[RemovedItem],
    progress: Progress,
) -> MixtureReport:
    progress("writing", 0, 0)
    used = {item.medium for _, item in drawn if item.medium}
    places = place_media(folder, used, known)
    files = write_items(folder, frame_of(drawn, places), rows_per_shard=config.rows_per_shard)
    files.append(write_removed(folder, removed))
    files += [describe(path, root=folder) for path in sorted((folder / MEDIA).rglob("*")) if path.is_file()]
    sizes = Counter(len(item.responses) for _, item in drawn)
    report = MixtureReport(
        out=str(out),
        version="",
        items=len(drawn),
        media=len(set(places.values())),
        bytes=0,
        sources=tuple(stage.summary() for stage in stages),
        benchmarks={reference.name: reference.prompts for reference in references},
        responses={str(size): sizes[size] for size in sorted(sizes)},
    )
    readme = folder / "README.md"
    readme.write_text(card(config, report), encoding="utf-8")
    files.append(describe(readme))
    report = report.model_copy(update={"version": version(files), "bytes": sum(file.bytes for file in files)})
    write_manifest(folder, _manifest(config, stages, report, files))
    return report


def _manifest(
    config: MixtureConfig, stages: Sequence[_Stage], report: MixtureReport, files: Sequence[ManifestFile]
) -> Manifest:
    """Return the manifest; it names files and folders by their last part only."""
    document = config.model_dump(mode="json")
    for entry in (*document["sources"], *document["benchmarks"]):
        entry |= {"path": Path(entry["path"]).name, "media": Path(entry["media"]).name if entry["media"] else None}
    counts = [one.model_dump(mode="json") for one in report.sources]
    inputs: dict[str, Any] = {stage.source.key: {file.path: file.sha256 for file in stage.files} for stage in stages}
    apart = [entry.path / MANIFEST if entry.path.is_dir() else entry.path for entry in config.benchmarks]
    inputs |= {"benchmarks": [describe(path).sha256 for path in apart if path.is_file()]}
    run = run_id("mix", document, inputs)
    return Manifest(
        kind="train",
        schema_version=SCHEMA_VERSION,
        version=report.version,
        run=ManifestRun(run=run, step="mix", config=document, inputs=inputs, code_version=code_version()),
        upstream=(),
        batches=tuple(
            ManifestBatch(
                batch=stage.source.key, files=tuple((file.path, file.sha256) for file in stage.files), counts=own
            )
            for stage, own in zip(stages, counts, strict=True)
        ),
        counts={"items": {"train": report.items}, "benchmarks": report.benchmarks, "responses": report.responses},
        files=tuple(files),
    )
