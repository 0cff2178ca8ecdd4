"""``curate release export``: a release in the format of another program."""

from __future__ import annotations

from pathlib import Path

from curate.release.clients.base import Client, Source, Written
from curate.release.clients.registry import client_named
from curate.release.manifest import CARD
from curate.shards.atomic import publishing
from schemas.errors import ConflictError
from schemas.release import ClientReport, Release


def export_for(folder: Path, *, client: str, out: Path) -> ClientReport:
    """Write a release for a client as the folder ``out``, which appears atomically. The release does not change.

    Parameters
    ----------
    folder
        A finished release; its files are compared with its manifest.
    client
        A name in ``curate.release.clients.registry``.

    Raises
    ------
    CurateError
        There is no such client, ``out`` exists, the release is damaged, or it lacks what the client needs.
    """
    writer = client_named(client)
    source = Source.open(folder, out)
    if out.is_symlink() or (out.exists() and not (out.is_dir() and not any(out.iterdir()))):
        raise ConflictError(f"{out}: exists", hint="choose another --out, or remove it")
    with publishing(out) as fresh:
        written = writer.write(source, fresh)
        if not (fresh / CARD).exists():
            (fresh / CARD).write_text(_card(writer, source.release, written), encoding="utf-8", newline="\n")
    return ClientReport(
        client=client,
        out=str(out),
        release=source.release.label,
        version=source.release.version,
        rows=dict(written.rows),
        media=written.media,
        skipped=dict(written.skipped),
        notes=written.notes,
    )


def _card(client: Client, release: Release, written: Written) -> str:
    """Return the README.md of an export."""
    lines = [
        *written.front_matter,
        f"# {release.label} for {client.name}",
        "",
        f"{client.description} Written from version {release.version} of the release.",
        "",
        client.usage.strip(),
        "",
        "| file | rows |",
        "|---|---|",
        *(f"| {name} | {rows:,} |" for name, rows in written.rows.items()),
        *(f"\nSkipped: {rows:,} rows {reason}." for reason, rows in written.skipped.items()),
        *(f"\nNote: {note}." for note in written.notes),
    ]
    return "\n".join(lines) + "\n"
