"""What a mixture must not repeat: prompts of benchmarks, and of its own earlier sources; by question and by media."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from curate.leakage.detect import Subject, find_leaks, similar_pairs
from curate.media.frame_folders import probe_frames
from curate.media.frames import MediaError
from curate.media.probe import Probe
from curate.media.workers import MediaReader
from curate.mixture.items import Item
from curate.processors import cores
from curate.release.leakage import read_subjects
from curate.reward.data import Example, read_examples
from curate.reward.foreign import BENCHMARKS, read
from curate.reward.foreign.benchmark import Media, columns_of, listed, read_file
from curate.reward.rows import BadRowError
from curate.shards.atomic import MANIFEST, read_manifest
from schemas.errors import CurateError, UsageError
from schemas.leakage import Leak, LeakConfig
from schemas.mixture import MixtureBenchmark
from schemas.release import Release

QUESTION_COLUMNS = ("prompt", "question", "query", "text")
"""Columns of a file of prompts: the first that it has is the question."""
TIMEOUT = 60.0
"""Seconds for one media file."""


@dataclass
class Prober:
    """Reads images and videos in processes that start when they are needed. Use it as a context manager."""

    _reader: MediaReader | None = None

    def __enter__(self) -> Prober:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._reader is not None:
            self._reader.close()

    def __call__(self, paths: Iterable[Path]) -> Iterator[tuple[Path, Probe | MediaError]]:
        """Yield each file, or folder of frames, once with its digest and fingerprint, or its defect; sorted."""
        found = sorted(set(paths))
        files = [path for path in found if not path.is_dir()]
        if files:
            self._reader = self._reader or MediaReader(workers=cores(), timeout=TIMEOUT)
            yield from zip(files, self._reader.probe(files), strict=True)
        for folder in (path for path in found if path.is_dir()):
            try:
                yield folder, probe_frames(folder)
            except MediaError as error:
                yield folder, error


@dataclass(frozen=True)
class Reference:
    """The prompts of a benchmark."""

    name: str
    subjects: tuple[Subject, ...]
    """One for each image of a prompt."""
    prompts: int
    text_only: bool
    """Whether the question decides alone."""


def read_benchmark(config: MixtureBenchmark, probed: Prober, cache: Path) -> Reference:
    """Return the prompts of a benchmark. probed: reads its media; cache: folder for embedded images.

    Raises CurateError for a file that is none of the known kinds, and for missing or damaged media unless text_only.
    """
    folder = config.path.is_dir()
    manifest = read_manifest(config.path) if folder and (config.path / MANIFEST).exists() else None
    if isinstance(manifest, Release):
        found = read_subjects(config.path, config.key)["benchmark"]
        return Reference(config.key, tuple(found), len(found), config.text_only)
    if config.kind not in ("auto", "prompts", *BENCHMARKS):
        known = ", ".join(("auto", "prompts", *BENCHMARKS))
        raise UsageError(f"benchmark {config.key}: no kind {config.kind!r}", hint=f"kinds: {known}")
    if folder:
        examples = read_examples(config.path, media=config.media)
    elif config.kind == "prompts":
        examples = _prompts(config, cache)
    else:
        name = None if config.kind == "auto" else config.kind
        try:
            examples = read(config.path, name=name, media=config.media, cache=cache, rename=config.rename)[1]
        except CurateError as error:
            hint = f"{error.hint}; or read it as any file of prompts: kind = 'prompts'".removeprefix("; or ")
            raise CurateError(str(error), hint=hint) from error
    files = {path for example in examples for path in _media(example)}
    probes = {} if config.text_only else dict(probed(files))
    for probe in probes.values():
        if isinstance(probe, MediaError):
            lacking = sum(isinstance(other, MediaError) for other in probes.values())
            raise CurateError(
                f"benchmark {config.key}: {lacking} of {len(probes)} images and videos cannot be compared: {probe}",
                hint="media = 'DIR' is the folder that its paths start from; text_only = true compares questions alone",
            )
    subjects = [
        subject_of(example.item_id, example.prompt, path, probes.get(path) if path else None, release=config.key)
        for example in examples
        for path in (_media(example) if not config.text_only else ()) or (None,)
    ]
    return Reference(config.key, tuple(subjects), len(examples), config.text_only or not files)


def _media(example: Example) -> tuple[Path, ...]:
    return (example.video,) if example.video else example.images


def _prompts(config: MixtureBenchmark, cache: Path) -> list[Example]:
    rows = read_file(config.path, config.rename)
    columns, media = columns_of(rows), Media(config.media or config.path.parent, cache)
    column = next((name for name in QUESTION_COLUMNS if name in columns), "")
    if not column:
        raise CurateError(
            f"{config.path}: no column {', '.join(QUESTION_COLUMNS)}; columns: {listed(columns)}",
            hint="rename = {their-name = 'prompt'}",
        )
    try:
        return [
            Example(
                row.identity(),
                row.text(column),
                (),
                images=media.images(row, "image"),
                video=media.video(row, "video"),
            )
            for row in rows
        ]
    except BadRowError as error:
        raise CurateError(f"{config.path}: {error}") from error


def subject_of(prompt_id: str, question: str, path: Path | None, probe: object, *, release: str = "") -> Subject:
    """Return a prompt as leakage compares it. probe: of its medium; anything else for one without."""
    if path is None or not isinstance(probe, Probe):
        return Subject(prompt_id, question, release=release)
    return Subject(prompt_id, question, path.name, probe.sha256, probe.phash, probe.fingerprint, release)


def contaminated(
    items: Sequence[Item], known: Mapping[Path, Probe], references: Sequence[Reference], config: LeakConfig
) -> dict[int, Leak]:
    """Return the place of each item that repeats a benchmark's prompt, with the first evidence.

    An item is contaminated by the rules of ``curate.leakage.detect``: the same or a copied image or video, or, between
    prompts without media, a similar question; and with ``text_only`` by a similar question alone. Of a longer
    conversation the whole prompt and each of the user's turns are compared.
    """
    place = {item.item_id: number for number, item in enumerate(items)}
    subjects = [
        subject_of(item.item_id, text, item.medium, known.get(item.medium) if item.medium else None)
        for item in items
        for text in (item.prompt, *item.turns)
    ]
    whole = [subject for reference in references if not reference.text_only for subject in reference.subjects]
    texts = [subject for reference in references if reference.text_only for subject in reference.subjects]
    bare = [_without_media(subject) for subject in subjects] if texts else []
    found: dict[int, Leak] = {}
    for leak in (
        *find_leaks(subjects, whole, config),
        *find_leaks(bare, [_without_media(subject) for subject in texts], config),
    ):
        found.setdefault(place[leak.train], leak)
    return found


def _without_media(subject: Subject) -> Subject:
    return replace(subject, video=None, sha256="", phash=(), fingerprint=b"")


@dataclass(frozen=True)
class Repeat:
    """An item that an earlier source has, too."""

    of: int
    """Place of that item."""
    rule: str
    distance: float | None
    similarity: float


def repeated(items: Sequence[Item], known: Mapping[Path, Probe], config: LeakConfig) -> dict[int, Repeat]:
    """Return the place of each item whose prompt and medium are near-duplicates of an item of an earlier source.

    items: in the order of sources. Two prompts about one image are duplicates only if their questions are similar.
    """
    place = {item.item_id: number for number, item in enumerate(items)}
    subjects = [
        subject_of(item.item_id, item.prompt, item.medium, known.get(item.medium) if item.medium else None)
        for item in items
    ]
    pairs = sorted(
        (place[b.prompt_id], place[a.prompt_id], rule, distance, similarity)
        for a, b, rule, distance, similarity in similar_pairs(subjects, subjects, config)
        if rule != "prompt" and similarity >= config.question_similarity
    )
    found: dict[int, Repeat] = {}
    for later, earlier, rule, distance, similarity in pairs:
        if earlier < later and items[earlier].source != items[later].source and earlier not in found:
            exact = distance if distance <= 1 else None
            found.setdefault(later, Repeat(earlier, rule, exact, round(similarity, 4)))
    return found
