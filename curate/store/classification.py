"""The verdict on every staged row: a vote, a duplicate, or a reject for what only the whole store can tell."""

from __future__ import annotations

from curate.store.database import Store

# The rows that no rule has claimed yet.
_OPEN = "(SELECT * FROM staged ANTI JOIN verdicts USING (file_no, line))"

_PAIR = "least(ROW.response_left, ROW.response_right) || chr(31) || greatest(ROW.response_left, ROW.response_right)"
# Who won against whom, however the sides were named; of a K-wise ranking, over all its pairs.
_WON = f"""{_PAIR} || chr(31) || CASE ROW.outcome
    WHEN 'left' THEN ROW.response_left WHEN 'right' THEN ROW.response_right ELSE chr(30) || ROW.outcome END"""
_GROUP = "array_to_string(list_sort(list_distinct(flatten(list([response_left, response_right])))), chr(31))"

_ROW = """to_json({prompt_id: s.prompt_id, response_left: s.response_left, response_right: s.response_right,
    outcome: s.outcome, ranking: s.ranking, sides_known: s.sides_known, annotator_id: s.annotator_id,
    voted_at: s.voted_at, seconds: s.seconds, weight: s.weight, vote_id: s.vote_id})"""


def judge(store: Store, *, repeats: str) -> None:
    """Fill ``verdicts`` (duplicate | reject), ``staged_rejects`` and ``superseded``; rows without a verdict are votes.

    ``repeats``: what happens when an annotator votes on a pair again (last | all | reject).
    """
    _find_equals(store)
    _number_occurrences(store)
    _known_votes(store)
    _equals_in_batch(store)
    store.execute("DROP TABLE equals")
    _unknown_prompts(store)
    if repeats != "all":
        _equal_repeats(store)
        _repeats(store, last=repeats == "last")


def _find_equals(store: Store) -> None:
    """``equals``: the few rows that share a key with another of the batch; all that follows looks at these only."""
    store.execute("""
        CREATE TEMP TABLE equals AS
        SELECT file_no, line, vote_id, vote_key
        FROM staged SEMI JOIN (SELECT vote_key FROM staged GROUP BY vote_key HAVING count(*) > 1) USING (vote_key)
    """)


def _number_occurrences(store: Store) -> None:
    """The second, third, … equal row of a file is a vote of its own: its key takes in which one it is."""
    store.execute("""
        CREATE OR REPLACE TEMP TABLE equals AS
        SELECT file_no, line, vote_id, n,
            CASE WHEN n = 1 THEN vote_key ELSE md5_number(to_hex(vote_key) || '#' || n) END AS vote_key
        FROM (SELECT *, CASE WHEN vote_id IS NULL
                THEN row_number() OVER (PARTITION BY file_no, vote_key, vote_id IS NULL ORDER BY line) ELSE 1 END AS n
              FROM equals)
    """)
    if store.value("SELECT count(*) FROM equals WHERE n > 1"):
        store.execute("""
            UPDATE staged SET vote_key = e.vote_key, occurrence = e.n FROM equals e
            WHERE e.n > 1 AND staged.file_no = e.file_no AND staged.line = e.line
        """)


def _known_votes(store: Store) -> None:
    """Rows whose key the store has: duplicates, unless a platform's id now names something else."""
    if not store.value("SELECT count(*) FROM votes"):
        return
    store.execute("""
        INSERT INTO verdicts
        SELECT file_no, line, 'duplicate' FROM staged SEMI JOIN votes USING (vote_key) WHERE vote_id IS NULL
    """)
    if store.value("SELECT count(vote_id) FROM staged"):
        known = f"""
            SELECT vote_key, any_value(prompt_id) AS prompt_id, any_value(annotator_id) AS annotator_id,
                {_judgment("votes")} AS judgment
            FROM votes SEMI JOIN (SELECT vote_key FROM staged WHERE vote_id IS NOT NULL) USING (vote_key)
            GROUP BY vote_key
        """
        _same_id(store, f"SELECT s.*, k FROM {_OPEN} s JOIN ({known}) k USING (vote_key) WHERE vote_id IS NOT NULL")


def _equals_in_batch(store: Store) -> None:
    """Rows that share their key with an earlier row of the batch."""
    store.execute("""
        CREATE TEMP TABLE later AS
        SELECT file_no, line, vote_id, first.file_no AS first_file, first.line AS first_line
        FROM (SELECT *, first_value({file_no: file_no, line: line}) OVER same AS first, row_number() OVER same AS place
              FROM equals ANTI JOIN verdicts USING (file_no, line)
              WINDOW same AS (PARTITION BY vote_key ORDER BY file_no, line))
        WHERE place > 1
    """)
    store.execute("INSERT INTO verdicts SELECT file_no, line, 'duplicate' FROM later WHERE vote_id IS NULL")
    if store.value("SELECT count(vote_id) FROM later"):
        judgment = f"{{prompt_id: k.prompt_id, annotator_id: k.annotator_id, judgment: {_judgment_of('k')}}}"
        _same_id(
            store,
            f"""SELECT s.*, {judgment} AS k
                FROM staged s JOIN later l ON s.file_no = l.file_no AND s.line = l.line AND l.vote_id IS NOT NULL
                JOIN staged k ON k.file_no = l.first_file AND k.line = l.first_line""",
        )
    store.execute("DROP TABLE later")


def _same_id(store: Store, rows: str) -> None:
    """Verdicts for rows beside the known vote ``k`` of the same platform id: {prompt_id, annotator_id, judgment}."""
    same = f"""s.prompt_id = k.prompt_id AND s.annotator_id IS NOT DISTINCT FROM k.annotator_id
        AND {_judgment_of("s")} = k.judgment"""
    store.execute(f"CREATE TEMP TABLE same_id AS SELECT s.*, ({same}) AS same FROM ({rows}) s")
    store.execute("""
        INSERT INTO verdicts SELECT file_no, line, CASE WHEN same THEN 'duplicate' ELSE 'reject' END FROM same_id
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
    """Who won against whom in all of a vote's pairs, as one text: an aggregate over the pairs ``rows``."""
    won = _WON.replace("ROW.", f"{rows}.")
    return f"string_agg({won}, chr(29) ORDER BY {won})"


def _judgment_of(row: str) -> str:
    """The same of a staged row."""
    own = f"SELECT {_judgment('p')} FROM staged_pairs p WHERE p.file_no = {row}.file_no AND p.line = {row}.line"
    return f"CASE WHEN {row}.ranking IS NULL THEN {_WON.replace('ROW.', f'{row}.')} ELSE ({own}) END"


def _members(row: str) -> str:
    """The responses of a staged row as one sorted text: of its pair or of its ranking."""
    listed = f'from_json({row}.ranking, \'{{"judged": ["VARCHAR"]}}\').judged'
    ranking = f"array_to_string(list_sort({listed}), chr(31))"
    return f"CASE WHEN {row}.ranking IS NULL THEN {_PAIR} ELSE {ranking} END".replace("ROW.", f"{row}.")


def _unknown_prompts(store: Store) -> None:
    """Once prompts were given, a vote on any other is a mistake."""
    if not store.value("SELECT count(*) FROM prompts WHERE given"):
        return
    store.execute(f"""
        INSERT INTO staged_rejects
        SELECT s.file_no, s.line, f.prompt_column, s.prompt_id, 'unknown-prompt',
            format('column ''{{}}'' holds ''{{}}'', not one of the prompts given', f.prompt_column, s.prompt_id),
            {_ROW}, s.vote_key
        FROM {_OPEN} s JOIN staged_files f USING (file_no)
        ANTI JOIN (SELECT prompt_id FROM prompts WHERE given) p ON s.prompt_id = p.prompt_id
    """)
    store.execute("""
        INSERT INTO verdicts SELECT file_no, line, 'reject' FROM staged_rejects WHERE reason = 'unknown-prompt'
    """)


def _equal_repeats(store: Store) -> None:
    """A named annotator's second equal row is the same vote again. (Equal rows of anonymous voters are votes.)"""
    store.execute(f"""
        INSERT INTO verdicts
        SELECT file_no, line, 'duplicate' FROM {_OPEN} WHERE occurrence > 1 AND annotator_id IS NOT NULL
    """)


def _repeats(store: Store, *, last: bool) -> None:
    """Of a named annotator's votes on the same responses one stands: the last, or the first."""
    _contest(store)
    if store.value("SELECT count(*) FROM contest"):
        # Time decides, then the place where a row was first seen, so that an old row read again does not become new.
        if last:
            order = "coalesce(voted_at, '-infinity') DESC, seen_file DESC, seen_line DESC"
        else:
            order = "file_no IS NOT NULL, coalesce(voted_at, 'infinity'), seen_file, seen_line"
        store.execute(f"""
            CREATE TEMP TABLE losers AS
            SELECT * FROM (SELECT *, row_number() OVER (
                PARTITION BY annotator_id, prompt_id, members ORDER BY {order}) AS place FROM contest)
            WHERE place > 1
        """)
        if last:  # votes that an earlier policy let in are not taken back by one that rejects newcomers
            store.execute(
                "INSERT INTO superseded SELECT seen_file, seen_line, vote_key FROM losers WHERE file_no IS NULL"
            )
        stands = "a later vote" if last else "the first vote"
        store.execute(f"""
            INSERT INTO staged_rejects
            SELECT s.file_no, s.line, f.annotator_column, s.annotator_id, 'repeated-vote',
                format('column ''{{}}'' holds ''{{}}'', who voted on these responses more than once: {stands} stands',
                    f.annotator_column, s.annotator_id), {_ROW}, s.vote_key
            FROM staged s JOIN losers l USING (file_no, line) JOIN staged_files f USING (file_no)
        """)
        store.execute("INSERT INTO verdicts SELECT file_no, line, 'reject' FROM losers WHERE file_no IS NOT NULL")
        store.execute("DROP TABLE losers")
    store.execute("DROP TABLE contest")


def _contest(store: Store) -> None:
    """Every vote, staged (file_no set) or stored (file_no NULL), on responses that its annotator judged before.

    A 64-bit hash finds the few that may meet; the exact columns decide among those.
    """
    store.execute(f"""
        CREATE TEMP TABLE subjects AS
        SELECT file_no, line, hash(annotator_id, prompt_id, {_members("s")}) AS h
        FROM {_OPEN} s WHERE annotator_id IS NOT NULL
    """)
    store.execute(f"""
        CREATE TEMP TABLE stored_subjects AS
        SELECT vote_key, file_id, line, annotator_id, prompt_id, members, voted_at
        FROM (
            SELECT vote_key, file_id, line, annotator_id, prompt_id, voted_at,
                {_PAIR.replace("ROW.", "")} AS members
            FROM votes WHERE annotator_id IS NOT NULL AND group_id IS NULL
            UNION ALL
            SELECT vote_key, file_id, line, any_value(annotator_id), any_value(prompt_id), any_value(voted_at),
                {_GROUP} AS members
            FROM votes WHERE annotator_id IS NOT NULL AND group_id IS NOT NULL GROUP BY vote_key, file_id, line
        )
        SEMI JOIN (SELECT h FROM subjects) ON h = hash(annotator_id, prompt_id, members)
    """)
    store.execute(f"""
        CREATE TEMP TABLE contest AS
        WITH known AS (
            SELECT vote_key, min((file_id, line)) AS seen FROM rejects WHERE reason = 'repeated-vote' GROUP BY vote_key
        ), met AS (
            SELECT h FROM (SELECT h FROM subjects
                UNION ALL SELECT hash(annotator_id, prompt_id, members) FROM stored_subjects)
            GROUP BY h HAVING count(*) > 1
        ), base AS (SELECT coalesce(max(file_id), 0) AS file_id FROM files)
        SELECT s.file_no, s.line, s.vote_key, s.annotator_id, s.prompt_id, {_members("s")} AS members, s.voted_at,
            coalesce(k.seen[1], base.file_id + s.file_no) AS seen_file, coalesce(k.seen[2], s.line) AS seen_line
        FROM staged s JOIN subjects USING (file_no, line) SEMI JOIN met USING (h)
            LEFT JOIN known k ON k.vote_key = s.vote_key CROSS JOIN base
        UNION ALL
        SELECT NULL, NULL, vote_key, annotator_id, prompt_id, members, voted_at, file_id, line FROM stored_subjects
    """)
    store.execute("DROP TABLE subjects")
    store.execute("DROP TABLE stored_subjects")
