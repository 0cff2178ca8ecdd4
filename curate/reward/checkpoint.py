"""A reward model as files, in the layout of the official code of arXiv 2604.10966, and checkpoints of a training.

``adapter_model.safetensors`` and ``adapter_config.json`` (or, without LoRA, the whole backbone), ``value_head.pt``,
``reward_model_config.json``, the processor; and the heads as safetensors. What the official code does not know is
stored under the key ``curate`` of the config, which it ignores.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, get_args

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from curate.reward import molmo2
from curate.reward.backbones import load_backbone
from curate.reward.model import Comparison, ModelConfig, RewardModel, make_encoder
from curate.reward.molmo2 import Adapter
from curate.reward.processes import Processes, whole_optimizer_state, whole_state
from curate.shards.atomic import publishing
from schemas.errors import CurateError, MissingError
from schemas.reward import Layout, Template, TrainConfig

CONFIG = "reward_model_config.json"
"""Written last: a folder that contains it contains the whole model."""
ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
HEAD = "value_head.safetensors"
COMPARISON = "comparison.safetensors"
RENAMED = {"form": "template"}
"""Keys of ModelConfig that earlier versions wrote under another name."""
HINT = "give a folder that curate train or the official code wrote"

CHECKPOINTS = "checkpoints"
STATE = "training_state.json"


def save(model: RewardModel, folder: Path, state: dict[str, Tensor] | None = None) -> None:
    """Write the model into an existing folder. state: of the whole model, where another object gathered it."""
    state = model.state_dict() if state is None else state
    backbone, head, comparison = (_part(state, name) for name in ("backbone", "head", "comparison"))
    # peft cannot know that embeddings are never trained here; new rows are the mean of the others again when loaded.
    extra: dict[str, Any] = {"save_embedding_layers": False} if isinstance(model.backbone, PeftModel) else {}
    model.backbone.save_pretrained(folder, state_dict=backbone, **extra)
    if isinstance(model.backbone, PeftModel) and model.backbone.config.model_type == molmo2.MODEL_TYPE:
        _write_adapter(folder, molmo2.fuse(_read_adapter(folder)))
    model.encoder.processor.save_pretrained(folder)
    torch.save(head, folder / "value_head.pt")
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
    document = _read_json(folder)
    if document.get("value_head_type", "mlp") != "mlp" or document.get("value_head_activation", "silu") != "silu":
        raise CurateError(f"{folder / CONFIG}: only MLP-SiLU value heads are supported", hint=HINT)
    if document.get("resp_repr_mode", "last") != "last":
        mode = document["resp_repr_mode"]
        raise CurateError(f"{folder / CONFIG}: resp_repr_mode {mode!r} is not supported; only 'last' is", hint=HINT)
    config = _model_config(document, folder / CONFIG)
    config = replace(config, template=template) if template else config
    has_adapter = (folder / ADAPTER_CONFIG).exists()
    adapter = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8")) if has_adapter else {}
    base = adapter.get("base_model_name_or_path", folder)
    encoder = make_encoder(base, config)
    backbone: PreTrainedModel = load_backbone(base, len(encoder.tokenizer), dtype)
    if has_adapter:
        backbone = _with_adapter(backbone, folder)
    model = RewardModel(backbone, encoder, config)
    _load_heads(model, folder)
    return model.to(device).eval()


def merge(folder: str | Path, out: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write the model of ``folder`` into the existing folder ``out`` with its adapters merged into the backbone."""
    model = load(folder, device="cpu", dtype=dtype)
    if not isinstance(model.backbone, PeftModel):
        raise CurateError(f"{folder}: has no adapters to merge", hint="it can be used as it is")
    model.backbone = model.backbone.merge_and_unload()
    save(model, out)


def _read_adapter(folder: Path) -> Adapter:
    config = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    return Adapter(config, load_file(folder / ADAPTER))


def _write_adapter(folder: Path, adapter: Adapter) -> None:
    save_file(adapter.state, folder / ADAPTER)
    (folder / ADAPTER_CONFIG).write_text(json.dumps(adapter.config, indent=2) + "\n", encoding="utf-8")


def _adapter_of(backbone: PreTrainedModel, folder: Path) -> Adapter:
    """The adapter of a folder for the layers of the backbone."""
    adapter = _read_adapter(folder)
    if not molmo2.is_fused(adapter.config):
        return adapter
    plain = backbone.get_base_model() if isinstance(backbone, PeftModel) else backbone
    return molmo2.split(adapter, lambda name: int(plain.get_submodule(name).out_features))


def _with_adapter(backbone: PreTrainedModel, folder: Path) -> PeftModel:
    """The backbone with the adapter of a folder."""
    if backbone.config.model_type != molmo2.MODEL_TYPE:
        return PeftModel.from_pretrained(backbone, folder)
    adapter = _adapter_of(backbone, folder)
    known = {field.name for field in fields(LoraConfig)}
    config = LoraConfig(**{name: value for name, value in adapter.config.items() if name in known})
    wrapped = get_peft_model(backbone, config)
    set_peft_model_state_dict(wrapped, adapter.state)
    return wrapped


def _read_json(folder: Path) -> dict[str, Any]:
    """``reward_model_config.json`` as a dict. Raises CurateError where it is missing or not a JSON object."""
    try:
        document = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingError(f"{folder}: not a reward model: no {CONFIG} there", hint=HINT) from error
    except ValueError as error:
        raise CurateError(f"{folder / CONFIG}: not JSON: {error}", hint=HINT) from error
    if not isinstance(document, dict):
        raise CurateError(f"{folder / CONFIG}: expected an object", hint=HINT)
    return document


def _model_config(document: dict[str, Any], where: Path) -> ModelConfig:
    """The config of the model; that of the official code where there is no key ``curate``."""
    own = document.get("curate") or {"layout": "causal", "template": "official-readme", "max_length": 24_576}
    head = document.get("value_head_hidden_dim")
    if not isinstance(head, int):
        raise CurateError(f"{where}: value_head_hidden_dim is {head!r}; expected a whole number", hint=HINT)
    if isinstance(own, dict):
        own = {RENAMED.get(name, name): value for name, value in own.items()}
        if own.get("template") == "official":  # of earlier versions
            own["template"] = "official-readme"
    known = {field.name for field in fields(ModelConfig)} - {"head"}
    if (
        not isinstance(own, dict)
        or not own.keys() <= known
        or own.get("layout") not in get_args(Layout)
        or own.get("template", ModelConfig.template) not in get_args(Template)
    ):
        raise CurateError(f"{where}: this version does not know the settings under 'curate'", hint="update mr2-curate")
    return ModelConfig(**own, head=head)


def _load_heads(model: RewardModel, folder: Path) -> None:
    """Load the value head and, with layout ``set``, the comparison."""
    if (folder / HEAD).exists():
        head: dict[str, Tensor] = load_file(folder / HEAD)
    elif (folder / "value_head.pt").exists():
        head = torch.load(folder / "value_head.pt", map_location="cpu", weights_only=True)
        head = {name: value.float() for name, value in head.items()}
    else:
        raise CurateError(f"{folder}: contains no value_head.pt", hint=HINT)
    if {name: value.shape for name, value in head.items()} != {n: v.shape for n, v in model.head.state_dict().items()}:
        raise CurateError(f"{folder}: the value head does not match its config and backbone", hint=HINT)
    model.head.load_state_dict(head)
    if isinstance(model.comparison, Comparison):
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
    weights = gathered(model, processes)
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


def gathered(model: RewardModel, processes: Processes) -> dict[str, Tensor] | None:
    """The state for ``save`` where weights are sharded, else None; every process calls this, the first one gets it."""
    return whole_state(model, keep=processes.first) if processes.sharded else None


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
        raise CurateError(
            f"{newest}: has another {', '.join(changed)}",
            hint="resume with the config that the training started with, or choose another --out",
        )
    if state["examples"] != inputs["examples"]:
        raise CurateError(f"{newest}: has other examples", hint="the data changed: choose another --out")
    if isinstance(model.backbone, PeftModel):
        set_peft_model_state_dict(model.backbone, _adapter_of(model.backbone, newest).state)
    else:
        backbone = type(model.backbone).from_pretrained(newest, dtype=model.backbone.dtype)
        model.backbone.load_state_dict(backbone.state_dict())
    _load_heads(model, newest)
    return int(state["step"]), torch.load(newest / "optimizer.pt", map_location="cpu", weights_only=True)


def newest_step(out: Path) -> int:
    """The step of the newest checkpoint; 0 where there is none."""
    found = _checkpoints(out)
    return int(json.loads((found[-1] / STATE).read_text(encoding="utf-8"))["step"]) if found else 0


def _checkpoints(out: Path) -> list[Path]:
    """The complete checkpoints, oldest first."""
    return sorted(path.parent for path in (out / CHECKPOINTS).glob(f"step-*/{STATE}"))
