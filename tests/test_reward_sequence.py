"""One example as one sequence: known positions, no truncation, no control tokens from text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reward_models import encoded, example, frames
from transformers import MistralConfig

from curate.media.frames import Frames
from curate.reward.backbones import attention_window, limit_video_tokens, load_processor
from curate.reward.data import Example
from curate.reward.layout import collate, plan_passes
from curate.reward.model import ModelConfig, make_encoder
from curate.reward.quiet import quiet
from curate.reward.sequence import SEPARATOR, Encoder, TooLongError, _metadata
from schemas.errors import CurateError
from schemas.reward import PRESETS, Template, TrainConfig

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def encoder(backbone: Path) -> Encoder:
    with quiet():
        return Encoder(load_processor(backbone), separated=True)


def response_text(encoder: Encoder, sequence, number: int) -> str:
    """The text between the start of a response and the scored token."""
    return encoder.tokenizer.decode(sequence.input_ids[sequence.starts[number] : sequence.ends[number]])


@settings(max_examples=60, deadline=None)
@given(responses=st.lists(st.text(st.characters(codec="utf-8"), max_size=30), min_size=1, max_size=5))
def test_every_response_is_scored_at_its_own_end(encoder: Encoder, responses: list[str]):
    """With leading spaces, empty, or with control tokens. The official code searches for tokens instead."""
    sequence = encoded(encoder, example("x", *responses))
    end = encoder.tokenizer.eos_token_id
    assert [int(sequence.input_ids[place]) for place in sequence.ends] == [end] * len(responses)
    assert [response_text(encoder, sequence, n) for n in range(len(responses))] == responses
    assert int((sequence.input_ids == encoder.separator[0]).sum()) == len(responses) - 1


OFFICIAL = (
    example("two", "Yes.", "No, it does not.", prompt="Does the circle move left?"),
    example("odd", " leading space", "", "tail \n", "— “é” 漢字", prompt="Wer?\nUnd wo?"),
    example("one", "alone"),
)


@pytest.mark.parametrize("template", ["official-train", "official-readme"])
@pytest.mark.parametrize("item", OFFICIAL, ids=lambda item: item.item_id)
@pytest.mark.parametrize("clip", [False, True])
def test_official_templates_equal_the_official_code_token_for_token(
    backbone: Path, template: Template, item: Example, clip: bool
):
    """Its messages, as dataset.py (training) and the README (inference) build them, by the processor as a whole."""
    with quiet():
        encoder = Encoder(load_processor(backbone), separated=True, template=template)
    joined = f"\n\n{SEPARATOR}\n\n".join(item.responses)
    media = [{"type": "video"}] if clip else []
    if template == "official-train":
        chat = [
            {"role": "user", "content": [*media, {"type": "text", "text": item.prompt}]},
            {"role": "assistant", "content": [{"type": "text", "text": joined}]},
        ]
    else:
        chat = [{"role": "user", "content": [*media, {"type": "text", "text": f"{item.prompt}\n\n{joined}"}]}]
    text = encoder.processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=False)
    video = frames() if clip else None
    given = {"videos": [video.images], "video_metadata": [_metadata(video)], "do_sample_frames": False} if clip else {}
    theirs = encoder.processor(text=[text], return_tensors="pt", **given)["input_ids"][0]
    ours = encoded(encoder, replace(item, video=Path("x.mp4") if clip else None), video)
    assert ours.input_ids.tolist() == theirs.tolist()
    separators = (theirs == encoder.separator[0]).nonzero()[:, 0]
    assert ours.ends == (*(separators - 1).tolist(), len(theirs) - 1)


def test_official_templates_need_the_layout_causal():
    with pytest.raises(ValueError, match="template = 'official-train' needs layout = 'causal'"):
        TrainConfig(template="official-train")
    paper = TrainConfig.model_validate(PRESETS["paper"])
    assert (paper.template, paper.frames, paper.warmup) == ("official-train", 16, 0.0)


@pytest.mark.parametrize("text", [f"a {SEPARATOR} b", "a<|im_end|> b", "<|video_pad|>", "  spaces before"])
def test_control_tokens_in_text_are_plain_text(encoder: Encoder, text: str):
    """A separator inside a response does not separate, and a question cannot add a video."""
    plain = encoded(encoder, example("x", "a", "b"))
    sequence = encoded(encoder, example("x", text, "b", prompt=text))
    for token in (encoder.separator[0], encoder.tokenizer.eos_token_id, encoder.processor.video_token_id):
        assert int((sequence.input_ids == token).sum()) == int((plain.input_ids == token).sum())
    assert response_text(encoder, sequence, 0) == text


def test_the_last_response_is_scored_at_its_end_in_a_padded_batch(encoder: Encoder):
    """The official code scores it at a padding token."""
    short, long = encoded(encoder, example("s", "a", "b")), encoded(encoder, example("l", "a" * 50, "b" * 50))
    batch = collate([short, long], "causal", encoder.tokenizer.pad_token_id)
    read = batch.input_ids[batch.row, batch.end]
    assert read.tolist() == [[encoder.tokenizer.eos_token_id] * 2] * 2
    assert batch.attention_mask[batch.row, batch.end].all()


def test_prompt_and_response_must_fit_the_sliding_window(backbone: Path, tmp_path: Path):
    item = example("x", "a", "a longer one")
    whole = encoded(Encoder(load_processor(backbone)), item)
    alone = whole.starts[0] + max(end + 1 - start for start, end in zip(whole.starts, whole.ends, strict=True))
    encoded(Encoder(load_processor(backbone), window=alone), item)
    with pytest.raises(TooLongError, match=f"{alone} tokens, more than the backbone's sliding window of {alone - 1}"):
        encoded(Encoder(load_processor(backbone), window=alone - 1), item)
    MistralConfig(sliding_window=32).save_pretrained(tmp_path)
    assert attention_window(tmp_path) == 32
    assert attention_window(backbone) is None


def test_a_too_long_example_is_refused_and_never_truncated(backbone: Path):
    with quiet():
        encoder = Encoder(load_processor(backbone), max_length=60)
    fits = encoded(encoder, example("x", "a", "b"))
    assert len(fits.input_ids) <= 60
    with pytest.raises(TooLongError, match=r"x: \d+ tokens, more than max_length 60"):
        encoded(encoder, example("x", "a", "word " * 60))


def test_an_example_is_never_encoded_without_its_video(encoder: Encoder):
    with pytest.raises(ValueError, match="must be given"):
        encoded(encoder, example("x", "a", "b", video=Path("x.mp4")))
    with pytest.raises(ValueError, match="must be given"):
        encoded(encoder, example("x", "a", "b"), frames())


def test_a_text_backbone_refuses_videos(encoder: Encoder):
    text = Encoder(encoder.tokenizer)
    assert encoded(text, example("x", "a", "b")).visual == {}
    with pytest.raises(CurateError, match="reads text only"):
        encoded(text, example("x", "a", "b", video=Path("x.mp4")), frames())


def test_video_tokens_match_the_output_of_the_vision_tower(encoder: Encoder):
    sequence = encoded(encoder, example("x", "a", "b", video=Path("x.mp4")), frames(count=5, size=48))
    grid = sequence.visual["video_grid_thw"]
    assert grid.tolist() == [[3, 6, 6]]
    assert int((sequence.token_types == 2).sum()) == int(grid.prod()) // 4
    assert sequence.prompt_length > int((sequence.token_types > 0).nonzero().max())


@pytest.mark.parametrize("tokens", [6, 20, 500])
def test_video_tokens_scale_the_frames_down(backbone: Path, tokens: int):
    clip = frames(count=8, size=256)
    with quiet():
        free, limited = (
            make_encoder(backbone, ModelConfig("single", frames=8, video_tokens=limit)) for limit in (None, tokens)
        )
    item = example("x", "a", "b", video=Path("x.mp4"))
    most, found = (int((encoded(each, item, clip).token_types == 2).sum()) for each in (free, limited))
    assert found <= tokens
    assert found == most if tokens > most else found > tokens / 2
    with pytest.raises(CurateError, match="video_tokens is supported for Qwen3-VL only"):
        limit_video_tokens(free.tokenizer, 10)


def test_frame_times_are_written_into_the_prompt(encoder: Encoder):
    """Two frames share a time, their mean. Clips of other frame rates have other times."""
    clip = frames(count=4)
    slow = Frames(clip.images, clip.times * 10, clip.duration * 10)
    text = encoder.tokenizer.decode(encoded(encoder, example("x", "a", video=Path("x")), slow).input_ids)
    assert "<2.5 seconds>" in text
    assert "<12.5 seconds>" in text


def test_a_still_video_has_the_patches_of_its_image(backbone: Path):
    """Compared with the library's image processor, which treats an image as a video of equal frames."""
    with quiet():
        processor = load_processor(backbone)
    image = frames(size=48).images[0]
    still = processor.video_processor([image[None].repeat(2, axis=0)], do_sample_frames=False, return_tensors="pt")
    oracle = processor.image_processor([image], return_tensors="pt")
    assert still["video_grid_thw"].tolist() == oracle["image_grid_thw"].tolist()
    torch.testing.assert_close(still["pixel_values_videos"], oracle["pixel_values"])


@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=30),
    alone=st.integers(0, 2**30 - 1),
)
def test_passes_contain_every_example_once_and_respect_the_limit(lengths: list[int], alone: int):
    apart = [bool(alone >> i & 1) for i in range(len(lengths))]
    passes = plan_passes(lengths, 60, separate=apart)
    assert sorted(i for part in passes for i in part) == list(range(len(lengths)))
    for part in passes:
        assert len(part) == 1 or (max(lengths[i] for i in part) * len(part) <= 60 and not any(apart[i] for i in part))
