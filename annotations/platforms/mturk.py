"""Amazon Mechanical Turk: the CSV of a batch's results ("Download CSV" on its Review page).

Shape: docs.aws.amazon.com/AWSMechTurk, Requester UI guide: HITId, HITTypeId, Title, ..., AssignmentId, WorkerId,
AssignmentStatus (Submitted, Approved, Rejected), AcceptTime, SubmitTime, WorkTimeInSeconds, Input.x (what the HIT was
given), Answer.x. Radio buttons of crowd-html give Answer.x.option = true or false, and the same answers as JSON in
Answer.taskAnswers. Times are like "Tue Mar 02 12:34:56 PST 2021".

Sides are known if Input. columns name left and right. Rejected assignments are not votes.
"""

from __future__ import annotations

import polars as pl

from annotations.platforms.base import Head, Platform, by_columns, first_of, reject_where, with_data
from annotations.readers.json_text import query
from annotations.readers.outcomes import outcome_question

INPUT, ANSWER, JSON_ANSWERS = "Input.", "Answer.", "Answer.taskAnswers"
BATCH = ("Title", "Description", "Keywords", "RequesterAnnotation")
REVIEW = ("Approve", "Reject")
"""Columns for the requester's review, which the header ends with and the rows of a download omit."""
READ = ("WorkerId", "AssignmentId", "SubmitTime", "WorkTimeInSeconds", *BATCH)
TIME = r"^\w{3} (\w{3} \d{1,2} \d\d:\d\d:\d\d) (\w+) (\d{4})$"
ZONES = {"PST": -8, "PDT": -7, "UTC": 0, "GMT": 0, "EST": -5, "EDT": -4}


def _recognizes(head: Head) -> bool:
    return head.has_prefixes(ANSWER) and (head.has("HITId") or (head.has("WorkerId") and head.has_prefixes(INPUT)))


def _rows(assignments: pl.DataFrame) -> pl.DataFrame:
    answers = _answers(assignments)
    question = outcome_question(answers.columns)
    texts = _texts(answers)
    refused = first_of(assignments, "AssignmentStatus").str.to_lowercase() == "rejected"
    rejects = [(refused, "refused-work", pl.lit("the assignment was rejected"))]
    columns = {
        "annotator_id": first_of(assignments, "WorkerId"),
        "vote_id": "mturk-" + first_of(assignments, "AssignmentId"),
        "voted_at": _time(first_of(assignments, "SubmitTime")),
        "seconds": first_of(assignments, "WorkTimeInSeconds"),
        **{ANSWER + name: pl.lit(texts[name]) for name in texts.columns if name != question},
        **{n: pl.col(n) for n in assignments.columns if not n.startswith((INPUT, ANSWER)) and n not in READ},
    }
    if question:
        chosen = answers[question].list
        several = pl.lit(chosen.len() > 1)
        columns["outcome"] = pl.when(~several).then(pl.lit(texts[question]))
        message = pl.format("expected one answer, found {}", pl.lit(chosen.join(" and ")))
        rejects.append((several, "ambiguous-outcome", message))
    data = {name.removeprefix(INPUT): pl.col(name) for name in assignments.columns if name.startswith(INPUT)}
    return assignments.select(**with_data(columns | reject_where(*rejects), data, INPUT))


def _answers(assignments: pl.DataFrame) -> pl.DataFrame:
    """Return a column for each question with its answers as a list: the options that are true, or the text."""
    given: dict[str, list[pl.Expr]] = {}
    for name in assignments.columns:
        if name.startswith(ANSWER) and name != JSON_ANSWERS:
            question, _, option = name.removeprefix(ANSWER).partition(".")
            value = pl.col(name)
            state = value.str.to_lowercase()
            chosen = pl.when(state == "true").then(pl.lit(option)).when((state != "false").fill_null(True)).then(value)
            given.setdefault(question, []).append(chosen if option else value)
    answers = assignments.select(**{name: pl.concat_list(own).list.drop_nulls() for name, own in given.items()})
    if JSON_ANSWERS not in assignments.columns:
        return answers
    as_json = _json_answers(assignments[JSON_ANSWERS])
    return answers.hstack(as_json.select(pl.exclude(answers.columns))).with_columns(
        pl.when(answers[name].list.len() > 0).then(answers[name]).otherwise(as_json[name]).alias(name)
        for name in as_json.columns
        if name in answers.columns
    )


def _json_answers(texts: pl.Series) -> pl.DataFrame:
    """Return the same of JSON texts [{question: {option: whether it is chosen} or the answer}]."""
    answers = query(
        """
        SELECT list_transform(map_entries(entries(TRY(text -> '$[0]'))), lambda answer: {
                   question: answer.key,
                   chosen: CASE json_type(answer.value) WHEN 'OBJECT'
                       THEN list_filter(map_keys(entries(answer.value)),
                                        lambda option: entries(answer.value)[option] = 'true')
                       ELSE list_filter([answer.value ->> '$'], lambda text: text IS NOT NULL) END}) AS answer
          FROM chunk
        """,
        chunk=pl.DataFrame({"text": texts}),
    ).with_row_index()
    long = answers.explode("answer").unnest("answer").drop_nulls("question")
    return (
        answers.select("index")
        .join(long.pivot("question", index="index", values="chosen"), on="index", how="left")
        .drop("index")
    )


def _texts(answers: pl.DataFrame) -> pl.DataFrame:
    """Return lists of answers as text: the only answer, or a JSON list of several."""
    if not answers.width:
        return answers
    text = "CASE len(COLUMNS(*)) WHEN 0 THEN NULL WHEN 1 THEN COLUMNS(*)[1] ELSE to_json(COLUMNS(*))::VARCHAR END"
    return query(f"SELECT {text} FROM chunk", chunk=answers)


def _time(text: pl.Expr) -> pl.Expr:
    """Return MTurk's time as ISO 8601 in UTC; another spelling unchanged."""
    part = text.str.strip_chars().str.extract_groups(TIME).struct.field
    local = (part("1") + " " + part("3")).str.to_datetime("%b %d %H:%M:%S %Y", strict=False)
    utc = local - pl.duration(hours=part("2").replace_strict(ZONES, default=None, return_dtype=pl.Int64))
    return pl.coalesce(utc.dt.strftime("%Y-%m-%dT%H:%M:%SZ"), text)


PLATFORM = Platform(
    name="mturk",
    description="CSV of a batch's results",
    detected_by="Answer. columns with HITId, or with WorkerId and Input. columns",
    sides="known if Input. columns name left and right",
    dropped="the batch's title, description, keywords and annotation",
    recognizes=_recognizes,
    read=by_columns(_rows, whole=True, optional=REVIEW),
)
