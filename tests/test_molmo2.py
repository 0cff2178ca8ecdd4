"""Molmo2: adapters of the official code load and are written, bit for bit; texts, images and videos train."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from families import build, with_processor
from reward_models import example
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from curate.reward import checkpoint, molmo2
from curate.reward.doctor import sample
from curate.reward.model import ModelConfig, RewardModel
from curate.reward.quiet import quiet
from schemas.reward import LoraSettings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with quiet():
        return build("molmo2", tmp_path_factory.mktemp("molmo2"))


@pytest.fixture(autouse=True)
def _quiet():
    with quiet():
        yield
