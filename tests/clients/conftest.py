"""Clients: programs of others, each run in an environment of its own that ``make test-clients`` installs.

A family NAME has three files here: ``NAME.txt`` pins its packages, ``NAME_client.py`` runs in its environment, reads a
job as JSON from stdin and prints a result as JSON, and ``test_NAME.py`` runs in ours.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from curate.reward.scoring import Scorer

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parent.parent / ".venv-clients"
TIMEOUT = 300
"""Seconds for one job."""

Client = Callable[..., Any]


@pytest.fixture
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Client:
    """Return a function that runs a job in the environment of the test file's family, in the test's folder.

    ``client(job, **inputs)`` calls the client's function ``job`` with the inputs and returns what it returned.
    """
    name = request.path.stem.removeprefix("test_")
    python = ENVIRONMENTS / name / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no environment of {name}: `make test-clients` installs it")

    def run(job: str, **inputs: Any) -> Any:
        done = subprocess.run(
            [python, "-I", HERE / f"{name}_client.py", job],
            input=json.dumps(inputs),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


def rendered(*messages: tuple[str, str]) -> str:
    """Return (role, text) messages in the chat format of the tests' backbone."""
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in messages)


def without_media_tokens(text: str) -> str:
    """Return the text without the tokens by which Qwen3-VL's processor represents media."""
    return re.sub(r"<\|(vision_start|vision_end|image_pad|video_pad)\|>|<[0-9.]+ seconds>", "", text)


@contextmanager
def serving(backbone: Path, layout: str, **settings: Any) -> Iterator[tuple[str, Scorer]]:
    """The address of a server with an untrained model of the layout, and its scorer."""
    from curate.reward.scoring import Scorer
    from curate.reward.serving.protocols import ServeConfig
    from curate.reward.serving.server import LoadedModel, Service
    from tests.reward_models import model
    from tests.servers import Running, until

    scorer = Scorer(model(backbone, layout))  # type: ignore[arg-type]
    loaded = LoadedModel(scorer, "tiny", layout, plain_prompt=scorer.plain_prompt)
    server = Running(Service(lambda: loaded, ServeConfig(**settings)))
    try:
        until(lambda: server.status() == 200)
        yield server.url, scorer
    finally:
        server.stop()
        scorer.__exit__(None, None, None)
