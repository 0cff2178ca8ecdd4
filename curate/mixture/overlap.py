"""What a mixture must not repeat: prompts of benchmarks, and of its own earlier sources; by question and by media."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from curate.engine import Engine, LocalEngine
from curate.leakage.detect import Subject, find_leaks, similar_pairs
from curate.media.frame_folders import probe_frames
from curate.media.frames import MediaError
from curate.media.probe import Probe
from curate.media.workers import probe_media
from curate.mixture.items import medium
from curate.processors import cores
from curate.release.leakage import read_subjects
from curate.reward.data import Example, read_examples, read_manifest
from curate.reward.foreign import BENCHMARKS, read
from curate.reward.foreign.benchmark import Media, columns_of, listed, read_file
from curate.shards.rows import BadRowError
from schemas.errors import CurateError, UsageError
from schemas.leakage import LeakConfig
from schemas.mixture import MixtureBenchmark, RemovedItem
from schemas.release import Release

QUESTION_COLUMNS = ("prompt", "question", "query", "text")
"""Columns of a file of prompts: the first that it has is the question."""
TURN = re.compile(r"(?:^|\n\n)(?:User|Assistant|System): ")
"""Before each turn of a transcript."""
TIMEOUT = 60.0
"""Seconds for one media file."""


@dataclass
class Prober:
    """Reads images and videos with an engine; None: in processes of this machine. Use it as a context manager."""

    engine: Engine | None = None
    _own: Engine = field(default_factory=lambda: LocalEngine(workers=cores()))  # starts no process before it is used

    def __enter__(self) -> Prober:
        return self

    def __exit__(self, *_error: object) -> None:
        self._own.close()

    def __call__(self, paths: Iterable[Path]) -> Iterator[tuple[Path, Probe | MediaError]]:
        """Yield each file, or folder of frames, once with its digest and fingerprint, or its defect; sorted."""
        found = sorted(set(paths))
        files = [path for path in found if not path.is_dir()]
        if files:
            yield from zip(files, probe_media(self.engine or self._own, files, timeout=TIMEOUT), strict=True)
        for folder in (path for path in found if path.is_dir()):
            try:
                yield folder, probe_frames(folder)
            except MediaError as error:
                yield folder, error


@dataclass(frozen=True)
class Reference:
    """The prompts of a benchmark: one subject for each image of a prompt."""

    subjects: tuple[Subject, ...]
    prompts: int
    text_only: bool
    """Whether the question decides alone."""


def read_benchmark(config: MixtureBenchmark, probed: Prober, cache: Path) -> Reference:
    """Return the prompts of a benchmark. probed: reads its media; cache: folder for embedded images.

    Raises CurateError for a file that is none of the known kinds, and for missing or damaged media unless text_only.
    """
    folder = config.path.is_dir()
    if folder and isinstance(read_manifest(config.path), Release):
        found = read_subjects(config.path, config.key)["benchmark"]
        return Reference(tuple(found), len(found), config.text_only)
    if config.kind not in ("auto", "prompts", *BENCHMARKS):
        known = ", ".join(("auto", "prompts", *BENCHMARKS))
        raise UsageError(f"benchmark {config.key}: no kind {config.kind!r}", hint=f"kinds: {known}")
    if folder:
        examples = read_examples(config.path, media=config.media)
    elif config.kind == "prompts":
        examples = _prompts(config, Media(config.media or config.path.parent, cache))
    else:
        name = None if config.kind == "auto" else config.kind
        try:
            examples = read(config.path, name=name, media=config.media, cache=cache, rename=config.rename)[1]
        except CurateError as error:
            raise CurateError(str(error), hint=f"{error.hint}; any file of prompts: kind = 'prompts'") from error
    media = [(example.video,) if example.video else example.images for example in examples]
    probes = {} if config.text_only else dict(probed(path for paths in media for path in paths))
    defects = [probe for probe in probes.values() if isinstance(probe, MediaError)]
    if defects:
        raise CurateError(
            f"benchmark {config.key}: {len(defects)} of {len(probes)} images and videos cannot be read: {defects[0]}",
            hint="media = 'DIR' is the folder that its paths start from; text_only = true compares questions alone",
        )
    subjects = [
        replace(_subject(example.item_id, example.prompt, path, probes), release=config.key)
        for example, paths in zip(examples, media, strict=True)
        for path in paths or (None,)
    ]
    return Reference(tuple(subjects), len(examples), not probes)


def _prompts(config: MixtureBenchmark, media: Media) -> list[Example]:
    rows = read_file(config.path, config.rename)
    columns = columns_of(rows)
    column = next((name for name in QUESTION_COLUMNS if name in columns), "")
    if not column:
        expected = f"no column {', '.join(QUESTION_COLUMNS)}; columns: {listed(columns)}"
        raise CurateError(f"{config.path}: {expected}", hint="rename = {their-name = 'prompt'}")
    try:
        found = [(row, media.images(row, "image"), media.video(row, "video")) for row in rows]
        return [Example(row.identity(), row.text(column), (), (), video, images) for row, images, video in found]
    except BadRowError as error:
        raise CurateError(f"{config.path}: {error}") from error


def _subject(
    prompt_id: str, question: str, path: Path | None, probes: Mapping[Path, Probe] | Mapping[Path, Probe | MediaError]
) -> Subject:
    """Return a prompt as leakage compares it; without its medium if that was not probed."""
    probe = probes.get(path) if path else None
    if path is None or not isinstance(probe, Probe):
        return Subject(prompt_id, question)
    return Subject(prompt_id, question, path.name, probe.sha256, probe.phash, probe.fingerprint)


def contaminated(
    items: Sequence[Example], probes: Mapping[Path, Probe], references: Iterable[Reference], config: LeakConfig
) -> dict[str, RemovedItem]:
    """Return item_id -> the first evidence that the item repeats a prompt of a benchmark.

    The rules are those of ``curate.leakage.detect``: the same or a copied image or video; between prompts without
    media, and with ``text_only``, a similar question. Of a transcript each turn is compared, too.
    """
    subjects = [
        _subject(item.item_id, text, medium(item), probes)
        for item in items
        for text in dict.fromkeys((item.prompt, *TURN.split(item.prompt)))
        if text
    ]
    whole = [subject for reference in references if not reference.text_only for subject in reference.subjects]
    texts = [subject for reference in references if reference.text_only for subject in reference.subjects]
    found: dict[str, RemovedItem] = {}
    for leak in (*find_leaks(subjects, whole, config), *find_leaks(_bare(subjects), _bare(texts), config)):
        evidence = RemovedItem(
            item=leak.train,
            why="contaminated",
            of=leak.benchmark_release,
            other=leak.benchmark,
            rule=leak.rule,
            distance=leak.distance,
            similarity=leak.similarity,
        )
        found.setdefault(leak.train, evidence)
    return found


def _bare(subjects: Iterable[Subject]) -> list[Subject]:
    """The subjects without their media."""
    return [replace(subject, video=None, sha256="", phash=(), fingerprint=b"") for subject in subjects]


def repeated(items: Sequence[Example], probes: Mapping[Path, Probe], config: LeakConfig) -> dict[str, RemovedItem]:
    """Return item_id -> the evidence that the prompt and its medium are near-duplicates of an earlier source's.

    items: in the order of sources. Two prompts about one image are duplicates only if their questions are similar.
    """
    place = {item.item_id: number for number, item in enumerate(items)}
    subjects = [_subject(item.item_id, item.prompt, medium(item), probes) for item in items]
    pairs = sorted(
        (place[b.prompt_id], place[a.prompt_id], rule, distance, similarity)
        for a, b, rule, distance, similarity in similar_pairs(subjects, subjects, config)
        if rule != "prompt" and similarity >= config.question_similarity
    )
    found: dict[str, RemovedItem] = {}
    for later, earlier, rule, distance, similarity in pairs:
        item, other = items[later], items[earlier]
        if earlier < later and other.source != item.source and not found.keys() & {item.item_id, other.item_id}:
            found[item.item_id] = RemovedItem(
                item=item.item_id,
                why="duplicates",
                of=other.source,
                other=other.item_id,
                rule=rule,
                distance=round(distance, 4) if distance <= 1 else None,
                similarity=round(similarity, 4),
            )
    return found
