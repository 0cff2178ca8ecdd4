"""Row classification: whether each staged row is a vote, a duplicate, or a reject for a reason that needs the store."""

from __future__ import annotations

from curate.store.database import K_WISE, Store
from curate.store.staging import NEW_VOTES, find_repeated

_PAIR = "least(ROW.response_left, ROW.response_right) || chr(31) || greatest(ROW.response_left, ROW.response_right)"
# Which response won against which, independent of sides.
_WON = f"""{_PAIR} || chr(31) || CASE ROW.outcome
    WHEN 'left' THEN ROW.response_left WHEN 'right' THEN ROW.response_right ELSE chr(30) || ROW.outcome END"""
_GROUP = "array_to_string(list_sort(list_distinct(flatten(list([response_left, response_right])))), chr(31))"

_FIELDS = """prompt_id: s.prompt_id, response_left: s.response_left, response_right: s.response_right,
    outcome: s.outcome, ranking: s.ranking, sides_known: s.sides_known, annotator_id: s.annotator_id,
    voted_at: s.voted_at, seconds: s.seconds, weight: s.weight, vote_id: s.vote_id"""
# Without a criterion the text is that of earlier versions, so that their rejects are recognised.
_ROW = f"""CASE WHEN s.criterion IS NULL THEN to_json({{{_FIELDS}}})
    ELSE to_json({{{_FIELDS}, criterion: s.criterion}}) END"""


def classify_rows(store: Store, *, repeats: str) -> None:
    """Classify the staged rows: fill ``classified`` (duplicate | reject), ``staged_rejects`` and ``superseded``.

    Rows without a class are votes. ``repeats``: what happens if an annotator votes on a pair again (last | all |
    reject).
    """
    _find_repeated_keys(store)
    _number_occurrences(store)
    _find_known_votes(store)
    _find_duplicates_in_batch(store)
    store.execute("DROP TABLE repeated_keys")
    _reject_unknown_prompts(store)
    _reject_unknown_responses(store)
    if repeats != "all":
        _find_equal_repeats(store)
        _resolve_repeats(store, last=repeats == "last")
    _classify_controls(store)


def _find_repeated_keys(store: Store) -> None:
    """Create ``repeated_keys``: the few rows whose key occurs more than once in the batch."""
    find_repeated(store, "repeated", "staged", "vote_key")
    store.execute("""
        CREATE TEMP TABLE repeated_keys AS
        SELECT file_no, line, vote_id, vote_key FROM staged SEMI JOIN repeated USING (vote_key)
    """)
    store.execute("DROP TABLE repeated")


def _number_occurrences(store: Store) -> None:
    """Give the second, third, … equal row of a file a separate key: equal rows of one file are separate votes."""
    store.execute("""
        CREATE OR REPLACE TEMP TABLE repeated_keys AS
        SELECT file_no, line, vote_id, n,
            CASE WHEN n = 1 THEN vote_key ELSE md5_number(to_hex(vote_key) || '#' || n) END AS vote_key
        FROM (SELECT *, CASE WHEN vote_id IS NULL
                THEN row_number() OVER (PARTITION BY file_no, vote_key, vote_id IS NULL ORDER BY line) ELSE 1 END AS n
              FROM repeated_keys)
    """)
    if store.value("SELECT count(*) FROM repeated_keys WHERE n > 1"):
        store.execute("""
            UPDATE staged SET vote_key = e.vote_key, occurrence = e.n FROM repeated_keys e
            WHERE e.n > 1 AND staged.file_no = e.file_no AND staged.line = e.line
        """)


def _find_known_votes(store: Store) -> None:
    """Classify rows whose key is in the store as duplicates; if a platform's id now names another vote, as rejects."""
    if not store.value("SELECT count(*) FROM votes"):
        return
    store.execute("""
        INSERT INTO classified
        SELECT file_no, line, 'duplicate' FROM staged SEMI JOIN votes USING (vote_key) WHERE vote_id IS NULL
    """)
    if store.value("SELECT count(vote_id) FROM staged"):
        known = f"""
            SELECT vote_key, any_value(prompt_id) AS prompt_id, any_value(annotator_id) AS annotator_id,
                {_judgment("votes")} AS judgment
            FROM votes SEMI JOIN (SELECT vote_key FROM staged WHERE vote_id IS NOT NULL) USING (vote_key)
            GROUP BY vote_key
        """
        _compare_same_id(
            store, f"SELECT s.*, k FROM {NEW_VOTES} s JOIN ({known}) k USING (vote_key) WHERE vote_id IS NOT NULL"
        )


def _find_duplicates_in_batch(store: Store) -> None:
    """Classify rows whose key occurs in an earlier row of the batch."""
    store.execute("""
        CREATE TEMP TABLE later AS
        SELECT file_no, line, vote_id, first.file_no AS first_file, first.line AS first_line
        FROM (SELECT *, first_value({file_no: file_no, line: line}) OVER same AS first, row_number() OVER same AS place
              FROM repeated_keys ANTI JOIN classified USING (file_no, line)
              WINDOW same AS (PARTITION BY vote_key ORDER BY file_no, line))
        WHERE place > 1
    """)
    store.execute("INSERT INTO classified SELECT file_no, line, 'duplicate' FROM later WHERE vote_id IS NULL")
    if store.value("SELECT count(vote_id) FROM later"):
        judgment = f"{{prompt_id: k.prompt_id, annotator_id: k.annotator_id, judgment: {_judgment_of('k')}}}"
        _compare_same_id(
            store,
            f"""SELECT s.*, {judgment} AS k
                FROM staged s JOIN later l ON s.file_no = l.file_no AND s.line = l.line AND l.vote_id IS NOT NULL
                JOIN staged k ON k.file_no = l.first_file AND k.line = l.first_line""",
        )
    store.execute("DROP TABLE later")


def _compare_same_id(store: Store, rows: str) -> None:
    """Classify rows with the platform id of a known vote ``k`` {prompt_id, annotator_id, judgment}."""
    same = f"""s.prompt_id = k.prompt_id AND s.annotator_id IS NOT DISTINCT FROM k.annotator_id
        AND {_judgment_of("s")} = k.judgment"""
    store.execute(f"CREATE TEMP TABLE same_id AS SELECT s.*, ({same}) AS same FROM ({rows}) s")
    store.execute("""
        INSERT INTO classified SELECT file_no, line, CASE WHEN same THEN 'duplicate' ELSE 'reject' END FROM same_id
    """)
    store.execute(f"""
        INSERT INTO staged_rejects
        SELECT s.file_no, s.line, f.id_column, s.vote_id, 'vote-id-conflict',
            format('column ''{{}}'' holds ''{{}}'', which is the id of another vote (prompt ''{{}}'')',
                f.id_column, s.vote_id, s.k.prompt_id), {_ROW}, NULL
        FROM same_id s JOIN staged_files f USING (file_no) WHERE NOT same
    """)
    store.execute("DROP TABLE same_id")


def _judgment(rows: str) -> str:
    """Return the SQL aggregate of the winners and replaced of all pairs ``rows`` of a vote, as one text."""
    won = _WON.replace("ROW.", f"{rows}.")
    return f"string_agg({won}, chr(29) ORDER BY {won})"


def _judgment_of(row: str) -> str:
    """Return the SQL for the same text of a staged row."""
    own = f"SELECT {_judgment('p')} FROM staged_pairs p WHERE p.file_no = {row}.file_no AND p.line = {row}.line"
    return f"CASE WHEN {row}.ranking IS NULL THEN {_WON.replace('ROW.', f'{row}.')} ELSE ({own}) END"


def _members(row: str) -> str:
    """Return the SQL for the sorted responses of a staged row, of its pair or of its ranking."""
    listed = f'from_json({row}.ranking, \'{{"judged": ["VARCHAR"]}}\').judged'
    ranking = f"array_to_string(list_sort({listed}), chr(31))"
    return f"CASE WHEN {row}.ranking IS NULL THEN {_PAIR} ELSE {ranking} END".replace("ROW.", f"{row}.")


def _reject_unknown_prompts(store: Store) -> None:
    """Reject votes on prompts that are not in the file of prompts, if the store has one."""
    if not store.value("SELECT count(*) FROM prompts WHERE from_file"):
        return
    store.execute(f"""
        INSERT INTO staged_rejects
        SELECT s.file_no, s.line, f.prompt_column, s.prompt_id, 'unknown-prompt',
            format('column ''{{}}'' holds ''{{}}''; expected a prompt from the file of prompts',
                f.prompt_column, s.prompt_id),
            {_ROW}, s.vote_key
        FROM {NEW_VOTES} s JOIN staged_files f USING (file_no)
        ANTI JOIN (SELECT prompt_id FROM prompts WHERE from_file) p ON s.prompt_id = p.prompt_id
    """)
    store.execute("""
        INSERT INTO classified SELECT file_no, line, 'reject' FROM staged_rejects WHERE reason = 'unknown-prompt'
    """)


def _reject_unknown_responses(store: Store) -> None:
    """Reject votes on responses that are not in the file of responses, where that has others to the same prompt.

    A misspelt id would otherwise be one more response, ranked among the others.
    """
    listed = "(SELECT prompt_id, response_id FROM responses WHERE from_file)"
    if not store.value(f"SELECT count(*) FROM {listed}"):
        return
    store.execute(f"""
        INSERT INTO staged_rejects
        WITH judged AS (
            SELECT file_no, line, prompt_id, response_left AS response_id, 1 AS place
            FROM {NEW_VOTES} WHERE ranking IS NULL
            UNION ALL
            SELECT file_no, line, prompt_id, response_right, 2 FROM {NEW_VOTES} WHERE ranking IS NULL
            UNION ALL
            SELECT file_no, line, prompt_id, unnest([p.response_left, p.response_right]), unnest([1, 2])
            FROM (SELECT file_no, line, prompt_id FROM {NEW_VOTES} WHERE ranking IS NOT NULL)
            JOIN staged_pairs p USING (file_no, line)
        ), unknown AS (
            SELECT file_no, line, min({{place: place, response_id: response_id}}) AS first
            FROM judged SEMI JOIN {listed} USING (prompt_id) ANTI JOIN {listed} USING (prompt_id, response_id)
            GROUP BY file_no, line
        )
        SELECT s.file_no, s.line, CASE first.place WHEN 1 THEN f.first_column ELSE f.second_column END,
            first.response_id, 'unknown-response',
            format('column ''{{}}'' holds ''{{}}''; expected a response to prompt ''{{}}'' from the file of responses',
                CASE first.place WHEN 1 THEN f.first_column ELSE f.second_column END, first.response_id, s.prompt_id),
            {_ROW}, s.vote_key
        FROM {NEW_VOTES} s JOIN unknown USING (file_no, line) JOIN staged_files f USING (file_no)
    """)
    store.execute("""
        INSERT INTO classified SELECT file_no, line, 'reject' FROM staged_rejects WHERE reason = 'unknown-response'
    """)


def _find_equal_repeats(store: Store) -> None:
    """Classify a named annotator's second equal row as a duplicate. Equal rows of anonymous voters stay votes."""
    store.execute(f"""
        INSERT INTO classified
        SELECT file_no, line, 'duplicate' FROM {NEW_VOTES} WHERE occurrence > 1 AND annotator_id IS NOT NULL
    """)


def _resolve_repeats(store: Store, *, last: bool) -> None:
    """Keep one of a named annotator's votes on the same responses by the same criterion: the last, or the first."""
    _find_competing_votes(store)
    if store.value("SELECT count(*) FROM competing"):
        # Time decides, then where a row was first read, so that reading an old row again does not make it the newest.
        if last:
            order = "coalesce(voted_at, '-infinity') DESC, seen_file DESC, seen_line DESC"
        else:
            order = "file_no IS NOT NULL, coalesce(voted_at, 'infinity'), seen_file, seen_line"
        store.execute(f"""
            CREATE TEMP TABLE replaced AS
            SELECT * FROM (SELECT *, row_number() OVER (
                PARTITION BY annotator_id, prompt_id, criterion, members ORDER BY {order}) AS place FROM competing)
            WHERE place > 1
        """)
        if last:  # "reject" affects new rows only, not votes stored under another setting
            store.execute(
                "INSERT INTO superseded SELECT seen_file, seen_line, vote_key FROM replaced WHERE file_no IS NULL"
            )
        kept = "a later vote" if last else "the first vote"
        store.execute(f"""
            INSERT INTO staged_rejects
            SELECT s.file_no, s.line, f.annotator_column, s.annotator_id, 'repeated-vote',
                format('column ''{{}}'' holds ''{{}}'', who voted on these responses more than once; {kept} counts',
                    f.annotator_column, s.annotator_id), {_ROW}, s.vote_key
            FROM staged s JOIN replaced l USING (file_no, line) JOIN staged_files f USING (file_no)
        """)
        store.execute("INSERT INTO classified SELECT file_no, line, 'reject' FROM replaced WHERE file_no IS NOT NULL")
        store.execute("DROP TABLE replaced")
    store.execute("DROP TABLE competing")


def _find_competing_votes(store: Store) -> None:
    """Create ``competing``: staged (file_no set) and stored (file_no NULL) votes of one annotator on the same responses
    by the same criterion.

    A 64-bit hash selects the few candidates; the exact columns decide among those.
    """
    store.execute(f"""
        CREATE TEMP TABLE candidates AS
        SELECT file_no, line, hash(annotator_id, prompt_id, criterion, {_members("s")}) AS h
        FROM {NEW_VOTES} s WHERE annotator_id IS NOT NULL
    """)
    store.execute(f"""
        CREATE TEMP TABLE stored_candidates AS
        SELECT vote_key, file_id, line, annotator_id, prompt_id, criterion, members, voted_at
        FROM (
            SELECT vote_key, file_id, line, annotator_id, prompt_id, criterion, voted_at,
                {_PAIR.replace("ROW.", "")} AS members
            FROM votes WHERE annotator_id IS NOT NULL AND NOT {K_WISE}
            UNION ALL
            SELECT vote_key, file_id, line, any_value(annotator_id), any_value(prompt_id), any_value(criterion),
                any_value(voted_at), {_GROUP} AS members
            FROM votes WHERE annotator_id IS NOT NULL AND {K_WISE} GROUP BY vote_key, file_id, line
        )
        SEMI JOIN (SELECT h FROM candidates) ON h = hash(annotator_id, prompt_id, criterion, members)
    """)
    store.execute("""
        CREATE TEMP TABLE competing (file_no INTEGER, line BIGINT, vote_key UHUGEINT, annotator_id VARCHAR,
            prompt_id VARCHAR, criterion VARCHAR, members VARCHAR, voted_at TIMESTAMP, seen_file BIGINT,
            seen_line BIGINT)
    """)
    hashes = """(SELECT h FROM candidates
        UNION ALL SELECT hash(annotator_id, prompt_id, criterion, members) FROM stored_candidates)"""
    find_repeated(store, "shared", hashes, "h")
    store.execute(f"""
        INSERT INTO competing
        WITH known AS (
            SELECT vote_key, min((file_id, line)) AS seen FROM rejects WHERE reason = 'repeated-vote'
            GROUP BY vote_key
        ), base AS (SELECT coalesce(max(file_id), 0) AS file_id FROM files)
        SELECT s.file_no, s.line, s.vote_key, s.annotator_id, s.prompt_id, s.criterion, {_members("s")},
            s.voted_at, coalesce(k.seen[1], base.file_id + s.file_no), coalesce(k.seen[2], s.line)
        FROM staged s JOIN (FROM candidates SEMI JOIN shared USING (h)) USING (file_no, line)
            LEFT JOIN known k ON k.vote_key = s.vote_key CROSS JOIN base
    """)
    store.execute("""
        INSERT INTO competing
        SELECT NULL, NULL, vote_key, annotator_id, prompt_id, criterion, members, voted_at, file_id, line
        FROM stored_candidates
    """)
    for table in ("candidates", "stored_candidates", "shared"):
        store.execute(f"DROP TABLE {table}")


def _classify_controls(store: Store) -> None:
    """Set the status of staged control answers that the store or an earlier row of the batch has to duplicate.

    The second, third, … equal answer of one file is a separate answer with a separate key.
    """
    if not store.value("SELECT count(*) FROM staged_controls"):
        return
    store.execute("""
        CREATE OR REPLACE TEMP TABLE staged_controls AS
        WITH numbered AS (
            SELECT *, row_number() OVER (PARTITION BY file_no, control_key ORDER BY line) AS n FROM staged_controls
        ), keyed AS (
            SELECT * EXCLUDE (control_key, status, n),
                CASE WHEN n = 1 THEN control_key ELSE md5_number(to_hex(control_key) || '#' || n) END AS control_key
            FROM numbered
        )
        SELECT *, CASE WHEN row_number() OVER (PARTITION BY control_key ORDER BY file_no, line) > 1
            OR control_key IN (SELECT control_key FROM controls) THEN 'duplicate' ELSE 'control' END AS status
        FROM keyed
    """)
