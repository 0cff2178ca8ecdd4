"""What each job says when it is done: the JSON of ``--json``, field by field."""

from __future__ import annotations

from typing import Literal

from schemas.base import Document
from schemas.manifest import Ceiling
from schemas.validation import HoldOut, MethodScore


class FileReport(Document):
    """One file of an ingest. rows = votes + controls + duplicates + rejects."""

    path: str
    sha256: str
    format: str
    platform: str
    """What wrote it, by its name in ``curate ingest --formats``; empty for a plain table of votes."""
    detected: dict[str, str]
    """field -> column as read, and "outcome" values and sides in words."""
    unused: tuple[str, ...]
    """Columns that no field took and that are not kept."""
    meta: tuple[str, ...]
    """Columns that are kept in the votes' meta."""
    skipped: dict[str, int]
    """What the file holds beside judgments, by kind: it is no row."""
    dropped: dict[str, int]
    """Personal data that was not kept: values by kind."""
    rows: int
    votes: int
    controls: int
    """Answers to control questions: their outcome was known, so that they are no votes."""
    duplicates: int
    rejects: int


class IngestReport(Document):
    """One ingest. Every row read is exactly one of a vote, a control, a duplicate or a reject."""

    store: str
    batch: str
    """The batch's id; empty in a dry run, and where nothing in the store changed."""
    dry_run: bool
    files: tuple[FileReport, ...]
    rows: int
    votes: int
    controls: int
    duplicates: int
    rejects: int
    pairs: int
    """Pairwise votes stored: votes, where a K-wise ranking counts as its pairs."""
    reasons: dict[str, int]
    """Rejects by reason."""
    superseded: int
    """Votes of earlier ingests that newer votes of the same annotators replaced (kept as rejects)."""
    mended: int
    """Rows that earlier ingests rejected and that are votes now."""
    prompts: int
    """Prompts new to the store."""
    responses: int
    """Responses new to the store."""
    updated: int
    """Known prompts and responses whose question, video, model or text is new or changed."""
    annotators: int
    """Distinct annotators among the new votes."""
    anonymous: int
    """New votes without an annotator."""
    sides_known: int
    """New votes that say which response was shown left."""
    dropped: dict[str, int]
    """Personal data that was not kept: values by kind."""
    pseudonyms: int
    """People whose ids became pseudonyms."""
    pseudonym_key: str
    """Where the key of these pseudonyms is: the file of the store's own, or "given"; empty where there are none."""
    warnings: tuple[str, ...]


class AutoReport(Document):
    """What held-out votes said of every method."""

    by: HoldOut
    """What was held out whole."""
    folds: int
    prompts: int
    """Prompts whose votes were asked."""
    votes: int
    """Held-out votes that the methods are measured by."""
    methods: tuple[MethodScore, ...]
    """Best first: lowest log-loss. stack is the sum of log odds with the weights below, cross-fitted."""
    weights: dict[str, float]
    """The stack's weights of each ranker's log odds; those of 0 are left out."""
    slopes: dict[str, float] = {}
    """Log odds by unit of the score of each of these rankers."""
    kept: bool = False
    """The choice is that of an earlier run with the same config: nothing was held out anew."""
    chosen_run: str = ""
    """That run; empty where votes were held out in this one."""
    chosen_on: int = 0
    """Votes that it had."""


class DesignReport(Document):
    """How the pairs to compare were chosen."""

    design: str
    """complete (every pair about equally often), random (unevenly, but not by strength), or adaptive (how often a
    response was compared follows how strong it is)."""
    coverage: float
    """Share of all pairs with a vote."""
    dispersion: float | None
    """Variance over mean of votes on a pair; 1 where each vote falls on a random pair, 0 where all have the same."""
    association: float
    """Correlation within prompts of a response's comparisons with its strength; above 0, promising ones have more."""
    association_p: float
    """Chance of one this far from 0 where the two have nothing to do with each other."""
    words: str
    """What it means for the rankers."""


class StrengthsReport(Document):
    """How the joint model found strengths to be spread around their models' means."""

    shape: Literal["normal", "heaps", "tails"]
    """heaps: two, as of right and wrong answers. tails: normal but for some responses that are far off."""
    gap: float | None
    """Between the two heaps, logits."""
    upper: float | None
    """Share of responses in the better one."""
    words: str


class DenoiseReport(Document):
    """One denoise run."""

    store: str
    run: str
    reused: bool
    """True when the same run was already in the store and nothing was computed."""
    ranker: str
    """As it was asked for."""
    method: str
    """Whose order the ranking is: the ranker, or what auto chose."""
    auto: AutoReport | None
    """None where a ranker was asked for, or no vote could be held out."""
    design: DesignReport
    spammers: int
    """Annotators whose votes were left out (max_spammer)."""
    spammer_ids: tuple[str, ...] = ()
    left_out: int
    """Votes of theirs."""
    votes: int
    prompts: int
    ranked: int
    """Prompts with one full ranking."""
    status: dict[str, int]
    """Prompts by status: ranked, disconnected, thin, skipped."""
    responses: int
    """Responses ranked."""
    strengths: StrengthsReport | None = None
    """None in runs of an earlier version."""
    expected_tau: float | None
    """Expected Kendall tau of the rankings to the truth, by the joint model's posterior; mean over full rankings."""
    proved: int
    """Prompts whose feedback-arc-set order is proved optimal."""
    gap: float
    """Vote weight by which the other orders may still be improved, at most."""
    unsolved: dict[str, int]
    """Ranker -> prompts on which it stopped before its tolerance; rankers that always finished are left out."""
    cyclic_triads: int
    contradicted: float | None
    """Share of the vote weight that goes against the final orders."""
    agreement: dict[str, float | None]
    """"a ~ b" -> mean Kendall tau-b between two rankers over connected prompts; None where it is not defined."""
    weights: dict[str, float]
    """The ensemble's weights, summing to 1; empty where it is not the method."""
    warnings: tuple[str, ...]


class ExportReport(Document):
    """One export."""

    out: str
    run: str
    kind: str
    """train | benchmark"""
    version: str
    """Digest of the exported files."""
    reused: bool
    """True when the folder already held this very export."""
    items: dict[str, int]
    """config (train; 4way, pairwise) -> items."""
    candidates: dict[str, int]
    """config -> sets of responses that were considered."""
    eligible: dict[str, int]
    """config -> of them those at or above min_confidence."""
    difficulty: dict[str, dict[str, int]]
    """config -> items that are hard, medium and easy."""
    confidence: dict[str, float | None]
    """config -> mean confidence of its items: the expected share of best labels that are right; None without any."""
    ceiling: dict[str, Ceiling | None]
    """config -> what a judge who knows the true order would score; None where no item has a best."""
    floor: dict[str, float | None]
    """config -> what a judge who guesses would score."""
    prompts: int
    """Prompts with an item."""
    left_out: dict[str, int]
    """Why prompts, responses or items were left out -> how many; a reason of one config of several names it."""
    files: int
    """Files that the manifest lists."""
    bytes: int
    """Their size, bytes."""

    newer_votes: int
    """Votes in the store that came after the denoise run and are not in what was exported."""


class PageReport(Document):
    """One HTML report on a denoise run."""

    out: str
    run: str
    bytes: int
    shown: tuple[tuple[str, str], ...]
    """(prompt, why it is shown), in the order of the page."""
    pictures: int
    """Prompts that are shown with a picture."""
    no_picture: dict[str, str]
    """Video -> why no frames of it are shown."""
    missing: tuple[str, ...]
    """What the page could not say, each with what would let it."""


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
    """How close a ranking came to a known truth. Means over prompts."""

    prompts: int
    missing: int
    """Prompts of the truth that the run did not rank in full."""
    kendall_tau: dict[str, float]
    """ranker -> Kendall tau-b to the truth; "final" is the run's own order."""
    top1: dict[str, float]
    """ranker -> share of prompts whose first response is truly the best (a shared first rank counts its share)."""
    best_of_4: dict[str, float]
    """ranker -> chance that its best of four random responses of a prompt is truly their best."""


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
    splits: dict[str, int]
