"""Compiled kernels: the cache depends on the kernel files of one folder only, and compilation is announced once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
KERNEL = """
from curate.compiled import compiled


@compiled
def {name}(x: float) -> float:
    return x + 1.0
"""


def run(folder: Path, cache: str = "") -> str:
    """Call both kernels of a folder in a new process; return its stderr."""
    code = "import one.kernels, other.kernels; assert one.kernels.add(1.0) == other.kernels.increase(1.0) == 2.0"
    environment = {"PYTHONPATH": f"{folder}:{ROOT}", "NUMBA_CACHE_DIR": cache}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    return done.stderr


def caches(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("__pycache__/kernels-*")}


@pytest.mark.slow
def test_editing_a_kernel_file_renews_the_cache_of_its_folder_only(tmp_path: Path) -> None:
    for folder, name in (("one", "add"), ("other", "increase")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "kernels.py").write_text(KERNEL.format(name=name))
        (tmp_path / folder / "plain.py").write_text("")
    assert run(tmp_path).count("\n") == 1  # two compilations, one announcement
    one, other = caches(tmp_path / "one"), caches(tmp_path / "other")
    assert len(one) == len(other) == 1
    (tmp_path / "one" / "plain.py").write_text('"""Not a kernel file."""')
    assert run(tmp_path) == ""
    with (tmp_path / "one" / "kernels.py").open("a") as file:
        file.write("# edited")
    assert run(tmp_path).count("\n") == 1
    assert len(caches(tmp_path / "one")) == 2
    assert caches(tmp_path / "other") == other
