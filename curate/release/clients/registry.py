"""The clients that ``curate release export --for`` knows. A new one is a file here, and an entry."""

from __future__ import annotations

from curate.release.clients import hub, judges, llama_factory, ms_swift, openrlhf, rewardbench2, trl, verl
from curate.release.clients.base import Client
from schemas.errors import UsageError

CLIENTS: dict[str, Client] = {
    client.name: client
    for client in (
        trl.CLIENT,
        llama_factory.CLIENT,
        ms_swift.CLIENT,
        openrlhf.CLIENT,
        verl.CLIENT,
        rewardbench2.CLIENT,
        judges.VLMEVALKIT,
        judges.LMMS_EVAL,
        hub.CLIENT,
    )
}
"""name -> client, in the order of docs/release.md."""


def client_named(name: str) -> Client:
    """Return a client. Raises UsageError, which lists the names, if there is none."""
    if name not in CLIENTS:
        raise UsageError(f"--for {name}: no such client", hint=f"one of {', '.join(CLIENTS)}")
    return CLIENTS[name]
