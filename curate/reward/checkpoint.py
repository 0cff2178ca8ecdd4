"""A reward model as files, in the layout of the official code of arXiv 2604.10966, and checkpoints of a training.

The adapter (or, without LoRA, the whole backbone), ``value_head.pt``, the config, the processor; and the heads as
safetensors. What the official code does not know is stored under the key ``curate`` of the config, which it ignores.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor

from curate.reward import molmo2
from curate.reward.backbones import load_backbone
from curate.reward.model import ModelConfig, RewardModel, make_encoder
from curate.reward.processes import Processes, whole_optimizer_state, whole_state
from curate.shards.atomic import publishing
from schemas.errors import CurateError, MissingError
from schemas.reward import Template, TrainConfig

CONFIG = "reward_model_config.json"
"""Written last: a folder that contains it contains the whole model."""
ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
HEAD, OFFICIAL_HEAD, COMPARISON = "value_head.safetensors", "value_head.pt", "comparison.safetensors"
FIXED = {"value_head_type": "mlp", "value_head_activation": "silu", "resp_repr_mode": "last"}
"""Keys of the config with only one supported value."""
OFFICIAL = {"layout": "causal", "template": "official-readme", "max_length": 24_576}
"""Settings of a model of the official code, whose config has no key ``curate``."""
HINT = "give a folder that curate train or the official code wrote"
CHECKPOINTS, STATE = "checkpoints", "training_state.json"


def save(model: RewardModel, folder: Path, state: dict[str, Tensor] | None = None) -> None:
    """Write the model into an existing folder. state: of the whole model, where its weights are sharded."""
    state = model.state_dict() if state is None else state
    backbone, head, comparison = (_part(state, name) for name in ("backbone", "head", "comparison"))
    # peft cannot know that embeddings are never trained here; new rows are the mean of the others again when loaded.
    extra: dict[str, Any] = {"save_embedding_layers": False} if isinstance(model.backbone, PeftModel) else {}
    model.backbone.save_pretrained(folder, state_dict=backbone, **extra)
    molmo2.fuse_saved(model.backbone, folder)
    model.encoder.processor.save_pretrained(folder)
    torch.save(head, folder / OFFICIAL_HEAD)
    save_file(head, folder / HEAD)
    if comparison:
        save_file(comparison, folder / COMPARISON)
    own = asdict(model.config)
    config = {
        "value_head_type": "mlp",
        "value_head_hidden_dim": own.pop("head"),
        "value_head_activation": "silu",
        "value_head_input_dim": model.head[0].in_features,
        "resp_repr_mode": "last",
        "curate": own,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load(
    folder: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    template: Template | None = None,
) -> RewardModel:
    """The model of a folder, ready to score.

    device, dtype: default a GPU in bfloat16 where there is one, else the CPU in float32. template: another one than the
    model's own; that of a folder which the official code wrote is official-readme, as its README scores it. Raises
    CurateError for any other folder.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = dtype or (torch.bfloat16 if device.type == "cuda" else torch.float32)
    folder = Path(folder)
    config = read_config(folder)
    config = replace(config, template=template) if template else config
    has_adapter = (folder / ADAPTER_CONFIG).exists()
    adapter = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8")) if has_adapter else {}
    base = adapter.get("base_model_name_or_path", folder)
    encoder = make_encoder(base, config)
    backbone = load_backbone(base, len(encoder.tokenizer), dtype)
    model = RewardModel(molmo2.with_adapter(backbone, folder) if has_adapter else backbone, encoder, config)
    _load_heads(model, folder)
    return model.to(device).eval()


def merge(folder: str | Path, out: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write the model of ``folder`` into the existing folder ``out`` with its adapters merged into the backbone."""
    model = load(folder, device="cpu", dtype=dtype)
    if not isinstance(model.backbone, PeftModel):
        raise CurateError(f"{folder}: has no adapters to merge", hint="it can be used as it is")
    model.backbone = model.backbone.merge_and_unload()
    save(model, out)


def read_config(folder: Path) -> ModelConfig:
    """The config of the model in a folder. Raises CurateError where it is missing or this version cannot read it."""
    try:
        document = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingError(f"{folder}: not a reward model: no {CONFIG} there", hint=HINT) from error
    except ValueError as error:
        raise CurateError(f"{folder / CONFIG}: not JSON: {error}", hint=HINT) from error
    if not isinstance(document, dict):
        raise CurateError(f"{folder / CONFIG}: expected an object", hint=HINT)
    for name, value in FIXED.items():
        if document.get(name, value) != value:
            raise CurateError(
                f"{folder / CONFIG}: {name} is {document[name]!r}; only {value!r} is supported", hint=HINT
            )
    try:
        own = dict(document.get("curate") or OFFICIAL)
        template = own.pop("form", own.get("template", ModelConfig.template))  # earlier versions: form, official
        own["template"] = "official-readme" if template == "official" else template
        return ModelConfig(**own, head=document.get("value_head_hidden_dim"))  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        why = " ".join(str(error).split())
        reason = f"value_head_hidden_dim or the settings under 'curate' are not of this version: {why}"
        raise CurateError(f"{folder / CONFIG}: {reason}", hint="update mr2-curate") from error


def _load_heads(model: RewardModel, folder: Path) -> None:
    """Load the value head and, with layout ``set``, the comparison."""
    try:
        if (folder / HEAD).exists():
            head = load_file(folder / HEAD)
        else:
            head = torch.load(folder / OFFICIAL_HEAD, map_location="cpu", weights_only=True)
        model.head.load_state_dict(head)
    except FileNotFoundError as error:
        raise CurateError(f"{folder}: contains no {OFFICIAL_HEAD}", hint=HINT) from error
    except RuntimeError as error:
        raise CurateError(f"{folder}: the value head does not match its config and backbone", hint=HINT) from error
    if model.comparison is not None:
        model.comparison.load_state_dict(load_file(folder / COMPARISON))


def _part(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of one submodule, on the CPU, named as in it."""
    prefix = f"{name}."
    names = (key for key in state if key.startswith(prefix))
    return {key.removeprefix(prefix): state[key].detach().cpu().contiguous() for key in names}


# Checkpoints of a training.


def save_training(
    model: RewardModel,
    optimizer: torch.optim.Optimizer,
    out: Path,
    step: int,
    inputs: dict[str, Any],
    *,
    keep: int,
    processes: Processes,
) -> None:
    """Write ``checkpoints/step-N`` completely or not at all, and remove all but the newest ``keep``.

    Every process calls this; the first one writes. inputs: ``config`` and ``examples`` of the training, which must be
    equal when it is resumed.
    """
    weights = whole_state(model, processes)
    state = whole_optimizer_state(optimizer, keep=processes.first)
    if processes.first:
        folder = out / CHECKPOINTS / f"step-{step:06d}"
        shutil.rmtree(folder, ignore_errors=True)
        with publishing(folder) as fresh:
            save(model, fresh, weights)
            torch.save(state, fresh / "optimizer.pt")
            (fresh / STATE).write_text(json.dumps({"step": step, **inputs}, indent=2) + "\n", encoding="utf-8")
        for old in _checkpoints(out)[:-keep]:
            shutil.rmtree(old)
    processes.wait()


def resume_training(model: RewardModel, out: Path, inputs: dict[str, Any]) -> tuple[int, dict[str, Any] | None]:
    """Load the newest checkpoint into the model; return its step and optimizer state, 0 and None where there is none.

    Raises CurateError where it belongs to another config or to other examples.
    """
    found = _checkpoints(out)
    if not found:
        return 0, None
    newest = found[-1]
    state = json.loads((newest / STATE).read_text(encoding="utf-8"))
    saved = TrainConfig.from_stored(state["config"]).defining
    changed = [key for key, value in inputs["config"].items() if key in saved and saved[key] != value]
    if changed:
        hint = "resume with the config that the training started with, or choose another --out"
        raise CurateError(f"{newest}: has another {', '.join(changed)}", hint=hint)
    if state["examples"] != inputs["examples"]:
        raise CurateError(f"{newest}: has other examples", hint="the data changed: choose another --out")
    if isinstance(model.backbone, PeftModel):
        set_peft_model_state_dict(model.backbone, molmo2.adapter_of(model.backbone, newest).state)
    else:
        backbone = type(model.backbone).from_pretrained(newest, dtype=model.backbone.dtype)
        model.backbone.load_state_dict(backbone.state_dict())
    _load_heads(model, newest)
    return int(state["step"]), torch.load(newest / "optimizer.pt", map_location="cpu", weights_only=True)


def newest_step(out: Path) -> int:
    """The step of the newest checkpoint; 0 where there is none."""
    found = _checkpoints(out)
    return int(found[-1].name.removeprefix("step-")) if found else 0


def _checkpoints(out: Path) -> list[Path]:
    """The complete checkpoints, oldest first."""
    return sorted(path.parent for path in (out / CHECKPOINTS).glob(f"step-*/{STATE}"))
