"""Fixtures that several test files share, and how the tests are scheduled."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores: one thread each
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ.setdefault(name, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's idle threads must not spin

import pytest
from hypothesis import HealthCheck, settings

# The duration of an example depends on the machine, not on the code. The tests of a commit have the same examples
# wherever they run; `make fuzz` looks for new ones.
settings.register_profile("curate", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("explore", settings.get_profile("curate"), derandomize=False, max_examples=500)
settings.load_profile("curate")


SLOW_FILE = re.compile(r"^pytestmark = .*pytest\.mark\.slow", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With -m "not slow", do not even import the files that are slow as a whole: torch alone takes seconds."""
    skips = config.option.markexpr == "not slow" and collection_path.suffix == ".py"
    return True if skips and SLOW_FILE.search(collection_path.read_text(encoding="utf-8")) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first, so that no worker is left with one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True, scope="module")
def _own_precision() -> None:
    """Reset the precision that accelerate and TRL fix per process: each test file starts without one."""
    if "accelerate.state" in sys.modules:
        sys.modules["accelerate.state"].AcceleratorState._reset_state()


@pytest.fixture(autouse=True)
def _printed_json_fits_its_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check all JSON that commands print in a test against ``curate schema``."""
    import cli.output

    print_json = cli.output._put_json

    def checked(plain: dict[str, Any] | list[Any]) -> None:
        from typer._click.globals import get_current_context

        from tests.json_schemas import named, validator

        context = get_current_context(silent=True)
        if context is not None:
            options = [f"--{name}" for name, value in context.params.items() if value]
            name = named([*context.command_path.split()[1:], *options])
            validator("error" if isinstance(plain, dict) and "exit_code" in plain else name).validate(plain)
        print_json(plain)

    monkeypatch.setattr(cli.output, "_put_json", checked)


@pytest.fixture(autouse=True, scope="session")
def _equal_metadata_are_validated_once() -> Iterator[None]:
    """Let mlcroissant, which needs seconds, validate metadata only if none with the same outline was valid before."""
    from curate.release import croissant

    validation_error, valid = croissant._validation_error, set[str]()

    def remembered(path: Path) -> str:
        known = croissant.outline(json.loads(path.read_text(encoding="utf-8")))
        problem = "" if known in valid else validation_error(path)
        if not problem:
            valid.add(known)
        return problem

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(croissant, "_validation_error", remembered)
        yield


@pytest.fixture(autouse=True, scope="session")
def _new_stores_are_copies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Copy an empty store, whose tables take DuckDB longer to create than a small test takes to fill them."""
    from curate.store import database

    create, empty = database.create_store, tmp_path_factory.mktemp("empty") / "store.duckdb"
    create(empty)

    def copied(path: Path) -> None:
        if not path.suffix or any(path.parent.glob(f".{path.name}.*")):  # or a killed process left something
            return create(path)
        fresh = path.with_name(f".{path.name}.copy")
        try:
            fresh.write_bytes(empty.read_bytes())
            os.link(fresh, path)
        except OSError:  # it exists, it has no folder, or the disk is full
            create(path)
        finally:
            fresh.unlink(missing_ok=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "create_store", copied)
        yield


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3-VL of a few hundred thousand weights, and its tokenizer."""
    from curate.reward.quiet import quiet
    from curate.reward.scratch import build_backbone
    from tests.reward_models import TEXTS, WORDS

    with quiet():
        folder = tmp_path_factory.mktemp("backbone") / "tiny"
        return build_backbone(folder, [*TEXTS, *WORDS] * 5, vocabulary=400, width=64, layers=2)


@pytest.fixture(scope="module")  # while it runs, so does the loop of Playwright, and no other can be started
def _chromium() -> Iterator[Any]:
    from tests.browsers import IDLE, chromium

    with chromium() as started:
        yield started
    IDLE.clear()


@pytest.fixture
def browser(_chromium: Any) -> Iterator[Any]:
    """One Chromium for all tests of a file; the windows of each are emptied after it, so that none goes on asking."""
    from tests.browsers import IDLE, Screen

    yield _chromium
    while Screen.open:
        Screen.open.pop().release()
    kept = [page.context for pages in IDLE.values() for page in pages]
    for context in _chromium.contexts:
        if context not in kept:
            context.close()
