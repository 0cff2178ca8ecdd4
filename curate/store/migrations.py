"""The numbered steps that make a store what the current tables ask for. Never edit a step that has been released."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import duckdb

from schemas.tables import TABLES


def _create_tables(con: duckdb.DuckDBPyConnection) -> None:
    """Every table that the store lacks: all of them in a new one, in an older one those that came since."""
    for table, columns in TABLES.items():
        con.execute(f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(f'{c.name} {c.type}' for c in columns)})")


def _add_meta(con: duckdb.DuckDBPyConnection) -> None:
    """The votes' meta, and the tables that came with it."""
    con.execute("ALTER TABLE votes ADD COLUMN IF NOT EXISTS meta JSON")
    _create_tables(con)


def _rename_ranker_and_status(con: duckdb.DuckDBPyConnection) -> None:
    """Ranker joint -> hierarchical, status thin -> too_few_votes, solved -> converged, and fields of denoise reports
    (renamed in 0.2)."""
    columns = {name for (name,) in con.execute("SELECT name FROM pragma_table_info('prompt_stats')").fetchall()}
    if "solved" in columns:
        con.execute("ALTER TABLE prompt_stats RENAME COLUMN solved TO converged")
    con.execute("UPDATE prompt_stats SET status = 'too_few_votes' WHERE status = 'thin'")
    con.execute("UPDATE ranker_scores SET ranker = 'hierarchical' WHERE ranker = 'joint'")
    for run_id, config, report in con.execute(
        "SELECT run_id, config::VARCHAR, report::VARCHAR FROM runs WHERE step = 'denoise'"
    ).fetchall():
        con.execute(
            "UPDATE runs SET config = ?, report = ? WHERE run_id = ?",
            [_renamed_json(config), _renamed_json(report), run_id],
        )


def _renamed_json(text: str) -> str:
    """The JSON of a denoise run with the keys and ranker names of 0.2."""

    def key(name: str) -> str:
        first, between, second = name.partition(" ~ ")
        return KEYS_OF_0_2.get(first, first) + between + KEYS_OF_0_2.get(second, second)

    def renamed(value: Any, under: str = "") -> Any:
        if isinstance(value, dict):
            found = {key(name): renamed(item, name) for name, item in value.items()}
            if found.get("shape") in SHAPES_OF_0_2:  # of strengths, whose gap is not the optimality gap
                found |= {"shape": SHAPES_OF_0_2[found["shape"]], "separation": found.pop("optimality_gap", None)}
            return found
        if isinstance(value, list):
            return [renamed(item) for item in value]
        return "hierarchical" if value == "joint" and under in ("ranker", "method") else value

    return json.dumps(renamed(json.loads(text)), ensure_ascii=False)


KEYS_OF_0_2 = {
    "joint": "hierarchical",  # renamed
    "thin": "too_few_votes",  # renamed
    "left_out": "excluded_votes",  # renamed
    "proved": "proven_optimal",  # renamed
    "gap": "optimality_gap",  # renamed
    "unsolved": "not_converged",  # renamed
    "contradicted": "disagreement",  # renamed
    "behind": "log_loss_difference",  # renamed
    "behind_se": "log_loss_difference_se",  # renamed
    "told_apart": "significant",  # renamed
    "chance": "probability",  # renamed
    "share": "observed",  # renamed
    "share_se": "observed_se",  # renamed
    "upper": "upper_weight",  # renamed
    "words": "summary",  # renamed
}
"""Key of a denoise run's config or report before 0.2 -> its name since then (renamed)."""
SHAPES_OF_0_2 = {"normal": "normal", "heaps": "mixture", "tails": "heavy-tailed"}  # renamed
"""The same for values of strengths.shape (renamed)."""


def _rename_media_columns(con: duckdb.DuckDBPyConnection) -> None:
    """Rename the columns of table media to their names of 0.2; step 1 or 2 may have created them already."""
    found = con.execute("SELECT column_name FROM duckdb_columns() WHERE table_name = 'media'").fetchall()
    for old, new in MEDIA_COLUMNS_OF_0_2.items():
        if (old,) in found:
            con.execute(f"ALTER TABLE media RENAME COLUMN {old} TO {new}")


MEDIA_COLUMNS_OF_0_2 = {"variable": "variable_frame_rate", "limit_s": "timeout_s", "prober": "probe_version"}
"""Column of table media before 0.2 -> its name since then (renamed)."""


def _rename_ingest_names(con: duckdb.DuckDBPyConnection) -> None:
    """Column given -> from_file of prompts and responses, count mended -> recovered of batches (renamed in 0.2)."""
    for table in ("prompts", "responses"):
        columns = {name for (name,) in con.execute(f"SELECT name FROM pragma_table_info('{table}')").fetchall()}
        if "given" in columns:
            con.execute(f"ALTER TABLE {table} RENAME COLUMN given TO from_file")
    old, new = '"mended":', '"recovered":'  # renamed
    con.execute("UPDATE batches SET counts = replace(counts::VARCHAR, ?, ?)::JSON", [old, new])


def _add_category(con: duckdb.DuckDBPyConnection) -> None:
    """The prompts' category."""
    con.execute("ALTER TABLE prompts ADD COLUMN IF NOT EXISTS category VARCHAR")


def _add_criterion(con: duckdb.DuckDBPyConnection) -> None:
    """The votes' criterion."""
    con.execute("ALTER TABLE votes ADD COLUMN IF NOT EXISTS criterion VARCHAR")


def _add_numbers_of_responses(con: duckdb.DuckDBPyConnection) -> None:
    """The responses' meta, and the rankings' acceptability."""
    con.execute("ALTER TABLE responses ADD COLUMN IF NOT EXISTS meta JSON")
    for name in ("acceptable", "acceptable_low", "acceptable_high"):
        con.execute(f"ALTER TABLE rankings ADD COLUMN IF NOT EXISTS {name} DOUBLE")


def _add_fingerprint(con: duckdb.DuckDBPyConnection) -> None:
    """The fingerprint of media and of published prompts; media are probed again when they are needed."""
    for table in ("media", "published"):
        con.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS fingerprint BLOB")


def _add_criterion_of_controls(con: duckdb.DuckDBPyConnection) -> None:
    """The criterion of control answers; those that are stored already count for every criterion."""
    con.execute("ALTER TABLE controls ADD COLUMN IF NOT EXISTS criterion VARCHAR")


MIGRATIONS: tuple[Callable[[duckdb.DuckDBPyConnection], None], ...] = (
    _create_tables,
    _create_tables,
    _add_meta,
    _rename_ranker_and_status,
    _rename_media_columns,
    _rename_ingest_names,
    _add_category,
    _add_criterion,
    _add_numbers_of_responses,
    _add_fingerprint,
    _create_tables,
    _add_criterion_of_controls,
    _create_tables,
)
"""1: all tables; 2: media, published; 3: controls, votes.meta; 4: names of 0.2 in denoise runs; 5: in media;
6: in prompts, responses and batches; 7: prompts.category; 8: votes.criterion; 9: responses.meta,
rankings.acceptable; 10: media.fingerprint, published.fingerprint; 11: vote_files, superseded_votes;
12: controls.criterion; 13: vote_storage."""


def create(con: duckdb.DuckDBPyConnection) -> None:
    """Make an empty database a store with the current tables."""
    con.execute("BEGIN")
    _create_tables(con)
    _record(con, done=0)
    con.execute("COMMIT")


def migrate(con: duckdb.DuckDBPyConnection, done: int) -> None:
    """Apply, in one transaction, the steps after ``done`` to an older store."""
    con.execute("BEGIN")
    for apply in MIGRATIONS[done:]:
        apply(con)
    _record(con, done)
    con.execute("COMMIT")


def _record(con: duckdb.DuckDBPyConnection, done: int) -> None:
    con.execute("CREATE TABLE IF NOT EXISTS migrations (step INTEGER PRIMARY KEY)")
    con.execute("INSERT INTO migrations SELECT unnest(range(?, ?))", [done + 1, len(MIGRATIONS) + 1])


def version(con: duckdb.DuckDBPyConnection) -> int:
    """Return the last step applied to this store; 0 for an empty file, −1 for a DuckDB file that is not a store."""
    try:
        [(step,)] = con.execute("SELECT coalesce(max(step), 0) FROM migrations").fetchall()
    except duckdb.CatalogException:
        return -1 if con.execute("SELECT table_name FROM duckdb_tables()").fetchall() else 0
    return int(step)
