"""A reward model as files, in the layout of the official code of arXiv 2604.10966, and ours to read again.

``adapter_model.safetensors`` and ``adapter_config.json`` (or, without LoRA, the whole backbone), ``value_head.pt``,
``reward_model_config.json``, the processor; beside them the heads as safetensors. What the official code does not know
stands under the key ``curate`` of the config, which it does not read.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_args

import torch
from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from curate.reward.head import Comparison
from curate.reward.model import RewardModel, Shape, load_backbone, make_encoder
from schemas.errors import CurateError
from schemas.training import Layout

CONFIG = "reward_model_config.json"
"""Written last: a folder that holds it holds the whole model."""
HEAD = "value_head.safetensors"
COMPARISON = "comparison.safetensors"
HINT = "give a folder that curate train or the official code wrote"


def save(model: RewardModel, folder: Path, state: dict[str, Tensor] | None = None) -> None:
    """Write the model into an existing folder. state: of the whole model, where its weights are spread over devices."""
    state = model.state_dict() if state is None else state
    own = {name: _part(state, name) for name in ("backbone", "head", "comparison")}
    # peft guesses that embeddings may have been trained; ours never are, and what is new there is made again alike.
    extra: dict[str, Any] = {"save_embedding_layers": False} if isinstance(model.backbone, PeftModel) else {}
    model.backbone.save_pretrained(folder, state_dict=own["backbone"], **extra)
    model.encoder.processor.save_pretrained(folder)
    torch.save(own["head"], folder / "value_head.pt")
    save_file(own["head"], folder / HEAD)
    if own["comparison"]:
        save_file(own["comparison"], folder / COMPARISON)
    (folder / CONFIG).write_text(json.dumps(_config(model), indent=2) + "\n", encoding="utf-8")


def load(
    folder: str | Path, *, device: str | torch.device | None = None, dtype: torch.dtype | None = None
) -> RewardModel:
    """The model of a folder, ready to score: on a GPU where there is one, unless told otherwise.

    One that the official code wrote is read as that code reads it. Raises CurateError for what is no reward model.
    """
    folder = Path(folder)
    config = read_config(folder)
    if config.get("value_head_type", "mlp") != "mlp" or config.get("value_head_activation", "silu") != "silu":
        raise CurateError(f"{folder / CONFIG}: a value head other than MLP-SiLU is not read here", hint=HINT)
    if config.get("resp_repr_mode", "last") != "last":
        raise CurateError(f"{folder / CONFIG}: resp_repr_mode {config['resp_repr_mode']!r} is not read here", hint=HINT)
    shape = _shape(config, folder / CONFIG)
    adapter = (folder / "adapter_config.json").exists()
    base = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] if adapter else folder
    encoder = make_encoder(base, shape)
    backbone: PreTrainedModel = load_backbone(base, encoder, dtype or torch.float32)
    if adapter:
        backbone = PeftModel.from_pretrained(backbone, folder)
    model = RewardModel(backbone, encoder, shape)
    head = _head(folder)
    if {name: value.shape for name, value in head.items()} != {n: v.shape for n, v in model.head.state_dict().items()}:
        raise CurateError(f"{folder}: its value head is not that of its config and backbone", hint=HINT)
    model.head.load_state_dict(head)
    if isinstance(model.comparison, Comparison):
        model.comparison.load_state_dict(load_file(folder / COMPARISON))
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return model.to(device).eval()


def merge(folder: str | Path, out: Path) -> None:
    """Write the model of ``folder`` into the existing folder ``out`` with its adapters folded into the backbone."""
    model = load(folder, device="cpu")
    if not isinstance(model.backbone, PeftModel):
        raise CurateError(f"{folder}: has no adapters to merge", hint="it can be used as it is")
    model.backbone = model.backbone.merge_and_unload()
    save(model, out)


def read_config(folder: Path) -> dict[str, Any]:
    """``reward_model_config.json``. Raises CurateError where there is none, or it is not JSON."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CurateError(f"{folder}: no {CONFIG} there, so no reward model", hint=HINT) from error
    except ValueError as error:
        raise CurateError(f"{folder / CONFIG}: not JSON: {error}", hint=HINT) from error
    if not isinstance(config, dict):
        raise CurateError(f"{folder / CONFIG}: expected an object", hint=HINT)
    return config


def _shape(config: dict[str, Any], where: Path) -> Shape:
    """The shape that a config tells of; without our key it is the official code's."""
    own = config.get("curate") or {"layout": "causal", "form": "official", "max_length": 24_576}
    if not isinstance(config.get("value_head_hidden_dim"), int):
        raise CurateError(f"{where}: value_head_hidden_dim is missing, or no whole number", hint=HINT)
    known = {field.name for field in fields(Shape)} - {"head"}
    if not isinstance(own, dict) or not own.keys() <= known or own.get("layout") not in get_args(Layout):
        raise CurateError(f"{where}: what stands under curate is not known to this version", hint="update mr2-curate")
    return Shape(**{**own, "head": config["value_head_hidden_dim"]})


def _config(model: RewardModel) -> dict[str, Any]:
    shape = asdict(model.shape)
    hidden = shape.pop("head")
    return {
        "value_head_type": "mlp",
        "value_head_hidden_dim": hidden,
        "value_head_activation": "silu",
        "value_head_input_dim": model.head[0].in_features,
        "resp_repr_mode": "last",
        "curate": shape,
    }


def _head(folder: Path) -> dict[str, Tensor]:
    if (folder / HEAD).exists():
        saved: dict[str, Tensor] = load_file(folder / HEAD)
        return saved
    if not (folder / "value_head.pt").exists():
        raise CurateError(f"{folder}: holds no value_head.pt", hint=HINT)
    state: dict[str, Tensor] = torch.load(folder / "value_head.pt", map_location="cpu", weights_only=True)
    return {name: value.float() for name, value in state.items()}


def _part(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of one part of the model, on the CPU, by their names in it."""
    start = f"{name}."
    mine = (key for key in state if key.startswith(start))
    return {key.removeprefix(start): state[key].detach().cpu().contiguous() for key in mine}


def load_weights(model: RewardModel, folder: Path) -> None:
    """Put the weights of ``folder`` into a model of the same shape that is being trained."""
    if isinstance(model.backbone, PeftModel):
        set_peft_model_state_dict(model.backbone, load_file(folder / "adapter_model.safetensors"))
    else:
        saved = type(model.backbone).from_pretrained(folder, dtype=model.backbone.dtype).state_dict()
        model.backbone.load_state_dict(saved)
    model.head.load_state_dict(load_file(folder / HEAD))
    if model.comparison is not None:
        model.comparison.load_state_dict(load_file(folder / COMPARISON))
