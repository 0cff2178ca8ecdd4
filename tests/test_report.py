"""The report page without its script: figures are those of the store, texts are escaped, and it is self-contained."""

from __future__ import annotations

import base64
import gzip
import hashlib
import itertools
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from cli.main import run as curate
from curate.rankers.hierarchical import shared_fits
from curate.report import stills
from curate.report.figures import pair_disagreement, prompt_disagreement
from curate.store import Store
from curate.store.reporting import pair_votes, ranked_responses
from pipelines import denoise, export, ingest, simulate
from pipelines.media import probe_media
from pipelines.reporting import report
from pipelines.validation import validate
from schemas.config import AutoConfig, DenoiseConfig, ExportConfig, SimulateConfig
from schemas.errors import CurateError, UsageError
from schemas.mapping import Mapping
from tests.video_files import encode

pytestmark = pytest.mark.slow

VOID = {"meta", "img", "br", "hr", "link", "input"}
INLINE = {"a", "b", "code", "em", "span", "strong"}


@dataclass
class Element:
    """An element of the page, its attributes, and the text inside it."""

    name: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """A parsed page: its elements in their order, each with all text inside."""

    html: str
    elements: list[Element] = field(default_factory=list)
    stack: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {key: value or "" for key, value in attrs})
        self.elements.append(element)
        if tag not in INLINE:
            self.handle_data(" ")
        if tag not in VOID:
            self.stack.append(element)

    def handle_endtag(self, tag: str) -> None:
        while self.stack and self.stack.pop().name != tag:
            pass

    def handle_data(self, data: str) -> None:
        for element in self.stack:
            element.text += data

    def named(self, *names: str) -> list[Element]:
        return [element for element in self.elements if element.name in names]

    @property
    def text(self) -> str:
        """The text without scripts."""
        return " ".join(self.named("header")[0].text.split() + self.named("main")[0].text.split())

    @property
    def data(self) -> dict[str, Any]:
        """What the script reads."""
        [packed] = [e.text for e in self.named("script") if e.attributes.get("id") == "data"]
        found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed)))
        return found


@pytest.fixture(scope="module", autouse=True)
def _shared_fits() -> Iterator[None]:
    """Fits of equal votes are computed once."""
    with shared_fits():
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small world with a rejected row and a duplicate, ranked by held-out votes and exported."""
    folder = tmp_path_factory.mktemp("report")
    world = SimulateConfig(prompts=14, models=6, annotators=12, votes_per_pair=2.0, spammers=0.1, seed=3)
    simulate(folder / "world", config=world)
    with (folder / "world" / "votes.csv").open("a") as file:
        file.write("p0001,p0001-r01,p0001-r01,left,a001,2026-01-09T00:00:00.000Z,5\n")
    path = folder / "curate.duckdb"
    files = {name: folder / "world" / f"{name}.csv" for name in ("prompts", "responses")}
    ingest(folder / "world" / "votes.csv", path, **files)
    denoise(path, config=DenoiseConfig(auto=AutoConfig(folds=2)))
    export(path, "benchmark", out=folder / "benchmark", config=ExportConfig(responses=4))
    return path


@pytest.fixture(scope="module")
def page(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    out = tmp_path_factory.mktemp("page") / "report.html"
    report(store, out, show=4)
    return Page(out.read_text())


def votes_store(folder: Path, rows: str, header: str = "prompt_id,left,right,winner,annotator_id") -> Path:
    """A ranked store of a few votes as they are."""
    (folder / "votes.csv").write_text(f"{header}\n{rows}")
    ingest(folder / "votes.csv", folder / "curate.duckdb")
    denoise(folder / "curate.duckdb", config=DenoiseConfig(ranker="bradley-terry", min_votes=1))
    return folder / "curate.duckdb"


def page_of(store: Path, **options: object) -> Page:
    out = store.parent / "page.html"
    report(store, out, **options)  # type: ignore[arg-type]
    return Page(out.read_text())


# Content


def test_the_figures_are_those_of_the_store(store: Path, page: Page) -> None:
    with Store.open(store, read_only=True) as opened:
        counts, run = opened.counts(), opened.run(opened.denoise_run())
        means = opened.leaderboard().select("model", "strength")
    assert run is not None
    told = run["report"]
    assert f"pairwise votes in the store {counts['votes']:,} " in page.text
    assert f"{100 * told['disagreement']:.1f}% of the vote weight disagrees with the final orders" in page.text
    assert f"{told['expected_tau']:.3f} (posterior" in page.text
    assert "1 × rejected: self-comparison" in page.text
    assert "clustered by video and by annotator" in page.text
    [leaderboard] = [t for t in page.named("table") if t.attributes.get("id") == "models"]
    places = [leaderboard.text.index(model) for model in means["model"]]
    assert places == sorted(places)
    for model, strength in means.iter_rows():
        assert f"{strength:.2f}".replace("-", "−") in leaderboard.text.split(model)[1][:400]


def test_the_weight_against_the_order_is_the_cost_of_the_ranking(store: Path) -> None:
    with Store.open(store, read_only=True) as opened:
        run = opened.denoise_run()
        cost = opened.prompt_stats(run).select("prompt_id", "cost")
        found = prompt_disagreement(pair_disagreement(pair_votes(opened, run), ranked_responses(opened, run)))
    both = found.join(cost, on="prompt_id")
    assert len(both) == 14
    assert both["against"].to_list() == pytest.approx(both["cost"].to_list())


def test_all_methods_and_a_reliability_diagram_are_shown(store: Path, page: Page) -> None:
    with Store.open(store, read_only=True) as opened:
        told = json.loads(opened.runs()["report"][0])
    names = [score["method"] for score in told["auto"]["methods"]]
    [methods] = [t for t in page.named("table") if "Methods on held-out votes" in t.text]
    assert [name for name in names if name not in methods.text] == []
    [drawn] = [e for e in page.named("svg") if e.attributes.get("aria-label", "").startswith("Reliability diagram")]
    bins = next(s for s in told["auto"]["methods"] if s["method"] == told["method"])["calibration"]
    assert drawn.text.count("probability ") == len(bins) + 1  # a title each, and the axis label


def test_the_ceiling_is_that_of_the_export(store: Path, page: Page) -> None:
    with Store.open(store, read_only=True) as opened:
        [told] = [json.loads(r) for s, r in opened.runs().select("step", "report").iter_rows() if s != "denoise"]
    [ceilings] = [t for t in page.named("table") if "ceiling" in t.text]
    for name, ceiling in told["ceiling"].items():
        assert f"{100 * ceiling['mean']:.1f}%" in ceilings.text.split(name)[1]


def test_missing_figures_name_the_command_that_computes_them(page: Page) -> None:
    todo = [element.text for element in page.elements if element.attributes.get("class") == "todo"]
    assert len(todo) == 2
    assert "curate report --gold FILE" in todo[0]
    assert "curate validate --json > validation.json" in todo[1]


def test_a_validation_adds_the_reliability(store: Path, tmp_path: Path) -> None:
    found = validate(store, folds=2, splits=1, config=DenoiseConfig(ranker="hierarchical"))
    (tmp_path / "validation.json").write_text(found.model_dump_json())
    out = tmp_path / "report.html"
    done = report(store, out, validation=tmp_path / "validation.json", show=0)
    text = Page(out.read_text()).text
    assert "Split-half reliability was not computed" not in text
    assert found.reliability is not None
    assert f"{found.reliability.methods[0].against_bt:.3f}" in text
    assert [what for what in done.not_computed if "reliability:" in what] == []
    (tmp_path / "validation.json").write_text("{}")
    with pytest.raises(CurateError, match="not a report of curate validate"):
        report(store, out, validation=tmp_path / "validation.json")


def test_gold_pairs_add_the_accuracy(store: Path, tmp_path: Path) -> None:
    votes = (store.parent / "world" / "votes.csv").read_text().splitlines()
    (tmp_path / "gold.csv").write_text("\n".join([votes[0], *votes[1:30]]) + "\n")
    out = tmp_path / "report.html"
    report(store, out, gold=tmp_path / "gold.csv", show=0, mapping=Mapping())
    assert "correct; chance level" in Page(out.read_text()).text


# Single prompts


def test_prompts_are_shown_by_disagreement_expected_tau_and_at_random(store: Path, tmp_path: Path) -> None:
    done = report(store, tmp_path / "a.html", show=8)
    assert [reason for _, reason in done.shown] == [
        *["highest disagreement"] * 2,
        *["highest expected tau"] * 2,
        *["lowest expected tau"] * 2,
        *["random"] * 2,
    ]
    assert len({prompt for prompt, _ in done.shown}) == 8
    with Store.open(store, read_only=True) as opened:
        tau = opened.prompt_stats().sort("expected_tau", "prompt_id")["prompt_id"]
    assert done.shown[2][0] == tau[-1] or done.shown[0][0] == tau[-1]
    other = report(store, tmp_path / "b.html", show=8, seed=5)
    assert other.shown[:6] == done.shown[:6]


def test_requested_prompts_are_shown_in_their_order(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    done = report(store, out, prompts=["p0009", "p0002", "p0009"])
    assert done.listed == 14
    articles = [article.text for article in Page(out.read_text()).named("article")]
    assert [re.findall(r"p\d{4}", text)[0] for text in articles] == ["p0009", "p0002"]
    with pytest.raises(CurateError, match="has no prompt 'nobody'"):
        report(store, out, prompts=["nobody"])


def test_a_prompt_has_its_ranks_intervals_and_votes(tmp_path: Path) -> None:
    rows = "p,x,y,left,a1\np,y,x,right,a2\np,x,y,right,a3\np,y,z,left,a1\np,y,z,tie,a2\np,x,z,left,a3\n"
    shown = page_of(votes_store(tmp_path, rows), prompts=["p"])
    [article] = shown.named("article")
    [responses] = [t for t in shown.named("table") if t.text in article.text]
    order = [responses.text.index(f" {name} ") for name in "xyz"]
    assert order == sorted(order)
    data = shown.data
    assert data["responses"]["response_id"] == ["x", "y", "z"]
    assert data["responses"]["rank"] == [1, 2, 3]
    votes, who = data["votes"], data["annotators"]["id"]
    found = sorted(
        (who[a], "xyz"[i], "xyz"[j], for_i, for_j, tied, left)
        for a, i, j, for_i, for_j, tied, left in zip(
            *(votes[name] for name in ("annotator", "first_at", "second_at", "for_first", "for_second", "tied")),
            votes["first_left"],
            strict=True,
        )
    )
    assert found == [
        ("a1", "x", "y", 1, 0, 0, 1),
        ("a1", "y", "z", 1, 0, 0, 1),
        ("a2", "x", "y", 1, 0, 0, 0),
        ("a2", "y", "z", 0, 0, 1, 1),
        ("a3", "x", "y", 0, 1, 0, 1),
        ("a3", "x", "z", 1, 0, 0, 1),
    ]
    assert data["prompts"]["disagreement"] == [0.25]  # 1 and half a tie of 6


def test_of_too_many_votes_and_responses_the_page_has_fewer(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = page_of(store).data
    monkeypatch.setattr("pipelines.reporting.MAX_VOTES", 10)
    monkeypatch.setattr("curate.report.data.MAX_RESPONSES", 20)
    few = page_of(store, prompts=["p0009"])
    monkeypatch.setattr("curate.report.data.MAX_TEXT", 1)
    assert page_of(store).data["prompts"]["prompt_id"] == []
    assert few.data["prompts"]["prompt_id"] == ["p0001", "p0002", "p0009"]  # six responses each
    assert "the page has 3 of the 14 prompts of the run" in few.text
    places = [whole["prompts"]["prompt_id"].index(prompt) for prompt in few.data["prompts"]["prompt_id"]]
    assert "annotator" not in few.data["votes"]
    total = {name: sum(few.data["votes"][name]) for name in ("for_first", "for_second", "tied")}
    start = [sum(whole["votes"]["size"][:place]) for place in places]
    for name, expected in total.items():
        rows = [whole["votes"][name][at : at + whole["votes"]["size"][p]] for at, p in zip(start, places, strict=True)]
        assert sum(map(sum, rows)) == expected > 0


def test_the_items_of_a_prompt_are_those_of_the_export(store: Path, page: Page) -> None:
    import polars as pl

    items, data = page.data["items"], page.data
    frame = pl.concat([pl.read_parquet(path) for path in sorted((store.parent / "benchmark").glob("*.parquet"))])
    assert len(frame) > 0
    start = [sum(data["prompts"]["size"][:k]) for k in range(14)]
    found = {
        item: (data["prompts"]["prompt_id"][k], [data["responses"]["response_id"][start[k] + i] for i in members], best)
        for item, k, members, best in zip(*(items[n] for n in ("item_id", "prompt", "members", "best")), strict=True)
    }
    expected = frame.select("item_id", "prompt_id", "response_ids", "best").rows()
    assert found == {item: tuple(rest) for item, *rest in expected}


def test_a_prompt_without_a_ranking_shows_its_votes_only(tmp_path: Path) -> None:
    rows = "p,x,y,left,a1\np,y,x,right,a2\nfew,x,y,tie,a1\n"
    shown = page_of(votes_store(tmp_path, rows), prompts=["few"])
    [article] = shown.named("article")
    assert "too few votes" in article.text
    assert shown.data["prompts"]["status"] == ["too_few_votes", "ranked"]
    assert shown.data["responses"]["rank"] == [None, None, 1, 2]


def test_connected_components_are_numbered(tmp_path: Path) -> None:
    rows = "p,x,y,left,a1\np,x,y,left,a2\np,u,v,left,a1\n"
    text = page_of(votes_store(tmp_path, rows), prompts=["p"]).text
    assert "2 connected components" in text


def test_agreement_is_shown_with_its_number_of_pairs_or_as_unknown(tmp_path: Path) -> None:
    for name in ("both", "once"):
        (tmp_path / name).mkdir()
    said = "p,a,b,left,ann\np,a,b,left,bob\np,b,c,left,ann\np,b,c,right,bob\np,a,c,left,ann\n"
    both = page_of(votes_store(tmp_path / "both", said)).text
    assert "on 2 pairs with votes of at least two of 2 annotators" in both
    assert "Krippendorff's alpha, on 2 pairs" in both
    assert "50% of 2" in both
    once = page_of(votes_store(tmp_path / "once", "p,a,b,left,ann\np,b,c,left,bob\n")).text
    assert "Krippendorff" not in once
    assert "Agreement is unknown" in once


# Escaping


EVIL = '<script>alert("1")</script><img src=x onerror=alert(1)>\'&amp;'


def test_markup_in_ids_texts_and_names_is_escaped(tmp_path: Path) -> None:
    quoted = '"' + EVIL.replace('"', '""') + '"'
    people = [f'"{who}{EVIL}"'.replace('"1"', '""1""') for who in "abc"]
    votes = "".join(f"{quoted},x{k},y{k},left,{who}\n" for who in people for k in range(2))
    (tmp_path / "votes.csv").write_text(f"prompt_id,left,right,winner,annotator_id\n{votes}")
    (tmp_path / "prompts.csv").write_text(f"prompt_id,question,video\n{quoted},{quoted},{quoted}\n")
    answers = "".join(f'{quoted},{name}{k},{quoted},{quoted[:-1]} {name}{k}"\n' for name in "xy" for k in range(2))
    (tmp_path / "responses.csv").write_text(f"prompt_id,response_id,model,text\n{answers}")
    path = tmp_path / "curate.duckdb"
    ingest(tmp_path / "votes.csv", path, prompts=tmp_path / "prompts.csv", responses=tmp_path / "responses.csv")
    denoise(path, config=DenoiseConfig(ranker="hierarchical", min_votes=1))
    shown = page_of(path, prompts=[EVIL], title=EVIL)
    assert shown.named("img", "iframe", "object", "base") == []
    assert len(shown.named("script")) == 4  # two of the page, and its data
    assert [e for e in shown.elements if any(key.startswith("on") for key in e.attributes)] == []
    for part in ("title", "h1", "h3", "td", "th", "code", "p"):
        assert any("<script>" in element.text for element in shown.named(part)), part
    assert f"Video: {EVIL}" in shown.text
    assert EVIL in shown.data["responses"]["text"][0]


def test_a_long_response_is_collapsed_and_complete(tmp_path: Path) -> None:
    rows = "p,x,y,left,a1\np,x,y,left,a2\n"
    path = votes_store(tmp_path, rows)
    long = "word " * 200
    (tmp_path / "responses.csv").write_text(f"prompt_id,response_id,text\np,x,{long}\n")
    ingest(tmp_path / "votes.csv", path, responses=tmp_path / "responses.csv")
    shown = page_of(path, prompts=["p"])
    assert any(element.text.count("word") > 200 for element in shown.named("details"))


# Markup


def test_equal_stores_and_options_give_equal_bytes_without_paths(store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / store.name
    copy.parent.mkdir()
    shutil.copy(store, copy)
    report(store, tmp_path / "a.html", show=4, seed=1)
    report(copy, tmp_path / "b.html", show=4, seed=1)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert str(store.parent) not in (tmp_path / "a.html").read_text()
    assert str(tmp_path) not in (tmp_path / "a.html").read_text()


def test_the_page_makes_no_requests(page: Page) -> None:
    for element in page.elements:
        for key, value in element.attributes.items():
            if key in {"src", "srcset", "data", "action", "poster", "xlink:href"}:
                assert value.startswith("data:image/")
            if key == "href":
                assert value.startswith(("#", "data:image/"))
            assert "url(" not in value
    assert set(re.findall(r"\w+://[\w./-]*", page.html)) == {"http://www.w3.org/2000/svg"}  # a name, not an address
    [css] = page.named("style")
    assert "url(" not in css.text
    assert "@import" not in css.text


def test_the_policy_allows_only_the_scripts_of_the_page(page: Page) -> None:
    [policy] = [m.attributes["content"] for m in page.named("meta") if "http-equiv" in m.attributes]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert [e for e in page.elements if "style" in e.attributes] == []
    inline = [e.text for e in page.named("script", "style") if "type" not in e.attributes]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inline]
    assert sorted(re.findall(r"sha256-([\w+/=]+)", policy)) == sorted(digests)


def test_title_description_and_icon_are_for_those_who_share_it(store: Path) -> None:
    shared = page_of(store, title="Our & their <models>")
    assert [shared.named(name)[0].text for name in ("title", "h1")] == ["Our & their <models>"] * 2
    metas = {
        m.attributes.get("property") or m.attributes.get("name"): m.attributes.get("content", "")
        for m in shared.named("meta")
    }
    assert metas["og:title"] == "Our & their <models>"
    assert metas["description"] == metas["og:description"]
    assert re.match(r"6 models on 14 prompts, ranked from [\d,]+ votes by \d+ annotators. Best: ", metas["description"])
    [icon] = shared.named("link")
    assert icon.attributes["href"].startswith("data:image/svg+xml,")


def test_headings_are_nested_and_links_have_targets(page: Page) -> None:
    levels = [int(h.name[1]) for h in page.named("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    assert [a.attributes["href"] for a in page.named("a") if a.attributes["href"][1:] not in ids] == []
    named = [e.attributes["aria-labelledby"] for e in page.elements if "aria-labelledby" in e.attributes]
    assert set(named) <= set(ids)


def test_charts_have_names_and_tables_have_headers(page: Page) -> None:
    for svg in page.named("svg"):
        assert svg.attributes.get("aria-label") or svg.attributes.get("aria-hidden") == "true"
    assert [th.text for th in page.named("th") if th.attributes.get("scope") not in {"col", "row"}] == []
    assert len(page.named("table")) > 5


def test_text_is_legible_on_every_colour_in_light_and_dark(page: Page) -> None:
    [css] = page.named("style")
    light, dark = css.text.split("prefers-color-scheme: dark", 1)
    for mode in (light, dark.split("* {", 1)[0]):
        colour = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", mode))
        pairs = [(f"{k}t", k) for k in colour if re.fullmatch(r"d\d+", k)]
        assert len(pairs) == 11
        pairs += [(text, on) for text in ("ink", "faint", "accent", "against") for on in ("ground", "surface")]
        worst = min((_contrast(colour[a], colour[b]), a, b) for a, b in pairs)
        assert worst[0] >= 4.5, worst


def _contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


# Incomplete stores


def test_missing_models_and_sides_are_reported(tmp_path: Path) -> None:
    rows = "p,x,y,a,k\np,y,z,a,k\nq,u,v,b,\n"
    path = votes_store(tmp_path, rows, "prompt_id,response_a,response_b,winner,annotator_id")
    done = report(path, tmp_path / "report.html")
    text = Page((tmp_path / "report.html").read_text()).text
    assert "No leaderboard" in text
    assert "Position bias is unknown" in text
    assert "no leaderboard: no vote compares two known models" in done.not_computed


def test_votes_ingested_after_the_run_are_not_counted(tmp_path: Path) -> None:
    path = votes_store(tmp_path, "p,x,y,left,a1\np,x,y,left,a2\n")
    (tmp_path / "late.csv").write_text("prompt_id,left,right,winner,annotator_id\np,y,x,left,a3\n")
    ingest(tmp_path / "late.csv", path)
    shown = page_of(path, prompts=["p"])
    assert "1 vote ingested after this run" in shown.text
    assert "0.0% of the vote weight disagrees with the final orders" in shown.text


# The file


def test_a_report_replaces_only_a_report(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "report.html"
    report(store, out, show=0)
    before = out.read_bytes()
    report(store, out, show=1)
    assert out.read_bytes() != before
    (tmp_path / "notes.html").write_text("<p>mine</p>")
    with pytest.raises(CurateError, match="not a report of curate"):
        report(store, tmp_path / "notes.html")
    assert (tmp_path / "notes.html").read_text() == "<p>mine</p>"
    with pytest.raises(CurateError, match="is a folder"):
        report(store, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "notes.html"]


def test_bad_input_is_named(store: Path, tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="no such store"):
        report(tmp_path / "none.duckdb", tmp_path / "r.html")
    with pytest.raises(CurateError, match="no denoise run 'feed'"):
        report(store, tmp_path / "r.html", run="feed")
    with pytest.raises(CurateError, match="no such folder"):
        report(store, tmp_path / "r.html", media=tmp_path / "none")
    with pytest.raises(UsageError, match="expected 0 or more"):
        report(store, tmp_path / "r.html", show=-1)
    assert list(tmp_path.iterdir()) == []


def test_the_command_reports_what_it_wrote(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.html"
    assert (
        curate(["report", "--store", str(store), "--out", str(out), "--prompt", "p0003", "--prompt", "p0001", "--json"])
        == 0
    )
    done = json.loads(capsys.readouterr().out)
    assert done["shown"] == [["p0003", "requested"], ["p0001", "requested"]]
    assert done["bytes"] == out.stat().st_size
    assert curate(["report", "--store", str(store), "--out", str(out), "--show", "1"]) == 0
    out_text, err = capsys.readouterr()
    assert out_text == ""
    assert "14 prompts" in err
    assert "--gold FILE" in err


# Pictures


def test_frames_are_shown_and_linked_or_the_reason_for_none(store: Path, tmp_path: Path) -> None:
    (tmp_path / "media" / "videos").mkdir(parents=True)
    with Store.open(store, read_only=True) as opened:
        videos = dict(opened.prompts().select("prompt_id", "video").iter_rows())
    encode(tmp_path / "media" / videos["p0001"], range(0, 1000, 40))
    (tmp_path / "media" / videos["p0002"]).write_bytes(b"no video")
    out = tmp_path / "page" / "report.html"
    done = report(store, out, prompts=["p0001", "p0002", "p0003"], media=tmp_path / "media")
    assert done.pictures == 1
    assert {videos["p0002"], videos["p0003"]} <= set(done.picture_errors)
    page = Page(out.read_text())
    [picture] = page.named("img")
    assert picture.attributes["src"].startswith("data:image/jpeg;base64,/9j/")
    assert "p0001" in picture.attributes["alt"]
    assert f"Video: {videos['p0003']}: missing: no such file" in page.text
    links = dict(zip(page.data["videos"]["name"], page.data["videos"]["link"], strict=True))
    assert links[videos["p0001"]] == f"../media/{videos['p0001']}"
    assert links[videos["p0003"]] is None
    assert str(tmp_path) not in page.html


def test_pictures_of_unchanged_videos_are_taken_over(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    media, copy, out = tmp_path / "media", tmp_path / "curate.duckdb", tmp_path / "report.html"
    shutil.copy(store, copy)
    with Store.open(copy, read_only=True) as opened:
        videos = opened.prompts()["video"].unique().sort().to_list()
    (media / videos[0]).parent.mkdir(parents=True)
    for k, video in enumerate(videos):
        encode(media / video, range(0, 1000, 40 + 5 * k))
    probe_media(copy, media=media)
    report(copy, out, media=media)
    before = out.read_bytes()
    decoded: list[str] = []
    strip = stills.strip
    monkeypatch.setattr(stills, "strip", lambda images: decoded.append("") or strip(images))
    report(copy, out, media=media)
    assert out.read_bytes() == before
    assert decoded == []
    encode(media / videos[0], range(0, 2000, 100))
    report(copy, out, media=media)
    assert len(decoded) == 1


def test_votes_of_excluded_annotators_are_not_counted(tmp_path: Path) -> None:
    config = SimulateConfig(prompts=20, models=6, annotators=20, votes_per_pair=4.0, spammers=0.3)
    simulate(tmp_path / "world", config=config)
    ingest(
        tmp_path / "world" / "votes.csv",
        tmp_path / "s.duckdb",
        prompts=tmp_path / "world" / "prompts.csv",
        responses=tmp_path / "world" / "responses.csv",
    )
    ranked = denoise(tmp_path / "s.duckdb", config=DenoiseConfig(ranker="hierarchical", max_spammer=0.9))
    assert ranked.spammers > 0
    with Store.open(tmp_path / "s.duckdb", read_only=True) as store:
        pairs = pair_votes(store, ranked.run)
    assert pairs["votes"].sum() == ranked.votes
