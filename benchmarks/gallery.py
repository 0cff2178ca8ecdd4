"""The pictures of docs/gallery.md, from the votes of ``curate example``: equal code gives equal bytes.

python -m benchmarks.gallery
"""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from pathlib import Path

from cli.main import run

DOCS = Path(__file__).parent.parent / "docs"
COMMANDS = """
curate plot leaderboard
curate plot pairs
curate plot calibration
curate plot annotators
curate plot prompt p0012
"""
"""Those of docs/gallery.md; the tutorial docs/tutorials/rank.md makes the store."""
FILES = "--prompts prompts.csv --responses responses.csv"
COLUMNS = {"prompt_id": "Item", "left": "Answer A", "right": "Answer B", "outcome": "Which is better?"}
OUTCOMES = {"A": "left", "B": "right", "Both are good": "tie", "Neither": "both_bad"}


def main() -> None:
    """Write docs/gallery/*.svg."""
    out = DOCS / "gallery"
    out.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        mapping = [f"--map '{field}={column}'" for field, column in (COLUMNS | {"annotator_id": "Worker"}).items()]
        mapping += [f"--outcome '{value}={outcome}'" for value, outcome in OUTCOMES.items()]
        assert run(["example", "campaign"]) == 0
        with contextlib.chdir("campaign"):
            assert run(shlex.split(f"ingest votes.csv {FILES} {' '.join(mapping)}")) == 0
            assert run(["denoise"]) == 0
            for command in COMMANDS.strip().splitlines():
                _, *words = command.split()
                assert run([*words, "--out", str(out / f"{words[-1]}.svg")]) == 0


if __name__ == "__main__":
    main()
