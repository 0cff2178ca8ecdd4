"""Settings and reports of the reward model: training, evaluation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from schemas.base import Document
from schemas.manifest import Ceiling

Layout = Literal["causal", "tree", "set", "single"]
"""Which tokens a response attends to: causal, the responses before it too (the paper's); tree, only the prompt and
itself; set, a tree whose responses are then compared without order; single, one pass per response."""
Template = Literal["curate", "official-train", "official-readme"]
"""How an example becomes a sequence: every response ends with the end token (curate); as in the training of the code of
arXiv 2604.10966, all responses in one answer of the assistant (official-train); as in the example of its README, all in
the user's message (official-readme)."""
LossName = Literal["top1", "plackett-luce", "bradley-terry"]
Targets = Literal["labels", "confidence"]
Schedule = Literal["cosine", "linear", "constant"]
Precision = Literal["float32", "bfloat16"]
Sharding = Literal["none", "fsdp"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


class LoraSettings(Document):
    """Low-rank adapters on every linear layer of the language model; the vision tower is frozen."""

    r: Count = 16
    alpha: Positive = 32.0
    dropout: Share = 0.05


class TrainConfig(Document):
    """How a reward model is trained on shards."""

    renamed = {"lessons": "pretraining", "lesson_epochs": "pretraining_epochs"}

    shards: tuple[Path, ...] = ()
    """Training data: folders written by ``curate export``, Parquet or JSONL files."""
    validation: tuple[Path, ...] = ()
    """Held-out data in the same formats. Empty: a share of the shards' prompts."""
    validation_fraction: Share = 0.1
    """Share of the prompts that is held out where no validation is given; 0: none."""
    media: Path | None = None
    """Folder that relative paths of videos and images start from; default: the shards' folder."""
    backbone: str = ""
    """A vision-language or causal language model of transformers: a folder or a hub id. "scratch": a tiny Qwen3-VL
    with random weights, created by the training."""
    layout: Layout = "tree"
    template: Template = "curate"
    loss: LossName = "top1"
    targets: Targets = "labels"
    """confidence: train toward the denoiser's P(i is the best) instead of the label."""
    lora: LoraSettings | Literal[False] = LoraSettings()
    """false: train all weights except those of the vision tower. "scratch" has nothing to adapt: it trains all."""
    pretraining: Path | None = None
    """JSONL of videos with questions, responses and the correct answer, on which a backbone from scratch is trained
    first (``curate simulate --video --pretraining-videos N`` writes it)."""
    pretraining_epochs: Count = 3
    head: Count = 1024
    """Hidden units of the value head."""
    epochs: Count = 3
    batch: Count = 64
    """Examples per step, over all processes."""
    pass_tokens: Count = 16_384
    """Most tokens in one forward pass, padding included; a longer example gets a pass to itself."""
    max_length: Count = 8192
    """Most tokens of an example; a longer one is refused, never truncated."""
    frames: Count = 8
    """Frames per video, evenly spaced in time; with fps the most."""
    fps: Positive | None = None
    """Frames per second of a video, at most ``frames``; null: always ``frames``."""
    video_tokens: Count | None = None
    """Most vision tokens of a video, whose frames are scaled down to it (Qwen3-VL only); null: as the processor has
    it."""
    learning_rate: Positive = 2e-4
    head_learning_rate: Positive = 1e-3
    """For the value head and the comparison, which have no pretrained weights."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warmup: Share = 0.05
    """Share of the steps in which the learning rate rises from 0."""
    schedule: Schedule = "cosine"
    clip: Positive = 1.0
    """Largest norm of the gradient."""
    precision: Precision | Literal["auto"] = "auto"
    """Of the computation; all weights that are trained have float32. auto: bfloat16 on CUDA, else float32."""
    activation_checkpointing: bool | Literal["auto"] = "auto"
    """Compute activations again in the backward pass instead of keeping them. auto: on CUDA."""
    sharding: Sharding = "none"
    """Of all weights over the processes of torchrun: fsdp, each holds a part of every layer (FSDP2); none, each holds
    the whole model."""
    seed: Annotated[int, Field(ge=0)] = 0
    evaluate_every: Annotated[int, Field(ge=0)] = 0
    """Steps between evaluations on the held-out examples; 0: after every epoch."""
    checkpoint_every: Annotated[int, Field(ge=0)] = 0
    """Steps between checkpoints; 0: after every epoch."""
    keep: Count = 2
    """Checkpoints kept."""
    workers: Annotated[int, Field(ge=1)] = 2
    """Processes that read and encode media."""
    media_timeout: Positive = 30.0
    """Seconds per example with media."""
    media_memory: Annotated[int, Field(ge=0)] = 1024
    """MiB of encoded media that are kept for the next epoch; those of the next step are read ahead besides."""
    allow_skips: bool = False
    """Skip and count examples that cannot train; otherwise one of them stops the training before its first step."""

    @property
    def defining(self) -> dict[str, Any]:
        """The settings that a model depends on, as JSON; without those of RESOURCES."""
        return self.model_dump(mode="json", exclude=RESOURCES)

    def on(self, device: str) -> TrainConfig:
        """The settings on a kind of device (``cpu``, ``cuda``, …): none of them is automatic."""
        cuda = device == "cuda"
        chosen = {"precision": "bfloat16" if cuda else "float32", "activation_checkpointing": cuda}
        return self.model_copy(update={name: value for name, value in chosen.items() if getattr(self, name) == "auto"})

    @model_validator(mode="after")
    def _scratch_is_not_sharded(self) -> TrainConfig:
        if self.sharding == "fsdp" and self.backbone == "scratch":
            raise ValueError("sharding = 'fsdp' needs another backbone than 'scratch', whose vision tower is trained")
        return self

    @model_validator(mode="after")
    def _official_templates_are_causal(self) -> TrainConfig:
        if self.template != "curate" and self.layout != "causal":
            raise ValueError(f"template = {self.template!r} needs layout = 'causal': it has separators")
        return self

    @model_validator(mode="before")
    @classmethod
    def _scratch_trains_all_weights(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("backbone") == "scratch":
            return {**values, "lora": False}
        return values


RESOURCES = {
    "pass_tokens",
    "activation_checkpointing",
    "sharding",
    "evaluate_every",
    "checkpoint_every",
    "keep",
    "workers",
    "media_timeout",
    "media_memory",
}
"""Settings that change what a training takes, and not what it computes: they may differ when it is resumed."""
PRESETS: dict[str, dict[str, Any]] = {
    "small": {},
    "paper": {
        "layout": "causal",
        "template": "official-train",
        "frames": 16,
        "lora": {"r": 128, "alpha": 16.0, "dropout": 0.05},
        "learning_rate": 1e-4,
        "head_learning_rate": 1e-4,
        "epochs": 3,
        "batch": 64,
        "max_length": 24_576,
        "schedule": "linear",
        "warmup": 0.0,
        "weight_decay": 0.0,
        "precision": "bfloat16",
        "activation_checkpointing": True,
    },
}
"""Named settings: small has the defaults; paper has those of arXiv 2604.10966 as its code trains (scripts/train.sh)."""


class _Estimates(Document):
    """A document whose numbers are null where they are undefined."""

    @field_validator("*", mode="before")
    @classmethod
    def _undefined_is_null(cls, value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value


class EvaluationRow(_Estimates):
    """Metrics over the items of one part. Shares are 0 to 1; a metric that is undefined is null."""

    renamed = {"chance": "chance_level"}

    part: Literal["all", "size", "source"]
    """All items, the items with N responses, or the items of one source."""
    name: str
    """all, N as digits, or the source."""
    items: int
    clusters: int
    """Independent units behind the standard errors: items of one video (images, prompt) form a cluster."""
    top1: float | None
    """Share of items whose highest-scored response has the best rank; higher is better."""
    top1_se: float | None
    chance_level: float | None
    """Expected top1 of random guessing: mean of (responses with the best rank) / N."""
    ceiling: float | None = None
    """Expected top1 of a judge that knows the true order, given the label noise: mean probability that the labelled
    best response is the best; null where an item has no best_probabilities (data without votes)."""
    pairwise: float | None
    """Share of all pairs with different ranks that the scores order correctly; a tie of scores counts half."""
    pairwise_se: float | None
    pairwise_by_item: float | None
    """The same as a mean over items, so that items with many responses do not weigh more."""
    tau: float | None
    """Mean Kendall's tau-b of scores and ranks, −1 to 1, over the items where it is defined."""
    ece: float | None
    """Expected calibration error of the highest softmax probability; lower is better."""
    ece_bins: int | None
    """Bins of equal mass behind ece. With few items per bin, ece is above 0 even for a calibrated model."""
    nll: float | None
    """Mean negative log softmax probability of the best response, nats; lower is better, log N for random guessing."""
    brier: float | None
    """Mean squared distance of the softmax probabilities from the best response, 0 to 2; lower is better."""
    shared_best: int
    """Items without a single best response: excluded from ece, nll and brier."""
    order_sensitivity: float | None = None
    """Share of items whose winner changes with the order of the responses; null when not measured."""
    order_score_difference: float | None = None
    """Mean absolute difference of a response's scores between two orders; null when not measured."""


TABLE = {
    "top-1": "top1",
    "± top-1": "top1_se",
    "pairs": "pairwise",
    "± pairs": "pairwise_se",
    "tau": "tau",
    "ECE": "ece",
    "order": "order_sensitivity",
}
BY_SOURCE = {
    "source": "name",
    "items": "items",
    "clusters": "clusters",
    "top-1": "top1",
    "± top-1": "top1_se",
    "chance level": "chance_level",
    "ceiling": "ceiling",
    "pairs": "pairwise",
    "± pairs": "pairwise_se",
}
OFFICIAL = {"figure": "name", "items": "items", "clusters": "clusters", "value": "value", "±": "se"}
COMPARISON = {
    "metric": "metric",
    "name": "name",
    "items": "items",
    "clusters": "clusters",
    "model": "model",
    "against": "against",
    "difference": "difference",
    "±": "se",
    "p": "p_value",
}
"""Columns of printed tables -> fields of EvaluationRow, OfficialFigure and ComparisonRow."""


class EvaluationReport(Document):
    """One scorer on one data set. Contains no time and no path: equal inputs give equal reports."""

    renamed_values = {
        "scorer": {
            "blind to the prompt": "shuffled-text control",  # renamed
            "blind to the media": "shuffled-video control",  # renamed
            "coin": "random",
        }
    }

    scorer: str
    data: str
    rows: tuple[EvaluationRow, ...]
    """All items first, then by N ascending, then by source in alphabetical order."""

    @property
    def overall(self) -> EvaluationRow:
        return self.rows[0]

    @property
    def by_source(self) -> tuple[EvaluationRow, ...]:
        """The rows of the sources; none where there is only one."""
        found = tuple(row for row in self.rows if row.part == "source")
        return found if len(found) > 1 else ()


class Skip(Document):
    """An example that cannot train, and the reason."""

    item_id: str
    reason: str


class TrainReport(Document):
    """A finished training."""

    out: str
    backbone: str
    layout: Layout
    loss: LossName
    parameters: int
    """All weights of the model."""
    trained: int
    """The weights that were trained."""
    examples: int
    held_out: int
    skipped: tuple[Skip, ...]
    steps: int
    resumed: int
    """Steps that were done before this run."""
    precision: Precision = "float32"
    activation_checkpointing: bool = False
    evaluations: tuple[EvaluationReport, ...]
    """On the held-out examples: the model, its shuffled controls, then the baselines."""
    ceiling: Ceiling | None
    """Expected score of a judge that knows the true order of the held-out examples, where their manifest has it."""
    reused: bool = False
    """The model existed already: nothing was done."""

    @property
    def computation(self) -> str:
        """The precision, and whether activations were computed again, in words."""
        return self.precision + " with activation checkpointing" * self.activation_checkpointing


Modality = Literal["text", "image", "video"]


class ModalityReport(Document):
    """What a backbone does with an example of one modality. Differences are relative to the size of the states."""

    modality: Modality
    status: Literal["works", "blind", "refused", "fails"]
    """works: responses have states; blind: pixels have no effect on them; refused: the backbone does not read this;
    fails: it raised an error."""
    reason: str = ""
    tree_refusal: str = ""
    """Why the layout tree does not work: the states of a response depend on the others, or it cannot run."""
    trains: bool = False
    """Whether a backward pass reaches the backbone."""
    tokens: int | None = None
    media_tokens: int | None = None
    tree_difference: float | None = None
    """Largest difference of a state between the layouts tree and single; null where tree was not run."""
    order_difference: float | None = None
    """Largest difference of a state in the layout tree between two orders of the responses."""
    media_difference: float | None = None
    """Largest difference of a state between two media."""
    seconds: float | None = None


class DoctorReport(Document):
    """What a backbone can do, found out by running it on one example of each modality."""

    backbone: str
    model_type: str
    parameters: int
    layout: Layout
    """The layout of the planned training."""
    layouts: dict[Layout, str]
    """Layout -> why it does not work; empty where it does."""
    modalities: tuple[ModalityReport, ...]
    lora: tuple[str, ...]
    """Names of the layers that LoRA adapts."""
    lora_refusal: str
    weights_gib: float
    activations_gib: float | None
    """What a pass of pass_tokens tokens keeps for its backward pass."""
    pass_seconds: float | None
    """What such a pass takes, forward and backward."""
    measured: bool
    """Whether both are measured on a GPU; otherwise they are extrapolated from a short pass on this CPU."""
    tokens_1080p: int | None
    """Tokens of a clip of 1080p with the planned number of frames; null where videos are not read."""
    warnings: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether texts can be trained on with the planned layout and adapters, and no medium is silently ignored."""
        text, *media = self.modalities
        blind = any(report.status == "blind" for report in media)
        return text.trains and not self.layouts[self.layout] and not self.lora_refusal and not blind


class OfficialFigure(_Estimates):
    """A figure that the authors of a benchmark report, of one model. Shares are 0 to 1, higher is better."""

    name: str
    """The benchmark's own name: overall, macro, a category."""
    value: float | None
    """Null where items that it averages over are missing."""
    se: float | None
    """Standard error, clustered by video (images, prompt)."""
    items: int
    clusters: int


class ComparisonRow(_Estimates):
    """A figure of two models on the same items."""

    metric: Literal["top1", "pairwise", "official"]
    name: str
    """all, a source, or the name of an official figure."""
    model: float | None
    against: float | None
    difference: float | None
    """model minus against; positive: the model is better."""
    se: float | None
    """Standard error of the difference, clustered by video (images, prompt)."""
    p_value: float | None
    """Two-sided, of a paired permutation test that exchanges the models in whole clusters; not adjusted for the number
    of rows."""
    items: int
    clusters: int


class EvaluateReport(Document):
    """One model (or none: only the baselines) on one data set."""

    data: str
    official: tuple[OfficialFigure, ...] = ()
    """The benchmark's own metrics; empty for shards of curate."""
    evaluations: tuple[EvaluationReport, ...]
    comparison: tuple[ComparisonRow, ...] = ()
    """The model against another one; empty without one."""
    ceiling: Ceiling | None
    """Expected top1 of a judge that knows the true order; null: unknown, as for data without votes."""
