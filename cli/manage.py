"""The commands of ``curate campaign`` that change a campaign while it runs, as managers do on their page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from cli.options import JsonOption
from cli.output import progress_bar, put_json, say

ByOption = Annotated[str, typer.Option("--as", help="Who does it, for the log.", metavar="NAME")]
PromptsArgument = Annotated[list[str], typer.Argument(help="Ids of prompts.", metavar="PROMPT...")]
FolderArgument = Annotated[Path, typer.Argument(help="The folder of a campaign.", metavar="DIR")]
BY = "command line"


def _manage(folder: Path, wanted: Mapping[str, object], by: str, *, as_json: bool, done: str) -> None:
    """Do an action of schemas.management, and say so."""
    from pipelines.campaign_management import manage as job
    from pipelines.settings import validated
    from schemas.management import Order

    order = validated({"by": by, "action": wanted}, Order, where="curate campaign")
    _print_done(folder, job(folder, order.action, by=by), as_json=as_json, done=done)


def _print_done(folder: Path, now: bool, *, as_json: bool, done: str) -> None:
    """Print that an action is done, or left to the running page."""
    from schemas.outputs import ActionDone

    if as_json:
        put_json(ActionDone(folder=str(folder), done=now))
    else:
        say(f"{folder}: {done}" + ("" if now else "; the running page does it with its next request"))


def pause(folder: FolderArgument, by: ByOption = BY, as_json: JsonOption = False) -> None:
    """Hand out no more questions; answers to open ones are accepted.

    \b
    Example:
      curate campaign pause june
    """
    _manage(folder, {"action": "pause"}, by, as_json=as_json, done="paused")


def resume(folder: FolderArgument, by: ByOption = BY, as_json: JsonOption = False) -> None:
    """Hand out questions again.

    \b
    Example:
      curate campaign resume june
    """
    _manage(folder, {"action": "resume"}, by, as_json=as_json, done="resumed")


def pardon(
    folder: FolderArgument,
    name: Annotated[str, typer.Option("--name", help="A stopped or warned annotator.", metavar="NAME")],
    by: ByOption = BY,
    as_json: JsonOption = False,
) -> None:
    """Let an annotator continue, judged by the votes from now on; earlier votes count again.

    \b
    Example:
      curate campaign pardon june --name a03 --as boss
    """
    _manage(folder, {"action": "pardon", "annotator": name}, by, as_json=as_json, done=f"{name} may continue")


def extend(
    folder: FolderArgument,
    votes: Annotated[int | None, typer.Option("--votes", min=1, help="Votes wanted in total.", metavar="N")] = None,
    max_votes: Annotated[
        int | None, typer.Option("--max-votes", min=0, help="Maximum votes per annotator; 0: no limit.", metavar="N")
    ] = None,
    votes_per_pair: Annotated[
        int | None, typer.Option("--votes-per-pair", min=1, help="Votes per pair; the total grows.", metavar="N")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="Raise --votes-per-pair of this prompt only.", metavar="ID")
    ] = None,
    by: ByOption = BY,
    as_json: JsonOption = False,
) -> None:
    """Collect more votes: in total, per annotator, or per pair.

    \b
    Example:
      curate campaign extend june --votes 800
      curate campaign extend june --votes-per-pair 3 --prompt p17
    """
    limits = {"votes": votes, "max_votes": max_votes, "votes_per_pair": votes_per_pair, "prompt": prompt}
    given = {name: value for name, value in limits.items() if value is not None}
    limits_set = ", ".join(f"{name} {value}" for name, value in given.items())
    _manage(folder, {"action": "extend", **given}, by, as_json=as_json, done=f"extended: {limits_set}")


def edit(
    folder: FolderArgument,
    config: Annotated[
        Path, typer.Option("--config", help="A TOML file with the fields of CampaignConfig to change.", metavar="FILE")
    ],
    by: ByOption = BY,
    as_json: JsonOption = False,
) -> None:
    """Change rules, such as instructions and thresholds. Votes that were given under the old rules stay valid.

    \b
    Example:
      curate campaign edit june --config changes.toml
    """
    from pipelines.settings import read_toml

    changes = read_toml(config)
    _manage(folder, {"action": "edit", "changes": changes}, by, as_json=as_json, done=f"changed: {', '.join(changes)}")


def retire(
    folder: FolderArgument,
    prompts: PromptsArgument,
    reason: Annotated[str, typer.Option("--reason", help="For the log.", metavar="TEXT")] = "",
    by: ByOption = BY,
    as_json: JsonOption = False,
) -> None:
    """Ask no more questions about prompts; their votes stay.

    \b
    Example:
      curate campaign retire june p17 --reason "the video is black"
    """
    wanted = {"action": "retire", "prompts": prompts, "reason": reason}
    _manage(folder, wanted, by, as_json=as_json, done=f"retired: {', '.join(prompts)}")


def add(
    folder: FolderArgument,
    prompts: PromptsArgument,
    videos: Annotated[
        Path | None, typer.Option("--media", help="Folder of new videos. Default: the store's.", metavar="DIR")
    ] = None,
    by: ByOption = BY,
    as_json: JsonOption = False,
) -> None:
    """Ask about retired prompts again, or about others of the store; new videos are prepared for browsers.

    \b
    Example:
      curate campaign add june p31 p32 --media videos
    """
    from pipelines.campaign_management import add_prompts as job

    with progress_bar() as progress:
        now = job(folder, prompts, videos=videos, by=by, progress=progress)
    _print_done(folder, now, as_json=as_json, done=f"added: {', '.join(prompts)}")


def reset(folder: FolderArgument, prompts: PromptsArgument, by: ByOption = BY, as_json: JsonOption = False) -> None:
    """Forget skips and load errors of prompts, so that those who skipped may get the questions again.

    \b
    Example:
      curate campaign reset june p17
    """
    _manage(folder, {"action": "reset", "prompts": prompts}, by, as_json=as_json, done=f"reset: {', '.join(prompts)}")


COMMANDS = (pause, resume, pardon, extend, edit, retire, add, reset)
