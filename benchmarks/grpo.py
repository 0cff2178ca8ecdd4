"""Does GRPO with a reward model make a policy more truthful? Multi-response against single-response rewards.

    python -m benchmarks.grpo --steps 150 --seeds 3 --out grpo

A tiny policy first imitates good and bad answers. Then TRL's GRPOTrainer rewards it, once with a model whose responses
to a prompt attend to each other (layout set) and once with a model that scores each alone (layout tree). All else is
equal: data, backbone, loss, steps, seed. The policy answers held-out questions every few steps. Reward is the score of
its answers minus that of the answers before training, in one pass with them; wins is how often it is positive; truth is
checked by a rule. Prints means over the seeds and their standard deviations.
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

LAYOUTS: dict[str, Layout] = {"multi": "set", "single": "tree"}
"""Kind of rewards -> layout of its model. A tree scores as single passes do and trains faster."""
LOSS: LossName = "top1"
Values = np.ndarray[tuple[int], np.dtype[np.float64]]
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


@dataclass(frozen=True)
class Run:
    """One kind of rewards with one seed."""

    mode: str
    seed: int
    top1: float
    """Share of held-out questions on which the reward model scores the best of the ranked answers highest."""
    points: list[Point]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Trains a tiny policy by GRPO against reward models.")
    parser.add_argument("--steps", type=int, default=150, help="GRPO steps")
    parser.add_argument("--warmup", type=int, default=700, help="steps of imitation before")
    parser.add_argument("--examples", type=int, default=4000, help="ranked examples for the reward models")
    parser.add_argument("--responses", type=int, default=4, help="answers in each")
    parser.add_argument("--held-out", type=int, default=100, help="questions excluded from training")
    parser.add_argument("--every", type=int, default=25, help="steps between two evaluations on held-out questions")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("grpo"), help="folder for models, figures and the curve")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)

    runs: list[Run] = []
    for seed in range(options.seeds):
        runs += runs_of(seed, options)
        (options.out / "grpo.json").write_text(json.dumps([asdict(run) for run in runs], indent=1))
    return report(runs, options.out)


def runs_of(seed: int, options: argparse.Namespace) -> list[Run]:
    """Both kinds of rewards, on the same questions and from the same policy."""
    generator = np.random.default_rng(seed)
    training = questions(options.examples + options.held_out, generator)
    held_out, training = training[: options.held_out], training[options.held_out :]
    ranked, unseen = (examples(part, options.responses, generator) for part in (training, held_out))
    tokenizer = word_tokenizer()
    start = warmed_policy(tokenizer, training, generator, steps=options.warmup, seed=seed).state_dict()
    found = []
    for mode in LAYOUTS:
        began = time.monotonic()
        folder = options.out / f"{mode}-{seed}"
        scorer = train_reward(ranked, mode, seed, folder)
        best = [int(np.argmax(scores)) for scores in scorer.score_examples(unseen)]
        top1 = float(np.mean([example.ranks[k] == 1 for example, k in zip(unseen, best, strict=True)]))
        policy = new_policy(tokenizer)
        policy.load_state_dict(start)
        evaluation = PolicyEvaluation(policy, tokenizer, held_out, scorer, single=mode == "single", every=options.every)
        reinforce(policy, tokenizer, training, scorer, evaluation, options, seed)
        found.append(Run(mode, seed, top1, evaluation.points))
        print(f"{mode}, seed {seed}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return found


def train_reward(ranked: list[Example], mode: str, seed: int, out: Path) -> Scorer:
    """A reward model of about a million weights, trained on the ranked examples with the layout of the mode."""
    layout = LAYOUTS[mode]
    texts = [text for example in ranked for text in (example.prompt, *example.responses)]
    backbone = build_backbone(out / "backbone", texts, seed=seed, vocabulary=VOCABULARY, layers=3)
    model = RewardModel.from_backbone(backbone, ModelConfig(layout=layout, head=256), seed=seed)
    config = TrainConfig(
        layout=layout,
        loss=LOSS,
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
    seed: int,
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
        seed=seed,
    )
    rewards: Any = GroupReward(scorer, num_generations=GENERATIONS, single=evaluation.single)
    data = datasets.Dataset.from_dict({"prompt": [question.prompt for question in training]})
    trainer = library.GRPOTrainer(
        policy, rewards, config, train_dataset=data, processing_class=tokenizer, callbacks=[evaluation]
    )
    trainer.train()


def report(runs: list[Run], out: Path) -> int:
    """Print the curves, write grpo.png; return 1 when a goal is missed."""
    draw(runs, out / "grpo.png")
    print("rewards  steps          reward            wins           truth")
    for mode in LAYOUTS:
        for step, mean, deviation in curves(runs, mode):
            columns = "".join(f"{m:9.2f} ± {d:.2f} " for m, d in zip(mean, deviation, strict=True))
            print(f"{mode:7} {step:6} {columns}")
    for mode in LAYOUTS:
        top1 = [run.top1 for run in runs if run.mode == mode]
        print(f"{mode}: the reward model is right on {np.mean(top1):.2f} of the held-out questions {np.round(top1, 2)}")
    (_, (_, _, before), _), *_, (_, (_, wins, truth_after), _) = curves(runs, "multi")
    met = wins >= GOALS["wins"] and truth_after - before >= GOALS["truth"]
    print("goals met" if met else f"goals missed: {GOALS}", file=sys.stderr)
    return 0 if met else 1


def curves(runs: list[Run], mode: str) -> list[tuple[int, Values, Values]]:
    """Steps, and (3,) mean over seeds and standard deviation of reward, wins and truth."""
    points = [[(p.reward, p.wins, p.truth) for p in run.points] for run in runs if run.mode == mode]
    values = np.array(points)  # (seeds, points, 3)
    steps = [point.step for point in next(run.points for run in runs if run.mode == mode)]
    spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros_like(values[0])
    return list(zip(steps, values.mean(axis=0), spread, strict=True))


def draw(runs: list[Run], path: Path) -> None:
    """Plot reward, wins and truth over steps: the mean over seeds and a band of one standard deviation."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    for mode in LAYOUTS:
        found = curves(runs, mode)
        steps = [step for step, _, _ in found]
        mean, spread = np.array([m for _, m, _ in found]), np.array([d for _, _, d in found])
        for axis, name, m, d in zip(axes, ("reward", "wins", "truth"), mean.T, spread.T, strict=True):
            (line,) = axis.plot(steps, m, marker="o", label=mode)
            axis.fill_between(steps, m - d, m + d, color=line.get_color(), alpha=0.2, linewidth=0)
            axis.set(title=f"{name} on held-out questions", xlabel="GRPO steps")
    axes[0].legend(title="rewards")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
