"""``curate serve``: a trained reward model over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import say
from schemas.errors import UsageError

if TYPE_CHECKING:
    from curate.reward.serve import Served


def serve(
    model: Annotated[Path, typer.Argument(help="The folder of a trained model.", metavar="MODEL_DIR")],
    host: Annotated[
        str, typer.Option("--host", help="Listen here. Who can reach it can ask: no password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 8000,
    media: Annotated[
        Path | None,
        typer.Option("--media", help="The only folder that media are read from. Default: none are.", metavar="DIR"),
    ] = None,
    window: Annotated[
        float, typer.Option("--window", min=0, help="Milliseconds that a response waits for others to its prompt.")
    ] = 20.0,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Prompts that are scored at a time.")] = 16,
    queue: Annotated[int, typer.Option("--queue", min=1, help="Responses that may wait; then 429.")] = 1024,
    max_responses: Annotated[int, typer.Option("--max-responses", min=1, help="Responses in one pass.")] = 16,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds that a request may wait.")] = 60.0,
    stop: Annotated[
        list[str] | None,
        typer.Option("--stop", help="Remove this end marker from OpenRLHF's queries (may be given again)."),
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda, …; the best there is when absent.")] = None,
) -> None:
    """Answer requests for scores: POST /score, /get_reward (OpenRLHF), /compute_score (verl); GET /health.

    Responses to one prompt that arrive within the window are scored in one pass. Ctrl-C answers what was accepted,
    then stops.

    \b
    Example:
      curate serve model --media videos --port 8000
    """
    from curate.reward.requests import ServeConfig
    from curate.reward.serve import serve as run

    if media is not None and not media.is_dir():
        raise UsageError(f"--media {media}: not a folder", hint="give the folder that videos and images lie in")
    config = ServeConfig(
        media=media,
        window_ms=window,
        batch=batch,
        queue=queue,
        max_responses=max_responses,
        timeout=timeout,
        stop=tuple(stop or ()),
    )
    run(
        lambda: _load(model, device), config, host=host, port=port, ready=lambda url: say(f"{model}: loading, on {url}")
    )


def _load(folder: Path, device: str | None) -> Served:
    """The model of a folder, ready to score."""
    from curate.reward.scoring import Scorer
    from curate.reward.serve import Served

    scorer = Scorer.from_pretrained(folder, device=device)
    name, layout = folder.resolve().name, scorer.model.shape.layout
    say(f"{name} ({layout}) is ready")
    return Served(scorer, name, layout, close=lambda: scorer.__exit__(None, None, None))
