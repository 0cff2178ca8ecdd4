"""The jobs ``evaluate``, ``score`` and ``merge``, which use a trained reward model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from itertools import chain
from pathlib import Path

from curate.engine import engine_or_none, map_parts
from curate.reward.data import read_examples, read_manifest
from curate.shards.atomic import publish_file, publishing
from pipelines.progress import Progress, silent
from schemas.engine import EngineConfig
from schemas.errors import ConflictError, CurateError, UsageError
from schemas.manifest import Ceiling
from schemas.reward import ComparisonRow, EvaluateReport, Precision, Template


def evaluate(
    data: str | Path,
    model: str | Path | None = None,
    *,
    against: str | Path | None = None,
    benchmark: str | None = None,
    config: str = "",
    media: Path | None = None,
    cache: Path | None = None,
    rename: dict[str, str] | None = None,
    orders: int = 4,
    device: str | None = None,
    dtype: Precision | None = None,
    template: Template | None = None,
    seed: int = 0,
    engine: EngineConfig | None = None,
) -> EvaluateReport:
    """Evaluate a model on shards of curate or on a foreign benchmark, next to shuffled controls and baselines.

    model: a model folder; None: only the baselines. against: another one, to compare it with on the same items by
    ``curate.reward.figures.compare``. benchmark: the foreign benchmark of the file, or "auto" to detect it; None:
    shards of curate. config: of the shards (``4way``, ``pairwise``); default: the first one. media, cache: folders that
    relative paths start from, and for embedded images. rename: column of a foreign file -> column of the benchmark.
    orders: in which order sensitivity is measured, and over which scores of the layout ``causal`` are averaged. device,
    dtype, template: as in ``curate.reward.checkpoint.load``. seed: of the controls and of the test. engine: its workers
    load the model and score; None: this process. Raises CurateError where the data cannot be read or have no ranks, and
    for a worker that died.
    """
    from curate.reward import figures
    from curate.reward.evaluation import evaluate_baselines, evaluate_model
    from curate.reward.foreign import read

    if against is not None and model is None:
        raise UsageError("nothing to compare: there is no model", hint="name two models: --model A --against B")
    data = Path(data)
    metric = None
    if benchmark is None:
        examples = [example for example in read_examples(data, media=media, config=config) if example.ranks]
        name = data.name
    else:
        known = None if benchmark == "auto" else benchmark
        foreign, examples = read(data, name=known, media=media, cache=cache or data.parent / "media", rename=rename)
        name, metric = foreign.name, foreign.metric
    if not examples:
        raise CurateError(f"{data}: contains no ranked examples", hint="evaluation needs ranks; curate score does not")
    if model is None:
        evaluations = evaluate_baselines(examples, data=name)
        return EvaluateReport(data=name, evaluations=tuple(evaluations), ceiling=_ceiling(data, config))
    from curate.reward.workers import ModelCall, scorer_of

    call = partial(ModelCall, device=device, dtype=dtype, template=template, orders=orders)
    comparison: tuple[ComparisonRow, ...] = ()
    with engine_or_none(engine) as opened:
        with scorer_of(call(str(model)), opened) as scorer:
            evaluations, scores = evaluate_model(scorer, examples, data=name, orders=orders, seed=seed)
        if against is not None:
            with scorer_of(call(str(against)), opened) as scorer:
                both = [figures.figures(examples, own, metric) for own in (scores, scorer.score_examples(examples))]
            comparison = figures.compare(examples, *both, seed=seed)
    return EvaluateReport(
        data=name,
        official=figures.official(examples, metric(examples, scores)) if metric else (),
        evaluations=tuple(evaluations),
        comparison=comparison,
        ceiling=_ceiling(data, config),
    )


def score(
    model: str | Path,
    data: str | Path,
    *,
    media: Path | None = None,
    orders: int = 1,
    device: str | None = None,
    dtype: Precision | None = None,
    template: Template | None = None,
    engine: EngineConfig | None = None,
    progress: Progress = silent,
) -> Iterator[dict[str, object]]:
    """Yield item_id and the N scores of each example of a shard or JSONL file, in its order; higher is better.

    engine: its workers load the model and score; None: this process. Raises CurateError for an example that cannot be
    scored, and for a worker that died.
    """
    from curate.reward.workers import ModelCall, parts_of

    examples = read_examples(data, media=media)
    call = ModelCall(str(model), device=device, dtype=dtype, template=template, orders=orders)
    parts = parts_of("score_examples", examples)
    with engine_or_none(engine) as opened, nullcontext() if opened else call.scorer:
        rows = zip(examples, chain.from_iterable(map_parts(call, parts, engine=opened)), strict=True)
        for done, (example, scores) in enumerate(rows, start=1):
            yield {"item_id": example.item_id, "scores": scores}
            progress("scoring", done, len(examples))


def merge(model: str | Path, out: str | Path, *, dtype: Precision = "float32") -> Path:
    """Write the model with its adapters merged into the backbone into the folder ``out``, completely or not at all."""
    import torch

    from curate.reward import checkpoint

    out = Path(out)
    if out.exists():
        raise ConflictError(f"{out}: exists", hint="choose another --out, or remove it")
    with publishing(out) as folder:
        checkpoint.merge(model, folder, getattr(torch, dtype))
        card = Path(model) / "README.md"
        if card.exists():
            (folder / card.name).write_bytes(card.read_bytes())
    return out


def write_scores(rows: Iterator[dict[str, object]], out: Path) -> int:
    """Write the rows as JSONL, completely or not at all; return their number."""
    lines = [json.dumps(row) + "\n" for row in rows]
    publish_file(out, "".join(lines).encode())
    return len(lines)


def _ceiling(data: Path, config: str) -> Ceiling | None:
    """The expected score of a judge that knows the true order, from the manifest of a benchmark folder."""
    manifest = read_manifest(data) if data.is_dir() else None
    if manifest is None:
        return None
    ceilings = manifest.counts["ceiling"]
    found = ceilings[config or next(iter(ceilings))]
    return Ceiling.from_stored(found) if found else None
