"""OpenRLHF: an agent executor that scores the responses to a prompt together, by ``curate serve``.

    # agent.py, for --train.agent_func_path agent.py
    from curate.clients.openrlhf import agent_executor

    AgentExecutor = agent_executor("http://localhost:8000")

OpenRLHF's own client (``--reward.remote_url``), also with a function from a file, logs every error and goes on without
the reward; an error of an executor stops the training.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from curate.clients.http import post_async
from curate.clients.prompts import ChatTemplate
from schemas.errors import CurateError


@dataclass
class Group:
    """The samples of one prompt, which OpenRLHF generates at the same time."""

    key: tuple[Any, ...]
    shared: Any
    """An object that these samples share and no others; kept, so that its id is not given to another one."""
    scores: asyncio.Future[list[float]]
    size: int = 0
    responses: dict[int, str] = field(default_factory=dict)


def agent_executor(
    url: str, *, media: str = "", system: str = "", allow_blind: bool = False, timeout: float = 600.0
) -> type[Any]:
    """The class ``AgentExecutor`` of an agent file.

    Parameters
    ----------
    url : str
        Address of the server, without a route.
    media : str
        The server's media folder as this machine sees it, where the data set's images are not relative to it.
    system : str
        The system message of the data set's prompts, where they have one; the reward model does not see it.
    allow_blind : bool
        Score prompts whose text refers to images that the data set does not have in its column.
    timeout : float
        Seconds for the scores of a group, after its last sample.

    Images are the paths in the data set's column, which the server reads in its media folder. Prompts are plain or in
    the policy's chat template, which is removed. Every sample of a prompt gets its score in one pass over all of them,
    in the order of the samples. Raises CurateError for other prompts, and ScoreError where the server does not score.
    """
    from openrlhf.utils.agent import SingleTurnAgentExecutor

    class AgentExecutor(SingleTurnAgentExecutor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._open: dict[tuple[Any, ...], Group] = {}
            self._template: tuple[Any, ChatTemplate] | None = None

        async def execute(
            self,
            prompt: str,
            label: Any,
            sampling_params: Any,
            max_length: int,
            hf_tokenizer: Any,
            llm_engine: Any,
            images: Any = None,
        ) -> dict[str, Any]:
            """The output of one sample, with its reward."""
            group, place = self._join((prompt, id(sampling_params)), sampling_params)
            await asyncio.sleep(0)  # the other samples of the prompt join before any of them goes on
            if self._open.get(group.key) is group:
                del self._open[group.key]
            try:
                output: dict[str, Any] = await super().execute(
                    prompt, label, sampling_params, max_length, hf_tokenizer, llm_engine, images
                )
                [(start, end)] = output["action_ranges"]
                answer = hf_tokenizer.decode(output["observation_tokens"][start:end], skip_special_tokens=True)
                group.responses[place] = answer
                if len(group.responses) == group.size:
                    responses = [group.responses[i] for i in range(group.size)]
                    body = self._request(prompt, responses, hf_tokenizer, images)
                    found = await post_async(f"{url.rstrip('/')}/score", body, timeout=timeout)
                    group.scores.set_result(found["scores"])
            except BaseException as error:  # the other samples of the group cannot be scored either
                if not group.scores.done():
                    group.scores.set_exception(CurateError(f"another response to the prompt failed: {error}"))
                    group.scores.exception()  # read once, as perhaps no other sample waits
                raise
            score = (await group.scores)[place]
            output.update(reward=score, scores=score)
            return output

        def _join(self, key: tuple[Any, ...], shared: Any) -> tuple[Group, int]:
            """The group of a sample, and the sample's place in it."""
            group = self._open.get(key)
            if group is None:
                group = self._open[key] = Group(key, shared, asyncio.get_running_loop().create_future())
            group.size += 1
            return group, group.size - 1

        def _request(self, prompt: str, responses: Sequence[str], tokenizer: Any, images: Any) -> dict[str, Any]:
            """The body of a request to /score."""
            if self._template is None or self._template[0] is not tokenizer:
                self._template = (tokenizer, ChatTemplate(tokenizer, system=system))
            plain = self._template[1].plain(prompt)
            paths = [images] if isinstance(images, str) else list(images or ())
            if not all(isinstance(path, str) for path in paths):
                raise CurateError("the data set's images are not paths", hint="give paths in the server's media folder")
            if media:
                paths = [os.path.relpath(path, media) for path in paths]
            if plain.names_media and not paths and not allow_blind:
                raise CurateError(
                    "a prompt refers to images or videos, but the data set's column has none",
                    hint="name the column (--data.image_key), or pass allow_blind=True to score without them",
                )
            return {"prompt": plain.text, "responses": list(responses), "images": paths}

    return AgentExecutor
