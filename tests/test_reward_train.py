"""The training loop: it learns, resumes to the same bytes, and does not depend on passes and processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reward_models import WORDS, encoded, fitted, spelling, tiny, uneven, untrained

from curate.reward import checkpoint, metrics, train
from curate.reward.checkpoint import newest_step
from curate.reward.data import Example
from curate.reward.layout import plan_passes
from curate.reward.loader import Loader
from curate.reward.processes import Processes
from curate.reward.quiet import quiet
from curate.reward.scoring import Scorer
from curate.reward.sequence import Encoded
from curate.reward.train import METRICS, StepReport, learning_rate_scale, shuffled, steps_of_epoch
from pipelines.training import train as run_job
from schemas.errors import CurateError
from schemas.reward import LoraSettings, Schedule, TrainConfig, TrainReport

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parent


def losses(out: Path) -> list[float]:
    rows = [json.loads(line) for line in (out / METRICS).read_text(encoding="utf-8").splitlines()]
    return [row["loss"] for row in rows if "loss" in row]


def top1(model: Any, examples: Sequence[Example]) -> float:
    scores = Scorer(model).score_examples(examples)
    return float(metrics.top1(scores, [example.ranks for example in examples]).mean())


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The trained weights without the head's last bias, whose gradient consists of rounding errors."""
    trained = {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}
    return {name: value for name, value in trained.items() if name != "head.2.bias"}


def newest(out: Path) -> Path:
    return sorted((out / "checkpoints").iterdir())[-1]


# Learning.


def test_a_model_learns_which_word_spells_a_number(backbone: Path, tmp_path: Path) -> None:
    model = fitted(backbone, tmp_path, spelling(320, 0), tiny(lora=False, batch=16, epochs=3))
    assert len(losses(tmp_path)) == 60
    assert top1(model, spelling(200, 1)) > 0.4, "chance is 0.25, with a standard error of 0.03"


def one_answer(count: int) -> list[Example]:
    """A task that the response alone decides: the best of four is always the same text."""
    rng = np.random.default_rng(0)
    found = []
    for i, example in enumerate(spelling(count, 0)):
        best = int(rng.integers(4))
        responses = [WORDS[int(rng.integers(10))] for _ in range(4)]
        responses[best] = "I cannot say."
        found.append(Example(f"e{i}", example.prompt, tuple(responses), tuple(2 - (k == best) for k in range(4))))
    return found


def fall(backbone: Path, out: Path, *, official: bool) -> float:
    """How far the loss falls in ten steps of the head alone."""
    config = tiny(lora=False, head=1024, batch=16, learning_rate=1e-3, head_learning_rate=1e-3)
    model = untrained(backbone, config)
    model.backbone.requires_grad_(False)
    if official:  # both layers of the code of arXiv 2604.10966
        torch.manual_seed(0)
        torch.nn.init.normal_(model.head[0].weight, std=0.01)  # type: ignore[arg-type]
        torch.nn.init.normal_(model.head[2].weight, std=0.01)  # type: ignore[arg-type]
    fitted(model, out, one_answer(160), config)
    found = losses(out)
    assert len(found) == 10
    return found[0] - found[-1]


def test_the_head_learns_faster_than_with_the_official_init(backbone: Path, tmp_path: Path) -> None:
    """Measured: 0.086 against 0.049."""
    ours, official = (fall(backbone, tmp_path / str(flag), official=flag) for flag in (False, True))
    assert ours > 0.05
    assert ours > 1.3 * official


@pytest.mark.parametrize(
    "changes",
    [{"precision": "bfloat16", "activation_checkpointing": True}, {"layout": "causal"}, {"layout": "set"}],
    ids=str,
)
def test_every_precision_and_layout_learns(backbone: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    """The loss of the last steps is below log N by much more than it varies between steps."""
    config = tiny(lora=False, batch=16, epochs=2, learning_rate=5e-3, head_learning_rate=5e-3, **changes)
    fitted(backbone, tmp_path, one_answer(160), config)
    assert losses(tmp_path)[0] == pytest.approx(np.log(4), abs=1e-3)
    assert np.mean(losses(tmp_path)[-5:]) < 1.25


def test_a_gpu_computes_in_bfloat16_with_activation_checkpointing_unless_told_otherwise() -> None:
    cuda, cpu = TrainConfig().on("cuda"), TrainConfig().on("cpu")
    assert (cuda.precision, cuda.activation_checkpointing) == ("bfloat16", True)
    assert (cpu.precision, cpu.activation_checkpointing) == ("float32", False)
    chosen = TrainConfig(precision="float32", activation_checkpointing=False)
    assert chosen.on("cuda") == chosen
    with pytest.raises(ValueError, match="'scratch', whose vision tower is trained"):
        TrainConfig(sharding="fsdp", backbone="scratch")


def test_activation_checkpointing_changes_no_weight(backbone: Path, tmp_path: Path) -> None:
    found = []
    for flag in (False, True):
        config = tiny(lora=LoraSettings(r=4, dropout=0.1), activation_checkpointing=flag)
        found.append(weights(fitted(backbone, tmp_path / str(flag), spelling(24, 0), config)))
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], atol=1e-6, rtol=1e-5)


# Killed and resumed.


def job(backbone: Path, out: Path, config: TrainConfig, count: int, **more: Any) -> dict[str, Any]:
    document = config.model_dump(mode="json")
    return {"backbone": str(backbone), "out": str(out), "config": document, "count": count, **more}


DROPOUT = LoraSettings(r=4, dropout=0.2)
KILLED = {
    "in a step": (tiny(lora=DROPOUT, layout="causal", epochs=2, checkpoint_every=2), {"kill_at": 3}),
    "in a checkpoint": (tiny(lora=False, layout="causal", epochs=2, checkpoint_every=2), {"kill_in": 2}),
}
SHARDED = {"sharding": "fsdp", "layout": "set", "pass_tokens": 100, "checkpoint_every": 2, "seed": 1}
TWO = {"lora": tiny(pass_tokens=100), "full": tiny(lora=False, pass_tokens=100, layout="set")}


def whole_job(backbone: Path, folder: Path) -> TrainConfig:
    """The config of ``curate train`` on 20 examples, two of which cannot train, with all weights sharded."""
    if not (folder / "train.jsonl").exists():
        ranked = [
            *uneven(18),
            Example("equal", "?", ("a", "b"), (1, 1)),
            Example("long", "?", ("word " * 300, "b"), (1, 2)),
        ]
        for name, rows in (("train", ranked), ("held_out", spelling(5, 5))):
            columns = ("item_id", "prompt", "responses", "ranks")
            text = "".join(json.dumps({key: getattr(row, key) for key in columns}) + "\n" for row in rows)
            (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    data = {"shards": [folder / "train.jsonl"], "validation": [folder / "held_out.jsonl"]}
    return tiny(lora=False, backbone=str(backbone), max_length=200, allow_skips=True, **data, **SHARDED)


@pytest.fixture(scope="module")
def separate(backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of trainings that ran in other processes: killed ones, and ones of two processes."""
    folder = tmp_path_factory.mktemp("separate")
    jobs = [job(backbone, folder / name, config, 20, **kill) for name, (config, kill) in KILLED.items()]
    jobs += [job(backbone, folder / name, config, 17, processes=2) for name, config in TWO.items()]
    sharded = job(backbone, folder / "sharded", whole_job(backbone, folder), 0, processes=2)
    step = folder / "sharded" / "checkpoints" / "step-000002"
    jobs += [sharded, {**sharded, "out": str(folder / "continued"), "continues": str(step)}]
    (folder / "jobs.json").write_text(json.dumps(jobs))
    process = subprocess.Popen(
        [sys.executable, str(TESTS / "reward_process.py"), str(folder / "jobs.json")],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(TESTS.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # processes that wait for each other
        raise
    assert process.returncode == 0, err
    assert json.loads(out.splitlines()[-1]) == [[-signal.SIGKILL], [-signal.SIGKILL], *[[0, 0]] * 4], err
    return folder


@pytest.mark.parametrize(("name", "done"), [("in a step", 3), ("in a checkpoint", 4)])
def test_a_killed_training_resumes_to_the_same_bytes(
    backbone: Path, separate: Path, tmp_path: Path, name: str, done: int
) -> None:
    """Killed during a step, and between writing a checkpoint and renaming it."""
    config, _ = KILLED[name]
    unbroken, broken = tmp_path / "unbroken", separate / name
    first = fitted(backbone, unbroken, uneven(20), config)
    assert newest_step(broken) == 2
    assert len(losses(broken)) == done, "steps after the checkpoint are repeated"
    partial = [path.name for path in (broken / "checkpoints").iterdir() if path.name.startswith(".step-000004")]
    assert len(partial) == (name == "in a checkpoint")
    reports: list[StepReport] = []
    second = fitted(backbone, broken, uneven(20), config, resume=True, on_step=reports.append)
    assert [report.step for report in reports] == [3, 4, 5, 6]
    assert (broken / METRICS).read_bytes() == (unbroken / METRICS).read_bytes()
    assert sorted(p.name for p in (broken / "checkpoints").iterdir()) == ["step-000004", "step-000006"]
    names = sorted(path.name for path in newest(unbroken).iterdir())
    assert sorted(path.name for path in newest(broken).iterdir()) == names
    for file in names:
        if file.endswith((".safetensors", ".json")):
            assert (newest(broken) / file).read_bytes() == (newest(unbroken) / file).read_bytes(), file
    scores = [Scorer(model).score_examples(spelling(10, 5)) for model in (first, second)]
    assert scores[0] == scores[1]


def test_a_crash_while_writing_a_checkpoint_leaves_none(
    backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = checkpoint.save

    def fails(model: Any, folder: Path, *rest: Any) -> None:
        saved(model, folder, *rest)
        if "step-000002" in folder.name:
            raise OSError("no space left on device")

    monkeypatch.setattr(train.checkpoint, "save", fails)
    with pytest.raises(OSError, match="no space left"):
        fitted(backbone, tmp_path, spelling(24, 0), tiny(checkpoint_every=1))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000001"]
    assert newest_step(tmp_path) == 1


def test_only_the_newest_checkpoints_are_kept(backbone: Path, tmp_path: Path) -> None:
    fitted(backbone, tmp_path, spelling(40, 0), tiny(checkpoint_every=1, keep=2))
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["step-000004", "step-000005"]


def test_resuming_with_another_config_or_other_examples_is_an_error(backbone: Path, tmp_path: Path) -> None:
    config = tiny(checkpoint_every=1)
    fitted(backbone, tmp_path, spelling(16, 0), config)
    before = (tmp_path / METRICS).read_bytes()
    other = config.model_copy(update={"batch": 4, "seed": 7})
    with pytest.raises(CurateError, match="step-000002: has another batch, seed"):
        fitted(backbone, tmp_path, spelling(16, 0), other, resume=True)
    with pytest.raises(CurateError, match="step-000002: has other examples"):
        fitted(backbone, tmp_path, spelling(17, 0), config, resume=True)
    assert (tmp_path / METRICS).read_bytes() == before


class Recorded(Loader):
    """A loader that records the examples it reads."""

    seen: list[Example]

    def stream(self, groups: Sequence[Sequence[Example]]) -> Iterator[list[Encoded]]:
        for group, sequences in zip(groups, super().stream(groups), strict=True):
            self.seen += group
            yield sequences


def recorded(backbone: Path, out: Path, examples: list[Example], config: TrainConfig, **options: Any) -> list[Example]:
    """The examples that a training read, in order."""
    model = untrained(backbone, config)
    with quiet(), Recorded(model.encoder, frames=4) as loader:
        loader.seen = []
        train.fit(model, loader, examples, config, out, processes=Processes(), **options)
    return loader.seen


class Stop(Exception):
    pass


def test_a_resumed_training_reads_every_example_once_per_epoch(backbone: Path, tmp_path: Path) -> None:
    config, examples = tiny(epochs=2, checkpoint_every=1), spelling(20, 0)

    def stop(report: StepReport) -> None:
        if report.step == 2:
            raise Stop

    with pytest.raises(Stop):
        recorded(backbone, tmp_path, examples, config, on_step=stop)
    rest = [example.item_id for example in recorded(backbone, tmp_path, examples, config, resume=True)]
    assert len(rest) == 4 + 20, "the third step of the first epoch, then the second epoch"
    whole = [example.item_id for example in recorded(backbone, tmp_path / "whole", examples, config)]
    assert whole[16:] == rest
    assert Counter(whole[:20]) == Counter(whole[20:]) == Counter(example.item_id for example in examples)


def test_causal_training_reorders_responses_in_each_epoch(backbone: Path, tmp_path: Path) -> None:
    config, examples = tiny(layout="causal", epochs=2), spelling(16, 0)
    read = recorded(backbone, tmp_path / "a", examples, config)
    orders: dict[str, list[tuple[str, ...]]] = {}
    for example in read:
        orders.setdefault(example.item_id, []).append(example.responses)
    moved = [first != second for first, second in orders.values()]
    assert sum(moved) >= 12, "of 16; one in 24 keeps its order by chance"
    assert read == recorded(backbone, tmp_path / "b", examples, config)
    assert all(
        e.responses == x.responses
        for e in recorded(backbone, tmp_path / "c", examples, tiny())
        for x in examples
        if x.item_id == e.item_id
    )


@given(order=st.permutations(range(4)), seed=st.integers(0, 9), epoch=st.integers(0, 9))
def test_shuffling_keeps_responses_ranks_and_probabilities_together(order: list[int], seed: int, epoch: int) -> None:
    example = Example("x", "?", tuple("abcd"), (1, 2, 3, 4), best_probabilities=(0.4, 0.3, 0.2, 0.1)).permuted(order)
    mixed = shuffled(example, seed=seed, epoch=epoch)
    together = zip(mixed.responses, mixed.ranks, mixed.best_probabilities, strict=True)
    assert sorted(together) == [("a", 1, 0.4), ("b", 2, 0.3), ("c", 3, 0.2), ("d", 4, 0.1)]


def test_equal_trainings_give_equal_bytes(backbone: Path, tmp_path: Path) -> None:
    config = tiny(lora=DROPOUT)
    for name in ("a", "b"):
        fitted(backbone, tmp_path / name, spelling(20, 0), config)
    for name in (METRICS, "checkpoints/step-000003/value_head.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    fitted(backbone, tmp_path / "c", spelling(20, 0), config.model_copy(update={"seed": 1}))
    assert (tmp_path / "c" / METRICS).read_bytes() != (tmp_path / "a" / METRICS).read_bytes()


# Passes and processes.


@pytest.mark.parametrize("loss", ["top1", "plackett-luce", "bradley-terry"])
def test_the_size_of_a_pass_changes_nothing(backbone: Path, tmp_path: Path, loss: str) -> None:
    found = []
    for tokens in (1, 150, 100_000):
        config, out = tiny(loss=loss, pass_tokens=tokens, batch=7), tmp_path / str(tokens)
        model = fitted(backbone, out, uneven(17), config)
        found.append((losses(out), weights(model)))
    for seen, trained in found[1:]:
        assert seen == pytest.approx(found[0][0], abs=1e-5)
        for name, value in trained.items():
            torch.testing.assert_close(value, found[0][1][name], atol=1e-5, rtol=1e-4)


def test_two_processes_train_as_one(backbone: Path, separate: Path, tmp_path: Path) -> None:
    """Of 17 examples in steps of 8 the last step has one, so that one process has none; numbers of passes differ; a
    text uses only a part of the backbone."""
    encoder = untrained(backbone, tiny()).encoder
    lengths = [len(encoded(encoder, example).input_ids) for example in uneven(17)]
    first = steps_of_epoch(17, 8, seed=0, epoch=0)[0]
    passes = [plan_passes([lengths[i] for i in first[rank::2]], 100, separate=[False] * 4) for rank in (0, 1)]
    assert len(passes[0]) != len(passes[1])
    for name, config in TWO.items():
        one, two = tmp_path / name, separate / name
        fitted(backbone, one, uneven(17), config)
        assert len(losses(one)) == 3 * config.epochs
        assert losses(two) == pytest.approx(losses(one), abs=1e-5)
        for path in newest(one).glob("*.safetensors"):
            ours, theirs = (checkpoint.load_file(p) for p in (path, newest(two) / path.name))
            for key in ours.keys() - {"2.bias"}:  # changed by rounding errors alone
                torch.testing.assert_close(theirs[key], ours[key], atol=1e-4, rtol=1e-3)


def test_sharded_weights_train_as_whole_ones(backbone: Path, separate: Path, tmp_path: Path) -> None:
    """Two processes with sharded weights, resumed with two and with one, against one process with whole weights."""
    config, one = whole_job(backbone, separate), tmp_path / "one"
    report = run_job(config, one)
    assert report is not None
    assert {skip.item_id for skip in report.skipped} == {"equal", "long"}
    shutil.copytree(separate / "sharded" / "checkpoints" / "step-000002", tmp_path / "resumed/checkpoints/step-000002")
    run_job(config, tmp_path / "resumed", resume=True)
    for two in (separate / "sharded", separate / "continued", tmp_path / "resumed"):
        assert losses(two) == pytest.approx(losses(one)[-len(losses(two)) :], abs=1e-5)
        found = TrainReport.from_stored((two / "report.json").read_bytes())
        assert found.model_dump(include=SAME) == report.model_dump(include=SAME)
        for ours, theirs in zip(report.evaluations, found.evaluations, strict=True):
            rows = [each.overall.model_dump(exclude={"part", "name"}) for each in (ours, theirs)]
            assert rows[1] == pytest.approx(rows[0], abs=1e-4)
        assert {path.name for path in two.iterdir()} == {path.name for path in one.iterdir()}
        for path in one.glob("*.safetensors"):
            ours, theirs = (checkpoint.load_file(p) for p in (path, two / path.name))
            assert ours.keys() == theirs.keys()
            for key in ours.keys() - {"2.bias"}:
                torch.testing.assert_close(theirs[key], ours[key], atol=1e-4, rtol=1e-3)
    scores = [Scorer.from_pretrained(folder).score_examples(spelling(3, 7)) for folder in (one, separate / "sharded")]
    np.testing.assert_allclose(np.array(scores[1]), np.array(scores[0]), atol=1e-3)


SAME = {"parameters", "trained", "examples", "held_out", "skipped", "steps", "precision"}


# The plan of steps.


@given(examples=st.integers(1, 60), batch=st.integers(1, 20), seed=st.integers(0, 5), epoch=st.integers(0, 5))
def test_an_epoch_contains_every_example_once(examples: int, batch: int, seed: int, epoch: int) -> None:
    steps = steps_of_epoch(examples, batch, seed=seed, epoch=epoch)
    assert sorted(i for step in steps for i in step) == list(range(examples))
    assert [len(step) for step in steps[:-1]] == [batch] * (len(steps) - 1)
    assert 1 <= len(steps[-1]) <= batch
    assert steps == steps_of_epoch(examples, batch, seed=seed, epoch=epoch)


def test_epochs_and_seeds_differ_in_order() -> None:
    orders = {str(steps_of_epoch(30, 30, seed=seed, epoch=epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


@given(
    steps=st.integers(1, 200),
    warmup=st.floats(0, 0.9),
    schedule=st.sampled_from(["cosine", "linear", "constant"]),
)
def test_the_learning_rate_rises_then_falls_and_is_never_zero(steps: int, warmup: float, schedule: Schedule) -> None:
    rates = [learning_rate_scale(step, steps, warmup=warmup, schedule=schedule) for step in range(steps)]
    rising = int(np.ceil(warmup * steps))
    assert all(0 < value <= 1 for value in rates)
    assert rates[:rising] == sorted(set(rates[:rising]))
    if rising < steps:
        assert rates[rising] == 1.0
        after = rates[rising:]
        assert after == ([1.0] * len(after) if schedule == "constant" else sorted(set(after), reverse=True))
        if schedule != "constant":
            assert after[-1] <= 1 / len(after) + 1e-9


def test_steps_and_learning_rates_follow_the_plan(backbone: Path, tmp_path: Path) -> None:
    reports: list[StepReport] = []
    fitted(
        backbone,
        tmp_path,
        spelling(11, 0),
        tiny(batch=4, epochs=2, warmup=0.5, schedule="linear"),
        on_step=reports.append,
    )
    assert [(report.step, report.steps) for report in reports] == [(i, 6) for i in range(1, 7)]
    rates = [report.metrics["rate"] for report in reports]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1.0, 2 / 3, 1 / 3])
