"""Rewards for GRPO: flat lists are grouped by prompt, scored in one pass each, and returned in order."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from reward_models import model

from curate.clients.prompts import completion_text, plain_messages
from curate.media.frames import read_image
from curate.reward.data import Example
from curate.reward.grpo import GroupReward, groups
from curate.reward.scoring import Scorer
from schemas.errors import CurateError

pytestmark = pytest.mark.slow


class Places:
    """A toy scorer: 10 × length + position in the pass; records passes and calls."""

    def __init__(self) -> None:
        self.passes: list[Example] = []
        self.calls = 0

    def score_examples(self, examples: Sequence[Example]) -> list[list[float]]:
        self.calls += 1
        self.passes.extend(examples)
        return [[10.0 * len(text) + i for i, text in enumerate(example.responses)] for example in examples]

    def inputs(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(example.prompt, example.responses) for example in self.passes]


def test_each_prompt_is_one_pass_and_all_passes_are_one_call() -> None:
    scorer = Places()
    rewards = GroupReward(scorer)(prompts=["p", "p", "q", "q"], completions=["a", "bb", "ccc", "d"], completion_ids=[])
    assert rewards == [10, 21, 30, 11]
    assert scorer.inputs() == [("p", ("a", "bb")), ("q", ("ccc", "d"))]
    assert scorer.calls == 1


def test_a_prompt_that_recurs_later_is_another_group() -> None:
    scorer = Places()
    assert GroupReward(scorer)(["p", "q", "p"], ["a", "b", "c"]) == [10, 10, 10]
    assert scorer.inputs() == [("p", ("a",)), ("q", ("b",)), ("p", ("c",))]


def test_num_generations_splits_two_rows_with_one_prompt() -> None:
    scorer = Places()
    assert GroupReward(scorer, num_generations=2)(["p"] * 4, ["a", "bb", "c", "dd"]) == [10, 21, 10, 21]
    assert scorer.inputs() == [("p", ("a", "bb")), ("p", ("c", "dd"))]


def test_equal_completions_of_a_group_get_equal_rewards() -> None:
    scorer = Places()
    assert GroupReward(scorer)(["p"] * 4, ["bb", "a", "bb", "a"]) == [20, 11, 20, 11]
    assert scorer.inputs() == [("p", ("bb", "a"))]


def test_single_scores_each_completion_alone() -> None:
    scorer = Places()
    assert GroupReward(scorer, single=True)(["p", "p", "p", "q"], ["a", "bb", "a", "a"]) == [10, 20, 10, 10]
    assert scorer.inputs() == [("p", ("a",)), ("p", ("bb",)), ("q", ("a",))]


def test_an_empty_completion_is_scored_as_empty_or_gets_the_floor() -> None:
    scorer = Places()
    assert GroupReward(scorer)(["p", "p"], ["", "a"]) == [0, 11]
    assert scorer.inputs() == [("p", ("", "a"))]
    floored = Places()
    assert GroupReward(floored, floor=-5.0)(["p", "p", "q"], [" \n", "a", ""]) == [-5, 10, -5]
    assert floored.inputs() == [("p", ("a",))]


def test_conversations_are_read_as_text() -> None:
    scorer = Places()
    prompt = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Why?"}]}]
    answers = [[{"role": "assistant", "content": text}] for text in ("a", "bb")]
    assert GroupReward(scorer, allow_blind=True)([prompt, prompt], answers) == [10, 21]
    assert scorer.inputs() == [("Why?", ("a", "bb"))]
    with pytest.raises(CurateError, match="would not be scored"):
        GroupReward(scorer)([prompt, prompt], answers)


def test_prompts_keep_roles_and_completions_exclude_tool_messages() -> None:
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Go"},
    ]
    assert plain_messages(turns).text == "user: Hi\n\nassistant: Yes?\n\nuser: Go"
    calls: list[dict[str, Any]] = [
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": "4"},
        {"role": "assistant", "content": "It is 4."},
    ]
    assert completion_text(calls) == "It is 4."


def test_media_columns_reach_the_scorer_and_separate_groups() -> None:
    scorer = Places()
    reward = GroupReward(scorer, video="clip", images="frames")
    reward(["p"] * 3, ["a", "b", "c"], clip=["x.mp4", "x.mp4", None], frames=[None, None, ["1.png", "2.png"]])
    assert [(e.responses, e.video, e.images) for e in scorer.passes] == [
        (("a", "b"), Path("x.mp4"), ()),
        (("c",), None, (Path("1.png"), Path("2.png"))),
    ]
    with pytest.raises(CurateError, match="no column 'clip'"):
        reward(["p"], ["a"], frames=[None])


def test_images_may_be_in_memory_and_equal_ones_share_a_group() -> None:
    """PIL images, bytes, base64 and dicts, as datasets and trainers hold them."""
    scorer, buffer = Places(), io.BytesIO()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (10, 10, 3), dtype=np.uint8))
    image.save(buffer, format="PNG")
    content = buffer.getvalue()
    uri = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    cells = [image, image.copy(), [content], uri, base64.b64encode(content).decode(), {"bytes": content, "path": None}]
    reward = GroupReward(scorer, images="image")
    reward(["p"] * 7, ["a", "b", "c", "d", "e", "f", "g"], image=[*cells, "x.png"])
    assert [example.responses for example in scorer.passes] == [("a", "b"), ("c", "d", "e", "f"), ("g",)]
    for example in scorer.passes[:2]:
        assert np.array_equal(read_image(example.images[0]), np.asarray(image))
    assert scorer.passes[2].images == (Path("x.png"),)
    with pytest.raises(CurateError, match="an image is a float"):
        reward(["p"], ["a"], image=[0.5])


@pytest.mark.parametrize("name", ["image", "images", "video"])
def test_a_media_column_that_was_not_named_is_an_error(name: str) -> None:
    with pytest.raises(CurateError, match=f"column '{name}'"):
        GroupReward(Places())(["p", "q"], ["a", "b"], **{name: [None, ["x.png"]]})
    assert GroupReward(Places())(["p"], ["a"], **{name: [None]}) == [10]
    assert GroupReward(Places(), allow_blind=True)(["p"], ["a"], **{name: [["x.png"]]}) == [10]


def test_a_prompt_in_the_chat_template_reaches_the_model_without_it(backbone: Path) -> None:
    scorer = Scorer(model(backbone, "tree"))
    prompt = "<|im_start|>user\nWhat moves?<|im_end|>\n<|im_start|>assistant\n"
    assert GroupReward(scorer)([prompt] * 2, ["red", "blue"]) == scorer.score("What moves?", ["red", "blue"])
    assert scorer.score(prompt, ["red", "blue"]) == scorer.score("What moves?", ["red", "blue"])
    with pytest.raises(CurateError, match="control tokens"):
        GroupReward(scorer)([f"<|im_start|>system\nBe brief.<|im_end|>\n{prompt}"], ["red"])


@pytest.mark.parametrize("rows", [[[1.0]], [[1.0, float("nan")]], []])
def test_missing_or_non_finite_scores_are_an_error(rows: list[list[float]]) -> None:
    class Broken:
        def score_examples(self, examples: Sequence[Example]) -> list[list[float]]:
            assert len(examples) == 1
            return rows

    with pytest.raises(CurateError):
        GroupReward(Broken())(["p", "p"], ["a", "b"])


@given(
    st.lists(st.tuples(st.sampled_from("pq"), st.sampled_from(["", "a", "bb", "ccc"])), max_size=12), st.integers(1, 4)
)
def test_groups_partition_the_rows_and_rewards_keep_their_order(rows: list[tuple[str, str]], size: int) -> None:
    prompts, texts = [row[0] for row in rows], [row[1] for row in rows]
    found = groups(prompts, size)
    assert [i for group in found for i in group] == list(range(len(rows)))
    assert all(len(group) <= size and len({prompts[i] for i in group}) == 1 for group in found)
    rewards = GroupReward(Places(), num_generations=size)(prompts, texts)
    assert [reward // 10 for reward in rewards] == [len(text) for text in texts]


@pytest.mark.parametrize("conversational", [False, True])
def test_trl_trains_with_it(tmp_path: Path, conversational: bool) -> None:
    """Two steps of a real GRPOTrainer: groups arrive complete, the reward is logged by name, the policy changes."""
    trl: Any = pytest.importorskip("trl")
    import torch

    datasets: Any = pytest.importorskip("datasets")

    scorer = Places()
    model, tokenizer = tiny_policy()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    texts = [f"{a}+{b}" for a in range(4) for b in range(2)]
    prompts = [[{"role": "user", "content": text}] for text in texts] if conversational else texts
    config = trl.GRPOConfig(
        output_dir=str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=6,
        learning_rate=1e-2,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    reward = GroupReward(scorer, num_generations=4, name="toy")
    trainer = trl.GRPOTrainer(
        model=model,
        reward_funcs=reward,
        args=config,
        train_dataset=datasets.Dataset.from_dict({"prompt": prompts}),
        processing_class=tokenizer,
    )
    trainer.train()
    assert scorer.calls == 2
    assert {example.prompt for example in scorer.passes} <= set(texts)
    assert len(scorer.passes) == 4  # 8 completions a step are 2 groups of 4
    logged = [row["rewards/toy/mean"] for row in trainer.state.log_history if "rewards/toy/mean" in row]
    assert len(logged) == 2
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_trl_trains_a_vision_policy_whose_images_reach_the_reward_model(tmp_path: Path, backbone: Path) -> None:
    """The data set's images arrive as PIL; without naming their column, the first step stops."""
    trl: Any = pytest.importorskip("trl")
    datasets: Any = pytest.importorskip("datasets")
    from transformers import AutoModelForImageTextToText

    from curate.reward.backbones import load_processor

    pixels = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    rows = {
        "prompt": [[{"role": "user", "content": text}] for text in ("What moves?", "What is red?")],
        "image": [Image.fromarray(image) for image in pixels],
    }
    config = trl.GRPOConfig(
        output_dir=str(tmp_path),
        max_steps=1,
        per_device_train_batch_size=4,
        num_generations=2,
        max_completion_length=4,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        activation_checkpointing=False,
        shuffle_dataset=False,
    )

    def train(reward: GroupReward) -> None:
        trl.GRPOTrainer(
            model=AutoModelForImageTextToText.from_pretrained(backbone),
            reward_funcs=reward,
            args=config,
            train_dataset=datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image()),
            processing_class=load_processor(backbone),
        ).train()

    scorer = Places()
    reward = GroupReward(scorer, num_generations=2, images="image")  # images are kept as long as it
    train(reward)
    assert {example.prompt for example in scorer.passes} == {"What moves?", "What is red?"}
    for example in scorer.passes:
        [image] = (pixels[i] for i, prompt in enumerate(rows["prompt"]) if prompt[0]["content"] == example.prompt)
        assert np.array_equal(Image.open(example.images[0]), image)
    with pytest.raises(CurateError, match="column 'image'"):
        train(GroupReward(Places()))


def tiny_policy() -> tuple[Any, Any]:
    """A Llama with about 20 thousand random weights and a character tokenizer."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers import PreTrainedTokenizerFast as Fast

    letters = ["<pad>", "<eos>", *"0123456789+abcdefgh"]
    inner = Tokenizer(models.WordLevel({letter: i for i, letter in enumerate(letters)}, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    inner.decoder = decoders.Fuse()
    fast: Any = Fast
    tokenizer = fast(tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>")
    tokenizer.padding_side = "left"
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(letters),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config), tokenizer
