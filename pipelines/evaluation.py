"""The jobs ``evaluate``, ``score`` and ``merge``: what a trained reward model is used for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from curate.reward.examples import Example
from curate.reward.reading import read_examples, read_manifest
from curate.shards.atomic import publishing
from pipelines.progress import Progress, silent
from schemas.errors import CurateError
from schemas.manifest import Ceiling
from schemas.training import EvaluateReport

WINDOW = 256
"""Examples that are scored between two looks at the progress bar."""


def evaluate(
    data: str | Path,
    model: str | Path | None = None,
    *,
    benchmark: str | None = None,
    config: str = "",
    media: Path | None = None,
    cache: Path | None = None,
    rename: dict[str, str] | None = None,
    orders: int = 4,
    device: str | None = None,
    seed: int = 0,
) -> EvaluateReport:
    """Judge a model, or none but the baselines, on our own shards or on a foreign benchmark.

    benchmark: the foreign benchmark that the file is; "auto" finds out by its columns; None: our own shards. config: of
    our own. rename: column of a foreign file -> column of the benchmark. orders: under which the winner is asked for,
    and over which the scores of the layout causal are averaged. Raises CurateError where the data are not so.
    """
    from curate.reward.foreign.registry import read
    from curate.reward.judging import judge, without_model
    from curate.reward.scoring import Scorer

    data = Path(data)
    metric = None
    if benchmark is None:
        examples = [example for example in read_examples(data, media=media, config=config) if example.ranks]
        name = data.name
    else:
        named = None if benchmark == "auto" else benchmark
        foreign, examples = read(data, name=named, media=media, cache=cache or data.parent / "media", rename=rename)
        name, metric = foreign.name, foreign.metric
    if not examples:
        raise CurateError(f"{data}: holds no ranked examples", hint="evaluation needs ranks; curate score does not")
    if model is None:
        return EvaluateReport(
            data=name,
            official={},
            evaluations=tuple(without_model(examples, data=name)),
            ceiling=_ceiling(data, config),
        )
    with Scorer.from_pretrained(model, device=device, orders=orders) as scorer:
        evaluations = tuple(judge(scorer, examples, data=name, orders=orders, seed=seed))
        official = metric(examples, scorer.score_examples(examples)) if metric else {}
    return EvaluateReport(data=name, official=official, evaluations=evaluations, ceiling=_ceiling(data, config))


def score(
    model: str | Path,
    data: str | Path,
    *,
    media: Path | None = None,
    orders: int = 1,
    device: str | None = None,
    progress: Progress = silent,
) -> Iterator[dict[str, object]]:
    """For each example of a shard or JSONL file, in its order: item_id and its N scores, higher is better."""
    from curate.reward.scoring import Scorer

    examples = read_examples(data, media=media)
    with Scorer.from_pretrained(model, device=device, orders=orders) as scorer:
        for begin in range(0, len(examples), WINDOW):
            part: list[Example] = examples[begin : begin + WINDOW]
            for example, scores in zip(part, scorer.score_examples(part), strict=True):
                yield {"item_id": example.item_id, "scores": scores}
            progress("scoring", begin + len(part), len(examples))


def merge(model: str | Path, out: str | Path) -> Path:
    """Write the model with its adapters folded into the backbone into the folder ``out``, whole or not at all."""
    from curate.reward import checkpoint

    out = Path(out)
    if out.exists():
        raise CurateError(f"{out}: exists", hint="choose another --out, or remove it")
    with publishing(out) as folder:
        checkpoint.merge(model, folder)
        card = Path(model) / "README.md"
        if card.exists():
            (folder / card.name).write_bytes(card.read_bytes())
    return out


def write_scores(rows: Iterator[dict[str, object]], out: Path) -> int:
    """Write the rows as JSONL into a file that appears when it is whole; how many they are."""
    fresh = out.with_name(f".{out.name}.partial")
    count = 0
    try:
        with fresh.open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row) + "\n")
                count += 1
        fresh.replace(out)
    finally:
        fresh.unlink(missing_ok=True)
    return count


def _ceiling(data: Path, config: str) -> Ceiling | None:
    manifest = read_manifest(data) if data.is_dir() else None
    if manifest is None:
        return None
    ceilings = manifest.counts["ceiling"]
    found = ceilings[config or next(iter(ceilings))]
    return Ceiling.model_validate(found) if found else None
