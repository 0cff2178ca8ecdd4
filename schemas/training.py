"""What the training of a reward model may be told, and what is said of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from schemas.base import Document
from schemas.manifest import Ceiling
from schemas.reward import EvaluationReport

Layout = Literal["causal", "tree", "set", "single"]
"""Who sees whom: causal, each response those before it (the paper's); tree, each only the prompt and itself; set, a
tree whose responses are then compared in no order; single, one pass for each response."""
LossName = Literal["top1", "plackett-luce", "bradley-terry"]
Targets = Literal["labels", "confidence"]
Schedule = Literal["cosine", "linear", "constant"]
Precision = Literal["float32", "bfloat16"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


class LoraSettings(Document):
    """Low-rank adapters on every linear layer of the language model; the vision tower stays as it is."""

    r: Count = 16
    alpha: Positive = 32.0
    dropout: Share = 0.05


class TrainConfig(Document):
    """How a reward model is fitted to shards."""

    shards: tuple[Path, ...] = ()
    """Folders that ``curate export`` made, Parquet or JSONL files: what is learnt."""
    validation: tuple[Path, ...] = ()
    """The same for what is looked at in between and at the end. Empty: a share of the shards' prompts."""
    validation_fraction: Share = 0.1
    """Share of the prompts held out where no validation is given; 0: none."""
    media: Path | None = None
    """Folder that relative paths of videos and images start from; the shards' own folder when absent."""
    backbone: str = ""
    """A vision-language or causal language model of transformers: a folder or a hub id. "scratch": a tiny Qwen3-VL
    with random weights, made on the spot."""
    layout: Layout = "tree"
    loss: LossName = "top1"
    targets: Targets = "labels"
    """confidence: aim at the denoiser's P(i is the best) instead of the label."""
    lora: LoraSettings | Literal[False] = LoraSettings()
    """false: all weights but those of the vision tower are trained. "scratch" has nothing to adapt: all are."""
    lessons: Path | None = None
    """JSONL of videos with questions, responses and the right answer: what a backbone from scratch learns first, since
    it was not trained before as others were (``curate simulate --video --lessons N`` writes it)."""
    lesson_epochs: Count = 3
    head: Count = 1024
    """Hidden units of the value head."""
    epochs: Count = 3
    batch: Count = 64
    """Examples in a step, over all processes."""
    pass_tokens: Count = 16_384
    """Tokens in one pass through the model, at most, with padding; an example that is longer has one of its own."""
    max_length: Count = 8192
    """Tokens of an example; one that is longer is refused, never cut."""
    frames: Count = 8
    """Frames of a video, evenly spaced in time."""
    learning_rate: Positive = 2e-4
    head_learning_rate: Positive = 1e-3
    """For the value head and the comparison, which start from nothing."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warmup: Share = 0.05
    """Share of the steps in which the rate rises from 0."""
    schedule: Schedule = "cosine"
    clip: Positive = 1.0
    """Largest norm of the gradient."""
    precision: Precision = "float32"
    activation_checkpointing: bool = False
    seed: Annotated[int, Field(ge=0)] = 0
    evaluate_every: Annotated[int, Field(ge=0)] = 0
    """Steps between looks at the validation examples; 0: after every epoch."""
    checkpoint_every: Annotated[int, Field(ge=0)] = 0
    """Steps between checkpoints; 0: after every epoch."""
    keep: Count = 2
    """Checkpoints kept."""
    workers: Annotated[int, Field(ge=1)] = 2
    """Processes that decode media."""
    media_timeout: Positive = 30.0
    """Seconds that one file may take."""
    media_memory: Annotated[int, Field(ge=0)] = 1024
    """MiB of decoded frames that are kept for the next epoch."""
    allow_skips: bool = False
    """Leave out, and count, what cannot train; without it one such example stops the training before its first step."""

    @model_validator(mode="before")
    @classmethod
    def _scratch_is_trained_whole(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("backbone") == "scratch":
            return {**values, "lora": False}
        return values


PRESETS: dict[str, dict[str, Any]] = {
    "small": {},
    "paper": {
        "layout": "causal",
        "lora": {"r": 128, "alpha": 16.0, "dropout": 0.05},
        "learning_rate": 1e-4,
        "head_learning_rate": 1e-4,
        "epochs": 3,
        "batch": 64,
        "max_length": 24_576,
        "schedule": "linear",
        "warmup": 0.03,
        "weight_decay": 0.0,
        "precision": "bfloat16",
        "activation_checkpointing": True,
    },
}
"""Names for sets of choices: small is the defaults; paper is what arXiv 2604.10966 and its code use."""


class Skip(Document):
    """An example that cannot train, and why."""

    item_id: str
    reason: str


class TrainReport(Document):
    """One training, finished."""

    out: str
    backbone: str
    layout: Layout
    loss: LossName
    parameters: int
    """All weights of the model."""
    trained: int
    """Of them those that were trained."""
    examples: int
    held_out: int
    skipped: tuple[Skip, ...]
    steps: int
    resumed: int
    """Steps that a resumed training found done."""
    evaluations: tuple[EvaluationReport, ...]
    """On what was held out: the model first, then the same model blind, then what any model must be shown beside."""
    ceiling: Ceiling | None
    """What a judge who knows the true order would score on what was held out, where its manifest says so."""
    reused: bool = False
    """The model was there already: nothing was done."""


class EvaluateReport(Document):
    """One model (or none: the baselines alone) on one data set."""

    data: str
    official: dict[str, float]
    """Figures of the benchmark's own metric, by name; empty for our own shards."""
    evaluations: tuple[EvaluationReport, ...]
    ceiling: Ceiling | None
