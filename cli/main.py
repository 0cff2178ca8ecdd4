"""The command ``curate``: its commands, its exit codes, and a look at which installation it runs from.

Exit codes: 0 done, 1 a handled error (with a hint on stderr), 2 wrong usage, 3 a refresh that found nothing new.
"""

from __future__ import annotations

import json
import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's threads must not spin while others work
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # our matrices are small: threads only make them wait for each other

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from cli import (
    annotate,
    annotators,
    campaign,
    denoise,
    evaluate,
    export,
    ingest,
    leaderboard,
    media,
    plan,
    refresh,
    release,
    report,
    serve,
    simulate,
    status,
    train,
    validate,
)
from schemas.errors import CurateError, UsageError

app = typer.Typer(
    name="curate",
    help="From raw pairwise votes on video questions to rankings one can trust, shards and a reward model.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS = (
    ingest.ingest,
    ingest.rejects,
    denoise.denoise,
    denoise.rankings,
    leaderboard.leaderboard,
    annotators.annotators,
    plan.plan,
    annotate.annotate,
    export.export,
    report.report,
    simulate.simulate,
    simulate.compare,
    validate.validate,
    train.train,
    train.merge,
    evaluate.evaluate,
    evaluate.score,
    serve.serve,
    status.status,
    status.run,
    refresh.refresh,
)
for command in COMMANDS:
    app.command()(command)

GROUPS = (media.app, release.app, campaign.app)
"""Commands with commands of their own."""
for group in GROUPS:
    app.add_typer(group)

EXTRAS = {
    **dict.fromkeys(("accelerate", "matplotlib", "peft", "safetensors", "tokenizers"), "train"),
    **dict.fromkeys(("torch", "transformers"), "train"),
    **dict.fromkeys(("PIL", "av", "decord"), "video"),
    **dict.fromkeys(("anyio", "markdown_it"), "annotate"),
    **dict.fromkeys(("starlette", "uvicorn"), "serve"),
}
"""Package -> the extra that brings it; where the command has an extra of its own, that one brings all it needs."""
OWN_EXTRAS = ("annotate", "serve")
"""Commands with extras of their names."""
PACKAGES = ("schemas", "annotations", "curate", "pipelines", "cli")


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from importlib.metadata import version as installed

        sys.stdout.write(f"curate {installed('mr2-curate')}\n")
        raise typer.Exit


def check_installation() -> None:
    """Raise CurateError where one of our packages would be imported from elsewhere: their names are common ones."""
    home = Path(__file__).resolve().parent.parent
    for name in PACKAGES:
        spec = find_spec(name)
        found = Path(spec.origin).resolve() if spec and spec.origin else None
        if found is None or found.parent.parent != home:
            raise CurateError(
                f"the package {name!r} is taken from {found or 'nowhere'}, not from this installation ({home})",
                hint="install mr2-curate into an environment of its own, and run it outside that folder",
            )


def run(arguments: list[str]) -> int:
    """Run the command line; returns its exit code."""
    try:
        check_installation()
        app(args=arguments, prog_name="curate")
    except CurateError as error:
        _fail(error, as_json="--json" in arguments)
        return 2 if isinstance(error, UsageError) else 1
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        extra = arguments[0] if arguments[0] in OWN_EXTRAS else extra
        message = f"this command needs {error.name}, which is not installed"
        _fail(CurateError(message, hint=f"pip install 'mr2-curate[{extra}]'"), as_json="--json" in arguments)
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: what was being written is not there\n")
        return 130
    except BrokenPipeError:  # the reader of our stdout has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(CurateError(f"{where}{error.strerror or error}", hint="check the path"), as_json="--json" in arguments)
        return 1
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 0
    return 0


def _fail(error: CurateError, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps({"error": str(error), "hint": error.hint}) + "\n")
    sys.stderr.write(f"error: {error}\n" + (f"hint: {error.hint}\n" if error.hint else ""))


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
