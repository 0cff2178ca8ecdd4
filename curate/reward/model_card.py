"""README.md and curves.png of a trained model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from schemas.reward import BY_SOURCE, TABLE, EvaluationReport, EvaluationRow, TrainConfig, TrainReport

LAYOUTS = {
    "causal": "each response attends to those before it (arXiv 2604.10966): scores depend on the order of responses",
    "tree": "each response attends to the prompt and itself: scores depend neither on the others nor on the order",
    "set": "responses are compared without order: scores depend on the other responses, not on their order",
    "single": "one pass per response",
}


def model_card(report: TrainReport, config: TrainConfig, versions: Mapping[str, str]) -> str:
    """The card, in Markdown. versions: shard folder -> version of its manifest."""
    lora = config.lora
    adapted = f"LoRA r {lora.r}, alpha {lora.alpha:g}" if lora else "all weights"
    lines = ["---", "tags: [reward-model, multi-response]"]
    if config.backbone != "scratch":
        lines.append(f"base_model: {config.backbone}")
    lines += [
        "---",
        "# Multi-response reward model",
        "",
        "Scores N responses to one prompt in one forward pass; higher is better. Only differences between responses to",
        "the same prompt are meaningful. Made by curate.",
        "",
        "```python",
        "from curate.reward.scoring import Scorer",
        'Scorer.from_pretrained("DIR").score("What happens?", ["A ball falls.", "Nothing."], video="clip.mp4")',
        "```",
        "",
        f"- backbone `{config.backbone}`, {report.parameters:,} weights, {report.trained:,} trained ({adapted})",
        f"- layout `{report.layout}`: {LAYOUTS[report.layout]}",
        f"- loss `{report.loss}` with targets `{config.targets}`, {report.steps} steps of {config.batch} examples,"
        f" seed {config.seed}, {report.computation}",
        f"- {report.examples:,} examples, {report.held_out:,} held out, {len(report.skipped):,} skipped",
        *(f"- `{name}`, version `{version}`" for name, version in versions.items()),
        "",
        "## Held out",
        "",
        *evaluation_table(report.evaluations),
    ]
    if report.ceiling:
        lines += [f"Expected top-1 of a judge that knows the true order: {report.ceiling.mean:.2f}.", ""]
    return "\n".join(lines)


def evaluation_table(evaluations: tuple[EvaluationReport, ...]) -> list[str]:
    """Markdown tables: one line per evaluation, and one per source for the first, the model, if there are several."""
    if not evaluations:
        return ["Nothing was held out.", ""]
    columns = {"items": "items", **TABLE}
    lines = _table(("scorer", *columns), [(e.scorer, *_fields(e.overall, columns)) for e in evaluations])
    if sources := evaluations[0].by_source:
        lines += _table(tuple(BY_SOURCE), [_fields(row, BY_SOURCE) for row in sources])
    return lines


def _fields(row: EvaluationRow, columns: dict[str, str]) -> list[Any]:
    return [getattr(row, field) for field in columns.values()]


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """A Markdown table; numbers with three decimals, the first column on the left."""
    lines = [list(header), ["---"] + ["---:"] * (len(header) - 1)]
    lines += [["" if v is None else f"{v:.3f}" if isinstance(v, float) else str(v) for v in row] for row in rows]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]


def draw_curves(metrics: Path, out: Path) -> None:
    """Draw metrics.jsonl: the loss of each step (faint) with its moving mean, and held-out top-1 and pairs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    steps, loss = zip(*[(line["step"], line["loss"]) for line in lines if "loss" in line], strict=True)
    width = max(1, len(loss) // 20)
    means = [sum(loss[max(0, i - width + 1) : i + 1]) / min(width, i + 1) for i in range(len(loss))]
    left.plot(steps, loss, color="tab:blue", alpha=0.25)
    left.plot(steps, means, color="tab:blue")
    left.set(xlabel="step", ylabel="loss", title="training")
    held_out = [line for line in lines if line.get("top1") is not None]
    for name, label in (("top1", "top-1"), ("pairwise", "pairs")):
        right.plot([line["step"] for line in held_out], [line[name] for line in held_out], marker="o", label=label)
    right.set(xlabel="step", ylabel="accuracy", title="held out", ylim=(0, 1))
    if held_out:
        right.legend()
    figure.savefig(out, dpi=120, metadata={"Software": None})
