"""``curate audit``: how few votes, or annotators, the conclusions of a run and the labels of a release rest on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.denoising.ranking import Denoised, rank_votes
from curate.evaluation.fragility import Change, Query, fragile_best, fragile_top
from curate.rankers.hierarchical import Hierarchical
from curate.rankers.registry import POSTERIOR
from curate.release.manifest import read_release
from curate.release.tables import BENCHMARK
from curate.store import Store
from curate.store.rankings import Loaded, load_votes
from curate.votes.arrays import VoteArrays
from pipelines.progress import Progress, silent
from schemas.config import DenoiseConfig
from schemas.errors import CurateError
from schemas.reports import AuditReport, FragileLabel, FragileTop, NamedVote
from schemas.votes import OUTCOMES

Index = npt.NDArray[np.int64]


class Label(NamedTuple):
    """A claim that a response is the best of some."""

    prompt_id: str
    best: str
    others: Sequence[str]
    """Response ids."""
    item_id: str = ""


def audit(
    store: str | Path = "curate.duckdb",
    *,
    run: str = "",
    release: Path | None = None,
    show: int = 10,
    progress: Progress = silent,
) -> AuditReport:
    """Return the smallest sets of votes, and of annotators, whose removal changes a conclusion.

    Parameters
    ----------
    store
        The DuckDB file.
    run
        A denoise run, by its id or a prefix; the latest when empty. Its config chooses the votes; strengths are those
        of the hierarchical ranker.
    release
        A release: the labels of its benchmark items are audited instead of the best response of each prompt.
    show
        How many of the most fragile labels are listed with their votes.

    Raises
    ------
    CurateError
        Where there is no such run or release, or no label to audit.
    """
    with Store.open(store, read_only=True) as opened:
        run_id = opened.denoise_run(run)
        found = opened.run(run_id)
        assert found is not None
        changes = {"ranker": POSTERIOR, "compare": False}
        config = DenoiseConfig.from_stored(json.dumps(found["config"])).model_copy(update=changes)
        progress("reading votes", 0, 0)
        loaded = load_votes(
            opened,
            prompts=config.prompts,
            criterion=config.criterion,
            both_bad=config.both_bad,
            control=config.control,
            texts=config.text_comparison,
            places=True,
        )
        labels = _labels_of(release, run_id) if release else _best_responses(opened.rankings(run_id))
        files = dict(opened.frame("SELECT file_id, path FROM files ORDER BY file_id").iter_rows())
    progress("fitting", 0, 0)
    denoised = rank_votes(loaded.votes, config, texts=loaded.texts.equal if loaded.texts else None)
    positions = _positions(loaded.votes, denoised)
    audited = _audited(labels, denoised)
    if not audited:
        raise CurateError(f"{store}: no label to audit", hint="a label is the one best response of a prompt")
    votes, ranker = denoised.votes, Hierarchical()
    units = {"votes": np.arange(len(votes.left)), "annotators": _annotators(votes)}
    found_sets: dict[str, list[Change | None]] = {}
    for step, (name, unit) in enumerate(units.items()):
        progress(f"sets of {name}", step, len(units))
        queries = [query for _, query in audited]
        found_sets[name] = fragile_best(votes, ranker, denoised.posterior, queries, unit=unit)
    named = _Names(votes, loaded, positions, files)
    order = sorted(range(len(audited)), key=lambda k: (_size(found_sets["votes"][k]), audited[k][0].prompt_id))
    return AuditReport(
        store=str(store),
        run=run_id,
        release=read_release(release).label if release else "",
        votes=len(votes.left),
        labels=len(audited),
        by_votes=_counts(found_sets["votes"]),
        by_annotators=_counts(found_sets["annotators"]),
        top=tuple(
            FragileTop(model=leader, rival=rival, unit=name, units=change.units, votes=len(change.votes))
            for name, unit in units.items()
            if (top := fragile_top(votes, unit=unit)) is not None
            for leader, rival, change in [top]
        ),
        fragile=tuple(
            _fragile(audited[k][0], found_sets["votes"][k], found_sets["annotators"][k], named) for k in order[:show]
        ),
    )


def _best_responses(rankings: pl.DataFrame) -> list[Label]:
    """The strictly best response of each prompt, within its largest connected component."""
    labels = []
    for (prompt,), own in rankings.filter(pl.col("component") == 0).group_by("prompt_id", maintain_order=True):
        first = own.filter(pl.col("rank") == own["rank"].min())["response_id"].to_list()
        others = own.filter(pl.col("rank") > own["rank"].min())["response_id"].to_list()
        if len(first) == 1 and others:
            labels.append(Label(str(prompt), first[0], others))
    return labels


def _labels_of(folder: Path, run_id: str) -> list[Label]:
    """The labels of a release's benchmark items. Raises CurateError where they are those of another run."""
    read_release(folder)
    paths = sorted((folder / BENCHMARK).glob("*.parquet"))
    if not paths:
        raise CurateError(f"{folder}: no benchmark items", hint="give the folder of a release with a benchmark")
    items = pl.concat([pl.read_parquet(path) for path in paths])
    runs = items["run_id"].unique().to_list()
    if runs != [run_id]:
        raise CurateError(
            f"{folder}: its labels are those of run {', '.join(runs)}, not {run_id}",
            hint=f"audit that run: --run {runs[0]}",
        )
    return [
        Label(row["prompt_id"], ids[row["best"]], [each for each in ids if each != ids[row["best"]]], row["item_id"])
        for row in items.iter_rows(named=True)
        if row["best"] is not None and (ids := row["response_ids"])
    ]


def _audited(labels: Sequence[Label], denoised: Denoised) -> list[tuple[Label, Query]]:
    """The labels whose responses are ranked and have different texts, with their query."""
    texts = denoised.texts
    prompts = {prompt: number for number, prompt in enumerate(texts.given.prompts)}
    response = {
        (texts.given.prompts[prompt], name): int(text)
        for prompt, name, text in zip(texts.given.response_prompt, texts.given.responses, texts.text, strict=True)
    }
    found = []
    for label in labels:
        best = response.get((label.prompt_id, label.best))
        others = np.array(sorted({response.get((label.prompt_id, other), -1) for other in label.others} - {best, -1}))
        if best is not None and len(others):
            found.append((label, Query(prompts[label.prompt_id], best, others)))
    return found


def _positions(votes: VoteArrays, denoised: Denoised) -> Index:
    """(V,) where the votes of the run are among those that were loaded."""
    excluded = np.append(denoised.spammers, False)[votes.annotator]
    used = denoised.coverage.used[votes.response_prompt[votes.left]]
    text = denoised.all_texts.text
    return np.flatnonzero(~excluded & used & (text[votes.left] != text[votes.right]))


def _annotators(votes: VoteArrays) -> Index:
    """(V,) a number per annotator; each group, or vote, of anonymous people counts as one."""
    groups = int(votes.group.max(initial=-1)) + 1
    alone = len(votes.annotators) + np.where(votes.group >= 0, votes.group, groups + np.arange(len(votes.left)))
    return np.where(votes.annotator >= 0, votes.annotator, alone).astype(np.int64)


class _Names(NamedTuple):
    """What votes are called outside."""

    votes: VoteArrays
    loaded: Loaded
    positions: Index
    files: dict[int, str]

    def of(self, change: Change | None) -> tuple[NamedVote, ...]:
        """The votes of a change."""
        if change is None or self.loaded.places is None:
            return ()
        given = self.loaded.votes
        places = self.loaded.places
        found = []
        for at in self.positions[change.votes].tolist():
            annotator = int(given.annotator[at])
            found.append(
                NamedVote(
                    file=self.files[places["file_id"][at]],
                    line=places["line"][at],
                    annotator_id=given.annotators[annotator] if annotator >= 0 else None,
                    left=given.responses[given.left[at]],
                    right=given.responses[given.right[at]],
                    outcome=OUTCOMES[given.outcome[at]],
                )
            )
        return tuple(found)


def _fragile(label: Label, votes: Change | None, annotators: Change | None, names: _Names) -> FragileLabel:
    return FragileLabel(
        prompt_id=label.prompt_id,
        item_id=label.item_id,
        best=label.best,
        rival=names.votes.responses[votes.rival] if votes and votes.rival >= 0 else None,
        units=votes.units if votes else None,
        votes=names.of(votes),
        annotators=annotators.units if annotators else None,
        annotator_ids=tuple(sorted({vote.annotator_id for vote in names.of(annotators) if vote.annotator_id})),
    )


def _size(change: Change | None) -> float:
    """Number of units; infinite where no set changes the conclusion."""
    return float(change.units) if change else np.inf


def _counts(changes: Sequence[Change | None]) -> dict[str, int]:
    """Number of labels by the number of units that change them, "none" where no set does."""
    found = Counter(change.units if change else None for change in changes)
    order = sorted(found, key=lambda units: (units is None, units or 0))
    return {"none" if units is None else str(units): found[units] for units in order}
