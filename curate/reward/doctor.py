"""What a backbone can do, found out by running it: which layouts keep responses apart, which media have an effect.

The last hidden states of N responses to one prompt, with text, an image or a video of noise, are compared between the
layout ``tree``, passes of one response each (``single``), and another order of the responses. Heads play no part.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from accelerate.utils import send_to_device
from torch import Tensor

from curate.media.frames import Frames
from curate.reward.backbones import LoraError, tree_refusal
from curate.reward.data import Example
from curate.reward.layout import TREE, Batch, collate, set_attention
from curate.reward.model import ModelConfig, RewardModel
from curate.reward.sequence import Encoded
from schemas.errors import CurateError
from schemas.reward import DoctorReport, Layout, LoraSettings, Modality, ModalityReport, TrainConfig

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}
"""Difference of states, over their root mean square, that rounding can make in each precision."""
BLIND = 1e-4
"""The same of states for two media. Without an effect they are equal, in every precision."""
ORDER = (2, 0, 3, 1)
RESPONSES = ("The red ball rolls to the left.", "Nothing.", "A dog, I think, jumps over it twice.", "I cannot say.")
QUESTION = "What happens here?"
SIDE = 64
"""Pixels of the noise in examples; the clip that estimates tokens has 1080p."""
DEVICE_GIB = 80.0
"""Memory that is assumed where there is no GPU: that of an H100."""
GIB = 1 << 30


@dataclass(frozen=True)
class Sample:
    """An example without files, and what it shows."""

    example: Example
    video: Frames | None = None
    images: tuple[Any, ...] = ()

    def encoded(self, model: RewardModel, order: Sequence[int] = (0, 1, 2, 3)) -> Encoded:
        """The sequence, with the responses in another order."""
        example = self.example.permuted(order)
        return model.encoder.encode(example, model.encoder.encode_media(example, video=self.video, images=self.images))


def sample(modality: Modality, frames: int = 4, *, seed: int = 0, size: tuple[int, int] = (SIDE, SIDE)) -> Sample:
    """The example of a modality, with pixels that depend on the seed. size: height and width."""
    noise = np.random.default_rng(seed).integers(0, 256, (frames, *size, 3), dtype=np.uint8)
    text = Example("doctor", QUESTION, RESPONSES, (1, 2, 3, 4))
    if modality == "video":
        video = Frames(images=noise, times=np.arange(frames) / 2, duration=frames / 2)
        return Sample(replace(text, video=Path("noise.mp4")), video=video)
    if modality == "image":
        return Sample(replace(text, images=(Path("noise.png"),)), images=(noise[0],))
    return Sample(text)


def check_layout(model: RewardModel, modalities: Sequence[Modality]) -> None:
    """Raise CurateError if the model's layout does not keep responses apart, for an example of each modality."""
    if model.config.layout not in ("tree", "set"):
        return
    for modality in modalities:
        found = examine(model, sample(modality))
        if found.tree_refusal:
            raise CurateError(
                f"{model.backbone.config.model_type}: the layout {model.config.layout} does not work with "
                f"{modality}: {found.tree_refusal}",
                hint="use the layout causal or single; curate doctor shows what works",
            )


@torch.no_grad()
def examine(model: RewardModel, one: Sample, *, tree: bool = True) -> ModalityReport:
    """The states of one example, and their differences between layouts. tree: whether the layout tree is run."""
    modality: Modality = "video" if one.video else "image" if one.images else "text"
    training = model.training
    model.eval()
    given = one.encoded(model)
    alone = _states(model, given, "single")
    scale, limit = float(alone.float().square().mean().sqrt()), TOLERANCE.get(alone.dtype, 0.1)

    def difference(a: Tensor, b: Tensor) -> float:
        return float((a - b).abs().max()) / scale

    report = ModalityReport(
        modality=modality,
        status="works",
        tokens=len(given.input_ids),
        media_tokens=int((given.token_types > 0).sum()),
    )
    if one.video or one.images:
        other = sample(modality, len(one.video.images) if one.video else 1, seed=1)
        change = difference(_states(model, other.encoded(model), "single"), alone)
        status, reason = ("works", "") if change > BLIND else ("blind", "other pixels change nothing")
        report = report.model_copy(update={"media_difference": change, "status": status, "reason": reason})
    if tree:
        try:
            together = _states(model, given, "tree")
            permuted = _states(model, one.encoded(model, ORDER), "tree")
        except Exception as error:  # of a model of others
            report = report.model_copy(update={"tree_refusal": _in_short(error)})
        else:
            apart = {
                "tree_difference": difference(together, alone),
                "order_difference": difference(permuted, together[list(ORDER)]),
            }
            worst = max(apart.values())
            why = f"with the other responses, or their order, states change by {worst:.1e} of their size"
            report = report.model_copy(update={**apart, "tree_refusal": "" if worst <= limit else why})
    model.train(training)
    return report


def _states(model: RewardModel, sequence: Encoded, layout: Layout) -> Tensor:
    """(N, H) states of the responses of one example in a layout."""
    batch = send_to_device(collate([sequence], layout, model.encoder.pad), model.device)
    with with_attention(model, layout):
        return model.states(batch)[batch.row, batch.end][0]


@contextmanager
def with_attention(model: RewardModel, layout: Layout) -> Iterator[None]:
    """The backbone with the attention of a layout, and afterwards with its own again."""
    backbone = model.backbone.get_base_model() if hasattr(model.backbone, "peft_config") else model.backbone
    own = backbone.config.get_text_config()._attn_implementation
    wanted = TREE if layout in ("tree", "set") else "sdpa" if own == TREE else own
    if wanted == own:
        yield
        return
    set_attention(backbone, wanted)
    try:
        yield
    finally:
        set_attention(backbone, own)


def diagnose(path: str, config: TrainConfig) -> DoctorReport:
    """Run the backbone at a path or hub id on one example of each modality, forward and backward.

    config: layout, LoRA, frames, max_length, pass_tokens, precision and activation checkpointing of the training that
    is planned. Raises CurateError where the backbone or its processor cannot be loaded.
    """
    config = config.on("cuda" if torch.cuda.is_available() else "cpu")
    model, no_lora = _load(path, config)
    refusal = tree_refusal(model.backbone.config)
    found = [_examined(model, modality, config.frames, tree=not refusal) for modality in get_args(Modality)]
    failure = found[0].reason if found[0].status != "works" else ""
    refusal = refusal or failure or next((report.tree_refusal for report in found if report.tree_refusal), "")
    refusal = refusal or _pass_refusal(model, "tree")
    tokens = _tokens_of_1080p(model, config.frames) if found[-1].status == "works" else None
    causal = _pass_refusal(model, "causal")
    one_pass = config.layout == "causal" and not causal
    cost = _cost(model, config, "causal" if one_pass else "single") if found[0].trains else None
    weights = sum(each.nbytes for each in model.parameters())
    adapted = [name.split(".lora_A")[0] for name, _ in model.named_parameters() if ".lora_A" in name]
    return DoctorReport(
        backbone=path,
        model_type=str(model.backbone.config.model_type),
        parameters=sum(each.numel() for each in model.parameters()),
        layout=config.layout,
        layouts={"causal": causal, "single": _pass_refusal(model, "single"), "tree": refusal, "set": refusal},
        modalities=tuple(found),
        lora=tuple(sorted({name.split(".")[-1] for name in adapted})),
        lora_refusal=no_lora,
        weights_gib=weights / GIB,
        activations_gib=cost and cost.activations_gib,
        pass_seconds=cost and cost.seconds,
        measured=torch.cuda.is_available(),
        tokens_1080p=tokens,
        warnings=_warnings(config, cost and cost.activations_gib, tokens),
    )


def _load(path: str, config: TrainConfig) -> tuple[RewardModel, str]:
    """The model with the adapters of the config, or without and the reason; in the layout single."""
    settings = replace(ModelConfig.of(config), layout="single", max_length=sys.maxsize)  # that limit is a warning
    dtype = torch.bfloat16 if config.precision == "bfloat16" else torch.float32

    def load(lora: LoraSettings | None) -> RewardModel:
        model = RewardModel.from_backbone(path, settings, lora=lora, dtype=dtype, seed=config.seed)
        return model.to("cuda" if torch.cuda.is_available() else "cpu")

    try:
        return load(config.lora or None), ""
    except LoraError as error:
        return load(None), str(error)


def _examined(model: RewardModel, modality: Modality, frames: int, *, tree: bool) -> ModalityReport:
    """``examine`` and a backward pass, with what goes wrong as the reason."""
    start = time.perf_counter()
    try:
        report = examine(model, sample(modality, frames), tree=tree)
    except CurateError as error:
        return ModalityReport(modality=modality, status="refused", reason=str(error).removeprefix("doctor: "))
    except Exception as error:  # whatever a model of others raises is what is to be reported
        return ModalityReport(modality=modality, status="fails", reason=_in_short(error))
    report = report.model_copy(update={"seconds": time.perf_counter() - start})
    try:
        _backward(model, sample(modality, frames).encoded(model))
    except Exception as error:
        return report.model_copy(update={"trains": False, "reason": f"training fails: {_in_short(error)}"})
    return report.model_copy(update={"trains": True})


def _pass_refusal(model: RewardModel, layout: Layout) -> str:
    """Why training on a text in a layout fails; empty where states are finite and gradients reach the backbone."""
    try:
        with with_attention(model, layout):
            _backward(model, sample("text").encoded(model), layout)
    except Exception as error:
        return _in_short(error)
    return ""


def _in_short(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _backward(model: RewardModel, sequence: Encoded, layout: Layout = "single") -> None:
    """One forward and backward pass; its gradients are removed again.

    Raises ValueError where states or gradients are not finite, or no gradient reaches the backbone.
    """
    model.train()
    try:
        batch = send_to_device(collate([sequence], layout, model.encoder.pad), model.device)
        loss = model.states(batch)[batch.row, batch.end].float().square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        found = [weights.grad for weights in model.backbone.parameters() if weights.grad is not None]
        if not loss.isfinite() or not all(bool(gradient.isfinite().all()) for gradient in found):
            raise ValueError("states or gradients are not finite")
        if not any(bool(gradient.any()) for gradient in found):
            raise ValueError("no gradient reaches the backbone")
    finally:
        model.zero_grad(set_to_none=True)
        model.eval()


class Cost(NamedTuple):
    """What a pass of ``pass_tokens`` tokens takes in training."""

    activations_gib: float
    """Kept for its backward pass."""
    seconds: float


def _cost(model: RewardModel, config: TrainConfig, layout: Layout) -> Cost:
    """The cost of a pass of texts in a layout: measured on a GPU, else extrapolated from a short pass."""
    text = sample("text").encoded(model)
    copies = max(1, config.pass_tokens // len(text.input_ids)) if torch.cuda.is_available() else 1
    batch = send_to_device(collate([text] * copies, layout, model.encoder.pad), model.device)
    if config.activation_checkpointing:
        model.backbone.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    size, seconds = _kept_and_time(model, batch)
    model.zero_grad(set_to_none=True)
    model.eval()
    if config.activation_checkpointing:
        model.backbone.gradient_checkpointing_disable()
    share = config.pass_tokens / batch.input_ids.numel()
    return Cost(activations_gib=share * size / GIB, seconds=share * seconds)


def _kept_and_time(model: RewardModel, batch: Batch) -> tuple[int, float]:
    """Bytes that are kept for the backward pass, and seconds of both passes."""
    if torch.cuda.is_available():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
        start = time.perf_counter()
        model.states(batch).float().square().mean().backward()  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before, time.perf_counter() - start
    weights = {each.untyped_storage().data_ptr() for each in model.parameters()}
    kept: dict[int, Tensor] = {}  # by storage; the tensors are held, so that no storage is used twice

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    start = time.perf_counter()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model.states(batch).float().square().mean()
    loss.backward()  # type: ignore[no-untyped-call]
    seconds = time.perf_counter() - start
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values()), seconds


def _tokens_of_1080p(model: RewardModel, frames: int) -> int:
    """Tokens of a clip of 1080p with its question."""
    one = sample("video", frames, size=(1080, 1920))
    return len(model.encoder.encode_media(one.example, video=one.video).ids)


def _warnings(config: TrainConfig, activations: float | None, tokens: int | None) -> tuple[str, ...]:
    """What the settings would refuse, or run out of."""
    found = []
    if tokens is not None and tokens >= config.max_length:
        found.append(
            f"a clip of 1080p has {tokens:,} tokens, so that max_length = {config.max_length:,} refuses it: "
            "raise it, or set video_tokens or fewer frames"
        )
    room = torch.cuda.get_device_properties(0).total_memory / GIB if torch.cuda.is_available() else DEVICE_GIB
    if activations is not None and activations > room:
        found.append(
            f"a pass of pass_tokens = {config.pass_tokens:,} tokens keeps {activations:.0f} GiB: lower pass_tokens"
            + ("" if config.activation_checkpointing else ", or set activation_checkpointing = true")
            + ("" if config.precision == "bfloat16" else ", or precision = 'bfloat16'")
        )
    return tuple(found)
