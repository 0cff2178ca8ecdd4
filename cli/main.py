"""The command ``curate``: its commands, and failures as messages and exit codes."""

from __future__ import annotations

import errno
import inspect
import os
import sys
import traceback
import warnings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's threads must not spin while others work
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # our matrices are small: threads only make them wait for each other

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from functools import cache
from itertools import pairwise
from typing import Annotated, Any

try:
    from curate.installation import ShadowedPackageError, check_installation
except ImportError as error:  # a ShadowedPackageError, or another package named curate
    sys.exit(f"error: {error}")

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command

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
    plot,
    refresh,
    release,
    report,
    schema,
    serve,
    simulate,
    status,
    store,
    train,
    validate,
)
from cli.log import Form, log
from cli.options import current_names, waiting
from cli.output import put_json, say
from schemas.errors import INTERRUPTED, ConflictError, CurateError, MissingError, RenamedWarning, ResourceError


class Commands(TyperGroup):
    """All commands: their help in SECTIONS, their options also by deprecated names."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return super().resolve_command(ctx, current_names(args))

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        for title, section in SECTIONS.items():
            names = [one.info.name if isinstance(one, typer.Typer) else one.__name__ for one in section]
            with formatter.section(title):
                width = formatter.width - 6 - max(map(len, self.commands))
                formatter.write_dl([(str(name), self.commands[str(name)].get_short_help_str(width)) for name in names])


app = typer.Typer(
    name="curate",
    cls=Commands,
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
        plot.plot,
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
    "Jobs": (status.run, refresh.refresh, status.status, store.app),
    "Examples": (simulate.example, simulate.simulate, simulate.compare),
    "Reference": (schema.schema,),
}
"""Section of the help -> its commands and groups of commands."""
COMMANDS = tuple(one for section in SECTIONS.values() for one in section if not isinstance(one, typer.Typer))
GROUPS = tuple(one for section in SECTIONS.values() for one in section if isinstance(one, typer.Typer))
NAMES = {*(command.__name__ for command in COMMANDS), *(str(group.info.name) for group in GROUPS)}
NAME_A_FOLDER = (status.run, refresh.refresh, annotate.annotate, store.convert)
"""Commands that open a store, besides those with the option --store."""


def _waiting(command: Callable[..., Any]) -> Callable[..., Any]:
    opens_a_store = "store" in inspect.signature(command).parameters or command in NAME_A_FOLDER
    return waiting(command) if opens_a_store else command


for command in COMMANDS:  # the names of schemas can have options
    app.command(context_settings={"ignore_unknown_options": command is schema.schema})(_waiting(command))

campaign.app.command(name="open")(crowd.open_study)
campaign.app.command()(crowd.pay)
for group in GROUPS:
    for registered in group.registered_commands:
        registered.callback = _waiting(registered.callback) if registered.callback else None
    app.add_typer(group)

EXTRAS = {
    **dict.fromkeys(("accelerate", "peft", "safetensors", "tokenizers"), "train"),
    "matplotlib": "plot",
    **dict.fromkeys(("torch", "transformers"), "train"),
    **dict.fromkeys(("PIL", "av", "decord"), "video"),
    "minisign": "sign",
    **dict.fromkeys(("httptools", "markdown_it"), "annotate"),
    **dict.fromkeys(("starlette", "uvicorn"), "serve"),
}
"""Package -> the extra that installs it."""
COMMAND_EXTRAS = ("annotate", "serve")
"""Commands with an extra of the same name, which installs all that the command needs."""
PACKAGES = ("schemas", "annotations", "curate", "pipelines", "cli")


def _start_log(ctx: typer.Context, form: Form) -> Form:
    if ctx.resilient_parsing:  # the completion of a shell
        return form
    log.form = form
    if form == "json":
        log.line("start", version=_installed_version())
    return form


def _installed_version() -> str:
    from importlib.metadata import version

    return version("mr2-curate")


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    form: Annotated[  # noqa: ARG001
        Form,
        typer.Option(
            "--log",
            envvar="CURATE_LOG",
            callback=_start_log,
            is_eager=True,
            help="Messages and progress on stderr: text, or JSON lines.",
        ),
    ] = "text",
) -> None:
    if version:
        sys.stdout.write(f"curate {_installed_version()}\n")
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


@cache
def _built(name: str) -> Any:
    """Return the app with this command or group only, or all where none has the name: typer takes 10 ms for each."""
    one = copy(app)
    one.registered_commands = [it for it in app.registered_commands if it.callback and it.callback.__name__ == name]
    one.registered_groups = [
        it for it in app.registered_groups if it.typer_instance and it.typer_instance.info.name == name
    ]
    return get_command(one if one.registered_commands or one.registered_groups else app)


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code (schemas.errors.EXIT_CODES)."""
    words = [word for before, word in pairwise(["", *arguments]) if not word.startswith("-") and before != "--log"]
    name = words[0] if words and words[0] in NAMES else ""
    with log.of(name) as code:
        code.append(_run(name, arguments))
        return code[0]


def _run(name: str, arguments: list[str]) -> int:
    as_json = "--json" in arguments
    try:
        check_installation(PACKAGES)
        with _renamed_names_as_notes():
            code: int | None = _built(name).main(arguments, "curate", standalone_mode=False)
            return code or 0
    except TyperException as error:
        wrong: Any = error
        return _failed(wrong.format_message(), "", wrong.exit_code, as_json=as_json, show=wrong.show)
    except (KeyboardInterrupt, typer.Abort):
        say("interrupted: unfinished output was removed")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of stdout has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 0
    except (Exception, ShadowedPackageError) as error:
        known = _for_users(error, name)
        if known is None:
            raise
        return _failed(str(known), known.hint, known.exit_code, as_json=as_json)


def _failed(error: str, hint: str, code: int, *, as_json: bool, show: Callable[[], None] | None = None) -> int:
    """Print a failure, on stdout as well with --json; return the exit code. show: prints it as text."""
    if as_json:
        _put_failure(error, hint, code)
    if log.form == "json":
        log.line("error", message=error, hint=hint or None, exit_code=code)
    elif show:
        show()
    else:
        say(f"error: {error}" + (f"\nhint: {hint}" if hint else ""))
    return code


def _put_failure(error: str, hint: str, code: int) -> None:
    from schemas.outputs import Failure

    put_json(Failure(error=error, hint=hint, exit_code=code))


def _for_users(error: BaseException, command: str) -> CurateError | None:
    """Return the error as a message with a hint and an exit code; None if it is a bug."""
    if isinstance(error, CurateError):
        return error
    if isinstance(error, ShadowedPackageError):
        return ConflictError(str(error))
    if isinstance(error, ModuleNotFoundError):
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        extra = command if extra and command in COMMAND_EXTRAS else extra
        message = f"this command needs {error.name}, which is not installed"
        return MissingError(message, hint=f"pip install 'mr2-curate[{extra}]'") if extra else None
    if isinstance(error, MemoryError):
        return ResourceError("there is not enough memory", hint="close other programs, or use fewer votes")
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        hint = "make room on the disk, then run the command again" if full else "check the path"
        kind = MissingError if isinstance(error, FileNotFoundError) else ResourceError
        return kind((f"{error.filename}: " if error.filename else "") + (error.strerror or str(error)), hint=hint)
    return None


def main() -> None:
    """The console script."""
    sys.excepthook = lambda *error: say("".join(traceback.format_exception(*error)).rstrip())
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
