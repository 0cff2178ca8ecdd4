"""``curate audit``: how few votes, or annotators, the conclusions of a run and the labels of a release rest on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from curate.array_types import Float, Index
from curate.denoising.exclusion import exclude_copies
from curate.evaluation.fragility import Change, Query, fragile_best, fragile_top
from curate.rankers.hierarchical import Hierarchical, HierarchicalFit
from curate.release.manifest import read_release
from curate.release.tables import BENCHMARK, tables_of
from curate.sampling.items import Fragility, Label
from curate.store import Store
from curate.store.rankings import Loaded, load_votes
from curate.votes.arrays import VoteArrays
from curate.votes.coverage import cover
from curate.votes.merging import Merged, merge
from pipelines.progress import Progress, silent
from schemas.audit import AuditReport, FragileLabel, FragileTop, NamedVote
from schemas.config import DenoiseConfig
from schemas.errors import CurateError, NoVotesError
from schemas.votes import OUTCOMES


def audit(
    store: str | Path = "curate.duckdb",
    *,
    run: str = "",
    criterion: str = "",
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
    criterion
        Of the run; needed if there are runs by several criteria and ``run`` is empty.
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
        run_id = opened.denoise_run(run, criterion=criterion)
        progress("fitting", 0, 0)
        fitted = _fitted(opened, run_id)
        labels = _labels_of(release, run_id) if release else _best_responses(opened.rankings(run_id))
        files = dict(opened.frame("SELECT file_id, path FROM files ORDER BY file_id").iter_rows())
    audited = _audited(labels, fitted.texts)
    if not audited:
        raise CurateError(f"{store}: no label to audit", hint="a label is the one best response of a prompt")
    votes = fitted.texts.votes
    units = {"votes": np.arange(len(votes.left)), "annotators": _annotators(votes)}
    found_sets: dict[str, list[Change | None]] = {}
    for step, (name, unit) in enumerate(units.items()):
        progress(f"sets of {name}", step, len(units))
        queries = [query for _, query in audited]
        found_sets[name] = fragile_best(votes, Hierarchical(), fitted.fit, queries, unit=unit)
    named = _Names(fitted, files)
    asked = [labels[place] for place, _ in audited]
    order = sorted(range(len(asked)), key=lambda k: (_size(found_sets["votes"][k]), asked[k].prompt_id))
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
            _fragile(asked[k], found_sets["votes"][k], found_sets["annotators"][k], named) for k in order[:show]
        ),
    )


def fragility(store: Store, run_id: str) -> Fragility:
    """Return the function that gives the fragility of labels by the votes of a denoise run.

    It is unknown where the store no longer has all votes of the run.
    """

    @cache
    def fitted() -> _Fitted | None:
        try:
            found = _fitted(store, run_id)
        except NoVotesError:
            return None
        return found if found.complete else None

    def of_labels(labels: Sequence[Label]) -> Float:
        sizes = np.full(len(labels), np.nan)
        found = fitted() if labels else None
        if found is None:
            return sizes
        votes, audited = found.texts.votes, _audited(labels, found.texts)
        unit, queries = np.arange(len(votes.left)), [query for _, query in audited]
        changes = fragile_best(votes, Hierarchical(), found.fit, queries, unit=unit) if queries else []
        for (place, _), change in zip(audited, changes, strict=True):
            sizes[place] = _size(change)
        return sizes

    return of_labels


class _Fitted(NamedTuple):
    """The votes of a denoise run, and the strengths by the hierarchical ranker."""

    loaded: Loaded
    texts: Merged
    """Of the ranked prompts, without the votes of excluded annotators."""
    places: Index
    """(V,) where the votes on these texts are among those that were loaded."""
    fit: HierarchicalFit
    complete: bool
    """Whether these are all votes that the run used; later files may have superseded some."""


def _fitted(store: Store, run_id: str) -> _Fitted:
    """Raises NoVotesError where the store has no votes of the run."""
    run = store.run(run_id)
    assert run is not None
    config = DenoiseConfig.from_stored(json.dumps(run["config"]))
    loaded = load_votes(
        store,
        prompts=config.prompts,
        criterion=config.criterion,
        both_bad=config.both_bad,
        control=config.control,
        texts=config.text_comparison,
        places=True,
        batches=run["inputs"].get("batches"),
    )
    votes, report = loaded.votes, run["report"]
    excluded = np.append(np.isin(votes.annotators, report.get("spammer_ids", [])), False)
    places = np.flatnonzero(~excluded[votes.annotator])
    assert loaded.texts is not None
    places = places[~exclude_copies(votes.of_votes(places), config).copied]
    every = merge(votes.of_votes(places), loaded.texts.equal if config.equal_texts == "merge" else None)
    used = cover(every.votes, config).used
    places = places[~every.between][used[every.votes.response_prompt[every.votes.left]]]
    texts = every.of_prompts(used)
    complete = len(texts.votes.left) == report.get("votes")
    return _Fitted(loaded, texts, places, Hierarchical().fit(texts.votes), complete)


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
    paths = tables_of(BENCHMARK, [file.path for file in read_release(folder).files])
    if not paths:
        raise CurateError(f"{folder}: no benchmark items", hint="give the folder of a release with a benchmark")
    items = pl.concat([pl.read_parquet(folder / path) for path in paths])
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


def _audited(labels: Sequence[Label], texts: Merged) -> list[tuple[int, Query]]:
    """The positions of the labels whose responses are ranked and have different texts, with their query."""
    given = texts.given
    prompts = {prompt: number for number, prompt in enumerate(given.prompts)}
    response = {
        (given.prompts[prompt], name): int(text)
        for prompt, name, text in zip(given.response_prompt, given.responses, texts.text, strict=True)
    }
    found = []
    for place, label in enumerate(labels):
        best = response.get((label.prompt_id, label.best))
        others = np.array(sorted({response.get((label.prompt_id, other), -1) for other in label.others} - {best, -1}))
        if best is not None and len(others):
            found.append((place, Query(prompts[label.prompt_id], best, others)))
    return found


def _annotators(votes: VoteArrays) -> Index:
    """(V,) a number per annotator; each group, or vote, of anonymous people counts as one."""
    groups = int(votes.group.max(initial=-1)) + 1
    alone = len(votes.annotators) + np.where(votes.group >= 0, votes.group, groups + np.arange(len(votes.left)))
    return np.where(votes.annotator >= 0, votes.annotator, alone).astype(np.int64)


class _Names(NamedTuple):
    """What votes are called outside."""

    fitted: _Fitted
    files: dict[int, str]

    def of(self, change: Change | None) -> tuple[NamedVote, ...]:
        """The votes of a change."""
        given, places = self.fitted.loaded.votes, self.fitted.loaded.places
        if change is None or places is None:
            return ()
        found = []
        for at in self.fitted.places[change.votes].tolist():
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
        rival=names.fitted.texts.votes.responses[votes.rival] if votes and votes.rival >= 0 else None,
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
