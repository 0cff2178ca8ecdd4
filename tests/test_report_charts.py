"""Charts and figures of the report, compared with values computed by hand."""

from __future__ import annotations

import math
import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from curate.annotators.sides import one_sided
from curate.evaluation.cross_validation import calibration_bins
from curate.evaluation.leaderboard import Leaderboard
from curate.report.charts import histogram, interval, reliability_diagram
from curate.report.figures import (
    export_block,
    pair_disagreement,
    prompt_disagreement,
    prompts_block,
    sides_of,
    votes_block,
)
from curate.report.panels import calibration_panel, matrix_panel, sides_panel
from curate.report.prompts import choose_prompts, requested_prompts
from curate.report.stills import strip
from curate.report.svg import element, signed, ticks
from schemas.validation import CalibrationBin

# Elements.


def test_text_and_attributes_are_escaped_and_markup_is_not() -> None:
    made = element("text", "a<b", Markup("<title>t</title>"), fill='"><script>', class_="x")
    assert made == '<text fill="&#34;&gt;&lt;script&gt;" class="x">a&lt;b<title>t</title></text>'


@given(low=st.floats(-1e3, 1e3), width=st.floats(1e-3, 1e3))
def test_ticks_are_few_round_and_inside(low: float, width: float) -> None:
    found = ticks(low, low + width)
    assert 2 <= len(found) <= 9
    assert all(low - 1e-6 <= mark <= low + width + 1e-6 for mark in found)


def test_numbers_have_a_true_minus_and_zero_has_none() -> None:
    assert [signed(x, 1) for x in (-0.04, -1.25, 3.0)] == ["0.0", "−1.2", "3.0"]


# Charts.


def test_an_interval_is_clipped_to_its_axis() -> None:
    drawn = str(interval(5.0, -99.0, 99.0, domain=(0.0, 10.0)))
    xs = [float(x) for x in re.findall(r'(?:x1|x2|cx)="([\d.]+)%"', drawn)]
    assert min(xs) >= 0
    assert max(xs) <= 100
    assert 'cx="50.0%"' in drawn


def test_win_rates_have_colours_centred_at_one_half_and_a_sentence_on_uneven_comparisons() -> None:
    found = matrix_panel(_models([[0, 4, 3], [4, 0, 0], [1, 0, 0]]))
    assert [[cell[:2] for cell in row["cells"]] for row in found["matrix"]] == [
        [(None, ""), (5, "50"), (8, "75")],
        [(5, "50"), (None, ""), (None, "")],
        [(2, "25"), (None, ""), (None, "")],
    ]
    assert found["matrix"][0]["cells"][2][2] == "m0 over m2: 75.0% of 4"
    assert found["compared"].startswith("A pair of models has 4 to 8 votes, median 6. 1 of 3 pairs have none.")
    even = matrix_panel(_models([[0, 1, 2], [2, 0, 3], [1, 0, 0]]))
    assert even["compared"] == "A pair of models has 3 votes."


def _models(wins: list[list[float]]) -> Leaderboard:
    """A leaderboard of models m0, m1, … with these win counts."""
    count = len(wins)
    frame = pl.DataFrame({"model": [f"m{i}" for i in range(count)]})
    unused = np.zeros((count, count))
    return Leaderboard(frame, unused, unused > 0, np.array(wins, dtype=float), (), pl.DataFrame(), 0, 0, 1, True)


def test_a_histogram_counts_every_share() -> None:
    drawn = str(histogram([0.0, 0.019, 0.02, 0.31, 1.0], axis="share", label="h"))
    said = re.findall(r"<title>(\d+%) to \d+%: (\d+)</title>", drawn)
    assert said == [("0%", "2"), ("2%", "1"), ("30%", "1"), ("98%", "1")]


def test_an_empty_histogram_has_no_bars() -> None:
    assert "<title>" not in str(histogram([], axis="share", label="h"))


def test_calibrated_bins_are_on_the_diagonal() -> None:
    bins = [CalibrationBin(probability=p, observed=p, observed_se=0.01, votes=10) for p in (0.55, 0.75, 0.95)]
    drawn = str(reliability_diagram(bins, errors=1.0, label="r"))
    points = [(float(x), float(y)) for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', drawn)]
    assert len({round(x + y, 1) for x, y in points}) == 1
    assert "probability 75.0%, observed 75.0% of 10 votes" in drawn


def test_calibration_bins_have_equal_sizes() -> None:
    odds = np.array([-2.0, 2.0] * 10 + [0.0] * 20)
    left = np.array([False, True] * 10 + [True] * 20)  # always the likelier side; at even odds half counts
    bins = calibration_bins(odds, left, np.ones(40), np.arange(40))
    assert [b.votes for b in bins] == [4] * 10
    assert [b.observed for b in bins] == [0.5] * 5 + [1.0] * 5
    assert [round(b.probability, 3) for b in bins] == [0.5] * 5 + [0.881] * 5


def test_without_held_out_votes_there_is_no_diagram() -> None:
    part = calibration_panel(None, None)
    assert part["diagram"] is None
    assert part["methods"] == ()


def test_frames_are_side_by_side() -> None:
    from io import BytesIO

    from PIL import Image

    with Image.open(BytesIO(strip(np.zeros((4, 300, 400, 3), dtype=np.uint8)))) as drawn:
        assert (drawn.format, drawn.size) == ("JPEG", (4 * 128 + 3 * 4, 96))


# Figures.


def ranked(*rows: tuple[str, str, str | None, int | None, float]) -> pl.DataFrame:
    """(prompt, response, model, rank, strength) rows as of ``ranked_responses``."""
    frame = pl.DataFrame(
        rows,
        schema={
            "prompt_id": pl.String,
            "response_id": pl.String,
            "model": pl.String,
            "rank": pl.Int32,
            "strength": float,
        },
        orient="row",
    )
    return frame.with_columns(strength_se=pl.lit(0.0), component=pl.when(pl.col("rank").is_not_null()).then(0))


def votes_on(*rows: tuple[str, str, str, float, float, float]) -> pl.DataFrame:
    """(prompt, first, second, for_first, for_second, tied) rows as of ``pair_votes``."""
    names = ["prompt_id", "first", "second", "for_first", "for_second", "tied"]
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(votes=pl.lit(1))


TWO = ranked(("p", "a", "A", 1, 1.0), ("p", "b", "B", 2, -1.0), ("q", "c", "A", 2, -0.5), ("q", "d", "B", 1, 0.5))


def test_disagreement_counts_ties_and_equal_ranks_half() -> None:
    three = ranked(
        ("p", "a", "A", 1, 0.0), ("p", "b", "B", 2, 0.0), ("p", "c", "C", 2, 0.0), ("p", "d", "D", None, 0.0)
    )
    pairs = votes_on(("p", "a", "b", 3, 1, 2), ("p", "b", "c", 3, 1, 0), ("p", "a", "d", 1, 0, 0))
    judged = pair_disagreement(pairs, three)
    assert judged["against"].to_list() == [2.0, 2.0, None]
    assert prompt_disagreement(judged).row(0) == ("p", 4.0, 10.0, 0.4)


def test_the_share_of_left_has_an_interval_clustered_by_annotator() -> None:
    counts = pl.DataFrame(
        {"annotator_id": ["a", "b", None], "left": [3, 1, 1], "right": [1, 3, 1], "undecided": [0, 1, 0]}
    )
    found = sides_of(counts)
    assert (found.left, found.right, found.undecided, found.annotators) == (5, 5, 1, 4)
    assert found.share is not None
    assert found.share.value == 0.5
    # deviations 1, −1, ½, −½; error √(4/3 · 2.5) / 10; t of 3 freedoms 2.353
    assert found.share.high == pytest.approx(0.5 + 2.353 * math.sqrt(4 / 3 * 2.5) / 10, abs=1e-3)
    assert "significant" in sides_panel(found)["side_conclusion"]
    assert sides_of(counts.clear()).share is None


def test_votes_for_one_side_are_reported() -> None:
    counts = pl.DataFrame({"annotator_id": ["a", "b"], "left": [30, 30], "right": [0, 1], "undecided": [0, 0]})
    assert one_sided(counts) == {"one_sided": 0}
    assert one_sided(counts.with_columns(right=pl.Series([0, 30]))) == {"one_sided_annotators": 1}
    assert one_sided(counts.with_columns(left=pl.Series([15, 30]), right=pl.Series([0, 30]))) == {}
    found = sides_of(counts)
    assert len(found.warnings) == 1
    assert found.significant


FACTS = pl.DataFrame(
    {
        "prompt_id": ["a", "b", "c", "d", "e"],
        "status": ["ranked", "ranked", "disconnected", "too_few_votes", "ranked"],
        "disagreement": [0.1, 0.4, 0.4, None, 0.2],
        "expected_tau": [0.9, 0.5, None, None, 0.6],
    }
)


def test_only_ranked_prompts_are_chosen_and_each_once() -> None:
    chosen = choose_prompts(FACTS, show=9, seed=0)
    assert sorted(c.prompt_id for c in chosen) == ["a", "b", "c", "e"]
    assert [(c.prompt_id, c.reason) for c in chosen[:3]] == [
        ("b", "highest disagreement"),
        ("a", "highest expected tau"),
        ("e", "lowest expected tau"),
    ]
    assert choose_prompts(FACTS.reverse(), show=2, seed=0) == choose_prompts(FACTS, show=2, seed=0)
    assert [c.prompt_id for c in requested_prompts(["z", "a", "z"])] == ["z", "a"]


def test_the_funnel_adds_up() -> None:
    sums = {"rows": 10, "votes": 6, "duplicates": 1, "rejects": 3, "pairs": 9}
    votes = votes_block(sums, {"bad-time": 2, "self-comparison": 1}, 8, {"votes": 5, "excluded_votes": 2})
    assert [(stage.name, stage.count) for stage in votes.stages] == [
        ("rows read", 10),
        ("votes ingested", 6),
        ("pairwise votes in the store", 8),
        ("votes used by the run", 5),
    ]
    assert [sum(n for _, n in stage.excluded) for stage in votes.stages] == [0, 4, 1, 3]
    assert votes.share(votes.stages[2]) == 0.8
    prompts = prompts_block(10, {"ranked": 5, "too_few_votes": 3}, 2)
    assert [stage.count for stage in prompts.stages] == [10, 8, 5]
    assert prompts.stages[2].excluded == (("too few votes, or no decisive vote", 3),)


def test_the_stages_of_an_export() -> None:
    export = {
        "kind": "benchmark",
        "items": {"4way": 3},
        "candidates": {"4way": 20},
        "eligible": {"4way": 12},
        "prompts": 2,
        "excluded": {"prompt: in the other split": 6},
    }
    block = export_block("export-benchmark", "abc", export, 8)
    assert [(stage.count, stage.excluded) for stage in block.stages] == [
        (8, ()),
        (2, (("prompt: in the other split", 6),)),
        (20, ()),
        (12, (("below min_confidence", 8),)),
        (3, ()),
    ]
    assert block.share(block.stages[4]) == 0.15
