"""The policy of the GRPO benchmark: a tiny Llama with a word tokenizer, trained on good and bad answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

from benchmarks.grpo_task import WORDS, Question, imitated

LONGEST = 6
"""Most words of a completion; the longest answer of the mixture has four and an end token."""


def word_tokenizer() -> Any:
    """One token per word, including the space before it."""
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<eos>", *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?\w+|[,.?]"), "isolated")
    inner.decoder = decoders.Fuse()
    fast: Any = PreTrainedTokenizerFast
    return fast(tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>", padding_side="left")


def new_policy(tokenizer: Any) -> Any:
    """A Llama with 0.4 million random weights."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=288,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=32,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config)


def warmed_policy(
    tokenizer: Any,
    questions: Sequence[Question],
    generator: np.random.Generator,
    *,
    steps: int,
    seed: int,
    batch: int = 64,
) -> Any:
    """A policy that imitates the mixture of good and bad answers."""
    set_seed(seed)
    policy = new_policy(tokenizer)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps)
    for _ in range(steps):
        drawn = [questions[i] for i in generator.integers(len(questions), size=batch)]
        texts = [question.prompt + imitated(question, generator) + "<eos>" for question in drawn]
        tokens = tokenizer(texts, return_tensors="pt", padding=True, padding_side="right")
        prompt_length = len(tokenizer.tokenize(drawn[0].prompt))  # the same for every question
        answer = tokens.attention_mask.bool() & (torch.arange(tokens.input_ids.shape[1]) >= prompt_length)
        labels = tokens.input_ids.masked_fill(~answer, -100)
        loss = policy(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return policy


def sampled(policy: Any, tokenizer: Any, questions: list[Question], answers: int) -> list[list[str]]:
    """Answers to each question, sampled at temperature 1 with a separate random state."""
    tokens = tokenizer([q.prompt for q in questions for _ in range(answers)], return_tensors="pt", padding=True)
    training = policy.training
    policy.eval()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        made = policy.generate(
            input_ids=tokens.input_ids,
            attention_mask=tokens.attention_mask,
            do_sample=True,
            top_k=0,
            max_new_tokens=LONGEST,
        )
    policy.train(training)
    texts = tokenizer.batch_decode(made[:, tokens.input_ids.shape[1] :], skip_special_tokens=True)
    return [texts[i : i + answers] for i in range(0, len(texts), answers)]
