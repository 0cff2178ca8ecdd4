"""The clients that ``curate release export --for`` knows. A new one is a file here, and an entry."""

from __future__ import annotations

from curate.release.clients import llama_factory, ms_swift, openrlhf, trl, verl
from curate.release.clients.base import Client
from schemas.errors import UsageError

CLIENTS: dict[str, Client] = {
    module.CLIENT.name: module.CLIENT for module in (trl, llama_factory, ms_swift, openrlhf, verl)
}
"""name -> client, in the order of docs/release.md."""


def client_named(name: str) -> Client:
    """Return a client. Raises UsageError, which lists the names, if there is none."""
    if name not in CLIENTS:
        raise UsageError(f"--for {name}: no such client", hint=f"one of {', '.join(CLIENTS)}")
    return CLIENTS[name]
