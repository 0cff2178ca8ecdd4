"""Qwen3-VL's processor without torchvision: the same video patches by pillow, where the library's cannot load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoImageProcessor, AutoTokenizer
from transformers.feature_extraction_utils import BatchFeature
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import SizeDict
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
from transformers.models.qwen3_vl.video_processing_qwen3_vl import smart_resize
from transformers.utils import cached_file
from transformers.video_processing_utils import BaseVideoProcessor

Pixels = npt.NDArray[np.float32]
SETTINGS = ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json")
"""Files in which a backbone folder keeps the settings of its image and video processors."""
OPTIONAL: dict[str, Any] = {
    "_raise_exceptions_for_missing_entries": False,
    "_raise_exceptions_for_connection_errors": False,
}


class PillowVideoProcessor:
    """The part of a video processor that Qwen3VLProcessor calls. Uses all frames: they were sampled before."""

    model_input_names = ("pixel_values_videos", "video_grid_thw")
    valid_kwargs = BaseVideoProcessor.valid_kwargs

    def __init__(self, image_processor: Any, size: dict[str, int]) -> None:
        """size: shortest_edge and longest_edge, the least and most pixels of a whole video."""
        self.image_processor = image_processor
        self.size = size
        self.merge_size = int(image_processor.merge_size)
        self.patch_size = int(image_processor.patch_size)
        self.temporal_patch_size = int(image_processor.temporal_patch_size)

    def __call__(self, videos: Sequence[Any], *, video_metadata: Sequence[Any], **_: object) -> BatchFeature:
        """pixel_values_videos (patches of all videos, features) and video_grid_thw (videos, 3).

        videos: each (T, H, W, 3) uint8.
        """
        patches, grids = zip(*(self._patchify(self._resized(np.asarray(video))) for video in videos), strict=True)
        return BatchFeature(
            {
                "pixel_values_videos": torch.from_numpy(np.concatenate(patches)),
                "video_grid_thw": torch.tensor(grids, dtype=torch.long),
                "video_metadata": list(video_metadata),
            }
        )

    def _resized(self, video: npt.NDArray[np.uint8]) -> Pixels:
        """(T, 3, h, w), normalised; h and w are those that the library chooses for the whole video."""
        images = self.image_processor
        height, width = smart_resize(
            num_frames=max(len(video), self.temporal_patch_size),
            height=video.shape[1],
            width=video.shape[2],
            temporal_factor=self.temporal_patch_size,
            factor=self.patch_size * self.merge_size,
            min_pixels=self.size["shortest_edge"],
            max_pixels=self.size["longest_edge"],
        )
        frames = []
        for frame in video.transpose(0, 3, 1, 2):
            if frame.shape[1:] != (height, width):
                # Not images.resize, which chooses a size for a single image.
                size = SizeDict(height=height, width=width)
                frame = PilBackend.resize(images, frame, size=size, resample=images.resample)
            rescaled = images.rescale(frame, images.rescale_factor)
            frames.append(images.normalize(rescaled, images.image_mean, images.image_std))
        return np.stack(frames).astype(np.float32)

    def _patchify(self, video: Pixels) -> tuple[Pixels, tuple[int, int, int]]:
        """(patches, 3 · t · p · p) in the order in which the vision tower merges them, and the grid (T/t, h/p, w/p)."""
        t, p, m = self.temporal_patch_size, self.patch_size, self.merge_size
        missing = -len(video) % t
        video = np.concatenate([video, np.repeat(video[-1:], missing, axis=0)])
        frames, channels, height, width = video.shape
        grid = (frames // t, height // p, width // p)
        blocks = video.reshape(grid[0], t, channels, grid[1] // m, m, p, grid[2] // m, m, p)
        order = blocks.transpose(0, 3, 6, 4, 7, 2, 1, 5, 8)
        return order.reshape(grid[0] * grid[1] * grid[2], channels * t * p * p), grid


class PillowProcessor(Qwen3VLProcessor):  # type: ignore[misc]  # the library is not typed
    """Qwen3VLProcessor with PillowVideoProcessor as its video processor."""

    settings: dict[str, str]
    """File name -> its text, as loaded."""

    def check_argument_for_proper_class(self, argument_name: str, argument: object) -> Any:
        """The library's check, except for the video processor, which is not a class of the library."""
        if argument_name == "video_processor":
            return type(argument)
        return super().check_argument_for_proper_class(argument_name, argument)

    @classmethod
    def load(cls, path: str | Path) -> PillowProcessor:
        """The processor saved at a path or hub id."""
        image_processor = AutoImageProcessor.from_pretrained(path)
        settings, _ = BaseVideoProcessor.get_video_processor_dict(path)
        size = settings.get("size", {"shortest_edge": 128 * 32 * 32, "longest_edge": 32 * 32 * 768})
        tokenizer = AutoTokenizer.from_pretrained(path)
        processor = cls(
            image_processor=image_processor,
            tokenizer=tokenizer,
            video_processor=PillowVideoProcessor(image_processor, size),
            chat_template=tokenizer.chat_template,
        )
        found = ((name, cached_file(path, name, **OPTIONAL)) for name in SETTINGS)
        processor.settings = {name: Path(file).read_text(encoding="utf-8") for name, file in found if file}
        return processor

    def save_pretrained(self, save_directory: str | Path, **_: object) -> None:
        """Save the tokenizer, and the image and video settings as they were loaded."""
        self.tokenizer.save_pretrained(save_directory)
        for name, text in self.settings.items():
            (Path(save_directory) / name).write_text(text, encoding="utf-8")
