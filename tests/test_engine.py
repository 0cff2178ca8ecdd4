"""Engines: results in order whatever happens to the workers, the same from local processes and from Ray."""

from __future__ import annotations

import atexit
import os
import signal
import time
from collections.abc import Iterator
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
import pytest

from curate.engine import Engine, LocalEngine, Part, PartError, open_engine
from curate.engine.pool import AHEAD
from curate.engine.ray import SAFE
from curate.rankers.hierarchical.buckets import fit_files
from curate.simulation.world import simulate_world
from curate.votes.files import read_votes, write_votes
from schemas.config import SimulateConfig
from schemas.engine import EngineConfig
from schemas.errors import MissingError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["local", "ray"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param == "local":
        with LocalEngine(workers=2) as engine:
            yield engine
    else:
        with open_engine(EngineConfig(kind="ray", workers=2, address=cluster().address)) as engine:
            yield engine


@cache
def cluster() -> Any:
    """Two nodes of Ray with one core each, which are stopped when the tests end."""
    if find_spec("ray") is None:
        pytest.skip("the extra ray is not installed")
    os.environ.update(SAFE)
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    atexit.register(found.shutdown)
    found.worker = found.add_node(num_cpus=1)
    return found


def parts(*arguments: Any) -> list[Part]:
    return [Part(f"part {number}", argument) for number, argument in enumerate(arguments)]


def spectrum(seed: int) -> np.ndarray[Any, Any]:
    """Sums of floating-point numbers, which another order of additions would change; the first parts take longest."""
    time.sleep(max(0.0, 0.05 - 0.01 * seed))
    return np.random.default_rng(seed).normal(size=(200, 50)).cumsum(axis=0)


def die_once(folder: Path, argument: int) -> int:
    """Kill the own process the first time, as a lost node would."""
    if argument == 1 and not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return argument


def test_an_engine_needs_a_worker_and_ray_a_cluster() -> None:
    with pytest.raises(ValueError, match="workers"):
        LocalEngine(workers=0)
    reason = r"no Ray cluster at 127\.0\.0\.1:1" if find_spec("ray") else "the engine ray needs Ray"
    with pytest.raises(MissingError, match=reason):
        open_engine(EngineConfig(kind="ray", address="127.0.0.1:1"))


def test_results_come_in_order_and_bit_for_bit(engine: Engine) -> None:
    results = list(engine.map(spectrum, parts(*range(12)), timeout=60))
    assert all((result == spectrum(seed)).all() for seed, result in enumerate(results))
    assert list(engine.map(spectrum, [], timeout=60)) == []


def test_an_exception_a_late_part_and_a_dead_worker_are_results_in_their_places(engine: Engine) -> None:
    ones, error, after = engine.map(np.ones, parts((2, 3), "bad", 1), timeout=60)
    assert (ones == np.ones((2, 3))).all()
    assert isinstance(error, TypeError)
    assert after == [1.0]
    done, late, after = engine.map(time.sleep, parts(0, 60, 0), timeout=2)
    assert (done, late.code, after) == (None, "timeout", None)
    assert str(late) == "part 1: took more than 2 seconds"
    [dead] = engine.map(os._exit, [Part("dead.mp4", 7)], timeout=60)
    assert isinstance(dead, PartError)
    assert dead.code == "crashed"
    assert str(dead).startswith("dead.mp4: its process died")


def test_a_worker_that_dies_is_replaced(engine: Engine, tmp_path: Path) -> None:
    results = list(engine.map(partial(die_once, tmp_path), parts(*range(6)), timeout=60))
    assert [result for result in results if not isinstance(result, PartError)] == (
        [0, 2, 3, 4, 5] if engine.tries == 1 else [0, 1, 2, 3, 4, 5]
    )


def test_a_new_call_ends_an_unfinished_one_and_few_parts_are_computed_ahead(engine: Engine) -> None:
    first = engine.map(abs, parts(*range(-100, 0)), timeout=60)
    assert next(first) == 100
    time.sleep(0.3)
    assert next(first) == 99
    assert engine._round.assigned <= 2 + AHEAD * 2
    assert list(engine.map(abs, parts(-3), timeout=60)) == [3]
    with pytest.raises(RuntimeError, match="meanwhile"):
        list(first)


def test_a_call_ends_when_another_thread_interrupts_it(engine: Engine) -> None:
    Timer(0.3, engine.interrupt).start()
    with pytest.raises(RuntimeError, match="meanwhile"):
        list(engine.map(time.sleep, parts(60), timeout=90))
    assert list(engine.map(time.sleep, parts(0), timeout=60)) == [None]


def test_time_between_results_does_not_count(engine: Engine) -> None:
    for result in engine.map(abs, parts(1, 2, 3, 4, 5, 6, 7), timeout=1.5):
        assert isinstance(result, int)
        time.sleep(0.4)


def test_a_local_process_that_hangs_or_dies_idle_is_replaced() -> None:
    with LocalEngine(workers=2) as engine:
        list(engine.map(abs, parts(*range(8)), timeout=60))
        for worker in engine._workers:
            worker.handle.process.kill()
            worker.handle.process.wait()
        assert list(engine.map(abs, parts(*range(8)), timeout=60)) == list(range(8))
        while not all(worker.started for worker in engine._workers):
            list(engine.map(abs, parts(*range(8)), timeout=60))
        stopped = engine._workers[0].handle.process.pid
        os.kill(stopped, signal.SIGSTOP)
        results = list(engine.map(abs, parts(*range(8)), timeout=2))
        assert sum(isinstance(result, PartError) for result in results) == 1
        pids = [worker.handle.process.pid for worker in engine._workers]
    assert stopped not in pids
    for pid in [stopped, *pids]:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize("engine", ["ray"], indirect=True)
def test_a_lost_node_changes_nothing(engine: Engine) -> None:
    results = engine.map(spectrum, parts(*range(20)), timeout=60)
    first = [next(results) for _ in range(3)]
    cluster().remove_node(cluster().worker, allow_graceful=False)
    assert all((result == spectrum(seed)).all() for seed, result in enumerate([*first, *results]))


@pytest.mark.parametrize("engine", ["ray"], indirect=True)
def test_a_node_lost_in_a_round_of_a_fit_changes_nothing(engine: Engine, tmp_path: Path) -> None:
    votes = simulate_world(SimulateConfig(prompts=32, models=5, annotators=20, seed=2)).votes
    files = [tmp_path / f"{k}.npz" for k in range(8)]
    for k, path in enumerate(files):
        write_votes(path, votes.of_prompts(np.arange(32) % 8 == k))
    node, lost = cluster().add_node(num_cpus=1), list[str]()

    def lose(doing: str, _done: int, _total: int) -> None:
        if doing == "hierarchical, round 3":
            cluster().remove_node(node, allow_graceful=False)
            lost.append(doing)

    found = fit_files(files, votes, tmp_path / "ray", engine=engine, progress=lose)
    alone = fit_files(files, votes, tmp_path / "alone")
    assert lost
    assert (found.state.annotators.value == alone.state.annotators.value).all()
    for path in files:
        own = read_votes(path)[0]
        assert (found.of_votes(own, path.name).strength == alone.of_votes(own, path.name).strength).all()
