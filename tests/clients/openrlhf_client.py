"""Jobs with OpenRLHF: its dataset of preferences reads a file, and its executors get rewards from our server."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(Path("cache").resolve())}

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from openrlhf.datasets import RewardDataset
from openrlhf.datasets.utils import blending_datasets
from openrlhf.utils.agent import SingleTurnAgentExecutor
from transformers import AutoTokenizer

from curate.clients.openrlhf import agent_executor


def preferences(path: str, tokenizer: str, template: str) -> dict[str, list[list[str]]]:
    """Return what train_rm and train_dpo see of each row: [chosen, rejected] with the prompt, decoded."""
    data = SimpleNamespace(
        prompt_key="prompt", chosen_key="chosen", rejected_key="rejected", apply_chat_template=True
    )  # as by the options in the README of an export
    strategy = SimpleNamespace(args=SimpleNamespace(data=data, use_ms=False), print=print, is_rank_0=lambda: True)
    loaded = AutoTokenizer.from_pretrained(tokenizer)
    loaded.chat_template = template
    rows = blending_datasets(path, None, strategy, dataset_split="train")
    found = {}
    for name, is_dpo in (("rm", False), ("dpo", True)):
        dataset = RewardDataset(rows, loaded, 4096, strategy, is_dpo=is_dpo, num_processors=1)
        found[name] = [[loaded.decode(dataset[i][side][0]) for side in (0, 2)] for i in range(len(dataset))]
    return found


class Engine:
    """Returns given responses in place of a policy's, the last one of a prompt first."""

    def __init__(self, tokenizer: Any, responses: Sequence[str]) -> None:
        self.tokenizer, self.responses = tokenizer, list(responses)

    async def generate(self, *_tokens_and_sampling: Any, **_media: Any) -> Any:
        text = self.responses.pop(0)
        await asyncio.sleep(0.05 * len(self.responses))
        tokens = [*self.tokenizer(text, add_special_tokens=False)["input_ids"], self.tokenizer.eos_token_id]
        return SimpleNamespace(outputs=[SimpleNamespace(token_ids=tokens, finish_reason="stop", logprobs=None)])


def rollout(
    url: str, own: bool, tokenizer: str, template: str, prompts: list[dict[str, Any]], **options: Any
) -> list[Any]:
    """Return the rewards of all responses to each prompt, or the error: as RolloutRayActor.generate_responses asks.

    own: by our executor, else by OpenRLHF's with the address of the server.
    """
    policy = AutoTokenizer.from_pretrained(tokenizer)
    policy.chat_template = template
    executor = agent_executor(url, **options)() if own else SingleTurnAgentExecutor(f"{url}/get_reward")

    async def generate_responses(prompt: dict[str, Any]) -> list[float | None]:
        text, sampling = prompt["prompt"], SimpleNamespace(max_tokens=64, logprobs=None)
        if prompt.get("templated"):
            chat = [{"role": "user", "content": text}]
            text = policy.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        engine = Engine(policy, prompt["responses"])
        tasks = [
            executor.execute(text, None, sampling, prompt.get("max_length", 2048), policy, engine, prompt.get("images"))
            for _ in prompt["responses"]
        ]
        outputs = await asyncio.gather(*tasks)
        assert all(output["reward"] == output["scores"] for output in outputs)
        return [output["reward"] for output in outputs]

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*map(generate_responses, prompts), return_exceptions=True)

    return [str(found) if isinstance(found, Exception) else found for found in asyncio.run(all_at_once())]


if __name__ == "__main__":
    jobs = {"preferences": preferences, "rollout": rollout}
    print(json.dumps(jobs[sys.argv[1]](**json.load(sys.stdin))))
