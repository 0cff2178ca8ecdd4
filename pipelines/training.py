"""The job ``train``: shards to a reward model, with its held-out figures beside those that mean nothing was learnt."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.reward.examples import Example
from curate.reward.reading import media_folder, read_examples, read_manifest, split, unfit
from pipelines.progress import Progress, silent
from schemas.errors import CurateError
from schemas.manifest import Ceiling
from schemas.training import Skip, TrainConfig, TrainReport

if TYPE_CHECKING:
    from accelerate import Accelerator

    from curate.reward.loading import Loader
    from curate.reward.model import RewardModel
    from curate.reward.train import Look
    from schemas.reward import EvaluationReport

DONE = "reward_model_config.json"
"""The file of a model that comes last."""
REPORT, TRAINING = "report.json", "training.json"
LISTED = 10
"""Skips that an error names."""


def train(
    config: TrainConfig,
    out: str | Path,
    *,
    resume: bool = False,
    progress: Progress = silent,
    tell: Callable[[str], None] = lambda _line: None,
) -> TrainReport | None:
    """Fit a reward model to the shards of the config and write it into ``out``; None in all processes but the first.

    Every example is read and encoded before the first step: one that cannot train stops the job, named with its
    reason, unless allow_skips says to leave it out and count it. Under torchrun every process calls this. resume: go
    on from the newest checkpoint in ``out``. A model that is finished there already, of the same config and shards, is
    left as it is. Raises CurateError for what is wrong with the config, data or ``out``.
    """
    from curate.reward.loading import Loader
    from curate.reward.train import fit, make_accelerator

    out = Path(out)
    _check(config, out, resume)
    present = _finished(config, out)
    if present is not None:
        return present
    accelerator = make_accelerator(config)
    accelerator.wait_for_everyone()  # all have looked at ``out`` before the first writes into it
    data = read_data(config)
    model = _model(config, out, data.training, accelerator)
    progress_watch = _Watch(progress, tell, out if accelerator.is_main_process else None)
    with Loader(
        model.encoder,
        frames=config.frames,
        workers=config.workers,
        timeout=config.media_timeout,
        memory=config.media_memory,
    ) as loader:
        data = _preflight(data, loader, config, accelerator, progress)
        begin = _steps_done(out) if resume else 0
        if config.lessons is not None and begin == 0:
            _teach(model, loader, config.lessons, config, progress)
        fit(
            model,
            loader,
            data.training,
            config,
            out,
            accelerator=accelerator,
            evaluate=(lambda own: _glance(own, loader, data.held_out, config)) if data.held_out else None,
            resume=resume,
            tell=progress_watch,
        )
        progress_watch.close()
        report = None
        if accelerator.is_main_process:
            progress("judging", 0, 0)
            report = _finish(model, loader, data, config, out, begin)
        accelerator.wait_for_everyone()
    return report


@dataclass(frozen=True)
class Data:
    """What a training reads, and what of it cannot train."""

    training: Sequence[Example]
    held_out: Sequence[Example]
    skipped: tuple[Skip, ...] = ()
    ceiling: Ceiling | None = None


def read_data(config: TrainConfig) -> Data:
    """The examples of the config: what is learnt, and what is held out of it or given for validation."""
    training, held_out = [], []
    for path in config.shards:
        fraction = 0.0 if config.validation else config.validation_fraction
        sides = split(
            read_examples(path, media=config.media), fraction, config.seed, media=media_folder(path, config.media)
        )
        training += sides[0]
        held_out += sides[1]
    for path in config.validation:
        held_out += read_examples(path, media=config.media)
    manifests = [read_manifest(path) for path in config.validation if path.is_dir()]
    ceilings = [next(iter(manifest.counts["ceiling"].values())) for manifest in manifests if manifest]
    return Data(
        training=training,
        held_out=held_out,
        ceiling=Ceiling.model_validate(ceilings[0]) if len(config.validation) == len(ceilings) == 1 else None,
    )


def _check(config: TrainConfig, out: Path, resume: bool) -> None:
    if not config.shards:
        raise CurateError("no shards to train on", hint='give --shards DIR, or shards = ["DIR"] in the config')
    if not config.backbone:
        raise CurateError("no backbone", hint='give --backbone PATH, a hub id, or "scratch" for a tiny one')
    if config.lessons and config.backbone != "scratch":
        raise CurateError("lessons are for a backbone from scratch", hint='backbone = "scratch", or no lessons')
    if config.lessons and not config.lessons.is_file():
        raise CurateError(f"{config.lessons}: no such file", hint="curate simulate --video --lessons N writes lessons")
    if out.exists() and not out.is_dir():
        raise CurateError(f"{out}: not a folder", hint="choose another --out")
    # A backbone from scratch alone is what a training that stopped before its first step leaves: it is made again.
    begun = out.exists() and any(path.name != "backbone" for path in out.iterdir())
    if begun and not resume and not (out / DONE).exists():
        raise CurateError(f"{out}: is not empty", hint="--resume goes on with what is there; else choose another --out")


def _finished(config: TrainConfig, out: Path) -> TrainReport | None:
    """The report of a model that is finished in ``out``; None where there is none. Raises CurateError for another."""
    if not (out / DONE).exists():
        return None
    origin = json.loads((out / TRAINING).read_text(encoding="utf-8")) if (out / TRAINING).exists() else None
    if origin != _origin(config):
        raise CurateError(f"{out}: holds a model of another config or other shards", hint="choose another --out")
    report = TrainReport.model_validate_json((out / REPORT).read_bytes())
    return report.model_copy(update={"out": str(out), "reused": True})


def _origin(config: TrainConfig) -> dict[str, Any]:
    """What a model is made of: its config, and the versions of its shards."""
    folders = [path for path in (*config.shards, *config.validation) if path.is_dir()]
    manifests = {path.name: read_manifest(path) for path in folders}
    versions = {name: manifest.version for name, manifest in manifests.items() if manifest}
    return {"training": config.model_dump(mode="json"), "data": versions}


def _model(config: TrainConfig, out: Path, examples: Sequence[Example], accelerator: Accelerator) -> RewardModel:
    """A new model, the same in every process."""
    import torch

    from curate.reward.model import RewardModel, Shape
    from curate.reward.scratch import build_backbone

    shape = Shape(config.layout, config.head, config.frames, config.max_length)
    path: str | Path = config.backbone
    if config.backbone == "scratch":
        path = out / "backbone"
        if accelerator.is_main_process:
            texts = [text for example in examples for text in (example.prompt, *example.responses)]
            build_backbone(path, [*texts, "user assistant 0.123456789 seconds"], seed=config.seed)
        accelerator.wait_for_everyone()
    bfloat = config.precision == "bfloat16" and bool(config.lora)
    model = RewardModel.from_backbone(
        path, shape, lora=config.lora or None, dtype=torch.bfloat16 if bfloat else torch.float32, seed=config.seed
    )
    if not config.lora and config.backbone != "scratch":
        model.freeze_vision()
    return model.to(accelerator.device)


def _teach(model: RewardModel, loader: Loader, path: Path, config: TrainConfig, progress: Progress) -> None:
    """Teach a backbone from scratch; every process does the same."""
    from curate.reward.teach import read_lessons, teach

    def told(step: int, steps: int, loss: float) -> None:
        progress(f"lessons, loss {loss:.3f}", step, steps)

    teach(model, loader, read_lessons(path), epochs=config.lesson_epochs, seed=config.seed, tell=told)


def _preflight(data: Data, loader: Loader, config: TrainConfig, accelerator: Accelerator, progress: Progress) -> Data:
    """The data without what cannot train; every process comes to the same result. Raises CurateError listing it."""
    from accelerate.utils import broadcast_object_list

    found: list[Any] = [None]
    if accelerator.is_main_process:
        sides, skips = [], []
        done, total = 0, len(data.training) + len(data.held_out)
        for side in (data.training, data.held_out):
            reasons = [unfit(example, soft=config.targets == "confidence") for example in side]
            skips += [Skip(item_id=e.item_id, reason=r) for e, r in zip(side, reasons, strict=True) if r]
            fitting = [e for e, r in zip(side, reasons, strict=True) if not r]
            good, bad = loader.check(fitting, lambda n, done=done: progress("checking", done + n, total))  # type: ignore[misc]
            done += len(side)
            sides.append(good)
            skips += bad
        found = [(sides, skips)]
    broadcast_object_list(found)
    (training, held_out), skips = found[0]
    if skips and not config.allow_skips:
        lines = "\n".join(f"  {skip.item_id}: {skip.reason}" for skip in skips[:LISTED])
        more = f"\n  and {len(skips) - LISTED} more" if len(skips) > LISTED else ""
        raise CurateError(
            f"{len(skips)} of {len(data.training) + len(data.held_out)} examples cannot train:\n{lines}{more}",
            hint="mend them, or leave them out with --allow-skips",
        )
    if not training:
        raise CurateError("nothing is left to train on", hint="give more shards, or a smaller --validation-fraction")
    return Data(training, held_out, tuple(skips), data.ceiling)


def _glance(model: RewardModel, loader: Loader, held_out: Sequence[Example], config: TrainConfig) -> dict[str, Any]:
    from curate.reward.judging import glance
    from curate.reward.scoring import Scorer

    return glance(Scorer(model, pass_tokens=config.pass_tokens, loader=loader), held_out)


def _finish(model: RewardModel, loader: Loader, data: Data, config: TrainConfig, out: Path, begin: int) -> TrainReport:
    """Judge the model on what was held out, and write it with its card."""
    from curate.reward.judging import judge
    from curate.reward.scoring import Scorer

    evaluations: tuple[EvaluationReport, ...] = ()
    if data.held_out:
        scorer = Scorer(model, pass_tokens=config.pass_tokens, loader=loader)
        evaluations = tuple(judge(scorer, data.held_out, data="held out", training=data.training, seed=config.seed))
    report = TrainReport(
        out=str(out),
        backbone=config.backbone,
        layout=config.layout,
        loss=config.loss,
        parameters=sum(weights.numel() for weights in model.parameters()),
        trained=sum(weights.numel() for weights in model.parameters() if weights.requires_grad),
        examples=len(data.training),
        held_out=len(data.held_out),
        skipped=data.skipped,
        steps=config.epochs * -(-len(data.training) // config.batch),
        resumed=begin,
        evaluations=evaluations,
        ceiling=data.ceiling,
    )
    _write(model, report, config, out)
    return report


def _write(model: RewardModel, report: TrainReport, config: TrainConfig, out: Path) -> None:
    """The model, its card and its curves; the model's own config comes last, and says that all is there."""
    import shutil

    from curate.reward import checkpoint
    from curate.reward.curves import draw_curves
    from curate.reward.model_card import model_card
    from curate.shards.atomic import publishing

    origin = _origin(config)
    shutil.rmtree(out / "final", ignore_errors=True)  # of a process that was killed while it moved what follows
    with publishing(out / "final") as folder:
        checkpoint.save(model, folder)
        (folder / "README.md").write_text(model_card(report, config, origin["data"]), encoding="utf-8")
        (folder / REPORT).write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (folder / TRAINING).write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
        draw_curves(out / "metrics.jsonl", folder / "curves.png")
    files = sorted((out / "final").iterdir(), key=lambda path: path.name == DONE)
    for path in files:
        path.replace(out / path.name)
    shutil.rmtree(out / "final")


def _steps_done(out: Path) -> int:
    from curate.reward.train import newest_step

    return newest_step(out)


class _Watch:
    """What is told as steps go by: a progress bar, a line an evaluation, and tensorboard where it is installed."""

    def __init__(self, progress: Progress, tell: Callable[[str], None], out: Path | None) -> None:
        from importlib.util import find_spec

        self.progress, self.told = progress, tell
        self.board: Any = None
        if out is not None and find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(out / "tensorboard")

    def __call__(self, look: Look) -> None:
        self.progress(f"training, loss {look.figures['loss']:.3f}", look.step, look.steps)
        if self.board is not None:
            for name, value in look.figures.items():
                if value is not None:
                    self.board.add_scalar(name, value, look.step)
        if "top1" in look.figures:
            figures = look.figures
            self.told(
                f"  step {look.step} of {look.steps}: loss {figures['loss']:.3f}, held out "
                f"top-1 {figures['top1']:.3f}, pairs {figures['pairwise']:.3f}"
            )

    def close(self) -> None:
        if self.board is not None:
            self.board.close()
