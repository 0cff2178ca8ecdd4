"""The job ``rank``: votes from any source to rankings, without a store."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from annotations.file_reader import FileReader
from annotations.platforms.registry import detect_platform
from annotations.readers.columns import PLAIN, SIDES
from annotations.readers.sources import vote_files
from curate.api import Columns, RankResult, not_votes
from curate.denoising.ranking import Denoised, rank_votes
from curate.store import Store
from curate.store.rankings import load_votes
from pipelines.ingestion import RefusedFile, file_readers, read_files, write_prompt_files
from pipelines.settings import ingest_config
from schemas.config import AutoConfig, DenoiseConfig, IngestConfig
from schemas.errors import CurateError, RejectWarning
from schemas.mapping import FileMapping, Source
from schemas.votes import VOTE_FIELDS, normalized

COMPARED_PROMPTS = 20
"""Prompts on which ``auto`` compares the rankers unless a config says otherwise: a notebook should not wait."""
ALIASES = {rule.name: rule.aliases for rule in VOTE_FIELDS}
FILE, LINE = "\0file", "\0line"
"""Columns beside those of a source."""


def rank(
    votes: Any,
    *,
    prompt: str | None = None,
    left: str | None = None,
    right: str | None = None,
    winner: str | None = None,
    annotator: str | None = None,
    weight: str | None = None,
    criterion: str = "",
    mapping: IngestConfig | Mapping[str, Any] | str | Path | None = None,
    prompts: Any = None,
    responses: Any = None,
    ranker: str = "auto",
    config: DenoiseConfig | None = None,
) -> RankResult:
    """Rank the responses of every prompt from pairwise votes or K-wise rankings.

    The votes are read as ``ingest`` reads them, into memory: the same sources, names of columns, rules and refusals.
    Ids of annotators are kept as they are.

    Parameters
    ----------
    votes
        A polars or pandas DataFrame, a dict of columns, an Arrow table, a Dataset, a path, a glob, a URL, an iterable
        of dicts, or an iterable of such sources (``pipelines.ingest``).
    prompt
        Column that identifies the prompt. Default: a column with a well-known name (``prompt_id``, ``question_id``,
        ``prompt``, …); without one, all votes belong to one prompt (an error if videos differ).
    left, right
        Columns of the two responses. Default: ``left`` and ``right``, ``response_a`` and ``response_b``, ``model_a``
        and ``model_b``, ``chosen`` and ``rejected``, … A side bias is modelled only where the names say which response
        was shown left.
    winner
        Column of the outcome: ``left``, ``right``, ``tie``, ``both_bad``, the name of one of the two columns, or the
        name of one of the two responses. Default: ``winner``, ``outcome``, ``preference``, …, or two ranks or scores.
    annotator
        Column of the annotator. Default: ``annotator``, ``worker``, ``judge``, …; without one, votes are anonymous. Of
        an annotator's votes on one pair the last counts.
    weight
        Column of vote weights, above 0. Default: ``weight``; without one, each vote weighs 1.
    criterion
        Only the votes by this criterion; needed if they are by several.
    mapping
        How the source is read, beyond the columns above: a TOML file (curate.toml, or a mapping alone), a dict of its
        keys (``{"outcomes": {"1": "left", "2": "right"}}``), or an IngestConfig. docs/vote-files.md has all keys.
    prompts, responses
        Tables of the prompts and of the responses, with their models, from the same kinds of sources.
    ranker
        A registered ranker, or ``auto``: the one that predicts held-out votes best.
    config
        Hyperparameters; its ``ranker`` is replaced by the argument above. By default ``auto`` compares the rankers on
        at most 20 prompts, and ``curate denoise`` on 500: ``DenoiseConfig(auto=AutoConfig(prompts=500))`` is the same.

    Returns
    -------
    RankResult
        ``.rankings`` is a polars DataFrame; ``.leaderboard()``, ``.annotators()`` and ``.summary()`` say more. Rows
        that are no votes are in ``.rejects``, and a RejectWarning states how many there are.

    Raises
    ------
    CurateError
        A source cannot be read without guessing, or too many of its rows are no votes: its ``review`` says what is
        missing. Also where the votes are by several criteria, or no prompt can be ranked.

    Examples
    --------
    >>> import curate
    >>> votes = {
    ...     "prompt": ["p", "p", "p", "q"],
    ...     "left": ["a", "b", "a", "a"],
    ...     "right": ["b", "c", "c", "b"],
    ...     "winner": ["left", "left", "left", "tie"],
    ... }
    >>> result = curate.rank(votes, ranker="bradley-terry")
    >>> result
    <RankResult: 1 of 2 prompts, 4 votes, by bradley-terry>
    >>> result.rankings.select("prompt_id", "response_id", "rank").rows()
    [('p', 'a', 1), ('p', 'b', 2), ('p', 'c', 3)]
    """
    if (left is None) != (right is None):
        raise CurateError("left and right must be given together", hint='for example left="model_a", right="model_b"')
    columns = {"prompt_id": prompt, "outcome": winner, "annotator_id": annotator, "weight": weight}
    columns |= _pair(left, right) if left and right else {}
    reading = _with_columns(ingest_config(mapping or {}), columns)
    config = config or DenoiseConfig(auto=AutoConfig(prompts=COMPARED_PROMPTS))
    changes = {"ranker": ranker, "criterion": criterion or config.criterion}
    config = DenoiseConfig.model_validate({**config.model_dump(), **changes})
    with vote_files(votes, reading) as files, Store.in_memory() as store:
        readers = file_readers([(file, detect_platform(file, reading.format_of(str(file)))) for file in files], None)
        for reader in readers:
            reader.one_prompt, reader.kept = True, []
        try:
            with store.transaction():
                known = write_prompt_files(store, prompts, responses, reading)
                report = read_files(store, readers, reading, known)
        except RefusedFile as error:
            error.add_note(f"to complete, for mapping=:\n{error.review.mapping}")
            raise
        rejects = store.rejects().drop("batch_id")
        if not report.votes:
            raise CurateError(not_votes(report) or "there are no votes", hint="give at least one row that is a vote")
        loaded = load_votes(
            store,
            prompts=config.prompts,
            criterion=config.criterion,
            both_bad=config.both_bad,
            control=config.control,
            places=True,
            texts=config.text_comparison,
        )
    if text := not_votes(report):
        warnings.warn(f"{text}; see .rejects of the result", RejectWarning, stacklevel=2)
    assert loaded.texts is not None
    denoised = rank_votes(loaded.votes, config, texts=loaded.texts.equal)
    assert loaded.places is not None
    return RankResult(
        rankings=_rankings(denoised),
        votes=loaded.votes,
        columns=Columns.of(report.files[0].detected),
        denoised=denoised,
        table=_rows(readers, loaded.places),
        report=report,
        rejects=rejects,
    )


def _pair(left: str, right: str) -> dict[str, str | None]:
    """Return field -> column of two responses; only well-known names state the sides on the screen."""
    by_side = normalized(left) in ALIASES["left"] and normalized(right) in ALIASES["right"]
    first, second = SIDES if by_side else PLAIN
    return {**dict.fromkeys((*SIDES, *PLAIN), ""), first: left, second: right}


def _with_columns(config: IngestConfig, columns: dict[str, str | None]) -> IngestConfig:
    """Return the config with the columns that are given, which have precedence in all files."""
    given: dict[str, Source] = {name: column for name, column in columns.items() if column is not None}
    own = (FileMapping(match="*", columns=given),) if given else ()
    return config.model_copy(update={"files": (*own, *config.files)})


def _rankings(denoised: Denoised) -> pl.DataFrame:
    given = denoised.texts.given
    names = pl.Series([*given.models, None], dtype=pl.String)
    model = names.gather(given.response_model % len(names)).alias("model")
    frame = denoised.frame().insert_column(2, model)
    return frame.sort("prompt_id", "component", "rank", "response_id")


def _rows(readers: list[FileReader], places: pl.DataFrame) -> pl.DataFrame:
    """Return the row of each vote in its source. places: file_id and line of each vote."""
    chunks = [
        chunk.frame.with_columns(pl.lit(number, pl.Int32).alias(FILE), chunk.line.alias(LINE))
        for number, reader in enumerate(readers, start=1)
        for chunk in reader.kept or ()
        if chunk.frame.width
    ]
    rows = pl.concat(chunks, how="diagonal")
    joined = places.join(
        rows, left_on=["file_id", "line"], right_on=[FILE, LINE], how="left", maintain_order="left", suffix="\0"
    )
    names = {name: name.removesuffix("\0") for name in joined.columns if name.endswith("\0")}
    return joined.drop("file_id", "line").rename(names)
