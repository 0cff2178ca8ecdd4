"""The command ``curate``: its commands and exit codes.

Exit codes: 0 done, 1 a handled error (with a hint on stderr), 2 wrong usage, 3 a refresh that found nothing new.
"""

from __future__ import annotations

import errno
import inspect
import json
import os
import sys
import traceback
import warnings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's threads must not spin while others work
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # our matrices are small: threads only make them wait for each other

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

try:
    from curate.installation import ShadowedPackageError, check_installation
except ImportError as error:  # a ShadowedPackageError, or another package named curate
    sys.exit(f"error: {error}")

import typer
from typer.core import TyperGroup

from cli import (
    annotate,
    annotators,
    audit,
    campaign,
    crowd,
    denoise,
    doctor,
    evaluate,
    export,
    ingest,
    leaderboard,
    media,
    mix,
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
from cli.options import waiting
from cli.output import say
from schemas.errors import CurateError, RenamedWarning, UsageError


class SectionedHelp(TyperGroup):
    """The help of all commands, in SECTIONS."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        for title, section in SECTIONS.items():
            names = [one.info.name if isinstance(one, typer.Typer) else one.__name__ for one in section]
            with formatter.section(title):
                width = formatter.width - 6 - max(map(len, self.commands))
                formatter.write_dl([(str(name), self.commands[str(name)].get_short_help_str(width)) for name in names])


app = typer.Typer(
    name="curate",
    cls=SectionedHelp,
    help="From raw pairwise votes on video questions to rankings one can trust, shards and a reward model.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SECTIONS: dict[str, tuple[Callable[..., Any] | typer.Typer, ...]] = {
    "Votes": (
        ingest.ingest,
        ingest.rejects,
        annotators.annotators,
        plan.plan,
        campaign.app,
        annotate.annotate,
        media.app,
    ),
    "Rankings": (
        denoise.denoise,
        denoise.rankings,
        leaderboard.leaderboard,
        validate.validate,
        audit.audit,
        report.report,
    ),
    "Benchmarks and training data": (release.app, export.export, mix.mix),
    "Reward model": (
        doctor.doctor,
        train.train,
        train.merge,
        evaluate.evaluate,
        evaluate.score,
        serve.serve,
    ),
    "Jobs": (status.run, refresh.refresh, status.status),
    "Examples": (simulate.example, simulate.simulate, simulate.compare),
}
"""Section of the help -> its commands and groups of commands."""
COMMANDS = tuple(one for section in SECTIONS.values() for one in section if not isinstance(one, typer.Typer))
GROUPS = tuple(one for section in SECTIONS.values() for one in section if isinstance(one, typer.Typer))
NAME_A_FOLDER = (status.run, refresh.refresh, annotate.annotate)
"""Commands that open a store in their folder, besides those with the option --store."""


def _waiting(command: Callable[..., Any]) -> Callable[..., Any]:
    opens_a_store = "store" in inspect.signature(command).parameters or command in NAME_A_FOLDER
    return waiting(command) if opens_a_store else command


for command in COMMANDS:
    app.command()(_waiting(command))

campaign.app.command(name="open")(crowd.open_study)
campaign.app.command()(crowd.pay)
for group in GROUPS:
    for registered in group.registered_commands:
        registered.callback = _waiting(registered.callback) if registered.callback else None
    app.add_typer(group)

EXTRAS = {
    **dict.fromkeys(("accelerate", "matplotlib", "peft", "safetensors", "tokenizers"), "train"),
    **dict.fromkeys(("torch", "transformers"), "train"),
    **dict.fromkeys(("PIL", "av", "decord"), "video"),
    "minisign": "sign",
    **dict.fromkeys(("anyio", "markdown_it"), "annotate"),
    **dict.fromkeys(("starlette", "uvicorn"), "serve"),
}
"""Package -> the extra that installs it."""
COMMAND_EXTRAS = ("annotate", "serve")
"""Commands with an extra of the same name, which installs all that the command needs."""
PACKAGES = ("schemas", "annotations", "curate", "pipelines", "cli")


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from importlib.metadata import version as installed

        sys.stdout.write(f"curate {installed('mr2-curate')}\n")
        raise typer.Exit


@contextmanager
def _renamed_names_as_notes() -> Iterator[None]:
    """Print the warnings about renamed options and keys as one note line each on stderr, without a source line."""
    noted: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", RenamedWarning)
        show = warnings.showwarning

        def note(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if not issubclass(category, RenamedWarning):
                show(message, category, *place, **more)
            elif str(message) not in noted:
                noted.add(str(message))
                say(f"note: {message}")

        warnings.showwarning = note
        yield


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code."""
    try:
        check_installation(PACKAGES)
        with _renamed_names_as_notes():
            app(args=arguments, prog_name="curate")
    except ShadowedPackageError as error:
        _fail(CurateError(str(error)), as_json="--json" in arguments)
        return 1
    except CurateError as error:
        _fail(error, as_json="--json" in arguments)
        return 2 if isinstance(error, UsageError) else 1
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        extra = arguments[0] if arguments[0] in COMMAND_EXTRAS else extra
        message = f"this command needs {error.name}, which is not installed"
        _fail(CurateError(message, hint=f"pip install 'mr2-curate[{extra}]'"), as_json="--json" in arguments)
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: unfinished output was removed\n")
        return 130
    except BrokenPipeError:  # the reader of stdout has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        message = "there is not enough memory"
        _fail(CurateError(message, hint="close other programs, or use fewer votes"), as_json="--json" in arguments)
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        hint = "make room on the disk, then run the command again" if full else "check the path"
        _fail(CurateError(f"{where}{error.strerror or error}", hint=hint), as_json="--json" in arguments)
        return 1
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 0
    return 0


def _fail(error: CurateError, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps({"error": str(error), "hint": error.hint}) + "\n")
    say(f"error: {error}" + (f"\nhint: {error.hint}" if error.hint else ""))


def main() -> None:
    """The console script."""
    sys.excepthook = lambda *error: say("".join(traceback.format_exception(*error)).rstrip())
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
