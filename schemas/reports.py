"""What each job says when it is done: the JSON of ``--json``, field by field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from schemas.base import Document
from schemas.choices import EqualTexts, HoldOut
from schemas.manifest import Ceiling
from schemas.validation import MethodScore, Overdispersion


class FileReport(Document):
    """One file of an ingest; rows = votes + controls + duplicates + rejects."""

    path: str
    sha256: str
    format: str
    platform: str
    """The platform that wrote it, by its name in ``curate ingest --formats``; empty for a plain table of votes."""
    detected: dict[str, str]
    """Field -> column."""
    unused: tuple[str, ...]
    """Columns that no field uses and that are not kept."""
    meta: tuple[str, ...]
    """Columns that are kept in the votes' meta."""
    skipped: dict[str, int]
    """Kind -> records that are not judgments; they do not count as rows."""
    dropped: dict[str, int]
    """Kind of personal data -> values that were not kept."""
    unreadable: dict[str, int] = {}
    """Optional field -> values that could not be read and are stored as NULL."""
    rows: int
    votes: int
    controls: int
    """Answers to control questions, which are not votes because their outcome is known."""
    duplicates: int
    rejects: int


class ColumnReview(Document):
    """One column of a reviewed file."""

    name: str
    distinct: int
    empty: int
    values: tuple[tuple[str, int], ...]
    """The most frequent values and their counts."""


class FileReview(Document):
    """How a vote file would be read: ``curate ingest FILE --explain``."""

    path: str
    format: str
    platform: str
    rows: int
    """Rows that were looked at: the first ones."""
    sample: tuple[dict[str, str | None], ...]
    columns: tuple[ColumnReview, ...]
    detected: dict[str, str]
    """Field -> source, as far as it is known."""
    problems: tuple[str, ...]
    """What is missing; empty if the file can be read."""
    mapping: str
    """TOML for curate.toml; ``?`` where only the user knows."""


class IngestReport(Document):
    """One ingest. Every row is exactly one of a vote, a control answer, a duplicate or a reject."""

    renamed: ClassVar[dict[str, str]] = {"mended": "recovered"}

    store: str
    batch: str
    """The id of the batch; empty in a dry run and if nothing in the store changed."""
    dry_run: bool
    files: tuple[FileReport, ...]
    rows: int
    votes: int
    controls: int
    duplicates: int
    rejects: int
    pairs: int
    """Pairwise votes stored; a K-wise ranking counts as its pairs."""
    reasons: dict[str, int]
    """Reason -> rejects."""
    superseded: int
    """Votes of earlier ingests that newer votes of the same annotators replaced; they become rejects."""
    recovered: int
    """Rows that earlier ingests rejected and that are votes or duplicates now."""
    prompts: int
    """Prompts new to the store."""
    responses: int
    """Responses new to the store."""
    updated: int
    """Stored prompts and responses whose question, video, model or text is new or changed."""
    annotators: int
    """Distinct annotators among the new votes."""
    anonymous: int
    """New votes without an annotator."""
    sides_known: int
    """New votes that state which response was shown left."""
    dropped: dict[str, int]
    """Kind of personal data -> values that were not kept."""
    pseudonyms: int
    """Annotators whose ids became pseudonyms."""
    pseudonym_key: str
    """The key of these pseudonyms: the file of the store's own key, or "given"; empty if there are none."""
    warnings: tuple[str, ...]


class AutoReport(Document):
    """The comparison of all methods on held-out votes."""

    by: HoldOut
    """The unit that was held out whole."""
    folds: int
    prompts: int
    """Prompts whose votes were held out."""
    votes: int
    """Held-out votes that the methods are scored on."""
    methods: tuple[MethodScore, ...]
    """Best first: lowest log-loss. stack is the sum of log odds with the weights below, cross-fitted."""
    weights: dict[str, float]
    """The stack's weights of each ranker's log odds, without those of 0."""
    slopes: dict[str, float] = {}
    """Log odds per unit of the score of each of these rankers."""
    kept: bool = False
    """The choice is that of an earlier run with the same config; no votes were held out in this one."""
    chosen_run: str = ""
    """That run; empty where votes were held out in this one."""
    chosen_on: int = 0
    """Votes that it had."""

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        yield "votes", self.votes
        yield "methods", {score.method: round(score.log_loss, 4) for score in self.methods}


class DesignReport(Document):
    """The comparison design: how the compared pairs were chosen."""

    renamed: ClassVar[dict[str, str]] = {"words": "summary"}

    design: Literal["complete", "random", "adaptive"]
    """complete: every pair about equally often; random: unevenly, but not by strength; adaptive: by strength."""
    coverage: float
    """Share of all pairs with a vote."""
    dispersion: float | None
    """Variance over mean of votes per pair; 1 for independent random pairs, 0 where all pairs have the same number."""
    association: float
    """Correlation within prompts of a response's comparisons with its strength; above 0, strong ones have more."""
    association_p: float
    """p-value of the association (two-sided)."""
    summary: str
    """The consequence for the rankers, in a sentence."""


class StrengthsReport(Document):
    """The distribution of strengths around their models' means, by the hierarchical ranker."""

    renamed: ClassVar[dict[str, str]] = {"gap": "separation", "upper": "upper_weight", "words": "summary"}
    renamed_values: ClassVar[dict[str, dict[str, str]]] = {"shape": {"heaps": "mixture", "tails": "heavy-tailed"}}

    shape: Literal["normal", "mixture", "heavy-tailed"]
    """mixture: of two components, as for right and wrong answers. heavy-tailed: reports of earlier versions."""
    separation: float | None
    """Distance between the means of the two components, logits."""
    upper_weight: float | None
    """Weight of the component with the higher mean."""
    summary: str
    """That in a sentence."""


class PerceptionReport(Document):
    """The errors of perception that the votes of a sitting share, by the hierarchical ranker."""

    status: Literal["absent", "negligible", "identified", "not identified", "not estimated"]
    """absent: no annotator has several votes on a prompt. not identified: the votes do not tell errors from differences
    between responses, so that intervals allow for both. not estimated: annotators have too many votes on too many
    responses of a prompt; intervals may be too narrow."""
    error_sd: float
    """Standard deviation of the errors, logits."""
    strength_sd: float
    """Standard deviation of strengths around their models' means, logits."""
    summary: str
    """That in a sentence."""


class NamedVote(Document):
    """A vote, by where it was read."""

    file: str
    line: int
    annotator_id: str | None
    left: str
    right: str
    outcome: str


class FragileLabel(Document):
    """A label, and the smallest sets found whose removal changes it."""

    prompt_id: str
    item_id: str
    """Of the item in a release; empty for the best response of a prompt."""
    best: str
    rival: str | None
    """The response that is best without these votes."""
    units: int | None
    """Number of votes; 0 where the strengths do not support the label with all votes; None: no set changes it."""
    votes: tuple[NamedVote, ...]
    annotators: int | None
    """Number of annotators whose votes on the prompt change it when left out."""
    annotator_ids: tuple[str, ...]


class FragileTop(Document):
    """The smallest set found without which another model leads the leaderboard."""

    model: str
    rival: str
    unit: Literal["votes", "annotators"]
    units: int
    votes: int
    """Votes in the set."""


class AuditReport(Document):
    """How few votes, or annotators, the labels of a run rest on."""

    store: str
    run: str
    release: str
    """Whose benchmark labels these are; empty for the best response of each prompt."""
    votes: int
    labels: int
    by_votes: dict[str, int]
    """Number of votes that change a label -> labels; "none" where no set does."""
    by_annotators: dict[str, int]
    top: tuple[FragileTop, ...]
    fragile: tuple[FragileLabel, ...]
    """The labels that the fewest votes change, those first."""


class EffectReport(Document):
    """The effect of a covariate on votes, by the hierarchical ranker."""

    covariate: str
    effect: float
    """Log odds per unit of the left response's surplus; per doubling for length and markdown."""
    low: float
    """Lower end of its 90% interval."""
    high: float
    """Upper end."""


class EqualTextsReport(Document):
    """Responses of one prompt with equal texts."""

    handling: EqualTexts
    """merge: they share strength, votes and rank. keep: each was ranked on its own."""
    groups: int
    """Groups of responses with equal texts."""
    responses: int
    """Responses in them."""
    prompts: int
    """Prompts with such a group."""
    excluded_votes: int
    """Votes between equal texts, which no order can explain."""
    near_groups: int
    """Groups of texts that are not equal but have the same words; they are ranked separately (curate status
    --equal-texts lists them)."""
    near_prompts: int
    """Prompts with such a group."""


WARNINGS: dict[str, str] = {
    "no_held_out_votes": "no vote could be held out, so that the rankers were not compared: hierarchical is used",
    "no_better_than_chance": "no method predicts held-out votes better than chance: intervals and expected tau rest on "
    "the model alone",
    "one_sided": "more than 95% of the votes are for the same side: is the column of outcomes read as intended?",
    "one_sided_annotators": "{count} annotators chose the same side in all of at least 20 votes",
    "overdispersed": "votes are dependent (see the overdispersion factor): intervals, confidence and expected tau are "
    "wider than the model's",
    "disconnected": "not connected: {count} prompts; their responses are ranked only within connected components",
    "not_ranked": "not ranked: {count} prompts (too few votes, no decisive vote, or not connected)",
    "not_proven_optimal": "not proven optimal: the feedback-arc-set order of {count} prompts; --effort high may prove "
    "more",
}
"""Code of a warning -> its text."""


class DenoiseReport(Document):
    """One denoise run."""

    renamed: ClassVar[dict[str, str]] = {
        "left_out": "excluded_votes",  # renamed
        "proved": "proven_optimal",
        "gap": "optimality_gap",
        "unsolved": "not_converged",
        "contradicted": "disagreement",  # renamed
    }
    renamed_values: ClassVar[dict[str, dict[str, str]]] = {
        "ranker": {"joint": "hierarchical"},
        "method": {"joint": "hierarchical"},
    }

    store: str
    run: str
    reused: bool
    """True when the same run was already in the store and nothing was computed."""
    ranker: str
    """The ranker of the config."""
    method: str
    """The ranker whose order is the ranking: that of the config, or the choice of auto."""
    auto: AutoReport | None
    """None where the config names a ranker, or no vote could be held out."""
    design: DesignReport
    spammers: int
    """Annotators whose votes were excluded (max_spammer)."""
    spammer_ids: tuple[str, ...] = ()
    excluded_votes: int
    """Their votes."""
    rings: tuple[tuple[str, ...], ...] = ()
    """Rings: accounts whose answers agree more than independent judgments can."""
    copied_votes: int = 0
    """Copies in the votes of rings, which were excluded."""
    equal_texts: EqualTextsReport | None = None
    """None in runs of an earlier version."""
    votes: int
    prompts: int
    ranked: int
    """Prompts with one full ranking."""
    status: dict[str, int]
    """Prompts by status: ranked, disconnected, too_few_votes, skipped."""
    responses: int
    """Responses ranked."""
    strengths: StrengthsReport | None = None
    """None in runs of an earlier version."""
    perception: PerceptionReport | None = None
    effects: tuple[EffectReport, ...] = ()
    """Of the covariates that the run controls for."""
    """None in runs of an earlier version."""
    overdispersion: Overdispersion | None = None
    """None in runs of an earlier version."""
    expected_tau: float | None
    """Expected Kendall tau of the rankings to the true order, by the hierarchical ranker's posterior; mean over full
    rankings."""
    proven_optimal: int | None
    """Prompts whose feedback-arc-set order is proven optimal; None where no ranker with a bound was run."""
    optimality_gap: float | None
    """Sum over prompts of cost minus lower bound of that order, in vote weight."""
    unproven: dict[str, float] = {}
    """Prompt whose order is not proven optimal -> its optimality gap, the largest first; at most 100 prompts."""
    not_converged: dict[str, int]
    """Ranker -> prompts on which it did not converge, without those of 0."""
    cyclic_triads: int
    disagreement: float | None
    """Share of the vote weight that disagrees with the final orders."""
    agreement: dict[str, float | None]
    """"a ~ b" -> mean Kendall tau-b between two rankers over connected prompts; None where it is not defined. Only of
    rankers that were run: all of them with ``compare``."""
    weights: dict[str, float]
    """The ensemble's weights, summing to 1; empty where it is not the method."""
    warning_counts: dict[str, int] = {}
    """Code of each warning -> prompts or annotators concerned (0: the whole run)."""
    warnings: tuple[str, ...]
    """The warnings in sentences."""

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        yield "run", self.run
        yield "method", self.method
        yield "prompts", self.prompts
        yield "ranked", self.ranked
        yield "votes", self.votes


class ExportReport(Document):
    """One export."""

    renamed = {"left_out": "excluded"}

    out: str
    run: str
    kind: str
    """train | benchmark"""
    version: str
    """Digest of the exported files."""
    reused: bool
    """True if the folder already held exactly this export."""
    items: dict[str, int]
    """config (train; 4way, pairwise) -> items."""
    candidates: dict[str, int]
    """config -> sets of responses that were considered."""
    eligible: dict[str, int]
    """config -> candidates at or above min_confidence."""
    difficulty: dict[str, dict[str, int]]
    """config -> numbers of hard, medium and easy items."""
    confidence: dict[str, float | None]
    """config -> mean confidence of its items: the expected share of correct best labels; None without items."""
    ceiling: dict[str, Ceiling | None]
    """config -> score of a judge that knows the true order; None if no item has a best response."""
    floor: dict[str, float | None]
    """config -> expected score of a judge that guesses."""
    prompts: int
    """Prompts with an item."""
    excluded: dict[str, int]
    """Reason -> number of prompts, responses or items excluded; a reason of one config of several names it."""
    files: int
    """Files listed in the manifest."""
    bytes: int
    """Their size, bytes."""

    newer_votes: int
    """Votes in the store that were ingested after the denoise run and are not in the export."""


class PageReport(Document):
    """One HTML report on a denoise run."""

    renamed: ClassVar[dict[str, str]] = {"no_picture": "picture_errors", "missing": "not_computed"}

    out: str
    run: str
    bytes: int
    listed: int
    """Prompts on the page; the first of the run, if it has too many responses for one page."""
    shown: tuple[tuple[str, str], ...]
    """(prompt, reason) of those that are readable without scripts, in the order of the page."""
    pictures: int
    """Videos with a picture."""
    picture_errors: dict[str, str]
    """Video -> why no frames of it are shown."""
    not_computed: tuple[str, ...]
    """What the page lacks, and the command that computes it."""


class SimulateReport(Document):
    """One simulated world."""

    out: str
    prompts: int
    responses: int
    annotators: int
    spammers: int
    votes: int
    ties: float
    """Share of ties among the votes."""
    files: tuple[str, ...]


class ComparisonReport(Document):
    """Agreement of a run's rankings with a known true order. Means over prompts."""

    prompts: int
    missing: int
    """Prompts of the truth that the run did not rank in full."""
    kendall_tau: dict[str, float]
    """ranker -> Kendall tau-b to the truth; "final" is the run's ranking."""
    top1: dict[str, float]
    """ranker -> share of prompts whose first response is truly the best (a shared first rank counts its share)."""
    best_of_4: dict[str, float]
    """ranker -> probability that its best of four random responses of a prompt is truly their best."""


class TextGroup(Document):
    """Responses of one prompt with equal or nearly identical texts."""

    prompt_id: str
    kind: Literal["equal", "near"]
    """near: texts that are not equal but have the same words; they are ranked separately."""
    response_ids: tuple[str, ...]
    texts: tuple[str, ...]
    """Of these responses."""


class StatusReport(Document):
    """What a store holds."""

    store: str
    bytes: int
    schema_version: int
    prompts: int
    responses: int
    models: int
    annotators: int
    votes: int
    outcomes: dict[str, int]
    sides_known: int
    groups: int
    """K-wise rankings among the votes."""
    controls: int
    """Answers to control questions: they are no votes."""
    rejects: dict[str, int]
    batches: int
    runs: tuple[dict[str, str], ...]
    """Every run: id, step, what it did in a line; the latest last."""
    criteria: dict[str, int] = {}
    """Votes by criterion; empty if no vote has one."""
    equal_texts: tuple[TextGroup, ...] = ()
    """Only if they were asked for."""
    splits: dict[str, int]
