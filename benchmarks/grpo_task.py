"""The GRPO benchmark's task, whose answers a rule can check (which of two numbers is larger?), and its tiny policy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

from curate.reward.data import Example

WORDS = ("Which", " is", " larger", ",", " or", "?", " It", ".", *(f" {number}" for number in range(10, 100)))
"""The words of prompts and answers; each number is one word."""

PLACE = {"right": 1, "right, in words": 2, "wrong": 3, "wrong, in words": 4, "hedged": 5, "neither": 6, "blank": 7}
"""Kind of answer -> its rank, 1 is best: by truth, then by style; answers without content are last."""

MIXTURE = {
    "right": 0.24,
    "right, in words": 0.22,
    "wrong": 0.17,
    "wrong, in words": 0.16,
    "hedged": 0.07,
    "neither": 0.1,
    "blank": 0.04,
}
"""Share of each kind in the answers that the policy imitates first."""


@dataclass(frozen=True)
class Question:
    """Which of two different two-digit numbers is larger?"""

    first: int
    second: int

    @property
    def prompt(self) -> str:
        return f"Which is larger, {self.first} or {self.second}?"

    def answer(self, kind: str, generator: np.random.Generator) -> str:
        """An answer of the given kind."""
        right, wrong = max(self.first, self.second), min(self.first, self.second)
        if kind == "blank":
            return ""
        if kind == "hedged":
            return f" {self.first} or {self.second}"
        number = right if kind.startswith("right") else wrong
        while kind == "neither" and number in (right, wrong):
            number = int(generator.integers(10, 100))
        return f" It is {number}." if kind.endswith("in words") else f" {number}"


def questions(count: int, generator: np.random.Generator) -> list[Question]:
    """``count`` different questions; 8,010 exist."""
    pairs = [(a, b) for a in range(10, 100) for b in range(10, 100) if a != b]
    return [Question(*pairs[i]) for i in generator.permutation(len(pairs))[:count]]


def examples(drawn: Sequence[Question], responses: int, generator: np.random.Generator) -> list[Example]:
    """For each question, ``responses`` answers of different kinds in random order, with their ranks."""
    found = []
    for i, question in enumerate(drawn):
        kinds = generator.permutation(list(PLACE))[:responses]
        texts = tuple(question.answer(str(kind), generator) for kind in kinds)
        places = sorted({PLACE[str(kind)] for kind in kinds})
        ranks = tuple(places.index(PLACE[str(kind)]) + 1 for kind in kinds)
        found.append(Example(f"q{i}", question.prompt, texts, ranks, source="larger"))
    return found


def imitated(question: Question, generator: np.random.Generator) -> str:
    """An answer sampled from the mixture."""
    return question.answer(str(generator.choice(list(MIXTURE), p=list(MIXTURE.values()))), generator)


def truth(question: Question, completion: str) -> float:
    """1 where the completion contains one number and it is the larger one, else 0; style does not matter."""
    return float(re.findall(r"\d+", completion) == [str(max(question.first, question.second))])


# The policy.

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
