"""Prompts as trainers send them: the chat template is removed exactly, or the prompt is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from curate.clients.prompts import ChatTemplate, control_tokens, plain_messages, without_media
from curate.reward.backbones import load_processor
from curate.reward.quiet import quiet
from schemas.errors import CurateError

pytestmark = pytest.mark.slow
IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"


@pytest.fixture(scope="module")
def processor(backbone: Path) -> Any:
    with quiet():
        return load_processor(backbone)


@pytest.fixture(scope="module")
def template(processor: Any) -> ChatTemplate:
    return ChatTemplate(processor)


def chat(processor: Any, *parts: dict[str, str], generate: bool = True) -> str:
    """A prompt as trainers render it."""
    messages = [{"role": "user", "content": list(parts)}]
    text: str = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=generate)
    return text


@settings(max_examples=60, deadline=None)
@given(
    question=st.text(st.characters(codec="utf-8"), max_size=40),
    image=st.booleans(),
    generate=st.booleans(),
    expanded=st.integers(1, 5),
)
def test_the_question_of_a_templated_prompt_is_what_was_asked(
    processor: Any, template: ChatTemplate, question: str, image: bool, generate: bool, expanded: int
) -> None:
    assume(not control_tokens(question) and not without_media(question)[1])  # others are refused or are placeholders
    media = [{"type": "image"}] if image else []
    sent = chat(processor, *media, {"type": "text", "text": question}, generate=generate)
    found = template.plain(sent.replace("<|image_pad|>", "<|image_pad|>" * expanded))
    assert (found.text, found.names_media) == (question, image)
    assert template.plain(question).text == question


OTHERS = {
    "a system message": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n",
    "twice": "<|im_start|>user\n<|im_start|>user\nWhy?<|im_end|>\n<|im_end|>\n",
    "no end": "<|im_start|>user\nWhy?",
    "Llama": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>",
    "Gemma": "<start_of_turn>user\nWhy?<end_of_turn>\n<start_of_turn>model\n",
    "Mistral": "[INST] Why? [/INST]",
    "DeepSeek": "<｜User｜>Why?<｜Assistant｜>",
    "an image within the question": f"Is {IMAGE} red?",
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_control_tokens_are_refused_by_name(template: ChatTemplate, name: str) -> None:
    for known in (template, ChatTemplate()):
        with pytest.raises(CurateError) as caught:
            known.plain(OTHERS[name])
        assert all(token in str(caught.value) for token in control_tokens(OTHERS[name]))
        assert caught.value.hint


def test_a_named_system_message_is_removed_with_the_template(processor: Any) -> None:
    sent = f"{OTHERS['a system message']}<|im_start|>assistant\n"
    assert ChatTemplate(processor, system="Be brief.").plain(sent).text == "Why?"


@pytest.mark.parametrize("sent", [f"{IMAGE}Why?", f"{IMAGE}{IMAGE}Why?", "<image>\nWhy?", "<video>Why?"])
def test_placeholders_before_a_plain_question_are_removed_and_reported(template: ChatTemplate, sent: str) -> None:
    found = template.plain(sent)
    assert (found.text, found.names_media) == ("Why?", True)


def test_frames_with_times_are_one_placeholder(template: ChatTemplate) -> None:
    frame = "<|vision_start|><|video_pad|><|video_pad|><|vision_end|>"
    assert template.plain(f"<0.2 seconds>{frame}<1.2 seconds>{frame}Why?").text == "Why?"


def test_a_plain_text_about_markup_is_plain(template: ChatTemplate) -> None:
    for text in ("Is <b>x</b> | y |> z <| w?", "What is <|endoftext|>?", "a[0] </s> <s>"):
        assert (template.plain(text).text, template.plain(text).names_media) == (text, False)


def test_texts_of_messages_are_literal_except_for_tags_of_media() -> None:
    def asked(content: Any) -> tuple[str, bool]:
        found = plain_messages([{"role": "user", "content": content}])
        return found.text, found.names_media

    assert asked("What is <|im_end|>?") == ("What is <|im_end|>?", False)
    assert asked("<video>Why?") == ("Why?", True)
    assert asked([{"type": "image_url"}, {"type": "text", "text": "Why?"}]) == ("Why?", True)
    assert asked([{"type": "text", "text": "<image> is a tag"}]) == ("<image> is a tag", False)
    assert asked(None) == ("", False)
