"""The registry of rankers: names, declarations, third-party rankers through entry points, and old names."""

from __future__ import annotations

import shutil
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

import curate
from cli.main import run
from curate.rankers.bradley_terry import BradleyTerry
from curate.rankers.registry import build, compared_rankers, single_rankers, spec_of
from pipelines import denoise, ingest
from pipelines.settings import load_toml
from schemas.config import DenoiseConfig, Settings
from schemas.errors import CurateError
from schemas.rankers import BUILT_IN, ranker_names
from tests.strategies import random_wins, votes_from_wins

PLUGIN = Path(__file__).parent / "plugin_ranker"
VOTES = "prompt_id,left,right,winner,annotator_id\n" + "".join(
    f"p,{left},{right},left,{who}\n" for left, right in ("ab", "bc", "ac", "cd", "ad", "bd") for who in "uvwx"
)


def install(folder: Path, value: str = "curate_copeland:RANKER", name: str = "copeland") -> None:
    """Install the plugin package into a folder, as pip would: its module and its metadata."""
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    shutil.copy(PLUGIN / "curate_copeland.py", folder)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    (info / "entry_points.txt").write_text(f"[curate.rankers]\n{name} = {value}\n")


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]["entry-points"]["curate.rankers"]
    assert declared == {"copeland": "curate_copeland:RANKER"}
    install(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "curate_copeland", raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "votes.csv").write_text(VOTES)
    ingest([tmp_path / "votes.csv"], tmp_path / "s.duckdb")
    return tmp_path / "s.duckdb"


# Built-in rankers.


@pytest.mark.parametrize("name", BUILT_IN)
def test_declared_capabilities_are_true(name: str) -> None:
    spec, votes = spec_of(name), votes_from_wins(random_wins(6, 2, seed=0))
    ranker = build(name, DenoiseConfig())
    ranking = ranker(votes)
    assert spec.name == name
    assert spec.has_posterior == hasattr(ranker, "fit") or name == "crowd-bt"  # its fit is no posterior
    if not spec.combines:
        assert spec.has_bound == bool(np.isfinite(ranking.bound).all())
    if spec.needs_annotators:
        same = build(spec.without_annotators, DenoiseConfig())(votes)
        np.testing.assert_allclose(ranking.scores, same.scores, atol=1e-6)


def test_a_posterior_has_strengths_covariances_and_log_odds() -> None:
    votes = votes_from_wins(random_wins(5, 2, seed=1), random_wins(4, 2, seed=2))
    votes = replace(votes, sides_known=np.zeros(len(votes.left), dtype=np.bool_))
    for spec in single_rankers():
        if spec.has_posterior:
            fit = build(spec.name, DenoiseConfig()).fit(votes)  # type: ignore[attr-defined]
            assert fit.strength.shape == (9,)
            assert [matrix.shape for matrix in fit.covariance] == [graphs.wins.shape for graphs in votes.graphs]
            assert (fit.ranking(votes).scores == fit.strength).all()
            odds = fit.log_odds(votes)
            assert odds.shape == votes.left.shape
            gap = fit.strength[votes.left] - fit.strength[votes.right]
            assert (np.sign(odds) == np.sign(gap)).all()


def test_rankers_that_equal_another_without_annotators_are_not_compared_then() -> None:
    config = DenoiseConfig()
    all_of_them = compared_rankers(config, annotators=True)
    anonymous = compared_rankers(config, annotators=False)
    assert set(all_of_them) - set(anonymous) == {"weighted-feedback-arc-set", "crowd-bt"}
    assert set(all_of_them) - set(compared_rankers(config, annotators=True, held_out=True)) == {"crowd-bt"}
    named = DenoiseConfig(ranker="crowd-bt")
    assert "crowd-bt" in compared_rankers(named, annotators=False, held_out=True)


def test_an_unknown_ranker_is_an_error_that_lists_the_known_ones(tmp_path: Path) -> None:
    for config in ({"ranker": "nonsense"}, {"weights": {"nonsense": 1.0}}):
        with pytest.raises(ValidationError, match=r"'nonsense'.*bradley-terry.*hierarchical"):
            DenoiseConfig.model_validate(config)
    with pytest.raises(CurateError) as error:
        spec_of("nonsense")
    assert all(name in error.value.hint for name in BUILT_IN)
    assert run(["denoise", "--store", str(tmp_path / "s.duckdb"), "--ranker", "nonsense"]) == 2


# Old names.


def test_the_old_name_of_the_hierarchical_ranker_works_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "curate.toml").write_text(
        '[denoise]\nranker = "joint"\nweights = { joint = 1.0 }\n[denoise.joint]\nties = "davidson"\n'
    )
    with pytest.warns(FutureWarning, match="'joint' is now called 'hierarchical'"):
        config = load_toml(tmp_path / "curate.toml", Settings).denoise
    assert (config.ranker, config.members, config.hierarchical.ties) == (
        "hierarchical",
        {"hierarchical": 1.0},
        "davidson",
    )


# Third-party rankers.


@pytest.mark.usefixtures("plugin")
def test_a_third_party_ranker_is_found_chosen_and_compared(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ranker_names() == (*BUILT_IN, "copeland")
    assert run(["denoise", "--store", str(store), "--ranker", "copeland"]) == 0
    with curate.open(store) as opened:
        frame = opened.rankings()
        recorded = opened.run(opened.denoise_run())
    assert frame.select("response_id", "rank", "score").rows() == [
        ("a", 1, 3.0),
        ("b", 2, 1.0),
        ("c", 3, -1.0),
        ("d", 4, -3.0),
    ]
    assert (frame["best_rank"] <= frame["rank"]).all()
    assert recorded is not None
    assert recorded["inputs"]["rankers"] == {"copeland": "curate-copeland 1.2"}
    assert run(["denoise", "--store", str(store), "--ranker", "borda", "--compare"]) == 0
    with curate.open(store) as opened:
        assert opened.rankings()["rank_copeland"].to_list() == [1, 2, 3, 4]
    report = denoise(store)
    assert report.auto is not None
    assert "copeland" in {score.method for score in report.auto.methods}


@pytest.mark.usefixtures("plugin")
def test_a_third_party_ranker_takes_options_and_rejects_wrong_ones(store: Path) -> None:
    config = DenoiseConfig(ranker="copeland", options={"copeland": {"tie": 0.5}})
    assert repr(build("copeland", config)) == "Copeland(tie=0.5)"
    assert denoise(store, config=config).method == "copeland"
    for options in ({"tie": 7}, {"teis": 0.5}):
        with pytest.raises(CurateError, match="rejects its options"):
            build("copeland", DenoiseConfig(options={"copeland": options}))
    with pytest.raises(ValidationError, match="built-in rankers"):
        DenoiseConfig(options={"borda": {}})


def test_without_the_package_its_ranker_is_unknown() -> None:
    with pytest.raises(ValidationError, match="unknown ranker 'copeland'"):
        DenoiseConfig(ranker="copeland")


@pytest.mark.parametrize(
    ("value", "message"),
    [("curate_copeland:Copeland", "not a RankerSpec"), ("curate_copeland:MISSING", "cannot be imported")],
)
def test_a_broken_third_party_ranker_names_its_package_and_stops_no_other(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    install(tmp_path / "site", value)
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(CurateError, match=message) as error:
        denoise(store, config=DenoiseConfig(ranker="copeland"))
    assert "curate-copeland 1.2" in error.value.hint
    assert denoise(store, config=DenoiseConfig(ranker="borda")).method == "borda"


def test_a_package_cannot_replace_a_built_in_ranker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "site", name="bradley-terry")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert ranker_names() == tuple(BUILT_IN)
    assert isinstance(build("bradley-terry", DenoiseConfig()), BradleyTerry)
