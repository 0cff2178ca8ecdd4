"""The page on what a refresh moved: what came in, why things changed, and what changed most, in Markdown."""

from __future__ import annotations

from schemas.release import DiffReport, PromptChange, Release, ReleaseReport
from schemas.reports import DenoiseReport

SHOWN = 20
"""Prompts that are listed."""


def came_in(release: Release, before: Release | None) -> dict[str, int]:
    """What -> how many came in by the ingests behind a release that are not behind the one before it."""
    known = {batch.batch for batch in before.batches} if before else set()
    seen = {sha256 for batch in before.batches for _, sha256 in batch.files} if before else set()
    batches = [batch for batch in release.batches if batch.batch not in known]

    def total(key: str) -> int:
        return sum(int(batch.counts.get(key, 0)) for batch in batches)

    found = {
        "new files": len({sha256 for batch in batches for _, sha256 in batch.files} - seen),
        "new votes": total("votes"),
        "duplicates": total("duplicates"),
        "rejected rows": total("rejects"),
    }
    more = {
        "votes that were rejected before": total("mended"),
        "votes that newer ones of the same people replaced": total("superseded"),
    }
    return found | {what: number for what, number in more.items() if number}


def summary_page(
    built: ReleaseReport,
    changes: DiffReport | None,
    *,
    ranked: DenoiseReport,
    chosen_in: str,
    came: dict[str, int],
) -> str:
    """The page. changes: from the release before, None for the first one. chosen_in: the release whose run chose the
    method, where it is an earlier run's. came: what -> how many came in."""
    label = f"{built.name} {built.release}".rstrip()
    lines = [f"# {label}", "", f"Version {built.version}, run {built.run}."]
    lines += ["", "## What came in since the release before" if changes else "## What came in", ""]
    lines += [f"- {what}: {number:,}" for what, number in came.items()]
    method = f"Method {ranked.method}{_chosen(ranked, chosen_in)}"
    lines += ["", "## The rankings", "", f"{method}; {ranked.ranked:,} of {ranked.prompts:,} prompts ranked in full."]
    lines += ["", "| config | items | a perfect judge scores |", "|---|---:|---:|"]
    for config, items in built.items.items():
        ceiling = built.ceiling.get(config)
        lines.append(f"| {config} | {items:,} | {f'{ceiling.mean:.3f}' if ceiling else ''} |")
    lines += ["", "## What moved", ""]
    return "\n".join([*lines, *(_changes(changes) if changes else ["This is the first release."])]) + "\n"


def _chosen(ranked: DenoiseReport, chosen_in: str) -> str:
    """When the method was chosen, where an earlier run did it."""
    auto = ranked.auto
    if auto is None:
        return ""
    if not auto.kept:
        return f", chosen now by held-out votes ({ranked.votes:,} votes)"
    where = f"for {chosen_in}, " if chosen_in else ""
    return f", chosen {where}in run {auto.chosen_run}, on {auto.chosen_on:,} votes ({ranked.votes:,} now)"


def _changes(found: DiffReport) -> list[str]:
    lines = [f"From {found.before} to {found.after}, because of {', '.join(found.causes) or 'nothing recorded'}."]
    lines += ["", f"- votes: {found.votes[0]:,} → {found.votes[1]:,}"]
    lines += [f"- config `{key}`: {old!r} → {new!r}" for key, (old, new) in found.config.items()]
    if found.code[0] != found.code[1]:
        lines.append(f"- code: {found.code[0]} → {found.code[1]}")
    lines.append(f"- prompts: {len(found.prompts_added):,} added, {len(found.prompts_removed):,} removed")
    reranked = [change for change in found.prompts if change.ranks]
    lines.append(
        f"- prompts with other ranks: {len(reranked):,}, {_best_changed(reranked):,} of them with another best"
    )
    for config, items in found.items.items():
        moved = f"{len(items.added):,} added, {len(items.removed):,} removed, {len(items.changed):,} changed"
        lines.append(f"- items of {config}: {items.before:,} → {items.after:,} ({moved})")
    largest = sorted(reranked, key=lambda change: (-_shift(change), change.prompt_id))[:SHOWN]
    if largest:
        lines += [
            "",
            "The prompts whose ranks moved most:",
            "",
            "| prompt | votes | ranks | why |",
            "|---|---|---|---|",
        ]
        for change in largest:
            ranks = ", ".join(f"{response} {old or '–'} → {new or '–'}" for response, (old, new) in _most(change))
            lines.append(
                f"| {_cell(change.prompt_id)} | {change.votes[0]} → {change.votes[1]} | {_cell(ranks)} | "
                f"{', '.join(change.why)} |"
            )
    return lines


def _best_changed(changes: list[PromptChange]) -> int:
    return sum(any(1 in pair for pair in change.ranks.values()) for change in changes)


def _shift(change: PromptChange) -> int:
    """By how many places its responses moved together; one that came or went counts as one."""
    return sum(abs(old - new) if old and new else 1 for old, new in change.ranks.values())


def _most(change: PromptChange) -> list[tuple[str, tuple[int | None, int | None]]]:
    """The four responses that moved furthest."""
    moved = sorted(change.ranks.items(), key=lambda item: (-abs((item[1][0] or 0) - (item[1][1] or 0)), item[0]))
    return moved[:4]


def _cell(text: str) -> str:
    """As text in a table of Markdown."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
