"""What is wrong with a document is said in plain words, at the key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.campaign import CampaignConfig, Criterion
from schemas.config import DenoiseConfig, Settings
from schemas.messages import PATTERNS, described

WRONG: list[tuple[type, dict[str, Any], str]] = [
    (Settings, {"denoise": {"rankr": "x"}}, "denoise.rankr: unknown key"),
    (Settings, {"ingest": {"max_rejects": "x"}}, "ingest.max_rejects: expected a number, not 'x'"),
    (
        Settings,
        {"ingest": {"mapping": {"columns": {"q": 3}}}},
        "ingest.mapping.columns.q: has none of the accepted forms",
    ),
    (DenoiseConfig, {"both_bad": "no"}, "both_bad: expected 'tie' or 'drop', not 'no'"),
    (DenoiseConfig, {"min_votes": 0}, "min_votes: expected 1 or more, not 0"),
    (DenoiseConfig, {"prompts": "p1"}, "prompts: expected a list, not 'p1'"),
    (DenoiseConfig, {"weights": {"elo": 1}}, "weights.elo: unknown ranker 'elo'"),
    (CampaignConfig, {"name": "a b", "votes": 1}, "name: expected 1 to 64 letters, digits and . _ -, the first"),
    (CampaignConfig, {"name": "a"}, "votes: is missing"),
    (Criterion, {"id": "a", "question": ""}, "question: expected 1 or more characters, not ''"),
    (
        CampaignConfig,
        {"name": "a", "votes": 1, "criteria": [{"id": "b", "question": "?"}] * 2},
        "criteria: several have the id 'b'",
    ),
    (Criterion, {"id": "a b", "question": "?"}, "id: expected 1 to 64 letters, digits and . _ -, the first none"),
    (CampaignConfig, {"name": "a", "votes": 1, "gold_share": 0.6}, "gold_share and attention_share together exceed"),
]


@pytest.mark.parametrize(("document", "values", "message"), WRONG)
def test_the_key_and_what_is_wrong(document: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        document.model_validate(values)
    assert described(caught.value).startswith(message)


def test_every_pattern_has_a_meaning() -> None:
    files = (Path(__file__).parent.parent / "schemas").glob("*.py")
    used = {found for file in files for found in re.findall(r'pattern=r"(.*?)"', file.read_text("utf-8"))}
    assert used == set(PATTERNS)
