"""The store: one DuckDB file, or a folder with one and the votes as Parquet files, read as polars frames."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import duckdb

from curate.store.criteria import CRITERION, NO_CRITERION, RUN_CRITERION, criteria, one_criterion
from curate.store.failures import StoreError, handled
from curate.store.migrations import create
from curate.store.opening import check_version, config, connect, create_store, file_of, remove, wal_of
from curate.store.partitions import FILES, check_files, remove_unlisted, show_votes, upload_votes
from curate.store.remote import Remote
from schemas.errors import CurateError, MissingError

if TYPE_CHECKING:
    import networkx
    import polars as pl


class Store:
    """One open store. Use it in a ``with`` block, or call ``close()``.

    The methods without a verb (``rankings``, ``votes``, …) return polars frames in a fixed order.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        self.connection = connection
        self.path = path
        self._file = file_of(path)
        self.partitioned = self._file != path
        """Whether its votes are Parquet files."""
        self.remote: Remote | None = None
        """Where its vote files are, if not in its folder only."""
        self._has_log = False  # whether changes go to a write-ahead log: not in memory or read only
        self._failed = False  # whether one could not be written: the log has only what was not reported as done

    @classmethod
    def open(
        cls, path: str | Path, *, create: bool = False, read_only: bool = False, source: Path | None = None
    ) -> Store:
        """Open the store at ``path``, a DuckDB file or the folder of a partitioned store.

        create: create a missing one, a folder if its name has no extension. read_only: allow several readers. source:
        another store, whose tables are readable as ``source.main.TABLE``.

        Raises CurateError if it is missing, is not a store or was written by a newer version, and a StoreError, which
        is one, if it is in use (``opening`` sets for how long to wait), lacks a file of votes, or DuckDB fails, now or
        later; and a CurateError if its vote files are at a URL that cannot be reached.
        """
        path = Path(path)
        if not path.exists():
            if not create:
                raise MissingError(f"{path}: no such store", hint=f"make one: curate ingest VOTES --store {path}")
            create_store(path)
        store = cls(connect(path, read_only=read_only, source=source), path)
        try:
            if not read_only:
                store.execute("CHECKPOINT")  # the log of a process that was killed
                store._has_log = True
            with handled(path):
                check_version(store.connection, path, read_only=read_only)
            if store.partitioned:
                url = store.value("SELECT max(url) FROM vote_storage")
                store.remote = Remote(url) if url else None
                store.check_files(content=False)
                show_votes(store)
        except BaseException:
            store._failed = True
            store.close()
            raise
        return store

    @classmethod
    def in_memory(cls) -> Store:
        """Return an empty store in memory."""
        store = cls(duckdb.connect(config=config()), Path(":memory:"))
        create(store.connection)
        return store

    def discard(self) -> None:
        """Delete a store that is empty or was never written, so that a failed first ingest leaves no file."""
        with suppress(StoreError):
            if self.value("SELECT count(*) FROM batches"):
                return
        self._failed = True
        remove(self.path)

    def close(self) -> None:
        """Raises StoreError if changes outside of a transaction cannot be written."""
        try:
            if not self._failed:
                self._write("CHECKPOINT")
        finally:
            if self._failed and self._has_log:
                wal_of(self._file).unlink(missing_ok=True)  # before another process can open the store
            self.connection.close()

    def _write(self, statement: Literal["COMMIT", "CHECKPOINT"]) -> None:
        """Execute a statement that writes; CHECKPOINT: from the write-ahead log to the file, if there is one."""
        try:
            if statement == "COMMIT" or self._has_log:
                self.execute(statement)
        except StoreError:
            self._failed = True
            raise

    def __repr__(self) -> str:
        return f"<Store: {self.path}>"

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(StoreError) if error else nullcontext():  # the first error is the one to report
            self.close()

    @contextmanager
    def transaction(self, *, keep: bool = True) -> Iterator[None]:
        """Run the block as one transaction; ``keep=False`` rolls it back (a dry run).

        After the block its changes are in the file. Raises StoreError if they cannot be written; none of them is kept.
        """
        self.execute("BEGIN")
        try:
            yield
            if keep:
                upload_votes(self)
        except BaseException:
            with suppress(StoreError):  # the first error is the one to report
                self._end("ROLLBACK")
            raise
        self._end("COMMIT" if keep else "ROLLBACK")

    def _end(self, statement: Literal["COMMIT", "ROLLBACK"]) -> None:
        if statement == "COMMIT":
            self._write(statement)
            self._write("CHECKPOINT")
        else:
            self.execute(statement)
        if self.partitioned and not self._failed:  # after a failure the file may list what memory does not
            remove_unlisted(self)

    @contextmanager
    def _handled(self) -> Iterator[None]:
        """Turn the exceptions of DuckDB in the block into StoreError; one about a file of votes names it."""
        try:
            with handled(self.path):
                yield
        except StoreError as error:
            if self.partitioned and error.cause in ("damaged", "other"):
                self.check_files()
            raise

    def check_files(self, *, content: bool = True) -> None:
        """Raise StoreError for a file of votes that is missing or has another size; content: or other bytes."""
        with suppress(duckdb.Error):  # of a damaged catalogue, which has been or will be reported
            files = self.connection.cursor().execute(FILES).fetchall()
            check_files(self.path, files, content=content, remote=self.remote)

    def execute(self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> None:
        """Execute one statement."""
        with self._handled():
            self.connection.execute(sql, params).fetchall()

    def rows(self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        """The rows of a small query, without polars, whose import takes longer than the query."""
        with self._handled():
            found = self.connection.execute(sql, params)
            names = [column[0] for column in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def frame(self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> pl.DataFrame:
        """Return the rows of a query."""
        import polars as pl

        with self._handled():
            frame = pl.from_arrow(self.connection.sql(sql, params=params).to_arrow_table())
        assert isinstance(frame, pl.DataFrame)
        return frame

    def value(self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> Any:
        """Return the value of a query with one row and one column."""
        with self._handled():
            [(value,)] = self.connection.execute(sql, params).fetchall()
        return value

    @contextmanager
    def views(self, **frames: pl.DataFrame) -> Iterator[None]:
        """Make frames available as tables in the SQL of the block."""
        with self._handled():
            for name, frame in frames.items():
                self.connection.register(name, frame.to_arrow())
        try:
            yield
        finally:
            for name in frames:
                with suppress(duckdb.Error):  # after an error in the block, which is the one to report
                    self.connection.unregister(name)

    def append(self, table: str, frame: pl.DataFrame, columns: str = "*") -> None:
        """Insert the rows of a frame. columns: the SQL of the table's columns, in their order.

        Within a transaction, use this for many frames: a view of ``views`` keeps its frame in memory until the end.
        """
        with self._handled():
            self.connection.from_arrow(frame.to_arrow()).project(columns).insert_into(table)

    def bytes(self) -> int:
        """Return the size of its files."""
        listed = int(self.value("SELECT coalesce(sum(bytes), 0) FROM vote_files"))
        return self._file.stat().st_size + listed

    # Public reading methods.

    def votes(self) -> pl.DataFrame:
        """All votes, sorted by file and line."""
        return self.frame(
            "SELECT * EXCLUDE (vote_key) FROM votes ORDER BY file_id, line, response_left, response_right"
        )

    def prompts(self) -> pl.DataFrame:
        """Every prompt: prompt_id, question, video, category, from_file."""
        return self.frame("SELECT * FROM prompts ORDER BY prompt_id")

    def responses(self) -> pl.DataFrame:
        """Every response: prompt_id, response_id, model, text, from_file, meta (numbers, JSON as text).

        A response without a model whose id answers several prompts is taken to be named after its model.
        """
        return self.frame(f"SELECT * FROM ({RESPONSES}) ORDER BY prompt_id, response_id")

    def rejects(self) -> pl.DataFrame:
        """All rejected rows: file, line, column, value, reason, message, row, batch_id."""
        return self.frame(
            "SELECT file, line, column_name AS 'column', value, reason, message, row, batch_id "
            "FROM rejects ORDER BY file_id, line"
        )

    def runs(self) -> pl.DataFrame:
        """All runs, the latest last: run_id, step, config, inputs, code_version, seed, report (JSON as text)."""
        return self.frame("SELECT * EXCLUDE (seq) FROM runs ORDER BY seq")

    def batches(self) -> pl.DataFrame:
        """All ingests, the latest last: batch_id, config, counts (JSON as text)."""
        return self.frame("SELECT * EXCLUDE (seq) FROM batches ORDER BY seq")

    def file_digests(self) -> list[str]:
        """SHA-256 of all ingested files."""
        return self.frame("SELECT DISTINCT sha256 FROM files ORDER BY sha256")["sha256"].to_list()

    def counts(self) -> dict[str, Any]:
        """Return the counts of the tables, and votes by outcome and criterion, rejects by reason, prompts by split."""
        [row] = self.rows(f"""
            SELECT (SELECT count(*) FROM prompts) AS prompts, (SELECT count(*) FROM responses) AS responses,
                (SELECT count(DISTINCT model) FROM ({RESPONSES})) AS models, (SELECT count(*) FROM batches) AS batches,
                (SELECT count(*) FROM controls) AS controls,
                count(DISTINCT annotator_id) AS annotators, count(*) AS votes,
                count(*) FILTER (sides_known) AS sides_known,
                count(DISTINCT group_id) FILTER ({K_WISE}) AS groups
            FROM votes
        """)
        for name, table, column in (
            ("outcomes", "votes", "outcome"),
            ("rejects", "rejects", "reason"),
            ("splits", "splits", "split"),
        ):
            found = self.rows(
                f"SELECT {column} AS name, count(*) AS n FROM {table} GROUP BY {column} ORDER BY n DESC, {column}"
            )
            row[name] = {each["name"]: each["n"] for each in found}
        found_criteria = criteria(self)
        row["criteria"] = found_criteria if found_criteria.keys() - {NO_CRITERION} else {}
        return row

    def rankings(self, run: str = "", *, criterion: str = "") -> pl.DataFrame:
        """The rankings of a denoise run (its id or a prefix; the latest when empty), one row a response.

        criterion: of the run; needed if there are runs by several criteria and ``run`` is empty.

        prompt_id, response_id, model, component, rank (1 = best), best_rank and worst_rank (its 90% interval), score
        (higher is better), strength and strength_se (posterior of the hierarchical ranker, logits), acceptable
        (probability that an annotator finds it acceptable) with acceptable_low and acceptable_high (its 90% interval;
        null without a vote that both are bad), and ``rank_NAME`` for every ranker used.
        Raises CurateError where there is no such run.
        """
        import polars as pl

        run_id = self.denoise_run(run, criterion=criterion)
        ranking = self.frame(
            f"""SELECT k.prompt_id, k.response_id, r.model, k.component, k.rank, k.best_rank, k.worst_rank,
                k.score, k.strength, k.strength_se, k.acceptable, k.acceptable_low, k.acceptable_high
            FROM rankings k LEFT JOIN ({RESPONSES}) r USING (prompt_id, response_id)
            WHERE k.run_id = ? ORDER BY k.prompt_id, k.component, k.rank, k.response_id""",
            [run_id],
        )
        members = self.frame(
            "SELECT ranker, prompt_id, response_id, rank FROM ranker_scores WHERE run_id = ?", [run_id]
        )
        names = sorted(members["ranker"].unique())
        for name in names:
            own = members.filter(pl.col("ranker") == name).select(
                "prompt_id", "response_id", pl.col("rank").alias("rank_" + name.replace("-", "_"))
            )
            ranking = ranking.join(own, on=["prompt_id", "response_id"], how="left", maintain_order="left")
        return ranking

    def leaderboard(self, *, by: str | None = None, criterion: str = "", control: Sequence[str] = ()) -> pl.DataFrame:
        """Return the models over all prompts, best first, computed from all votes of the store.

        Parameters
        ----------
        by
            A column of the table prompts, a key of the votes' meta (such as ``category``), or ``criterion``: one
            leaderboard for each of its values.
        criterion
            Only the votes by this criterion; needed if the votes are by several, unless ``by`` is ``criterion``.
        control
            ``length``, ``markdown`` or numeric columns of the file of responses: strengths are those of models whose
            responses are equal in these, and the columns of ``UNCONTROLLED`` are added.

        Returns
        -------
        polars.DataFrame
            The columns of ``curate.evaluation.leaderboard.COLUMNS``; with ``by``, its column comes first.

        Raises
        ------
        CurateError
            Where there are no votes, no vote compares two known models, no vote has a value of ``by``, or the votes are
            by several criteria.
        """
        from curate.store.games import store_leaderboard, store_leaderboards

        if by is None:
            return store_leaderboard(self, criterion=criterion, control=control).frame
        return store_leaderboards(self, by, criterion=criterion, control=control)

    def effects(self, *, criterion: str = "", control: Sequence[str] = ()) -> pl.DataFrame:
        """Return what position and covariates do to votes, estimated together with the models' strengths.

        Parameters as of ``leaderboard``. Returns one row per covariate: covariate, effect (log odds per unit of the
        left response's surplus; per doubling for length and markdown), effect_se, low and high (its 90% interval).
        """
        from curate.store.games import store_leaderboard

        return store_leaderboard(self, criterion=criterion, control=control).effects

    def prompt_stats(self, run: str = "") -> pl.DataFrame:
        """One row a prompt of a denoise run (the latest when empty): status, votes, coverage, cycles, cost, bound, …"""
        return self.frame(
            "SELECT * EXCLUDE (run_id) FROM prompt_stats WHERE run_id = ? ORDER BY prompt_id", [self.denoise_run(run)]
        )

    def graph(self, prompt_id: str, *, criterion: str = "") -> networkx.DiGraph[str]:
        """The prompt's preference graph: an arc from winner to loser, ``weight`` = the vote weight that says so.

        A tie gives half to each direction. Responses without votes are nodes without arcs. Raises CurateError for a
        prompt that the store does not know, and if its votes are by several criteria and none is given.
        """
        import networkx

        if not self.value("SELECT count(*) FROM prompts WHERE prompt_id = ?", [prompt_id]):
            raise MissingError(f"{self.path}: no prompt {prompt_id!r}", hint="prompts() lists them")
        chosen = one_criterion(
            self, criterion, "(SELECT * FROM votes WHERE prompt_id = $prompt)", {"prompt": prompt_id}
        )
        arcs = self.frame(
            f"""
            SELECT winner, loser, sum(weight) AS weight FROM (
                SELECT response_left AS winner, response_right AS loser,
                    weight * CASE outcome WHEN 'left' THEN 1 WHEN 'right' THEN 0 ELSE 0.5 END AS weight
                FROM votes WHERE prompt_id = $prompt AND {CRITERION} = $criterion
                UNION ALL
                SELECT response_right, response_left,
                    weight * CASE outcome WHEN 'left' THEN 0 WHEN 'right' THEN 1 ELSE 0.5 END
                FROM votes WHERE prompt_id = $prompt AND {CRITERION} = $criterion
            )
            GROUP BY winner, loser HAVING sum(weight) > 0 ORDER BY winner, loser
            """,
            {"prompt": prompt_id, "criterion": chosen},
        )
        graph: networkx.DiGraph[str] = networkx.DiGraph(prompt_id=prompt_id)
        nodes = "SELECT response_id FROM responses WHERE prompt_id = ? ORDER BY response_id"
        graph.add_nodes_from(self.frame(nodes, [prompt_id])["response_id"])
        graph.add_weighted_edges_from(arcs.iter_rows())
        return graph

    def newer_votes(self, run_id: str) -> int:
        """Number of votes that were ingested after the denoise run, by its criterion if it has one."""
        seen = "(SELECT unnest(from_json(inputs -> 'batches', '[\"VARCHAR\"]')) FROM runs WHERE run_id = $run)"
        criterion = f"(SELECT {RUN_CRITERION} FROM runs WHERE run_id = $run)"
        return int(
            self.value(
                f"""SELECT count(*) FROM votes JOIN files USING (file_id)
                WHERE batch_id NOT IN {seen} AND {criterion} IN ('', {CRITERION})""",
                {"run": run_id},
            )
        )

    def denoise_run(self, run: str = "", *, criterion: str = "") -> str:
        """Return the id of the denoise run that starts with ``run``; the latest run if empty.

        criterion: of the run; needed if there are runs by several criteria and ``run`` is empty. Runs over selected
        prompts are used only if there is no other. Raises CurateError for none or several.
        """
        rows = self.rows(
            f"""SELECT run_id, {RUN_CRITERION} AS criterion FROM runs
            WHERE step = 'denoise' AND starts_with(run_id, $run)
            ORDER BY json_array_length(config -> 'prompts') > 0, seq DESC""",
            {"run": run},
        )
        if not rows:
            what = f"no denoise run {run!r}" if run else "no rankings yet"
            raise MissingError(f"{self.path}: {what}", hint="rank the votes first: curate denoise")
        known = criteria(self)
        only = next(iter(known)) if len(known) == 1 else NO_CRITERION
        by = {row["run_id"]: row["criterion"] or only for row in rows}
        latest = {name: run_id for run_id, name in reversed(by.items())}
        named = ", ".join(f"{name} (run {run_id})" for name, run_id in latest.items())
        if criterion and criterion not in latest:
            raise MissingError(
                f"{self.path}: no ranking by the criterion {criterion!r}, only by {named}",
                hint=f"rank by it first: curate denoise --criterion '{criterion}'",
            )
        if not (run or criterion) and len(latest) > 1:
            raise CurateError(
                f"{self.path}: there are rankings by {len(latest)} criteria: {named}",
                hint="choose one: --run ID, or --criterion NAME where the command has it",
            )
        found = [run_id for run_id, name in by.items() if criterion in ("", name)]
        if run and len(found) > 1:
            raise CurateError(
                f"{self.path}: {run!r} fits {len(found)} runs: {', '.join(found)}", hint="give more of the id"
            )
        return str(found[0])

    def run(self, run_id: str) -> dict[str, Any] | None:
        """Return one run with parsed JSON (run_id, step, config, inputs, code_version, seed, report), or None."""
        rows = self.frame("SELECT * EXCLUDE (seq) FROM runs WHERE run_id = ?", [run_id]).to_dicts()
        return (
            {k: json.loads(v) if k in {"config", "inputs", "report"} else v for k, v in rows[0].items()}
            if rows
            else None
        )


SIDE_COUNTS = """count(*) FILTER (outcome = 'left') AS "left", count(*) FILTER (outcome = 'right') AS "right",
    count(*) FILTER (outcome NOT IN ('left', 'right')) AS undecided"""
"""Columns that count votes by side."""
RESPONSES = """
    SELECT prompt_id, response_id, coalesce(model, CASE WHEN answers > 1 THEN response_id END) AS model, text,
        from_file, meta
    FROM (SELECT *, count(*) OVER (PARTITION BY response_id) AS answers FROM responses)
"""
"""The responses with their models. A response id that occurs for several prompts is the name of a model."""
K_WISE = "(group_id IS NOT DISTINCT FROM lower(to_hex(vote_key)))"
"""SQL: a vote is a pair of a K-wise ranking. The groups of other votes come from the file."""
