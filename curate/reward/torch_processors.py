"""Processors of transformers without torchvision: the operations that they take from it, by torch alone.

torchvision must match torch in release and build, and no release matches every build of torch. Of its functions the
processors of images and videos use three, which are replaced in subclasses; the result is that of the library.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Resampling
from torch import Tensor
from transformers import AutoImageProcessor, AutoProcessor, ProcessorMixin
from transformers.image_processing_backends import TorchvisionBackend
from transformers.image_processing_utils import BaseImageProcessor
from transformers.image_transforms import convert_to_rgb
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES
from transformers.video_processing_utils import BaseVideoProcessor

MODULES = {"qwen2_5_vl": "qwen2_vl", "qwen3_vl_moe": "qwen3_vl", "qwen3_5": "qwen3_vl", "qwen3_5_moe": "qwen3_vl"}
"""Model type -> the family whose processors of images and videos it uses, where that is another one."""
MODES = {Resampling.NEAREST: "nearest", Resampling.BILINEAR: "bilinear", Resampling.BICUBIC: "bicubic"}


class TorchOperations(TorchvisionBackend):  # type: ignore[misc]  # the library is not typed
    """``resize``, ``normalize`` and ``convert_to_rgb`` of transformers' ``TorchvisionBackend``, for (…, 3, H, W)."""

    def resize(self, image: Tensor, size: Any, resample: Any = None, antialias: bool = True, **_: object) -> Tensor:
        """The image with size.height × size.width pixels. Lanczos becomes bicubic, as in the library on a GPU."""
        if not (size.height and size.width):
            raise ImportError("torchvision, to resize to a shortest edge")
        mode = MODES.get(Resampling(2 if resample is None else resample), "bicubic")
        smooth = {} if mode == "nearest" else {"antialias": antialias, "align_corners": False}
        native = mode == "bicubic" or "AVX2" in torch.backends.cpu.get_cpu_capability()
        given = image if image.is_floating_point() or native else image.float()
        batch = given.reshape(-1, *given.shape[-3:])
        done = torch.nn.functional.interpolate(batch, size=(size.height, size.width), mode=mode, **smooth)
        done = done.reshape(*given.shape[:-2], *done.shape[-2:])
        return done if done.dtype == image.dtype else done.round().clamp(0, 255).to(image.dtype)

    def normalize(self, image: Tensor, mean: Any, std: Any, **_: object) -> Tensor:
        """(image − mean) / std per channel."""
        mean, std = (torch.as_tensor(value, dtype=image.dtype).view(-1, 1, 1) for value in (mean, std))
        return image.sub(mean).div_(std)

    def convert_to_rgb(self, image: Any, **_: object) -> Any:
        """The image with three channels."""
        if not isinstance(image, Tensor):
            return convert_to_rgb(image)
        return image if image.shape[-3] == 3 else image[..., :3, :, :].expand(*image.shape[:-3], 3, -1, -1)


class TorchVideoOperations(TorchOperations, BaseVideoProcessor):  # type: ignore[misc]
    """The same for a processor of videos."""


def load_torch_processor(path: str | Path, model_type: str) -> ProcessorMixin:
    """The processor at a path or hub id, of the library's class with ``TorchOperations``.

    Without a processor of videos where only that needs more of torchvision: ``without_video`` says so. Raises
    ImportError where the others do, or need another package.
    """
    settings, _ = ProcessorMixin.get_processor_dict(path)
    name = settings.get("processor_class") or PROCESSOR_MAPPING_NAMES.get(model_type)
    homes = [model_type, *(other for other, theirs in PROCESSOR_MAPPING_NAMES.items() if theirs == name)]
    base = next((found for home in homes if name and (found := _class("processing", home, name)) is not None), None)
    if base is None or not set(base.get_attributes()) <= {"image_processor", "video_processor", "tokenizer"}:
        return AutoProcessor.from_pretrained(path)

    class Processor(base):  # type: ignore[misc,valid-type]  # the library is not typed
        """The library's processor with parts of our own classes."""

        without_video = ""
        """Why there is no processor of videos, although the family has one."""

        @classmethod
        def _get_arguments_from_pretrained(cls, folder: str, _: dict[str, Any], **options: Any) -> list[Any]:
            parts = []
            for part in cls.get_attributes():
                if part == "image_processor":
                    parts.append(_image_processor(folder, model_type))
                elif part == "video_processor":
                    try:
                        parts.append(_video_processor(folder, model_type))
                    except ModuleNotFoundError as error:
                        cls.without_video = f"its processor of videos cannot be loaded: {error}"
                        parts.append(None)
                else:
                    parts.append(cls._load_tokenizer_from_pretrained(part, folder, **options))
            return parts

        def check_argument_for_proper_class(self, argument_name: str, argument: object) -> Any:  # noqa: ARG002
            return type(argument)

    Processor.__name__ = Processor.__qualname__ = str(name)  # under which it is saved
    processor: ProcessorMixin = Processor.from_pretrained(path)
    return processor


def _image_processor(folder: str, model_type: str) -> BaseImageProcessor:
    """The library's class for pillow where it has one."""
    settings, _ = BaseImageProcessor.get_image_processor_dict(folder)
    try:
        return AutoImageProcessor.from_pretrained(folder)
    except (ImportError, ValueError):
        own = _with_torch("image_processing", model_type, settings.get("image_processor_type", ""))
        if own is None:
            raise
        return own.from_dict(settings)


def _video_processor(folder: str, model_type: str) -> BaseVideoProcessor | None:
    settings, _ = BaseVideoProcessor.get_video_processor_dict(folder)
    own = _with_torch("video_processing", model_type, settings.get("video_processor_type", ""))
    return own.from_dict(settings) if own else None


def _with_torch(kind: str, model_type: str, name: str) -> Any:
    """The library's class of that name with ``TorchOperations``; without a class of that name, the family's."""
    home = MODULES.get(model_type, model_type)
    base = _class(kind, home, name) or _class(kind, home, None)
    operations = TorchVideoOperations if kind.startswith("video") else TorchOperations
    # Behind the class, so that its own ``resize``, which chooses a size, calls this one.
    return base and type(base.__name__, (base, operations), {"__module__": base.__module__})


def _class(kind: str, home: str, name: str | None) -> Any:
    """The class of that name, default the public one, in transformers.models.<home>.<kind>_<home>; None without.

    Raises ModuleNotFoundError where another package is missing.
    """
    try:
        module = importlib.import_module(f"transformers.models.{home}.{kind}_{home}")
    except ModuleNotFoundError as error:
        if error.name and not error.name.startswith("transformers"):
            raise
        return None
    public: Sequence[str] = [each for each in getattr(module, "__all__", ()) if each.endswith("Processor")]
    return getattr(module, name, None) if name is not None else (getattr(module, public[0]) if public else None)
