"""Does GRPO with a reward model make a policy more truthful? Multi-response against single-response rewards.

    python -m benchmarks.grpo --steps 150 --seed 0 --out grpo

A tiny policy first imitates good and bad answers. Then TRL's GRPOTrainer rewards it, once with a model that scores all
completions of a prompt in one pass and once with a model that scores each alone, both trained on the same ranked
answers. It answers held-out questions every few steps. Reward is the score of its answers minus that of the answers
before training, in one pass with them; wins is how often it is positive; truth is checked by a rule.
Exits with 1 when the multi-response rewards raise wins and truth by less than GOALS.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import trl
from transformers import TrainerCallback

from benchmarks.grpo_task import (
    LONGEST,
    Question,
    examples,
    new_policy,
    questions,
    sampled,
    truth,
    warmed_policy,
    word_tokenizer,
)
from curate.reward.data import Example
from curate.reward.grpo import GroupReward
from curate.reward.loader import Loader
from curate.reward.model import ModelConfig, RewardModel
from curate.reward.processes import Processes
from curate.reward.scoring import Scorer as Trained
from curate.reward.scratch import build_backbone
from curate.reward.serving.batching import Scorer
from curate.reward.train import fit
from schemas.reward import Layout, LossName, TrainConfig

MODES: dict[str, tuple[Layout, LossName]] = {"multi": ("set", "top1"), "single": ("tree", "bradley-terry")}
"""Kind of rewards -> layout and loss of its model. A tree scores as single passes do and trains faster."""
EPOCHS = 2
VOCABULARY = 280
"""Tokens of the reward models: some are words of the question, each digit is one."""
GENERATIONS = 8
GOALS = {"wins": 0.6, "truth": 0.1}
"""Least wins at the end and least gain of truth, with multi-response rewards."""


@dataclass(frozen=True)
class Point:
    """Metrics of the policy on held-out questions after some steps."""

    step: int
    reward: float
    """Mean score of its answers minus that of its answers before training, in one pass with them."""
    wins: float
    """Share of pairs in which its answer is scored above one from before training; ties count half."""
    truth: float
    """Share of its answers that are correct."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Trains a tiny policy by GRPO against reward models.")
    parser.add_argument("--steps", type=int, default=150, help="GRPO steps")
    parser.add_argument("--warmup", type=int, default=700, help="steps of imitation before")
    parser.add_argument("--examples", type=int, default=4000, help="ranked examples for the reward models")
    parser.add_argument("--responses", type=int, default=4, help="answers in each")
    parser.add_argument("--held-out", type=int, default=100, help="questions excluded from training")
    parser.add_argument("--every", type=int, default=25, help="steps between two evaluations on held-out questions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("grpo"), help="folder for models, figures and the curve")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)

    generator = np.random.default_rng(options.seed)
    training = questions(options.examples + options.held_out, generator)
    held_out, training = training[: options.held_out], training[options.held_out :]
    ranked = examples(training, options.responses, generator)
    tokenizer = word_tokenizer()
    began = time.monotonic()
    start = warmed_policy(tokenizer, training, generator, steps=options.warmup, seed=options.seed).state_dict()
    print(f"policy warmed in {time.monotonic() - began:.0f} s", file=sys.stderr)

    curves: dict[str, list[Point]] = {}
    for mode in ("multi", "single"):
        began = time.monotonic()
        scorer = train_reward(ranked, mode, options.seed, options.out / mode)
        print(f"{mode}: reward model in {time.monotonic() - began:.0f} s", file=sys.stderr)
        began = time.monotonic()
        policy = new_policy(tokenizer)
        policy.load_state_dict(start)
        evaluation = PolicyEvaluation(policy, tokenizer, held_out, scorer, single=mode == "single", every=options.every)
        reinforce(policy, tokenizer, training, scorer, evaluation, options)
        curves[mode] = evaluation.points
        print(f"{mode}: {options.steps} steps in {time.monotonic() - began:.0f} s", file=sys.stderr)
    return report(curves, options.out)


def train_reward(ranked: list[Example], mode: str, seed: int, out: Path) -> Scorer:
    """A reward model of about a million weights, trained on the ranked examples with the settings MODES[mode]."""
    layout, loss = MODES[mode]
    texts = [text for example in ranked for text in (example.prompt, *example.responses)]
    backbone = build_backbone(out / "backbone", texts, seed=seed, vocabulary=VOCABULARY, layers=3)
    model = RewardModel.from_backbone(backbone, ModelConfig(layout=layout, head=256), seed=seed)
    config = TrainConfig(
        layout=layout,
        loss=loss,
        lora=False,
        epochs=EPOCHS,
        batch=32,
        learning_rate=1e-3,
        head_learning_rate=1e-3,
        seed=seed,
    )
    with Loader(model.encoder, frames=model.config.frames) as loader:
        return Trained(fit(model, loader, ranked, config, out, processes=Processes()))


class PolicyEvaluation(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Evaluates the policy on held-out questions before the first step and after every ``every`` steps."""

    def __init__(
        self, policy: Any, tokenizer: Any, held_out: list[Question], scorer: Scorer, *, single: bool, every: int
    ) -> None:
        self.policy, self.tokenizer, self.held_out = policy, tokenizer, held_out
        self.scorer, self.single, self.every = scorer, single, every
        self.points: list[Point] = []
        self.before: list[list[str]] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        self.evaluate(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        if state.global_step % self.every == 0 or state.global_step == state.max_steps:
            self.evaluate(state.global_step)

    def evaluate(self, step: int, answers: int = 4) -> None:
        """Sample answers to each question and append a point."""
        now = sampled(self.policy, self.tokenizer, self.held_out, answers)
        self.before = self.before or now
        prompts = [question.prompt for question in self.held_out for _ in range(2 * answers)]
        texts = [text for pair in zip(self.before, now, strict=True) for text in pair[0] + pair[1]]
        scores = np.array(GroupReward(self.scorer, single=self.single)(prompts, texts)).reshape(-1, 2, answers)
        old, new = scores[:, 0], scores[:, 1]  # (Q, answers) each
        wins = (1 + np.sign(new[:, :, None] - old[:, None, :]).mean()) / 2
        right = [truth(q, text) for q, group in zip(self.held_out, now, strict=True) for text in group]
        point = Point(step, float((new - old).mean()), float(wins), float(np.mean(right)))
        self.points.append(point)
        print(f"  {point}  e.g. {now[0]}", file=sys.stderr)


def reinforce(
    policy: Any,
    tokenizer: Any,
    training: Sequence[Question],
    scorer: Scorer,
    evaluation: PolicyEvaluation,
    options: argparse.Namespace,
) -> None:
    """GRPO on the policy, in place: eight questions a step, GENERATIONS answers to each."""
    library: Any = trl
    config = library.GRPOConfig(
        output_dir=str(options.out / "trainer"),
        max_steps=options.steps,
        per_device_train_batch_size=8 * GENERATIONS,
        num_generations=GENERATIONS,
        max_completion_length=LONGEST,
        learning_rate=5e-4,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=10,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        seed=options.seed,
    )
    rewards: Any = GroupReward(scorer, num_generations=GENERATIONS, single=evaluation.single)
    data = datasets.Dataset.from_dict({"prompt": [question.prompt for question in training]})
    trainer = library.GRPOTrainer(
        policy, rewards, config, train_dataset=data, processing_class=tokenizer, callbacks=[evaluation]
    )
    trainer.train()


def report(curves: dict[str, list[Point]], out: Path) -> int:
    """Print metrics before and after, write grpo.json and grpo.png; return 1 when a goal is missed."""
    (out / "grpo.json").write_text(json.dumps({mode: [asdict(p) for p in ps] for mode, ps in curves.items()}, indent=1))
    draw(curves, out / "grpo.png")
    print("| rewards | steps | reward | wins over the start | truth |\n|---|---|---|---|---|")
    for mode, points in curves.items():
        a, b = points[0], points[-1]
        change = f"{a.reward:.2f} → {b.reward:.2f} | {a.wins:.2f} → {b.wins:.2f} | {a.truth:.2f} → {b.truth:.2f}"
        print(f"| {mode} | {b.step} | {change} |")
    first, last = curves["multi"][0], curves["multi"][-1]
    met = last.wins >= GOALS["wins"] and last.truth - first.truth >= GOALS["truth"]
    print("goals met" if met else f"goals missed: {GOALS}", file=sys.stderr)
    return 0 if met else 1


def draw(curves: dict[str, list[Point]], path: Path) -> None:
    """Plot reward, wins and truth over steps, a line per kind of rewards."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    for axis, name in zip(axes, ("reward", "wins", "truth"), strict=True):
        for mode, points in curves.items():
            axis.plot([p.step for p in points], [getattr(p, name) for p in points], marker="o", label=mode)
        axis.set(title=f"{name} on held-out questions", xlabel="GRPO steps")
    axes[0].legend(title="rewards")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
