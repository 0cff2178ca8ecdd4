"""The report in a real browser: a walk through its views, hostile texts, every width, accessibility, no scripts."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipelines import denoise, export, ingest, simulate
from pipelines.reporting import report
from schemas.config import DenoiseConfig, ExportConfig, SimulateConfig
from tests.browsers import Screen, needs_chromium
from tests.video_files import encode

pytestmark = [needs_chromium, pytest.mark.slow]

EVIL = '</script><img src=x onerror="alert(1)"><b>&amp;</b>'
VIEWS = ("#leaderboard", "#prompts", "#prompt=p0003", "#pair=model-01,model-02", "#annotators", "#quality", "#origin")
IMPACTS = ("minor", "moderate", "serious", "critical")
WIDTHS = (320, 360, 768, 1440)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on a world of 14 prompts with one video that exists; its item set is exported."""
    folder = tmp_path_factory.mktemp("report")
    simulate(folder / "world", config=SimulateConfig(prompts=14, models=6, annotators=12, votes_per_pair=2.0, seed=3))
    files = {name: folder / "world" / f"{name}.csv" for name in ("prompts", "responses")}
    ingest(folder / "world" / "votes.csv", folder / "curate.duckdb", **files)
    denoise(folder / "curate.duckdb", config=DenoiseConfig(ranker="hierarchical"))
    export(folder / "curate.duckdb", "benchmark", out=folder / "benchmark", config=ExportConfig(responses=4))
    with (folder / "world" / "prompts.csv").open() as rows:
        videos = {row["prompt_id"]: row["video"] for row in csv.DictReader(rows)}
    clip = folder / "media" / videos["p0003"]
    clip.parent.mkdir(parents=True)
    encode(clip, range(0, 1000, 40))
    report(folder / "curate.duckdb", folder / "report.html", media=folder / "media", title="Our models")
    return folder / "report.html"


def opened(browser: Any, page: Path, view: str = "", **more: Any) -> Screen:
    """The page at a view, as soon as its data are unpacked."""
    screen = Screen(browser, **more)
    show(screen, page, view)
    return screen


def show(screen: Screen, page: Path, view: str) -> None:
    screen.page.goto("about:blank")
    screen.page.goto(page.as_uri() + view)
    screen.page.locator("html.ready").wait_for(state="attached")


def heading(screen: Screen, view: str) -> str:
    """The title of a view, once it is shown."""
    screen.page.locator(f"section#{view}.on").wait_for()
    return str(screen.page.locator(f"#{view} h2").inner_text())


def hash_of(screen: Screen) -> str:
    return str(screen.page.evaluate("() => location.hash"))


def test_a_walk_through_the_report(browser: Any, page: Path) -> None:
    """Sort, search, open a prompt and the votes of a pair, back, permalink, compare two models."""
    screen = opened(browser, page)
    tab, found = screen.page, screen.page.locator("#found tbody tr")
    assert heading(screen, "leaderboard") == "Leaderboard"
    models = tab.locator("#models tbody th").all_inner_texts()
    assert len(models) == 6
    for head, descending in (("win rate", True), ("win rate", False)):
        tab.get_by_role("button", name=head).click()
        rates = [float(text.rstrip("%")) for text in tab.locator("#models td[data-label='win rate']").all_inner_texts()]
        assert rates == sorted(rates, reverse=descending)
    tab.get_by_role("button", name="#", exact=True).click()
    assert tab.locator("#models tbody th").all_inner_texts() == models

    tab.get_by_role("link", name="Prompts", exact=True).click()
    assert heading(screen, "prompts") == "Prompts"
    assert found.count() == 14
    screen.press("/")
    tab.keyboard.type("p0003")
    screen.text("#count", "1 of 14 prompts")
    assert hash_of(screen) == "#prompts&q=p0003"
    found.get_by_role("link").first.click()
    question = heading(screen, "prompt")
    assert tab.title() == f"{question} · Our models"
    assert tab.evaluate("() => document.activeElement.tagName") == "H2"
    loaded = "new Promise((done, fail) => { v.onloadedmetadata = done; v.onerror = fail; })"
    tab.locator("video").evaluate(f"(v) => v.readyState > 0 || {loaded}")  # the linked file
    ranks = [int(text) for text in tab.locator(".responses td.rank").all_inner_texts()]
    assert ranks == sorted(ranks)
    assert tab.locator("svg.graph circle").count() == 6
    assert tab.locator("svg.graph .against").count() > 0
    tab.get_by_text("All 15 pairs with votes").click()
    tab.get_by_role("link", name="Votes on ").first.click()
    tab.locator("#votes table").wait_for()
    assert hash_of(screen).startswith("#prompt=p0003&votes=")
    counted = sum(float(text) for text in tab.locator("#votes p strong").all_inner_texts())
    assert counted == sum(float(text) for text in tab.locator("#votes td[data-label=weight]").all_inner_texts()) > 0

    link = tab.url
    other = opened(browser, page, link[link.index("#") :]).page
    assert other.locator("#votes").inner_text() == tab.locator("#votes").inner_text()
    tab.go_back()
    tab.locator("#votes table").wait_for(state="detached")
    assert hash_of(screen) == "#prompt=p0003"
    tab.go_back()
    screen.text("#count", "1 of 14 prompts")
    assert tab.locator("#search input").input_value() == "p0003"
    tab.locator("#search input").fill("no such words")
    assert "No prompt has" in tab.locator("#found").inner_text()

    tab.get_by_role("link", name="Compare").click()
    tab.locator("#model-1").select_option(models[3])
    screen.text("#pair h2", f"{models[0]} against {models[3]}")
    assert hash_of(screen) == f"#pair={models[0]},{models[3]}"
    rate = tab.locator(".result strong").inner_text()
    assert tab.locator(".versus").get_attribute("aria-label").startswith(f"{models[0]} {rate}")
    assert tab.locator(".two tbody tr").count() > 2
    assert not screen.complaints


def test_a_cell_of_the_win_rates_opens_the_two_models(browser: Any, page: Path) -> None:
    screen = opened(browser, page, "#leaderboard")
    row = screen.page.locator(".matrix tbody tr").nth(1)
    row.locator("td").nth(4).click()
    models = screen.page.locator("#models tbody th").all_text_contents()
    screen.text("#pair h2", f"{models[1]} against {models[4]}")
    assert hash_of(screen) == f"#pair={models[1]},{models[4]}"
    rate = float(screen.page.locator(".result strong").inner_text().rstrip("%"))
    assert round(rate) == int(row.locator("td").nth(4).text_content())


def test_the_list_is_filtered_and_sorted_by_its_address(browser: Any, page: Path) -> None:
    screen = opened(browser, page, "#prompts&split=benchmark&sort=disagreement")
    shares = screen.page.locator("#found td[data-label=disagreement]").all_inner_texts()
    values = [float(text.rstrip("%")) for text in shares]
    assert 0 < len(values) < 14
    assert values == sorted(values, reverse=True)
    screen.page.locator("#found").get_by_role("link", name="disagreement").press("Enter")
    screen.page.locator("#by-disagreement.up").wait_for()
    assert screen.page.evaluate("() => document.activeElement.id") == "by-disagreement"
    shares = screen.page.locator("#found td[data-label=disagreement]").all_inner_texts()
    assert [float(text.rstrip("%")) for text in shares] == sorted(values)
    screen.page.locator("select[name=split]").select_option("")
    assert screen.page.locator("#found tbody tr").count() == 14


def test_unknown_and_damaged_addresses_are_answered(browser: Any, page: Path) -> None:
    screen = opened(browser, page, "#prompt=nobody")
    assert "no such prompt" in screen.page.locator("#one").inner_text()
    show(screen, page, "#pair=nobody,model-01")
    assert "Choose two models" in screen.page.locator("#two").inner_text()
    show(screen, page, "#pair=%E0%A4%A")
    assert heading(screen, "pair").startswith("model-")
    show(screen, page, "#elsewhere")
    assert heading(screen, "leaderboard") == "Leaderboard"
    assert not screen.complaints


def test_the_leaderboard_is_saved_as_a_picture(browser: Any, page: Path, tmp_path: Path) -> None:
    from PIL import Image

    screen = opened(browser, page)
    with screen.page.expect_download() as download:
        screen.page.get_by_role("button", name="Save as a picture").click()
    download.value.save_as(tmp_path / "saved.png")
    with Image.open(tmp_path / "saved.png") as saved:
        assert (saved.format, saved.size) == ("PNG", (1200, 630))
        assert len(saved.convert("RGB").getcolors(1 << 20)) > 50
    assert not screen.complaints


def test_texts_are_shown_as_text_and_never_run(browser: Any, tmp_path: Path) -> None:
    with (tmp_path / "votes.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["prompt_id", "left", "right", "winner", "annotator_id"])
        rows.writerows([EVIL, f"x{EVIL}", "y", "left", f"{who}{EVIL}"] for who in "abc")
        rows.writerow([EVIL, f"x{EVIL}", "y", "right", f"d{EVIL}"])
    with (tmp_path / "prompts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["prompt_id", "question", "video"], [EVIL, EVIL, EVIL]])
    with (tmp_path / "responses.csv").open("w", newline="") as file:
        head = ["prompt_id", "response_id", "model", "text"]
        csv.writer(file).writerows(
            [head, [EVIL, f"x{EVIL}", f"m{EVIL}", EVIL], [EVIL, "y", "n,=&%", f"y{EVIL}" + " word" * 200]]
        )
    store = tmp_path / "curate.duckdb"
    ingest(tmp_path / "votes.csv", store, prompts=tmp_path / "prompts.csv", responses=tmp_path / "responses.csv")
    denoise(store, config=DenoiseConfig(ranker="hierarchical", min_votes=1))
    report(store, tmp_path / "report.html", title=EVIL, media=tmp_path)
    screen = opened(browser, tmp_path / "report.html", "#prompts")
    tab = screen.page
    assert EVIL in tab.locator("#found").inner_text()
    tab.locator("#found tbody a").click()
    assert heading(screen, "prompt") == EVIL
    assert EVIL in tab.locator(".answer").first.inner_text()
    tab.get_by_role("button", name="Show all").click()  # of the long one
    assert tab.get_by_role("button", name="Show less").get_attribute("aria-expanded") == "true"
    tab.get_by_text("All 1 pair").click()
    tab.get_by_role("link", name="Votes on ").click()
    screen.text("#votes tbody", f"a{EVIL}")
    tab.get_by_role("link", name="Compare").click()
    screen.text("#pair h2", f"m{EVIL} against n,=&%")
    tab.get_by_role("link", name="Swap").click()
    screen.text("#pair h2", f"n,=&% against m{EVIL}")
    assert tab.locator("main :is(img, script)").count() == 0
    assert tab.locator(":is(#found, #one, #two, article) b").count() == 0
    assert not screen.complaints


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_clipped_and_axe_finds_nothing(browser: Any, page: Path, width: int) -> None:
    screen, found = opened(browser, page, width=width, touch=width == 360), []
    outside = """() => [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility()
        && !e.closest('.hidden, .skip, .who') && (e.getBoundingClientRect().right > innerWidth + 1
        || (getComputedStyle(e).overflowX !== 'visible' && e.scrollWidth > e.clientWidth + 1)))
        .map((e) => e.outerHTML.slice(0, 120))"""
    for view in VIEWS:
        show(screen, page, view)
        assert screen.page.evaluate(outside) == [], view
        assert screen.page.evaluate("() => document.documentElement.scrollWidth") <= width
        for scheme in ("light", "dark") if width in (360, 1440) else ():
            screen.page.emulate_media(color_scheme=scheme)
            found += [f"{view} {scheme} {what}" for what in screen.axe(IMPACTS)]
    assert found == []
    assert not screen.complaints


def test_without_scripts_the_page_is_readable(browser: Any, page: Path) -> None:
    screen = Screen(browser, java_script_enabled=False)
    screen.page.goto(page.as_uri())
    assert screen.page.locator("section h2:visible").all_inner_texts() == [
        "Leaderboard",
        "Prompts",
        "Annotators",
        "Certainty",
        "Data",
    ]
    assert screen.page.locator("article table:visible").count() == 12
    assert screen.page.locator("button:visible, form:visible").count() == 0


def test_without_unpacked_data_the_page_is_as_without_scripts(browser: Any, page: Path, tmp_path: Path) -> None:
    old = Screen(browser)
    old.page.add_init_script("delete window.DecompressionStream")
    old.page.goto(page.as_uri() + "#prompts")
    damaged = tmp_path / "damaged.html"
    damaged.write_text(re.sub(r'(id="data">).{40}', r"\1", page.read_text()))
    screen = Screen(browser)
    screen.page.goto(damaged.as_uri() + "#prompts")
    screen.text("[role=alert]", "The interactive views do not work here")
    for shown in (old, screen):
        assert shown.page.locator("section h2:visible").count() == 5
        assert shown.page.locator("article table:visible").count() == 12
        assert not shown.complaints


def test_the_page_works_by_keys_alone(browser: Any, page: Path) -> None:
    screen = opened(browser, page)
    focus = "() => document.activeElement"

    def tab_to(text: str) -> None:
        for _ in range(40):
            screen.press("Tab")
            if screen.page.evaluate(f"{focus}.textContent") == text:
                assert screen.page.evaluate(f"() => getComputedStyle(({focus})()).outlineStyle") == "solid"
                return
        raise AssertionError(f"no way to {text}")

    tab_to("Skip to content")
    screen.press("Enter")
    assert heading(screen, "leaderboard") == "Leaderboard"
    tab_to("win rate")
    screen.press("Enter")
    assert screen.page.locator("#models th[aria-sort=descending]").inner_text().startswith("win rate")
    screen.press("/")
    heading(screen, "prompts")
    screen.page.keyboard.type("p0005")
    screen.text("#count", "1 of 14 prompts")
    for _ in range(20):
        screen.press("Tab")
        if screen.page.evaluate(f"() => ({focus})().closest('#found tbody') !== null"):
            break
    screen.press("Enter")
    screen.page.locator("#prompt.on .responses").wait_for()
    assert hash_of(screen) == "#prompt=p0005"
    screen.page.go_back()
    screen.text("#count", "1 of 14 prompts")


def test_all_annotators_appear_on_demand(browser: Any, tmp_path: Path) -> None:
    rows = "".join(f"p,x,y,{'left' if k % 3 else 'right'},a{k:02}\n" for k in range(40))
    (tmp_path / "votes.csv").write_text(f"prompt_id,left,right,winner,annotator_id\n{rows}")
    ingest(tmp_path / "votes.csv", tmp_path / "curate.duckdb")
    denoise(tmp_path / "curate.duckdb", config=DenoiseConfig(ranker="hierarchical", min_votes=1))
    report(tmp_path / "curate.duckdb", tmp_path / "report.html")
    screen = opened(browser, tmp_path / "report.html", "#annotators")
    rows_of = screen.page.locator("#annotators table.long tbody tr:visible")
    assert rows_of.count() == 25
    screen.page.get_by_role("button", name="annotator", exact=True).click()
    assert json.dumps(rows_of.locator("th").all_inner_texts()) == json.dumps([f"a{k:02}" for k in range(25)])
    screen.page.get_by_role("button", name="Show all 40").click()
    assert rows_of.count() == 40
