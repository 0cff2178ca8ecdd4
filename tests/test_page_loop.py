"""The whole loop in a browser: a simulated world, a campaign, careful and careless annotators, votes, rankings."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import curate
from pipelines import denoise, ingest, simulate
from pipelines.annotator_report import annotators as judge
from pipelines.campaigns import close, create
from pipelines.comparison import compare
from schemas.campaign import CampaignConfig
from schemas.config import DenoiseConfig, SimulateConfig
from tests import scripted
from tests.browsers import Screen, logged, needs_chromium
from tests.campaigns import invite
from tests.pages import page_of
from tests.scripted import Annotator, Truth, known_answers, vote_all

pytestmark = [needs_chromium, pytest.mark.slow]

WORLD = SimulateConfig(prompts=3, models=4, annotators=6, votes_per_pair=0.2, seed=1, video=True)
THRESHOLDS = {"min_seconds": 0, "patience": 2, "gold_accuracy": 0, "agreement": 0}


def a_store(home: Path, config: SimulateConfig, *, images: bool = False) -> Path:
    """A simulated world in home/world, and a store of its prompts and responses without votes."""
    simulate(home / "world", config=config)
    if images:
        prompts = home / "world" / "prompts.csv"
        prompts.write_text(prompts.read_text().replace(".mp4", ".png"))
        for video in sorted((home / "world" / "videos").iterdir()):
            pixels = np.random.default_rng(len(video.name)).integers(0, 255, (90, 160, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(video.with_suffix(".png"))
            video.unlink()
    store = home / "curate.duckdb"
    ingest([], store, prompts=home / "world/prompts.csv", responses=home / "world/responses.csv")
    known_answers(home / "world", home / "gold.csv")
    return store


def test_the_loop_stops_a_careless_annotator_and_recovers_the_order(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripted, "SHARPNESS", 6.0)  # few votes must be enough
    store = a_store(tmp_path, WORLD)
    config = CampaignConfig.model_validate(
        {
            "name": "june",
            "votes": 30,
            "votes_per_pair": 2,
            "gold_share": 0.1,
            "min_watched": 0.1,
            "thresholds": THRESHOLDS,
        }
    )
    create(tmp_path / "june", store, config, videos=tmp_path / "world", gold=tmp_path / "gold.csv")
    tokens = invite(tmp_path / "june", "ann", "ben", "dan")
    truth = Truth(tmp_path / "world", tmp_path / "june")
    with page_of(tmp_path / "june", tokens=tokens) as here:
        screens = [Screen(browser, width=800, height=600) for _ in tokens]
        people = [
            Annotator(name, screen.page, None if name == "dan" else truth)
            for name, screen in zip(tokens, screens, strict=True)
        ]
        for person in people:
            person.enter(f"{here.url}/a/{tokens[person.name]}")
        vote_all(people, seconds=90)
        assert not [complaint for screen in screens for complaint in screen.complaints]
    assert [person.name for person in people if "no more questions" in person.idle] == ["dan"]
    assert [bool(person.warned) for person in people] == [False, False, True]
    close(tmp_path / "june")
    ingest(tmp_path / "june" / "log.jsonl", store)
    with curate.open(store) as opened:
        controls = opened.frame("SELECT platform_id FROM controls")["platform_id"]
        stored = Counter([*opened.votes()["platform_id"], *controls])
    confirmed = [vote for person in people for vote in person.acknowledged]
    assert sorted(vote["vote"] for vote in logged(tmp_path / "june")) == sorted(confirmed)
    assert len(confirmed) == len(stored) == stored.total()
    denoise(store, config=DenoiseConfig(ranker="hierarchical"))
    assert compare(store, tmp_path / "world" / "truth.csv").kendall_tau["final"] > 0.4
    assert judge(store).annotators[0].annotator_id == "dan"  # the worst comes first


def test_a_campaign_on_images(browser: Any, tmp_path: Path) -> None:
    """An image replaces the video, and min_watched has no effect."""
    store = a_store(tmp_path, WORLD.model_copy(update={"prompts": 2}), images=True)
    config = CampaignConfig.model_validate({"name": "stills", "votes": 4, "gold_share": 0, "min_watched": 0.5})
    report = create(tmp_path / "stills", store, config, videos=tmp_path / "world")
    assert not report.refused
    assert [note for note in report.warnings if "min_watched" in note]
    tokens = invite(tmp_path / "stills", "ann")
    with page_of(tmp_path / "stills", tokens=tokens) as here:
        screen = Screen(browser, width=360, height=740, touch=True)
        ann = Annotator("ann", screen.page, Truth(tmp_path / "world", tmp_path / "stills"))
        image = screen.page.get_by_alt_text("The image for this question")
        screen.page.route("**/media/*", lambda route: route.abort())
        ann.enter(f"{here.url}/a/{tokens['ann']}")
        screen.text("#media-error", "The image could not be loaded.")
        screen.page.unroute("**/media/*")
        screen.context.set_offline(True)
        screen.context.set_offline(False)  # it is tried again
        screen.page.wait_for_function("() => document.getElementById('image').naturalWidth === 160")
        assert image.is_visible()
        assert not screen.page.locator("#video, #media-error").filter(visible=True).count()
        assert screen.page.locator("#watched").inner_text() == ""
        assert screen.page.evaluate("() => document.documentElement.scrollWidth") == 360
        screen.page.locator("#skip").tap()
        screen.page.get_by_role("radio", name="The image does not show").check()
        assert "video" not in screen.page.locator("#skipping").inner_text()
        assert screen.axe() == []
        screen.page.locator("#skip-send").tap()
        screen.text("#announcement", "Skipped.")
        screen.page.screenshot(path=str(tmp_path / "stills.png"))
        vote_all([ann], seconds=60)
        assert not screen.complaints
    assert [skip["reason"] for skip in logged(tmp_path / "stills", "skip")] == ["The image does not show"]
    assert len(ann.acknowledged) == 3
    close(tmp_path / "stills")
    ingest(tmp_path / "stills" / "log.jsonl", store)
    with curate.open(store) as opened:
        assert len(opened.votes()) == 3
