"""The jobs ``evaluate``, ``score`` and ``merge``, which use a trained reward model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.engine import Part, open_engine
from curate.reward.data import Example, read_examples, read_manifest
from curate.shards.atomic import publish_file, publishing
from pipelines.progress import Progress, silent
from schemas.engine import EngineConfig
from schemas.errors import ConflictError, CurateError, UsageError
from schemas.manifest import Ceiling
from schemas.reward import ComparisonRow, EvaluateReport, Precision, Template

if TYPE_CHECKING:
    from curate.reward.scoring import Scorer

WINDOW = 256
"""Examples scored between two updates of the progress bar."""


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
) -> EvaluateReport:
    """Evaluate a model on shards of curate or on a foreign benchmark, next to shuffled controls and baselines.

    model: a model folder; None: only the baselines. against: another one, to compare it with on the same items by
    ``curate.reward.figures.compare``. benchmark: the foreign benchmark of the file, or "auto" to detect it; None:
    shards of curate. config: of the shards (``4way``, ``pairwise``); default: the first one. media, cache: folders that
    relative paths start from, and for embedded images. rename: column of a foreign file -> column of the benchmark.
    orders: in which order sensitivity is measured, and over which scores of the layout ``causal`` are averaged. device,
    dtype, template: as in ``curate.reward.checkpoint.load``. seed: of the controls and of the test. Raises CurateError
    where the data cannot be read or have no ranks.
    """
    from curate.reward import figures
    from curate.reward.evaluation import evaluate_baselines, evaluate_model
    from curate.reward.foreign import read
    from curate.reward.scoring import Scorer

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
    with Scorer.from_pretrained(model, device=device, dtype=dtype, template=template, orders=orders) as scorer:
        evaluations, scores = evaluate_model(scorer, examples, data=name, orders=orders, seed=seed)
    comparison: tuple[ComparisonRow, ...] = ()
    if against is not None:
        with Scorer.from_pretrained(against, device=device, dtype=dtype, template=template, orders=orders) as scorer:
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

    engine: its workers load the model and score WINDOW examples at a time; None: this process scores them. Raises
    CurateError for an example that cannot be scored, and for a worker that died.
    """
    examples = read_examples(data, media=media)
    parts = [examples[start : start + WINDOW] for start in range(0, len(examples), WINDOW)]
    function = ScoreExamples(model, device=device, dtype=dtype, template=template, orders=orders)
    with ExitStack() as stack:
        if engine is None:
            results: Iterator[Any] = map(stack.enter_context(function), parts)
        else:
            named = [Part(f"examples {part[0].item_id} to {part[-1].item_id}", part) for part in parts]
            results = stack.enter_context(open_engine(engine)).map(function, named, timeout=float("inf"))
        done = 0
        for part, result in zip(parts, results, strict=True):
            if isinstance(result, Exception):
                raise result
            for example, scores in zip(part, result, strict=True):
                yield {"item_id": example.item_id, "scores": scores}
            done += len(part)
            progress("scoring", done, len(examples))


@dataclass(frozen=True)
class ScoreExamples:
    """Scores examples by a model that it loads once, also in another process. Use it as a context manager."""

    model: str | Path
    device: str | None = None
    dtype: Precision | None = None
    template: Template | None = None
    orders: int = 1

    @cached_property
    def scorer(self) -> Scorer:
        from curate.reward.scoring import Scorer

        return Scorer.from_pretrained(
            self.model, device=self.device, dtype=self.dtype, template=self.template, orders=self.orders
        )

    def __call__(self, examples: Sequence[Example]) -> list[list[float]]:
        return self.scorer.score_examples(examples)

    def __enter__(self) -> ScoreExamples:
        self.scorer.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.scorer.__exit__(*error)


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
