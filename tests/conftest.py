"""What several test files need made once."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says something of the machine, not of the code.
settings.register_profile("curate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("curate")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's threads must not spin while others work


@pytest.fixture(autouse=True, scope="module")
def _own_precision() -> None:
    """accelerate and TRL give a process one precision for good; each file of tests begins anew."""
    if "accelerate.state" in sys.modules:
        sys.modules["accelerate.state"].AcceleratorState._reset_state()


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3-VL of a few hundred thousand weights, and its tokenizer."""
    from curate.reward.quiet import quiet
    from curate.reward.scratch import build_backbone
    from tests.reward_models import TEXTS, WORDS

    with quiet():
        folder = tmp_path_factory.mktemp("backbone") / "tiny"
        return build_backbone(folder, [*TEXTS, *WORDS] * 5, vocabulary=400, width=64, layers=2)
