"""The Markdown page on a refresh: new votes, causes, and the prompts that changed most."""

from __future__ import annotations

from schemas.denoise import DenoiseReport
from schemas.release import DiffReport, PromptChange, Release, ReleaseReport

SHOWN = 20
"""Prompts that are listed."""


def new_inputs(release: Release, before: Release | None) -> dict[str, int]:
    """Return the numbers of files, votes and rejects of ingests that are not behind the previous release."""
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
        "votes recovered from earlier rejects": total("recovered") + total("mended"),  # renamed in 0.2
        "superseded votes": total("superseded"),
    }
    return found | {what: number for what, number in more.items() if number}


def summary_page(
    built: ReleaseReport,
    changes: DiffReport | None,
    *,
    ranked: DenoiseReport,
    chosen_in: str,
    inputs: dict[str, int],
) -> str:
    """Return the page.

    changes: since the previous release, None for the first one. chosen_in: the release whose run chose the method, if
    that was an earlier run. inputs: as returned by ``new_inputs``.
    """
    label = f"{built.name} {built.release}".rstrip()
    lines = [f"# {label}", "", f"Version {built.version}, run {built.run}."]
    lines += ["", "## New inputs since the previous release" if changes else "## Inputs", ""]
    lines += [f"- {what}: {number:,}" for what, number in inputs.items()]
    method = f"Method {ranked.method}{_chosen(ranked, chosen_in)}"
    lines += ["", "## Rankings", "", f"{method}; {ranked.ranked:,} of {ranked.prompts:,} prompts ranked in full."]
    lines += ["", "| config | items | score of a perfect judge |", "|---|---:|---:|"]
    for config, items in built.items.items():
        ceiling = built.ceiling.get(config)
        lines.append(f"| {config} | {items:,} | {f'{ceiling.mean:.3f}' if ceiling else ''} |")
    lines += ["", "## Changes", ""]
    return "\n".join([*lines, *(_changes(changes) if changes else ["This is the first release."])]) + "\n"


def _chosen(ranked: DenoiseReport, chosen_in: str) -> str:
    """Return when the method was chosen by held-out votes; empty if it was fixed."""
    auto = ranked.auto
    if auto is None:
        return ""
    if not auto.kept:
        return f", chosen now by held-out votes ({ranked.votes:,} votes)"
    where = f"for {chosen_in}, " if chosen_in else ""
    return f", chosen {where}in run {auto.chosen_run}, on {auto.chosen_on:,} votes ({ranked.votes:,} now)"


def _changes(found: DiffReport) -> list[str]:
    lines = [f"From {found.before} to {found.after}. Causes: {', '.join(found.causes) or 'none recorded'}."]
    lines += ["", f"- votes: {found.votes[0]:,} → {found.votes[1]:,}"]
    lines += [f"- config `{key}`: {old!r} → {new!r}" for key, (old, new) in found.config.items()]
    if found.code[0] != found.code[1]:
        lines.append(f"- code: {found.code[0]} → {found.code[1]}")
    lines.append(f"- prompts: {len(found.prompts_added):,} added, {len(found.prompts_removed):,} removed")
    reranked = [change for change in found.prompts if change.ranks]
    lines.append(
        f"- prompts with changed ranks: {len(reranked):,}, {_best_changed(reranked):,} of them with another best"
    )
    for config, items in found.items.items():
        moved = f"{len(items.added):,} added, {len(items.removed):,} removed, {len(items.changed):,} changed"
        kept = f"; {items.summary}" if items.kept or items.retired else ""
        lines.append(f"- items of {config}: {items.before:,} → {items.after:,} ({moved}){kept}")
    largest = sorted(reranked, key=lambda change: (-_shift(change), change.prompt_id))[:SHOWN]
    if largest:
        lines += [
            "",
            "The prompts whose ranks changed most:",
            "",
            "| prompt | votes | ranks | causes |",
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
    """Return the sum of rank changes over responses; an added or removed response counts as one."""
    return sum(abs(old - new) if old and new else 1 for old, new in change.ranks.values())


def _most(change: PromptChange) -> list[tuple[str, tuple[int | None, int | None]]]:
    """Return the four responses with the largest rank changes."""
    moved = sorted(change.ranks.items(), key=lambda item: (-abs((item[1][0] or 0) - (item[1][1] or 0)), item[0]))
    return moved[:4]


def _cell(text: str) -> str:
    """Return the text escaped for a Markdown table."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
