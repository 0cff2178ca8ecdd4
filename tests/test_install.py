"""The wheel works in a fresh environment that has only the declared dependencies."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    # The build backend is a development dependency: nothing is downloaded.
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [built] = out.glob("*.whl")
    return built


def required(requirements: Iterable[str], extras: Iterable[str] = ()) -> dict[str, Distribution]:
    """Name -> installed distribution of the requirements and all their requirements."""
    found: dict[str, Distribution] = {}
    queue = [(requirement, tuple(extras)) for requirement in requirements]
    while queue:
        text, wanted = queue.pop()
        requirement = Requirement(text)
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in (*wanted, "")):
            continue
        name = requirement.name.lower().replace("_", "-")
        if name not in found or requirement.extras:
            found[name] = distribution(name)
            queue += [(line, tuple(requirement.extras)) for line in found[name].requires or []]
    return found


def test_the_wheel_contains_the_packages_the_recipes_and_the_templates(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert top == {"schemas", "annotations", "curate", "pipelines", "cli"}
    assert {"pipelines/recipes/mr2bench_video.toml", "curate/report/templates/page.html"} <= set(names)


@pytest.mark.slow
def test_the_installed_command_needs_only_the_declared_dependencies(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    [packages] = (home / "lib").glob("python*/site-packages")
    metadata = next(name for name in ZipFile(wheel).namelist() if name.endswith(".dist-info/METADATA"))
    lines = ZipFile(wheel).read(metadata).decode().splitlines()
    for dependency in required(line.partition(": ")[2] for line in lines if line.startswith("Requires-Dist")).values():
        for name in {file.parts[0] for file in dependency.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            (packages / name).symlink_to(Path(str(dependency.locate_file(name))))
    install = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install", "--quiet"]
    subprocess.run([*install, "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True, cwd=tmp_path)
    command = home / "bin" / "curate"
    done = subprocess.run([str(command), "--help"], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert "leaderboard" in done.stdout
    (tmp_path / "votes.csv").write_text("prompt_id,left,right,winner\np,a,b,left\n")
    for arguments in (["ingest", "votes.csv"], ["denoise", "--ranker", "bradley-terry"], ["rankings", "--csv"]):
        done = subprocess.run([str(command), *arguments], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines()[1].startswith("p,a,")
    torch = [str(home / "bin" / "python"), "-c", "import torch"]
    assert subprocess.run(torch, capture_output=True, check=False).returncode == 1
