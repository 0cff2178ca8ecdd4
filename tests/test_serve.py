"""The scorer over HTTP: a real server on a loopback port, with the requests that trainers send."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.reward.data import Example
from curate.reward.serving.batching import Batcher, Pass, ScoreRequest
from curate.reward.serving.protocols import ServeConfig
from curate.reward.serving.server import LoadedModel, Service, serve
from schemas.errors import CurateError
from tests.servers import Running, until

pytestmark = pytest.mark.slow


class Lengths:
    """A toy scorer: the length of a response plus a hundredth of its position among the distinct ones of its pass."""

    def __init__(self) -> None:
        self.calls: list[list[Example]] = []
        self.go = threading.Event()
        self.go.set()

    def score_examples(self, examples: Sequence[Example]) -> list[list[float]]:
        self.calls.append(list(examples))
        assert self.go.wait(20)
        return [[self._score(example, response) for response in example.responses] for example in examples]

    def _score(self, example: Example, response: str) -> float:
        if response == "refuse":
            raise CurateError("clip.mp4: no frames", hint="look at the file")
        if response == "crash":
            raise RuntimeError("secret internals")
        if response == "nan":
            return float("nan")
        return len(response) + sorted(set(example.responses)).index(response) / 100

    def passes(self) -> list[tuple[str, ...]]:
        return [example.responses for call in self.calls for example in call]


@contextlib.contextmanager
def running(scorer: Lengths, layout: str = "tree", **settings: Any) -> Iterator[Running]:
    server = Running(Service(lambda: LoadedModel(scorer, "toy", layout), ServeConfig(**settings)))
    try:
        until(lambda: server.status() == 200)
        yield server
    finally:
        scorer.go.set()
        server.stop()


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    """One server for tests that do not change its state."""
    with running(Lengths(), max_responses=3, max_items=4, max_bytes=2000, queue=8, window_ms=1) as server:
        yield server


def test_a_prompt_with_its_responses_is_one_pass_in_the_given_order() -> None:
    scorer = Lengths()
    with running(scorer) as server:
        assert server.post("/score", {"prompt": "p", "responses": ["bb", "a", "bb"]}).json() == {
            "scores": [2.01, 1.0, 2.01]
        }
    assert scorer.passes() == [("bb", "a", "bb")]


def test_items_are_answered_in_order_with_one_pass_each() -> None:
    scorer = Lengths()
    with running(scorer) as server:
        items = [{"prompt": "p", "responses": ["aaa"]}, {"prompt": "p", "responses": ["b", "cc"]}]
        assert server.post("/score", {"items": items}).json() == {"items": [{"scores": [3.0]}, {"scores": [1.0, 2.01]}]}
    assert scorer.passes() == [("aaa",), ("b", "cc")]


def test_openrlhf_queries_with_one_prompt_share_a_pass_and_keep_their_order() -> None:
    scorer = Lengths()
    with running(scorer, stop=("<eos>",)) as server:
        body = {
            "query": ["p zz<eos>", "q y", "p a", "p a"],
            "prompts": ["p ", "q ", "p ", "p "],
            "labels": [0, 0, 0, 0],
        }
        answer = server.post("/get_reward", body).json()
    assert answer == {
        "rewards": [2.01, 1.0, 1.0, 1.0],
        "scores": [2.01, 1.0, 1.0, 1.0],
        "extra_logs": {"group_size": [2, 1, 2, 2]},
    }
    assert sorted(scorer.passes()) == [("a", "zz"), ("y",)]


def test_concurrent_samples_of_one_prompt_share_a_pass() -> None:
    scorer = Lengths()
    texts = ["dd", "a", "ccc", "b"]
    with running(scorer, window_ms=60_000, max_responses=4) as server, ThreadPoolExecutor(4) as pool:
        bodies = [
            {"solution_str": text, "extra_info": {"prompt": "p", "index": 1}, "data_source": "x"} for text in texts
        ]
        answers = list(pool.map(lambda body: server.post("/compute_score", body).json(), bodies))
    assert scorer.passes() == [("a", "b", "ccc", "dd")]  # sorted: the order of arrival must not matter
    assert answers == [{"score": 2.03}, {"score": 1.0}, {"score": 3.02}, {"score": 1.01}]


def test_a_group_that_is_not_full_is_scored_after_the_window() -> None:
    scorer = Lengths()
    with running(scorer, window_ms=30) as server:
        one = {"query": ["pa"], "prompts": ["p"]}
        assert server.post("/get_reward", one).json()["rewards"] == [1.0]
        assert server.post("/get_reward", one).json()["rewards"] == [1.0]
    assert scorer.passes() == [("a",), ("a",)]


def test_verl_batches_are_grouped_by_prompt(shared: Running) -> None:
    infos = [{"prompt": "p"}, {"prompt": "q"}, {"prompt": "p"}]
    answer = shared.post("/compute_score", {"solution_strs": ["b", "b", "a"], "extra_infos": infos})
    assert answer.json() == {"scores": [1.01, 1.0, 1.0]}


def test_waiting_requests_are_scored_in_one_call_with_equal_scores() -> None:
    scorer = Lengths()
    bodies = [{"prompt": f"p{i}", "responses": ["x" * i, "y"]} for i in range(2, 8)]
    with running(scorer) as server:
        alone = [server.post("/score", body).json() for body in bodies]
        scorer.go.clear()
        with ThreadPoolExecutor(8) as pool:
            first = pool.submit(server.post, "/score", {"prompt": "first", "responses": ["x"]})
            until(lambda: len(scorer.calls) == 7)
            rest = [pool.submit(server.post, "/score", body) for body in bodies]
            until(lambda: server.depth() == 12)
            scorer.go.set()
            together = [answer.result().json() for answer in rest]
        assert first.result().status_code == 200
    assert len(scorer.calls[-1]) == 6
    assert together == alone


def test_a_full_queue_answers_429_with_retry_after() -> None:
    scorer = Lengths()
    scorer.go.clear()
    with running(scorer, queue=3) as server, ThreadPoolExecutor(2) as pool:
        body = {"prompt": "p", "responses": ["a", "b"]}
        first = pool.submit(server.post, "/score", body)
        until(lambda: len(scorer.calls) == 1)
        second = pool.submit(server.post, "/score", body)
        until(lambda: server.depth() == 2)
        refused = server.post("/score", body)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert server.depth() == 2
        scorer.go.set()
        assert [first.result().status_code, second.result().status_code] == [200, 200]
        assert server.post("/score", body).status_code == 200


def test_a_timeout_answers_503_and_drops_the_work() -> None:
    scorer = Lengths()
    scorer.go.clear()
    with running(scorer, timeout=0.3) as server, ThreadPoolExecutor(2) as pool:
        first = pool.submit(server.post, "/score", {"prompt": "p", "responses": ["a"]})
        until(lambda: len(scorer.calls) == 1)
        second = pool.submit(server.post, "/score", {"prompt": "p", "responses": ["dropped"]})
        assert [first.result().status_code, second.result().status_code] == [503, 503]
        assert "retry-after" in first.result().headers
        scorer.go.set()
        until(lambda: server.depth() == 0)
        assert server.post("/score", {"prompt": "p", "responses": ["b"]}).status_code == 200
    assert scorer.passes() == [("a",), ("b",)]


def test_a_failing_item_fails_only_its_own_request() -> None:
    scorer = Lengths()
    with running(scorer, window_ms=60_000, max_responses=4) as server, ThreadPoolExecutor(4) as pool:
        bodies = [{"query": [f"p{text}"], "prompts": ["p"]} for text in ("ok", "refuse", "crash", "nan")]
        ok, refused, crashed, nan = pool.map(lambda body: server.post("/get_reward", body), bodies)
    assert (ok.status_code, ok.json()["rewards"], ok.json()["extra_logs"]) == (200, [2.0], {"group_size": [1]})
    assert (refused.status_code, refused.json()) == (422, {"error": "clip.mp4: no frames", "hint": "look at the file"})
    for defect in (crashed, nan):
        assert defect.status_code == 500
        assert set(defect.json()) == {"error", "hint"}
        assert "secret" not in defect.text
        assert "Traceback" not in defect.text


GROUP = ["dd", "a", "ccc", "a"]
"""Four responses of a group, two of them equal."""


def test_a_group_is_scored_when_it_is_complete_whatever_the_order_of_arrival() -> None:
    for order in ((0, 1, 2, 3), (3, 2, 0, 1)):
        scorer = Lengths()
        with running(scorer, "set", group_size=4) as server, ThreadPoolExecutor(4) as pool:
            answers = {}
            for i in order:
                body = {"query": [f"p{GROUP[i]}"], "prompts": ["p"]}
                answers[i] = pool.submit(server.post, "/get_reward", body)
                while server.depth() != len(answers) < 4:  # arrive one after the other
                    time.sleep(0.005)
            found = [answers[i].result().json()["rewards"] for i in range(4)]
        assert found == [[2.02], [1.0], [3.01], [1.0]]
        assert scorer.passes() == [("a", "ccc", "dd")]


@settings(max_examples=30, deadline=None)
@given(
    order=st.permutations(range(8)),
    cuts=st.sets(st.integers(1, 7)),
    texts=st.lists(st.sampled_from(["a", "bb", "ccc", "dddd"]), min_size=8, max_size=8),
)
def test_scores_of_two_groups_do_not_depend_on_arrival(order: list[int], cuts: set[int], texts: list[str]) -> None:
    """Two groups with one prompt, whose responses arrive in any order, in any requests of one or more."""

    async def scores() -> dict[int, float]:
        batcher = Batcher(Lengths(), batch=4, queue=99, window=60, max_responses=8)
        batcher.start()
        edges = [0, *sorted(cuts), 8]
        sent, waiting = [], []
        for start, end in pairwise(edges):
            for group in (0, 1):
                members = [i for i in order[start:end] if i % 2 == group]
                if members:
                    responses = tuple(texts[i] for i in members)
                    request = ScoreRequest("p", responses, whole=False, group_size=4, group_id=str(group))
                    sent.append(members)
                    waiting.append(asyncio.ensure_future(batcher.score([request])))
                    await asyncio.sleep(0)
        found = await asyncio.gather(*waiting)
        await batcher.close()
        return {
            i: score for own, [one] in zip(sent, found, strict=True) for i, score in zip(own, one.scores, strict=True)
        }

    groups = [sorted({texts[i] for i in range(8) if i % 2 == group}) for group in (0, 1)]
    assert asyncio.run(scores()) == {i: len(texts[i]) + groups[i % 2].index(texts[i]) / 100 for i in range(8)}


def test_groups_with_one_prompt_are_kept_apart_by_their_id_and_sizes_come_with_requests() -> None:
    scorer = Lengths()
    with running(scorer, "causal") as server, ThreadPoolExecutor(4) as pool:
        sent = [
            {"solution_str": text, "extra_info": {"prompt": "p"}, "group_id": group_id, "group_size": 2}
            for text, group_id in (("a", "x"), ("bb", 7), ("ccc", 7), ("dddd", "x"))
        ]
        answers = [answer.json() for answer in pool.map(lambda body: server.post("/compute_score", body), sent)]
        batch = {
            "solution_strs": ["e", "f", "gg", "h"],
            "extra_infos": [{"prompt": "p"}] * 4,
            "group_id": [1, 2, 1, 2],
            "group_size": [2, 2, None, 2],
        }
        assert server.post("/compute_score", batch).status_code == 422
        assert server.post("/compute_score", {**batch, "group_size": 2}).json() == {"scores": [1.0, 1.0, 2.01, 1.01]}
    assert answers == [{"score": 1.0}, {"score": 2.0}, {"score": 3.01}, {"score": 4.01}]
    assert sorted(scorer.passes()) == [("a", "dddd"), ("bb", "ccc"), ("e", "gg"), ("f", "h")]


def test_an_incomplete_group_is_refused_and_the_next_one_is_scored() -> None:
    scorer = Lengths()
    with running(scorer, "set", timeout=0.5, group_size=3) as server, ThreadPoolExecutor(3) as pool:
        bodies = [{"query": [f"p{text}"], "prompts": ["p"]} for text in "ab"]
        for answer in pool.map(lambda body: server.post("/get_reward", body), bodies):
            assert answer.status_code == 422
            assert "2 of 3 responses arrived" in answer.json()["error"]
        assert (scorer.calls, server.depth()) == ([], 0)
        one = {"query": ["pa", "pb", "pc"], "prompts": ["p"] * 3}
        assert server.post("/get_reward", one).json()["rewards"] == [1.0, 1.01, 1.02]


def test_responses_that_do_not_fit_into_their_group_are_refused() -> None:
    with running(Lengths(), "set", timeout=1) as server, ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.post, "/get_reward", {"query": ["pa"], "prompts": ["p"], "group_size": 3})
        until(lambda: server.depth() == 1)
        for count, size, message in ((1, 4, "3 by an earlier response"), (3, 3, "3 more are too many")):
            body = {"query": ["pb"] * count, "prompts": ["p"] * count, "group_size": size}
            answer = server.post("/get_reward", body)
            assert (answer.status_code, message in answer.json()["error"]) == (422, True)
        assert server.post("/get_reward", {"query": ["pb"], "prompts": ["p"], "group_size": 17}).status_code == 413
        assert first.result().status_code == 422


def test_without_a_group_size_responses_are_compared_only_within_their_request() -> None:
    scorer = Lengths()
    with running(scorer, "set") as server:
        alone = server.post("/get_reward", {"query": ["pa"], "prompts": ["p"]})
        assert (alone.status_code, "--group-size" in alone.json()["hint"]) == (422, True)
        both = {"solution_strs": ["b", "a"], "extra_infos": [{"prompt": "p"}] * 2}
        assert server.post("/compute_score", both).json() == {"scores": [1.01, 1.0]}


def test_an_error_of_a_group_reaches_all_its_responses() -> None:
    scorer = Lengths()
    with running(scorer, "set", group_size=2) as server, ThreadPoolExecutor(2) as pool:
        bodies = [{"query": [f"p{text}"], "prompts": ["p"]} for text in ("ok", "refuse")]
        answers = list(pool.map(lambda body: server.post("/get_reward", body), bodies))
    assert [answer.status_code for answer in answers] == [422, 422]
    assert len(scorer.calls) == 1


def test_responses_that_complete_a_group_are_accepted_when_the_queue_is_full() -> None:
    with running(Lengths(), "set", queue=1, group_size=2, timeout=5) as server, ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.post, "/get_reward", {"query": ["pa"], "prompts": ["p"]})
        until(lambda: server.depth() == 1)
        assert server.post("/get_reward", {"query": ["qa"], "prompts": ["q"]}).status_code == 429
        assert server.post("/get_reward", {"query": ["pb"], "prompts": ["p"]}).json()["rewards"] == [1.01]
        assert first.result().json()["rewards"] == [1.0]


def test_a_prompt_without_its_media_is_scored_only_where_allowed_and_the_answer_says_so() -> None:
    expanded = "<|vision_start|><|image_pad|><|image_pad|><|image_pad|><|vision_end|>p"
    prompt = "<|vision_start|><|image_pad|><|vision_end|>p"
    body = {"query": [f"{expanded}aa", "pb"], "prompts": [prompt, "p"]}
    with running(Lengths()) as server:
        assert "refers to an image" in server.post("/get_reward", body).json()["error"]
    scorer = Lengths()
    with running(scorer, allow_blind=True) as server:
        answer = server.post("/get_reward", body).json()
        assert (answer["rewards"], answer["extra_logs"]["blind"]) == ([2.0, 1.01], [1, 0])
        messages = [{"role": "user", "content": [{"type": "video", "video": "x"}, {"type": "text", "text": "q"}]}]
        single = {"solution_str": "a", "extra_info": {"question": messages, "index": 3, "images": None}}
        assert server.post("/compute_score", single).json() == {"score": 1.0, "blind": True}
        assert server.post("/score", {"prompt": "<image>\nr", "responses": ["a"]}).json() == {
            "scores": [1.0],
            "blind": True,
        }
    assert [example.prompt for call in scorer.calls for example in call][-2:] == ["q", "r"]


QUERY = {"query": ["pa"], "prompts": ["p"]}
WRONG: list[tuple[str, str | dict[str, Any] | list[Any], int, str]] = [
    ("/score", "{", 400, "not JSON"),
    ("/score", "[" * 1500, 400, "not JSON"),
    ("/score", [], 422, "not an object"),
    ("/score", {}, 422, "prompt"),
    ("/score", {"prompt": 3, "responses": ["a"]}, 422, "prompt"),
    ("/score", {"prompt": "p", "responses": "a"}, 422, "responses"),
    ("/score", {"prompt": "p", "responses": ["a", None]}, 422, "responses.1"),
    ("/score", {"prompt": "p", "responses": []}, 422, "responses: "),
    ("/score", {"prompt": "p", "responses": ["a"], "respones": []}, 422, "respones"),
    ("/score", {"prompt": "p", "responses": ["\ud800"]}, 422, "surrogates not allowed"),
    ("/score", {"prompt": "p", "responses": ["a"] * 4}, 413, "4 responses"),
    ("/score", {"items": []}, 422, "items: "),
    ("/score", {"items": [{"prompt": "p", "responses": ["a"]}] * 5}, 413, "items: 5"),
    ("/score", {"items": [{"prompt": "p", "responses": ["a"] * 3}] * 3}, 413, "at most 8 may wait"),
    ("/score", {"items": [{"prompt": "p", "responses": ["a"]}, {"prompt": "p", "responses": []}]}, 422, "items.1"),
    ("/score", {"prompt": "p", "responses": ["a" * 3000]}, 413, "too large"),
    ("/score", {"prompt": "p", "responses": ["a"], "video": "clip.mp4"}, 422, "reads no media"),
    ("/score", {"prompt": "<|im_start|>user\np<|im_end|>", "responses": ["a"]}, 422, "<|im_start|> <|im_end|>"),
    ("/score", {"prompt": "<|start_header_id|>user", "responses": ["a"]}, 422, "<|start_header_id|>"),
    ("/score", {"prompt": "<image>p", "responses": ["a"]}, 422, "refers to an image"),
    ("/get_reward", {"query": ["[INST] p [/INST]a"], "prompts": ["[INST] p [/INST]"]}, 422, "[INST]"),
    ("/get_reward", {"query": ["pa"], "prompts": ["p"], "group_size": [2, 2]}, 422, "2 values for 1"),
    ("/get_reward", {"query": ["pa", "pb"], "prompts": ["p"] * 2, "group_size": [2, 3]}, 422, "within one group"),
    ("/get_reward", {"query": ["pa"], "prompts": ["p"], "group_size": 0}, 422, "group_size"),
    (
        "/compute_score",
        {"solution_str": "a", "extra_info": {"prompt": [{"role": "user", "content": [{"type": "video"}]}]}},
        422,
        "refers to an image or a video",
    ),
    ("/get_reward", {"query": ["pa"]}, 422, "prompts"),
    ("/get_reward", {"query": "pa", "prompts": ["p"]}, 422, "query"),
    ("/get_reward", {"query": ["pa", "pb"], "prompts": ["p"]}, 422, "2 queries but 1 prompts"),
    ("/get_reward", {"query": ["pa", "xa"], "prompts": ["p", "p"]}, 422, "query.1"),
    ("/get_reward", {"query": ["pa", "pb", "pc", "pd"], "prompts": ["p"] * 4}, 413, "4 responses"),
    ("/compute_score", {"solution_str": "a", "extra_info": {}}, 422, "extra_info.prompt"),
    ("/compute_score", {"solution_strs": ["a"], "extra_infos": []}, 422, "1 solution_strs but 0"),
]


@pytest.mark.parametrize(("path", "body", "status", "message"), WRONG)
def test_an_invalid_request_is_refused_with_a_message(
    shared: Running, path: str, body: str | dict[str, Any] | list[Any], status: int, message: str
) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    answer = shared.client.post(path, content=content)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error", "hint"}
    assert message in answer.json()["error"]
    assert shared.post("/get_reward", QUERY).json()["rewards"] == [1.0]  # and the server goes on


def test_an_unknown_route_or_method_lists_the_routes(shared: Running) -> None:
    for answer, status in ((shared.client.get("/scores"), 404), (shared.client.get("/score"), 405)):
        assert answer.status_code == status
        assert "/get_reward" in answer.json()["hint"]


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A media folder with a clip, a folder, and links that lead out of it; next to it a secret file."""
    root = tmp_path / "media"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "clip.mp4").write_bytes(b"clip")
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (root / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (root / "out").symlink_to(tmp_path)
    return root


def test_media_are_read_only_from_the_media_folder(media: Path) -> None:
    scorer = Lengths()
    secret = str(media.parent / "secret.mp4")
    outside = [
        "../secret.mp4",
        "sub/../../secret.mp4",
        secret,
        "link.mp4",
        "out/secret.mp4",
        "sub",
        "",
        ".",
        "no",
        "a\0b",
    ]
    with running(scorer, media=media) as server:
        for path in outside:
            for place in ({"video": path}, {"images": ["sub/clip.mp4", path]}):
                assert server.post("/score", {"prompt": "p", "responses": ["a"], **place}).status_code == 422, path
            verl = {"solution_str": "a", "extra_info": {"prompt": "p", "video": path}}
            assert server.post("/compute_score", verl).status_code == 422, path
        assert scorer.calls == []
        good = {"prompt": "p", "responses": ["a"], "video": "sub/clip.mp4"}
        assert server.post("/score", good).status_code == 200
    assert [example.video for call in scorer.calls for example in call] == [media.resolve() / "sub" / "clip.mp4"]


def test_health_is_503_while_loading_and_then_describes_the_model() -> None:
    loaded = threading.Event()

    def load() -> LoadedModel:
        assert loaded.wait(20)
        return LoadedModel(Lengths(), "toy", "causal")

    server = Running(Service(load))
    try:
        assert (server.status(), server.client.get("/health").json()) == (503, {"status": "loading"})
        early = server.post("/get_reward", QUERY)
        assert (early.status_code, early.headers["retry-after"]) == (503, "1")
        loaded.set()
        until(lambda: server.status() == 200)
        health = server.client.get("/health").json()
        assert health == {"status": "ok", "model": "toy", "layout": "causal", "queue_depth": 0}
    finally:
        loaded.set()
        server.stop()


def test_item_ids_depend_only_on_the_content() -> None:
    scorer = Lengths()
    with running(scorer) as server:
        for responses in (["a", "b"], ["b", "a"], ["a", "b"]):
            assert server.post("/score", {"prompt": "p", "responses": responses}).status_code == 200
    first, other, again = [example.item_id for call in scorer.calls for example in call]
    assert first == again != other


def test_stopping_closes_the_scorer_after_its_last_answer() -> None:
    closed: list[int] = []
    scorer = Lengths()
    server = Running(
        Service(lambda: LoadedModel(scorer, "toy", "tree", close=lambda: closed.append(len(scorer.calls))))
    )
    until(lambda: server.status() == 200)
    assert server.post("/get_reward", QUERY).status_code == 200
    assert closed == []
    server.stop()
    assert closed == [1]


def test_stopping_answers_accepted_requests() -> None:
    scorer = Lengths()
    scorer.go.clear()
    with running(scorer) as server, ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(server.post, "/score", {"prompt": "p", "responses": ["a" * i]}) for i in (1, 2, 3)]
        until(lambda: len(scorer.calls) == 1 and server.depth() == 2)
        server.server.should_exit = True
        time.sleep(0.3)
        scorer.go.set()
        assert [answer.result().json() for answer in answers] == [
            {"scores": [1.0]},
            {"scores": [2.0]},
            {"scores": [3.0]},
        ]


def test_a_load_error_stops_the_server_and_is_raised() -> None:
    def load() -> LoadedModel:
        raise CurateError("no model in model/")

    urls: list[str] = []
    with pytest.raises(CurateError, match="no model"):
        serve(load, ServeConfig(), host="127.0.0.1", port=0, on_listening=urls.append)
    assert urls[0].startswith("http://127.0.0.1:")
    taken = socket.create_server(("127.0.0.1", 0))
    with taken, pytest.raises(CurateError, match="cannot listen"):
        serve(load, ServeConfig(), host="127.0.0.1", port=taken.getsockname()[1], on_listening=urls.append)


def test_a_group_respects_its_limit_and_keeps_requests_whole() -> None:
    async def passes() -> list[tuple[str, ...]]:
        scorer = Lengths()
        batcher = Batcher(scorer, batch=4, queue=99, window=60, max_responses=3)
        batcher.start()
        requests = [ScoreRequest("p", responses, whole=False) for responses in (("a", "b"), ("c", "d"), ("e",))]
        scored = asyncio.gather(
            *[batcher.score([request]) for request in requests], batcher.score([ScoreRequest("p", ("z",), whole=False)])
        )
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await batcher.close()  # scores the groups that still wait
        assert [one[0].group_size for one in await scored] == [2, 3, 3, 1]
        return scorer.passes()

    assert asyncio.run(passes()) == [("a", "b"), ("c", "d", "e"), ("z",)]


def test_an_empty_pass_is_not_awaited() -> None:
    assert not Pass().is_awaited
