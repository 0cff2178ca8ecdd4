"""The wheel, installed as a user would: in a fresh environment, away from the checkout."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    # The build backend is a dev dependency: nothing is fetched.
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [built] = out.glob("*.whl")
    return built


def test_the_wheel_holds_the_five_packages_and_the_recipes(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert top == {"schemas", "annotations", "curate", "pipelines", "cli"}
    assert "pipelines/recipes/mr2bench_video.toml" in names


def test_the_installed_command_works_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*install, *constraints, str(wheel)], check=True, capture_output=True, cwd=tmp_path)
    command = home / "bin" / "curate"
    done = subprocess.run([str(command), "--help"], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert "From raw pairwise votes" in done.stdout
    (tmp_path / "votes.csv").write_text("prompt_id,left,right,winner\np,a,b,left\n")
    for arguments in (["ingest", "votes.csv"], ["denoise"], ["rankings", "--csv"]):
        done = subprocess.run([str(command), *arguments], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines()[1].startswith("p,a,")
