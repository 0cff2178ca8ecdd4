"""``curate serve``: a trained reward model over HTTP."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import DeviceOption, DtypeOption, JsonOption, TemplateOption
from cli.output import put_json, say
from schemas.errors import UsageError

if TYPE_CHECKING:
    from curate.reward.serving.server import LoadedModel
    from schemas.reward import Precision, Template


def serve(
    model: Annotated[Path, typer.Argument(help="The folder of a trained model.", metavar="MODEL_DIR")],
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on. There is no authentication.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free port.")] = 8000,
    media: Annotated[
        Path | None,
        typer.Option("--media", help="The only folder that media are read from. Default: no media.", metavar="DIR"),
    ] = None,
    window: Annotated[
        float, typer.Option("--window", min=0, help="Milliseconds that a response waits for others to the same prompt.")
    ] = 20.0,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Most prompts scored at a time.")] = 16,
    queue: Annotated[
        int, typer.Option("--queue", min=1, help="Most waiting responses; more are answered with 429.")
    ] = 1024,
    max_responses: Annotated[int, typer.Option("--max-responses", min=1, help="Most responses in one pass.")] = 16,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, help="Seconds to wait for scores, and before that for a group.")
    ] = 60.0,
    group_size: Annotated[
        int | None,
        typer.Option(
            "--group-size",
            min=1,
            help="Responses to one prompt that belong together in the layouts causal and set, for clients that do not "
            "say so: OpenRLHF's n_samples_per_prompt, verl's rollout.n.",
        ),
    ] = None,
    allow_blind: Annotated[
        bool,
        typer.Option("--allow-blind", help="Score prompts that refer to images or videos without carrying them."),
    ] = False,
    stop: Annotated[
        list[str] | None,
        typer.Option("--stop", help="End marker to remove from OpenRLHF's queries; may be repeated."),
    ] = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    template: TemplateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve scores over HTTP: POST /score, /get_reward (OpenRLHF), /compute_score (verl); GET /health.

    Responses to one prompt that arrive within the window are scored in one pass; in the layouts causal and set, which
    compare them, the server waits for the complete group. Ctrl-C answers accepted requests, then stops the server.

    \b
    Example:
      curate serve model --media videos --port 8000
    """
    from curate.reward.serving.protocols import ServeConfig
    from curate.reward.serving.server import serve as run

    if media is not None and not media.is_dir():
        raise UsageError(f"--media {media}: not a folder", hint="give the folder of the videos and images")
    if group_size is not None and group_size > max_responses:
        message = f"--group-size {group_size} is more than --max-responses {max_responses}"
        raise UsageError(message, hint="a group is scored in one pass: raise --max-responses")
    config = ServeConfig(
        media=media,
        window_ms=window,
        batch=batch,
        queue=queue,
        max_responses=max_responses,
        timeout=timeout,
        stop=tuple(stop or ()),
        group_size=group_size,
        allow_blind=allow_blind,
    )
    run(
        lambda: _load(model, device, dtype, template),
        config,
        host=host,
        port=port,
        on_listening=lambda url: print_address(model, url, as_json=as_json),
    )


def print_address(model: Path, url: str, *, as_json: bool) -> None:
    """Print the address immediately: as JSON on stdout, or as a message."""
    from schemas.outputs import ServerAddress

    if as_json:
        put_json(ServerAddress(model=str(model), url=url))
        sys.stdout.flush()
    say(f"{model}: loading; listening on {url}")


def _load(folder: Path, device: str | None, dtype: Precision | None, template: Template | None) -> LoadedModel:
    """The model of a folder, ready to score."""
    from curate.reward.scoring import Scorer
    from curate.reward.serving.server import LoadedModel

    scorer = Scorer.from_pretrained(folder, device=device, dtype=dtype, template=template)
    name, layout = folder.resolve().name, scorer.model.config.layout
    say(f"{name} ({layout}) is ready")
    return LoadedModel(
        scorer,
        name,
        layout,
        plain_prompt=scorer.plain_prompt,
        close=lambda: scorer.__exit__(None, None, None),
    )
