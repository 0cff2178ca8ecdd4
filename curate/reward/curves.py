"""curves.png: loss and held-out figures of a training, over its steps."""

from __future__ import annotations

import json
from pathlib import Path


def draw_curves(metrics: Path, out: Path) -> None:
    """Draw metrics.jsonl: the loss of the steps (faint) with its moving mean, and top-1 and pairs, held out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    losses = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    steps, loss = zip(*losses, strict=True)
    width = max(1, len(loss) // 20)
    means = [sum(loss[max(0, i - width + 1) : i + 1]) / min(width, i + 1) for i in range(len(loss))]
    left.plot(steps, loss, color="tab:blue", alpha=0.25)
    left.plot(steps, means, color="tab:blue")
    left.set(xlabel="step", ylabel="loss", title="training")
    looks = [line for line in lines if line.get("top1") is not None]
    for name, label in (("top1", "top-1"), ("pairwise", "pairs")):
        right.plot([line["step"] for line in looks], [line[name] for line in looks], marker="o", label=label)
    right.set(xlabel="step", ylabel="share right", title="held out", ylim=(0, 1))
    if looks:
        right.legend()
    figure.savefig(out, dpi=120, metadata={"Software": None})
