"""README.md of a trained model: what it is, what it was trained on, what it scores and beside what."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.reward import EvaluationReport
from schemas.training import TrainConfig, TrainReport

LAYOUTS = {
    "causal": "each response sees those before it (arXiv 2604.10966): scores depend on the order of the responses",
    "tree": "each response sees the prompt and itself: scores do not depend on the others, nor on the order",
    "set": "responses are compared in no order: scores depend on which others there are, not on the order",
    "single": "each response in a pass of its own",
}


def model_card(report: TrainReport, config: TrainConfig, versions: Mapping[str, str]) -> str:
    """The card, in Markdown. versions: shard folder -> version of its manifest."""
    data = [f"- `{name}`, version `{version}`" for name, version in versions.items()]
    lora = config.lora
    adapted = f"LoRA r {lora.r}, alpha {lora.alpha:g}" if lora else "all weights"
    return "\n".join(
        [
            "---",
            "tags: [reward-model, multi-response]",
            *([f"base_model: {config.backbone}"] if config.backbone != "scratch" else []),
            "---",
            "# Multi-response reward model",
            "",
            "N responses to one prompt, a score for each in one forward pass; higher is better. Only differences",
            "between responses to the same prompt mean anything. Made by curate.",
            "",
            "```python",
            "from curate.reward.scoring import Scorer",
            'Scorer.from_pretrained("DIR").score("What happens?", ["A ball falls.", "Nothing."], video="clip.mp4")',
            "```",
            "",
            f"- backbone `{config.backbone}`, {report.parameters:,} weights, {report.trained:,} trained ({adapted})",
            f"- layout `{report.layout}`: {LAYOUTS[report.layout]}",
            f"- loss `{report.loss}` toward {config.targets}, {report.steps} steps of {config.batch} examples, seed"
            f" {config.seed}",
            f"- {report.examples:,} examples, {report.held_out:,} held out, {len(report.skipped):,} left out",
            *data,
            "",
            "## Held out",
            "",
            *figures(report.evaluations),
            *(
                [f"A judge who knows the true order would score about {report.ceiling.mean:.2f} here.", ""]
                if report.ceiling
                else []
            ),
        ]
    )


def figures(evaluations: tuple[EvaluationReport, ...]) -> list[str]:
    """A Markdown table of the evaluations, a line each, ± one standard error."""
    if not evaluations:
        return ["Nothing was held out.", ""]
    lines = [
        "| scorer | items | top-1 | ± | pairs | ± | tau | ECE | winner changes with order |",
        "|---|" + "---:|" * 8,
    ]
    for evaluation in evaluations:
        row = evaluation.overall
        cells = (row.top1, row.top1_se, row.pairwise, row.pairwise_se, row.tau, row.ece, row.order_sensitivity)
        shown = " | ".join("" if value is None else f"{value:.3f}" for value in cells)
        lines.append(f"| {evaluation.scorer} | {row.items} | {shown} |")
    return [*lines, ""]
