"""The job ``mix``: preference datasets as downloaded to one training mixture, kept apart from benchmarks."""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from curate.engine import Part, engine_or_none, map_parts
from curate.leakage.detect import compare_videos
from curate.media.frames import MediaError
from curate.media.probe import Probe
from curate.mixture.converters import Converter, NoPreferenceError, converter_of, files_of_source, rows_of
from curate.mixture.items import draw, in_neutral_order, medium, merged, with_distinct_answers
from curate.mixture.overlap import Prober, contaminated, read_benchmark, repeated
from curate.mixture.writing import MEDIA, card, place_media, write_items, write_removed
from curate.reward.data import Example
from curate.reward.foreign.benchmark import Media
from curate.shards.atomic import MANIFEST, describe, publishing, version, write_manifest
from curate.shards.rows import BadRowError, Row
from pipelines.progress import Progress, silent
from pipelines.provenance import code_version, run_id
from pipelines.settings import load_toml
from schemas.engine import EngineConfig
from schemas.errors import ConflictError, CurateError
from schemas.manifest import Manifest, ManifestBatch, ManifestFile, ManifestRun
from schemas.mixture import MixtureBenchmark, MixtureConfig, MixtureReport, MixtureSource, RemovedItem, SourceCounts
from schemas.tables import SCHEMA_VERSION

Entry = TypeVar("Entry", MixtureSource, MixtureBenchmark)


@dataclass
class _Stage:
    """One source on its way: its current items and its counts."""

    source: MixtureSource
    root: Path
    files: list[ManifestFile]
    items: list[Example] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    reasons: defaultdict[str, Counter[str]] = field(default_factory=partial(defaultdict, Counter))
    """Stage -> reason -> number."""
    examples: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, source: MixtureSource) -> _Stage:
        converter, root = converter_of(source), source.path.parent if source.path.is_file() else source.path
        return cls(source, root, [describe(path, root=root) for path in files_of_source(source, converter)])

    @property
    def converter(self) -> Converter:
        return converter_of(self.source)

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
        return entry.model_copy(
            update={"path": base / entry.path, "media": base / entry.media if entry.media else None}
        )

    sources, benchmarks = tuple(map(rooted, config.sources)), tuple(map(rooted, config.benchmarks))
    return config.model_copy(update={"sources": sources, "benchmarks": benchmarks})


def mix(
    config: MixtureConfig, out: str | Path, *, engine: EngineConfig | None = None, progress: Progress = silent
) -> MixtureReport:
    """Write the mixture of a recipe into the folder ``out``, which appears completely or not at all.

    The stages, in this order: rows become items (invalid ones are counted), ``where`` and missing preferences filter,
    pairs of one prompt are merged, items that repeat a benchmark are left out, then items that repeat an earlier
    source, then ``cap`` and ``weight`` draw. Equal files and recipe give equal bytes. engine: where sources and media
    are read, and videos compared; None: media in processes of this machine, all else in this one.

    Raises CurateError for a file that is not of its kind (the message names the columns and the kind that fits), for a
    source without any valid row, for media of a benchmark that cannot be compared, and if ``out`` is not empty.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConflictError(f"{out}: exists and is not an empty folder", hint="choose another --out, or remove it")
    stages = [_Stage.of(source) for source in config.sources]
    with (
        publishing(out) as folder,
        tempfile.TemporaryDirectory() as cache,
        engine_or_none(engine) as workers,
        Prober(workers) as probed,
    ):
        parts = [Part(stage.source.key, stage) for stage in stages]
        read = partial(_read, embedded=folder / MEDIA, progress=silent if workers else progress)
        stages = list(map_parts(read, parts, engine=workers))
        probes = _probe(stages, probed, progress)
        references = {}
        for number, benchmark in enumerate(config.benchmarks):
            progress("reading benchmarks", number, len(config.benchmarks))
            references[benchmark.key] = read_benchmark(benchmark, probed, Path(cache) / str(number))
        for stage in stages:
            _merge(stage)
        progress("comparing prompts", 0, 0)
        prints = {probe.fingerprint for probe in probes.values()}
        prints |= {subject.fingerprint for reference in references.values() for subject in reference.subjects}
        compare_videos(prints, config.leakage, engine=workers)
        removed = _remove(stages, contaminated(_items(stages), probes, references.values(), config.leakage))
        removed += _remove(stages, repeated(_items(stages), probes, config.leakage))
        drawn = [item for stage in stages for item in _draw(stage, config.seed)]
        drawn.sort(key=lambda item: (draw(item, config.seed, "order"), item.item_id))
        progress("writing", 0, 0)
        places = place_media(folder, [path for path in map(medium, drawn) if path], probes)
        sizes = Counter(len(item.responses) for item in drawn)
        report = MixtureReport(
            out=str(out),
            items=len(drawn),
            media=len(set(places.values())),
            sources=tuple(stage.summary() for stage in stages),
            benchmarks={name: reference.prompts for name, reference in references.items()},
            responses={str(size): sizes[size] for size in sorted(sizes)},
        )
        if not drawn:
            raise CurateError("the mixture has no items", hint="; ".join(map(str, report.sources)))
        files = write_items(folder, drawn, places, rows_per_shard=config.rows_per_shard)
        files.append(write_removed(folder, removed))
        return _finish(folder, config, stages, report, files)


def _read(stage: _Stage, embedded: Path, progress: Progress) -> _Stage:
    """Return a stage with the items of its files. embedded: folder for embedded images."""
    source, converter = stage.source, stage.converter
    media = Media(source.media or stage.root, embedded)
    wanted = {name: value if isinstance(value, tuple) else (value,) for name, value in source.where.items()}
    for file in stage.files:
        for row in rows_of(stage.root / file.path, source, converter):
            stage.counts["read"] += 1
            if stage.counts["read"] % 1000 == 0:
                progress(f"reading {source.key}", stage.counts["read"], 0)
            if isinstance(row, str):
                stage.drop("invalid", "not a JSON object", row)
            elif any(row.cells.get(name) not in values for name, values in wanted.items()):
                stage.drop("filtered", f"where {', '.join(wanted)}")
            else:
                _convert(stage, row, f"{source.key}/{file.path}:{row.number}", media)
    if stage.counts["read"] == stage.reasons["invalid"].total():
        first = next(iter(stage.examples.values()), "there are no rows")
        raise CurateError(f"source {source.key}: none of its rows is valid: {first}", hint=converter.schema)
    return stage


def _convert(stage: _Stage, row: Row, item_id: str, media: Media) -> None:
    converter = stage.converter
    label = stage.source.label or (converter.labels or ("",))[0]
    try:
        item = replace(converter.parse(row, media, label), item_id=item_id, source=stage.source.key)
    except BadRowError as error:
        stage.drop("invalid", error.reason, f"{item_id}: {error}")
        return
    except NoPreferenceError as error:
        stage.drop("filtered", str(error))
        return
    distinct = with_distinct_answers(item)
    stage.counts["repeated_answers"] += len(item.responses) - len(distinct.responses)
    if len(distinct.responses) < 2:
        stage.drop("filtered", "fewer than two different responses")
    else:
        stage.items.append(distinct)


def _items(stages: Sequence[_Stage]) -> list[Example]:
    return [item for stage in stages for item in stage.items]


def _probe(stages: Sequence[_Stage], probed: Prober, progress: Progress) -> dict[Path, Probe]:
    """Return the properties of all media; items whose medium cannot be read become invalid."""
    paths = {path for path in map(medium, _items(stages)) if path}
    found: dict[Path | None, Probe | MediaError] = {}
    for number, (path, probe) in enumerate(probed(paths)):
        progress("reading media", number, len(paths))
        found[path] = probe
    for stage in stages:
        for item in stage.items:
            own = medium(item)
            if own and isinstance(error := found[own], MediaError):
                stage.drop("invalid", f"image or video: {error.code}", f"{item.item_id}: {own.name}")
        stage.items = [item for item in stage.items if not isinstance(found.get(medium(item)), MediaError)]
    return {path: probe for path, probe in found.items() if path and isinstance(probe, Probe)}


def _merge(stage: _Stage) -> None:
    """Merge the items of one prompt, then filter by the preferences and the number of responses."""
    groups: dict[tuple[str, Path | None], list[Example]] = defaultdict(list)
    for item in stage.items:
        groups[item.prompt, medium(item)].append(item)
    low, high = stage.source.min_responses, stage.source.max_responses
    stage.items = []
    for group in groups.values():
        found = merged(group)
        stage.counts["merged"] += len(group) - len(found)
        stage.counts["kept_apart"] += len(found) if len(found) > 1 else 0
        for item in found:
            if len(set(item.ranks)) == 1:
                stage.drop("filtered", "no response is better than another")
            elif not low <= len(item.responses) <= (high or len(item.responses)):
                stage.drop("filtered", f"not {low} to {high or 'any number of'} responses")
            else:
                stage.items.append(in_neutral_order(item))


def _remove(stages: Sequence[_Stage], found: Mapping[str, RemovedItem]) -> list[RemovedItem]:
    """Remove the items from their stages; return the evidence in the order of the items."""
    removed = []
    for stage in stages:
        own = [found[item.item_id] for item in stage.items if item.item_id in found]
        for one in own:
            stage.drop(one.why, one.of)
        stage.items = [item for item in stage.items if item.item_id not in found]
        removed += own
    return removed


def _draw(stage: _Stage, seed: int) -> list[Example]:
    """Return the items that cap and weight draw; copies have the ids ID#2, ID#3, …"""
    items = sorted(stage.items, key=lambda item: draw(item, seed, "cap"))[: stage.source.cap]
    whole, part = divmod(stage.source.weight, 1)
    drawn = [
        replace(item, item_id=f"{item.item_id}#{copy}" if copy > 1 else item.item_id)
        for item in items
        for copy in range(1, 1 + int(whole) + (draw(item, seed, "weight") < part))
    ]
    stage.counts["capped"] = len(stage.items) - len(items)
    stage.counts["copies"] = len(drawn) - len(items)
    stage.counts["written"] = len(drawn)
    return drawn


def _finish(
    folder: Path, config: MixtureConfig, stages: Sequence[_Stage], report: MixtureReport, files: list[ManifestFile]
) -> MixtureReport:
    """Write card and manifest, which names files and folders elsewhere by their last part only; return the report."""
    readme = folder / "README.md"
    readme.write_text(card(config, report), encoding="utf-8")
    media = sorted(path for path in (folder / MEDIA).rglob("*") if path.is_file())
    files += [describe(path, root=folder) for path in (*media, readme)]
    report = report.model_copy(update={"version": version(files), "bytes": sum(file.bytes for file in files)})
    document = config.model_dump(mode="json")
    for entry in (*document["sources"], *document["benchmarks"]):
        entry |= {name: Path(entry[name]).name for name in ("path", "media") if entry[name]}
    read = {stage.source.key: tuple((file.path, file.sha256) for file in stage.files) for stage in stages}
    apart = [entry.path / MANIFEST if entry.path.is_dir() else entry.path for entry in config.benchmarks]
    inputs = {"sources": read, "benchmarks": [describe(path).sha256 for path in apart if path.is_file()]}
    manifest = Manifest(
        kind="train",
        schema_version=SCHEMA_VERSION,
        version=report.version,
        run=ManifestRun(
            run=run_id("mix", document, inputs), step="mix", config=document, inputs=inputs, code_version=code_version()
        ),
        upstream=(),
        batches=tuple(
            ManifestBatch(batch=one.source, files=read[one.source], counts=one.model_dump(mode="json"))
            for one in report.sources
        ),
        counts={"items": {"train": report.items}, "benchmarks": report.benchmarks, "responses": report.responses},
        files=tuple(files),
    )
    write_manifest(folder, manifest)
    return report
