"""The job ``train``: shards to a reward model, evaluated on held-out examples next to controls and baselines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.reward.data import Example, media_folder, read_examples, read_manifest, reason_to_skip, split
from pipelines.progress import Progress, silent
from schemas.errors import ConflictError, CurateError, MissingError, UsageError
from schemas.manifest import Ceiling
from schemas.reward import DoctorReport, EvaluationReport, Modality, Skip, TrainConfig, TrainReport

if TYPE_CHECKING:
    from torch import Tensor

    from curate.reward.loader import Loader
    from curate.reward.model import RewardModel
    from curate.reward.processes import Processes
    from curate.reward.scoring import Scorer
    from curate.reward.train import StepReport

MODEL = "reward_model_config.json"
"""The file of a model that is written last."""
REPORT, TRAINING = "report.json", "training.json"
LISTED = 10
"""Skipped examples that an error lists."""


def train(
    config: TrainConfig,
    out: str | Path,
    *,
    resume: bool = False,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _line: None,
) -> TrainReport | None:
    """Train a reward model on the shards of the config and write it into the folder ``out``.

    Every example is read and encoded before the first step; one that cannot train stops the job with its reason, or
    is skipped and counted with ``allow_skips``. A finished model of the same config and shards is left unchanged.
    Under torchrun every process calls this function; all but the first return None. resume: continue from the newest
    checkpoint in ``out``. say: called with a line per evaluation. Raises CurateError for an invalid config, invalid
    data, or an ``out`` that holds something else.
    """
    import torch

    from curate.reward.checkpoint import newest_step
    from curate.reward.doctor import check_layout
    from curate.reward.evaluation import quick_metrics
    from curate.reward.loader import Loader
    from curate.reward.processes import start_processes, whole_state
    from curate.reward.scoring import Scorer
    from curate.reward.train import computing, fit

    out = Path(out)
    config = config.on("cuda" if torch.cuda.is_available() else "cpu")
    _check(config, out, resume)
    finished = _finished(config, out)
    if finished is not None:
        return finished
    processes = start_processes(sharded=config.sharding == "fsdp")
    progress = progress if processes.first else silent
    processes.wait()  # every process has checked ``out`` before the first one writes into it
    data = read_data(config)
    model = _new_model(config, out, data.training, processes)
    check_layout(model, _modalities(data.training))
    with Loader(
        model.encoder,
        frames=config.frames,
        fps=config.fps,
        workers=config.workers,
        timeout=config.media_timeout,
        memory=config.media_memory,
        pin=processes.device.type == "cuda",
    ) as loader:
        data = _check_examples(data, loader, config, processes, progress)
        done = newest_step(out) if resume else 0
        if config.pretraining is not None and done == 0:
            _pretrain(model, loader, config.pretraining, config, progress)
        scorer = Scorer(model, pass_tokens=config.pass_tokens, loader=loader, processes=processes)
        fit(
            model,
            loader,
            data.training,
            config,
            out,
            processes=processes,
            evaluate=(lambda _model: quick_metrics(scorer, data.held_out)) if data.held_out else None,
            resume=resume,
            on_step=_Display(progress, say, out).show if processes.first else lambda _report: None,
        )
        progress("evaluating", 0, 0)
        with computing(config, processes):
            report = _report(scorer, data, config, out, done)
        weights = whole_state(model, processes)
        if processes.first:
            _write(model, weights, report, config, out)
        processes.wait()
    return report if processes.first else None


def doctor(backbone: str, config: TrainConfig) -> DoctorReport:
    """What a backbone can do for a training of the config. Raises CurateError where it cannot be loaded."""
    from curate.reward.doctor import diagnose

    return diagnose(backbone, config)


@dataclass(frozen=True)
class Data:
    """The examples of a training."""

    training: Sequence[Example]
    held_out: Sequence[Example]
    skipped: tuple[Skip, ...] = ()
    ceiling: Ceiling | None = None


def read_data(config: TrainConfig) -> Data:
    """The training and held-out examples of the config: the validation shards, or a share of the training shards."""
    training, held_out = [], []
    for path in config.shards:
        fraction = 0.0 if config.validation else config.validation_fraction
        examples = read_examples(path, media=config.media)
        sides = split(examples, fraction, config.seed, media=media_folder(path, config.media))
        training += sides[0]
        held_out += sides[1]
    for path in config.validation:
        held_out += read_examples(path, media=config.media)
    manifests = [read_manifest(path) for path in config.validation if path.is_dir()]
    ceilings = [next(iter(manifest.counts.get("ceiling", {}).values()), None) for manifest in manifests if manifest]
    known = len(config.validation) == len(ceilings) == 1 and ceilings[0]
    ceiling = Ceiling.model_validate(ceilings[0]) if known else None
    return Data(training, held_out, ceiling=ceiling)


def _check(config: TrainConfig, out: Path, resume: bool) -> None:
    """Raise CurateError for a config or a folder that cannot train."""
    if not config.shards:
        raise UsageError("no shards to train on", hint='give --shards DIR, or shards = ["DIR"] in the config')
    if not config.backbone:
        raise UsageError("no backbone", hint='give --backbone PATH, a hub id, or "scratch" for a tiny one')
    if config.pretraining and config.backbone != "scratch":
        raise UsageError(
            "pretraining requires a backbone from scratch", hint='set backbone = "scratch", or remove pretraining'
        )
    if config.pretraining and not config.pretraining.is_file():
        raise MissingError(
            f"{config.pretraining}: no such file", hint="curate simulate --video --pretraining-videos N writes it"
        )
    if out.exists() and not out.is_dir():
        raise ConflictError(f"{out}: not a folder", hint="choose another --out")
    # A training that stopped before its first step leaves only the backbone from scratch, which is made again.
    begun = out.exists() and any(path.name != "backbone" for path in out.iterdir())
    if begun and not resume and not (out / MODEL).exists():
        raise ConflictError(
            f"{out}: is not empty", hint="continue the training there with --resume, or choose another --out"
        )


def _finished(config: TrainConfig, out: Path) -> TrainReport | None:
    """The report of the finished model in ``out``; None where there is none. Raises CurateError for another model."""
    if not (out / MODEL).exists():
        return None
    inputs = json.loads((out / TRAINING).read_text(encoding="utf-8")) if (out / TRAINING).exists() else None
    if inputs is not None:
        inputs["training"] = TrainConfig.from_stored(inputs["training"]).defining
    if inputs != {**_inputs(config), "training": config.defining}:
        raise ConflictError(f"{out}: contains a model of another config or other shards", hint="choose another --out")
    report = TrainReport.from_stored((out / REPORT).read_bytes())
    return report.model_copy(update={"out": str(out), "reused": True})


def _inputs(config: TrainConfig) -> dict[str, Any]:
    """What determines a model: its config, and the versions of its shards."""
    folders = [path for path in (*config.shards, *config.validation) if path.is_dir()]
    manifests = {path.name: read_manifest(path) for path in folders}
    versions = {name: manifest.version for name, manifest in manifests.items() if manifest}
    return {"training": config.model_dump(mode="json"), "data": versions}


def _new_model(config: TrainConfig, out: Path, examples: Sequence[Example], processes: Processes) -> RewardModel:
    """A new model, equal in every process."""
    import torch

    from curate.reward.model import ModelConfig, RewardModel
    from curate.reward.scratch import build_backbone

    path: str | Path = config.backbone
    if config.backbone == "scratch":
        path = out / "backbone"
        if processes.first:
            texts = [text for example in examples for text in (example.prompt, *example.responses)]
            build_backbone(path, [*texts, "user assistant 0.123456789 seconds"], seed=config.seed)
        processes.wait()
    bfloat = config.precision == "bfloat16" and bool(config.lora)
    model = RewardModel.from_backbone(
        path,
        ModelConfig.of(config),
        lora=config.lora or None,
        dtype=torch.bfloat16 if bfloat else torch.float32,
        seed=config.seed,
    )
    if not config.lora and config.backbone != "scratch":
        model.freeze_vision()
    return model.to(processes.device)


def _modalities(examples: Sequence[Example]) -> list[Modality]:
    """Text, and which media the examples have."""
    media: list[Modality] = ["image"] * any(each.images for each in examples)
    return ["text", *media, *(["video"] * any(each.video for each in examples))]  # type: ignore[list-item]


def _pretrain(model: RewardModel, loader: Loader, path: Path, config: TrainConfig, progress: Progress) -> None:
    """Pretrain a backbone from scratch; every process does the same."""
    from curate.reward.scratch import pretrain, read_pretraining

    def on_step(step: int, steps: int, loss: float) -> None:
        progress(f"pretraining, loss {loss:.3f}", step, steps)

    data = read_pretraining(path)
    pretrain(model, loader, data, epochs=config.pretraining_epochs, seed=config.seed, on_step=on_step)


def _check_examples(data: Data, loader: Loader, config: TrainConfig, processes: Processes, progress: Progress) -> Data:
    """The data without the examples that cannot train, equal in every process, each of which reads its share.

    Raises CurateError listing them unless the config allows skips.
    """
    sides: list[list[Example]] = []
    skips: list[Skip] = []
    done, total = 0, len(data.training) + len(data.held_out)
    for side in (data.training, data.held_out):
        reasons = [reason_to_skip(example, soft=config.targets == "confidence") for example in side]
        candidates = [example for example, reason in zip(side, reasons, strict=True) if not reason]
        own = loader.check(
            processes.share(candidates),
            lambda n, done=done: progress("checking", min(done + n * processes.count, total), total),  # type: ignore[misc]
        )
        refusals = dict(zip(map(id, candidates), processes.merge(own, len(candidates)), strict=True))
        reasons = [reason or refusals[id(example)] for example, reason in zip(side, reasons, strict=True)]
        sides.append([example for example, reason in zip(side, reasons, strict=True) if not reason])
        skips += [Skip(item_id=e.item_id, reason=reason) for e, reason in zip(side, reasons, strict=True) if reason]
        done += len(side)
    training, held_out = sides
    if skips and not config.allow_skips:
        lines = "\n".join(f"  {skip.item_id}: {skip.reason}" for skip in skips[:LISTED])
        more = f"\n  and {len(skips) - LISTED} more" if len(skips) > LISTED else ""
        raise CurateError(
            f"{len(skips)} of {total} examples cannot train:\n{lines}{more}",
            hint="fix them, or skip them with --allow-skips",
        )
    if not training:
        raise CurateError("no examples remain to train on", hint="give more shards, or lower --validation-fraction")
    return replace(data, training=training, held_out=held_out, skipped=tuple(skips))


def _report(scorer: Scorer, data: Data, config: TrainConfig, out: Path, done: int) -> TrainReport:
    """The report of the training, with the evaluation on the held-out examples. done: steps before this run."""
    from curate.reward.evaluation import evaluate_model

    evaluations: Sequence[EvaluationReport] = ()
    if data.held_out:
        reports, _ = evaluate_model(scorer, data.held_out, data="held out", training=data.training, seed=config.seed)
        evaluations = tuple(reports)
    weights = list(scorer.model.parameters())
    return TrainReport(
        out=str(out),
        backbone=config.backbone,
        layout=config.layout,
        loss=config.loss,
        parameters=sum(each.numel() for each in weights),
        trained=sum(each.numel() for each in weights if each.requires_grad),
        examples=len(data.training),
        held_out=len(data.held_out),
        skipped=data.skipped,
        steps=config.epochs * -(-len(data.training) // config.batch),
        resumed=done,
        precision=config.precision,
        activation_checkpointing=config.activation_checkpointing,
        evaluations=tuple(evaluations),
        ceiling=data.ceiling,
    )


def _write(
    model: RewardModel, weights: dict[str, Tensor] | None, report: TrainReport, config: TrainConfig, out: Path
) -> None:
    """Write the model, its card and its curves. The model's config is moved into place last: then all is complete.

    weights: of the model, where these are sharded.
    """
    from curate.reward import checkpoint
    from curate.reward.model_card import draw_curves, model_card
    from curate.shards.atomic import publishing

    inputs = _inputs(config)
    shutil.rmtree(out / "final", ignore_errors=True)  # left by a process that was killed while moving files
    with publishing(out / "final") as folder:
        checkpoint.save(model, folder, weights)
        (folder / "README.md").write_text(model_card(report, config, inputs["data"]), encoding="utf-8")
        (folder / REPORT).write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (folder / TRAINING).write_text(json.dumps(inputs, indent=2) + "\n", encoding="utf-8")
        draw_curves(out / "metrics.jsonl", folder / "curves.png")
    for path in sorted((out / "final").iterdir(), key=lambda path: path.name == MODEL):
        path.replace(out / path.name)
    shutil.rmtree(out / "final")


class _Display:
    """Shows steps as a progress bar, a line per evaluation, and in tensorboard where it is installed."""

    def __init__(self, progress: Progress, say: Callable[[str], None], out: Path) -> None:
        """out: folder for tensorboard's files."""
        self.progress, self.say = progress, say
        self.board: Any = None
        if find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(out / "tensorboard")

    def show(self, report: StepReport) -> None:
        metrics = report.metrics
        self.progress(f"training, loss {metrics['loss']:.3f}", report.step, report.steps)
        if self.board is not None:
            for name, value in metrics.items():
                if value is not None:
                    self.board.add_scalar(name, value, report.step)
            self.board.flush()
        if "top1" in metrics:
            self.say(
                f"  step {report.step} of {report.steps}: loss {metrics['loss']:.3f}, held out "
                f"top-1 {metrics['top1']:.3f}, pairs {metrics['pairwise']:.3f}"
            )
