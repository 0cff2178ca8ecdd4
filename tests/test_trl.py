"""TRL's trainers read the preferences of a release: every token of every pair, every image, and two training steps."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from curate.reward.scratch import CHAT
from pipelines.client_export import export_for
from tests.releases import mixed, pairs, released

pytestmark = pytest.mark.slow
trl: Any = pytest.importorskip("trl")
datasets: Any = pytest.importorskip("datasets")

SPLITS = ("train", "test")
OPTIONS: dict[str, Any] = {
    "max_steps": 2,
    "per_device_train_batch_size": 4,
    "max_length": None,
    "learning_rate": 1e-2,
    "report_to": "none",
    "save_strategy": "no",
    "use_cpu": True,
    "disable_tqdm": True,
    "activation_checkpointing": False,
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The export of a release with videos, images and prompts without media."""
    home = tmp_path_factory.mktemp("trl")
    export_for(mixed("files"), client="trl", out=home / "out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(home / "cache"))
        yield home / "out"


def pairs_of(split: str, *, images: bool) -> list[dict[str, Any]]:
    return [pair for pair in pairs(mixed("files"), split) if (pair["kind"] == "image") == images]


def load(folder: Path, config: str) -> Any:
    return datasets.load_dataset(str(folder), config)


def said(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


def rendered(*messages: tuple[str, str]) -> str:
    """Return the messages in the backbone's chat format."""
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in messages)


def test_each_pair_is_once_in_the_config_of_its_kind(exported: Path) -> None:
    for split in SPLITS:
        text, images = (load(exported, config)[split] for config in ("text", "images"))
        assert "image" not in text.column_names
        assert "video" not in images.column_names
        for rows, expected in ((text, pairs_of(split, images=False)), (images, pairs_of(split, images=True))):
            assert len(expected) > 1
            assert rows["prompt"][:] == [said("user", pair["prompt"]) for pair in expected]
            assert rows["chosen"][:] == [said("assistant", pair["chosen"]) for pair in expected]
            assert rows["rejected"][:] == [said("assistant", pair["rejected"]) for pair in expected]
        assert text["video"][:] == [pair["medium"] for pair in pairs_of(split, images=False)]
        for video, pair in zip(text["video"], pairs_of(split, images=False), strict=True):
            assert video is None or digest((exported / video).read_bytes()) == pair["media_sha256"]
        undecoded = images.cast_column("image", datasets.Image(decode=False))
        for image, pair in zip(undecoded["image"], pairs_of(split, images=True), strict=True):
            assert digest(image["bytes"]) == pair["media_sha256"]
        assert {image.size for image in images["image"]} == {(64, 64)}


def test_reward_trainer_sees_the_tokens_of_both_conversations_and_takes_two_steps(
    exported: Path, backbone: Path, tmp_path: Path
) -> None:
    data, tokenizer = load(exported, "text"), text_tokenizer(backbone)
    trainer = trl.RewardTrainer(
        text_model(tokenizer, "LlamaForSequenceClassification", num_labels=1),
        args=trl.RewardConfig(output_dir=str(tmp_path), **OPTIONS),
        train_dataset=data["train"],
        eval_dataset=data["test"],
        processing_class=tokenizer,
    )
    for split, rows in (("train", trainer.train_dataset), ("test", trainer.eval_dataset)):
        for row, pair in zip(rows, pairs_of(split, images=False), strict=True):
            for side in ("chosen", "rejected"):
                expected = rendered(("user", pair["prompt"]), ("assistant", pair[side]))
                assert tokenizer.decode(row[f"{side}_ids"]) == expected
    assert changed_by(trainer)


def test_dpo_trainer_sees_the_tokens_of_pairs_without_an_image_and_takes_two_steps(
    exported: Path, backbone: Path, tmp_path: Path
) -> None:
    tokenizer = text_tokenizer(backbone)
    trainer = trl.DPOTrainer(
        text_model(tokenizer, "LlamaForCausalLM"),
        ref_model=text_model(tokenizer, "LlamaForCausalLM"),
        args=trl.DPOConfig(output_dir=str(tmp_path), **OPTIONS),
        train_dataset=load(exported, "text")["train"],
        processing_class=tokenizer,
    )
    for row, pair in zip(trainer.train_dataset, pairs_of("train", images=False), strict=True):
        for side in ("chosen", "rejected"):
            expected = rendered(("user", pair["prompt"]), ("assistant", pair[side]))
            assert tokenizer.decode(row["prompt_ids"] + row[f"{side}_ids"]) == expected
    assert changed_by(trainer)


def test_the_preferences_within_a_release_without_images_train_without_an_export(
    backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    tokenizer = text_tokenizer(backbone)
    rows = datasets.load_dataset(str(released("files")), "train_preferences", split="train")
    for trainer in (
        trl.RewardTrainer(
            text_model(tokenizer, "LlamaForSequenceClassification", num_labels=1),
            args=trl.RewardConfig(output_dir=str(tmp_path), **OPTIONS),
            train_dataset=rows,
            processing_class=tokenizer,
        ),
        trl.DPOTrainer(
            text_model(tokenizer, "LlamaForCausalLM"),
            ref_model=text_model(tokenizer, "LlamaForCausalLM"),
            args=trl.DPOConfig(output_dir=str(tmp_path), **OPTIONS),
            train_dataset=rows,
            processing_class=tokenizer,
        ),
    ):
        assert len(trainer.train_dataset) == len(pairs(released("files"), "train"))
        assert changed_by(trainer)


def test_dpo_trainer_sees_each_image_with_its_question_and_takes_two_steps(
    exported: Path, backbone: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForImageTextToText

    from curate.reward.backbones import load_processor

    processor = load_processor(backbone)
    trainer = trl.DPOTrainer(
        AutoModelForImageTextToText.from_pretrained(backbone),
        args=trl.DPOConfig(output_dir=str(tmp_path), **OPTIONS),
        train_dataset=load(exported, "images")["train"],
        processing_class=processor,
    )
    expected = pairs_of("train", images=True)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(len(expected))])
    patches = batch["pixel_values"].chunk(2 * len(expected))
    for i, (tokens, mask) in enumerate(zip(batch["input_ids"], batch["attention_mask"], strict=True)):
        pair, side = expected[i % len(expected)], ("chosen", "rejected")[i // len(expected)]
        text = processor.decode(tokens[mask.bool()]).replace("<|image_pad|>", "")
        question = f"<|vision_start|><|vision_end|>{pair['prompt']}"
        assert text == rendered(("user", question), ("assistant", pair[side]))
        with Image.open(mixed("files") / pair["medium"]) as image:
            assert torch.equal(patches[i], processor.image_processor(image, return_tensors="pt")["pixel_values"])
    assert changed_by(trainer)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def text_tokenizer(backbone: Path) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(backbone)
    tokenizer.chat_template = CHAT
    return tokenizer


def text_model(tokenizer: Any, kind: str, **options: Any) -> nn.Module:
    """Return a Llama of about 40 thousand random weights."""
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=2048,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        **options,
    )
    model: nn.Module = getattr(transformers, kind)(config)
    return model


def changed_by(trainer: Any) -> bool:
    """Train for two steps; return whether the loss is finite and every step changed the weights."""
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    loss = trainer.train().training_loss
    assert trainer.state.global_step == 2
    assert 0 < loss < 10
    return any(not torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))
