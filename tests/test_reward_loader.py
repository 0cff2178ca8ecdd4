"""The loader: worker processes encode as this process does, a bounded part is read ahead, and everything ends soon."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from curate.media.frames import MediaError, read_image, read_video
from curate.reward.data import Example
from curate.reward.loader import Loader, read_ahead
from curate.reward.model import ModelConfig, make_encoder
from curate.reward.quiet import quiet
from curate.reward.sequence import Encoder
from tests.video_files import encode

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def encoder(backbone: Path) -> Encoder:
    with quiet():
        return make_encoder(backbone, ModelConfig("tree"))


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    """Ten examples: texts, two clips, an image, and both."""
    folder = tmp_path_factory.mktemp("media")
    clips = [encode(folder / f"{i}.mp4", range(0, 400, 40), size=32 + 16 * i, noise=True) for i in range(2)]
    image = folder / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(image)
    media = [
        {},
        {"video": clips[0]},
        {"images": (image,)},
        {"video": clips[1]},
        {"video": clips[0], "images": (image,)},
    ]
    return [Example(f"e{i}", f"Question {i}?", ("a", "b"), (1, 2), **media[i % 5]) for i in range(10)]  # type: ignore[arg-type]


def alone(encoder: Encoder, example: Example, frames: int = 4) -> dict[str, object]:
    """The encoded example, made without workers."""
    video = read_video(example.video, frames) if example.video else None
    images = [read_image(path) for path in example.images]
    return vars(encoder.encode(example, encoder.encode_media(example, video=video, images=images)))


@pytest.mark.parametrize("memory", [0, 64])
def test_workers_encode_as_this_process_does(encoder: Encoder, examples: list[Example], memory: int) -> None:
    """With and without media that are kept, which are not read again."""
    expected_of = {example.item_id: alone(encoder, example) for example in examples}  # not beside the loader's thread
    with Loader(encoder, frames=4, memory=memory) as loader:
        for _ in range(2):
            groups = [examples[:3], [], examples[3:8], examples[8:]]
            for group, sequences in zip(groups, loader.stream(groups), strict=True):
                assert [sequence.item_id for sequence in sequences] == [example.item_id for example in group]
                for example, sequence in zip(group, sequences, strict=True):
                    expected, found = dict(expected_of[example.item_id]), vars(sequence)
                    torch.testing.assert_close(found.pop("visual"), expected.pop("visual"), atol=0, rtol=0)
                    assert str(found) == str(expected)
        assert len(loader._kept) == (4 if memory else 0)


def test_errors_name_the_example_or_its_file(encoder: Encoder, examples: list[Example]) -> None:
    gone = Example("gone", "?", ("a", "b"), video=Path("gone.mp4"))
    long = Example("long", "?", ("word " * 9000, "b"))
    with Loader(encoder, frames=4) as loader:
        reasons = loader.check([gone, examples[1], long])
        assert "gone.mp4: no such file" in reasons[0]
        assert not reasons[1]
        assert reasons[2].startswith("long: ")
        stream = iter(loader.stream([examples[:2], [gone], examples[2:]]))
        assert len(next(stream)) == 2
        with pytest.raises(MediaError, match=r"gone\.mp4: no such file"):
            next(stream)


def test_a_loader_ends_its_unfinished_streams(encoder: Encoder, examples: list[Example]) -> None:
    with Loader(encoder, frames=4, memory=0) as loader:
        list(loader.stream([examples[1:2]]))  # starts the processes
        unfinished = iter(loader.stream([[example] for example in examples] * 100))
        next(unfinished)
        begin = time.perf_counter()
    assert time.perf_counter() - begin < 5
    assert list(unfinished) == []


def test_the_next_item_is_computed_ahead_and_no_others() -> None:
    read: list[int] = []
    stopped: list[bool] = []

    def source() -> Generator[list[int]]:
        """[0], [1], [2]; the third takes until it is interrupted."""
        for number in range(3):
            read.append(number)
            while number == 2 and not stopped:
                time.sleep(0.01)
            yield [number]

    stream = read_ahead(source(), lambda: stopped.append(True))
    assert next(stream) == [0]
    time.sleep(0.2)
    assert read == [0, 1]
    assert next(stream) == [1]
    stream.close()
    assert (read, bool(stopped)) == ([0, 1, 2], True)
