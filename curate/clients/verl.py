"""verl: reward functions that ask ``curate serve``, for its reward managers of single samples and of batches.

    reward.custom_reward_function.path=pkg://curate.clients.verl
    reward.custom_reward_function.name=compute_score          # compute_scores for the manager "batch"
    +reward.custom_reward_function.reward_kwargs.url=http://localhost:8000
    +reward.custom_reward_function.reward_kwargs.group_size=8 # rollout.n, where the layout compares responses

``extra_info`` has the prompt (``prompt`` or ``question``, a text or messages) and its ``video`` or ``images``, as
``curate release export --for verl`` writes it. The responses to a prompt are recognized by its ``index`` and ``split``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curate.clients.http import post, post_async
from schemas.errors import CurateError

FIELDS = ("prompt", "question", "video", "images")
"""What the server reads of extra_info."""
GroupSize = int | Mapping[str, int] | None
"""Responses to one prompt, or their number by split, as verl validates with another one than it trains."""


async def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,  # noqa: ARG001
    extra_info: Mapping[str, Any],
    *,
    url: str,
    group_size: GroupSize = None,
    timeout: float = 600.0,
    **_ignored: Any,
) -> float:
    """The score of one response, higher is better. Waits for the other responses to the prompt. Raises ScoreError."""
    group_id, size = _group(data_source, extra_info, group_size)
    body = {
        "solution_str": solution_str,
        "extra_info": _known_fields(extra_info),
        "group_id": group_id,
        "group_size": size,
    }
    answer = await post_async(f"{url.rstrip('/')}/compute_score", body, timeout=timeout)
    return float(answer["score"])


def compute_scores(
    data_sources: Sequence[str],
    solution_strs: Sequence[str],
    ground_truths: Sequence[Any],  # noqa: ARG001
    extra_infos: Sequence[Mapping[str, Any]],
    *,
    url: str,
    group_size: GroupSize = None,
    timeout: float = 600.0,
    batch: int = 256,
    **_ignored: Any,
) -> list[float]:
    """The scores of a batch, in order, in requests of at most ``batch`` responses. Raises ScoreError."""
    groups = [_group(source, info, group_size) for source, info in zip(data_sources, extra_infos, strict=True)]
    together: dict[tuple[str, int | None], list[int]] = {}
    for i, group in enumerate(groups):
        together.setdefault(group, []).append(i)
    scores = [0.0] * len(solution_strs)
    for places in _chunks(list(together.values()), batch):
        body = {
            "solution_strs": [solution_strs[i] for i in places],
            "extra_infos": [_known_fields(extra_infos[i]) for i in places],
            "group_id": [groups[i][0] for i in places],
            "group_size": [groups[i][1] for i in places],
        }
        answer = post(f"{url.rstrip('/')}/compute_score", body, timeout=timeout)
        for i, score in zip(places, answer["scores"], strict=True):
            scores[i] = float(score)
    return scores


def _known_fields(extra_info: Mapping[str, Any]) -> dict[str, Any]:
    return {name: extra_info[name] for name in FIELDS if extra_info.get(name) is not None}


def _group(data_source: str, extra_info: Mapping[str, Any], size: GroupSize) -> tuple[str, int | None]:
    """The group of a response, and how many responses it has."""
    split, index = extra_info.get("split", ""), extra_info.get("index", "")
    if isinstance(size, Mapping):
        if split not in size:
            raise CurateError(f"group_size has no number for the split {split!r}", hint=f"it has {', '.join(size)}")
        size = size[split]
    return f"{data_source}/{split}/{index}", size


def _chunks(groups: Sequence[Sequence[int]], most: int) -> list[list[int]]:
    """The positions of whole groups, at most ``most`` together unless one group is larger.

    >>> _chunks([[0, 2], [1, 3], [4, 5]], 4)
    [[0, 2, 1, 3], [4, 5]]
    """
    chunks: list[list[int]] = []
    for group in groups:
        if chunks and len(chunks[-1]) + len(group) <= most:
            chunks[-1].extend(group)
        else:
            chunks.append(list(group))
    return chunks
