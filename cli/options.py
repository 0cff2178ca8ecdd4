"""Options that several commands share, and the settings of the project."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.config import Settings
    from schemas.engine import EngineConfig, EngineKind
    from schemas.mapping import Mapping

StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store",
        help="A DuckDB file or a partitioned store. Default: store in curate.toml, else curate.duckdb.",
        metavar="STORE",
    ),
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, …. Default: the best available.", metavar="NAME")
]
DtypeOption = Annotated[
    Literal["float32", "bfloat16"] | None,
    typer.Option("--dtype", help="Precision of the weights. Default: bfloat16 on a GPU, else float32."),
]
TemplateOption = Annotated[
    Literal["curate", "official-train", "official-readme"] | None,
    typer.Option("--template", help="How an example becomes a sequence. Default: as the model states."),
]
PresetOption = Annotated[Literal["small", "paper"] | None, typer.Option("--preset", help="Named settings.")]
LayoutOption = Annotated[
    Literal["causal", "tree", "set", "single"] | None,
    typer.Option("--layout", help="Which tokens a response attends to."),
]
FullOption = Annotated[bool, typer.Option("--full", help="Train all weights instead of LoRA adapters.")]
FramesOption = Annotated[int | None, typer.Option("--frames", help="Frames per video.", metavar="N")]
FpsOption = Annotated[
    float | None, typer.Option("--fps", help="Frames per second of a video, at most --frames.", metavar="X")
]
VideoTokensOption = Annotated[
    int | None,
    typer.Option("--video-tokens", help="Scale frames down to so many vision tokens per video.", metavar="N"),
]
MaxLengthOption = Annotated[
    int | None,
    typer.Option("--max-length", help="Most tokens of an example; longer ones are refused.", metavar="N"),
]
PrecisionOption = Annotated[
    Literal["float32", "bfloat16"] | None,
    typer.Option("--dtype", help="Of the computation. Default: bfloat16 on CUDA, else float32."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
CriterionOption = Annotated[
    str | None,
    typer.Option("--criterion", help="Only the votes by this criterion; needed if there are several.", metavar="NAME"),
]
ControlOption = Annotated[
    str | None,
    typer.Option(
        "--control",
        help="Remove the effects of these on votes: length, markdown, position, or numeric columns of the responses.",
        metavar="NAME,…",
    ),
]
PromptOption = Annotated[
    list[str] | None, typer.Option("--prompt", help="Only this prompt; may be repeated.", metavar="ID")
]
RunOption = Annotated[str, typer.Option("--run", help="A denoise run, by its id or a prefix. Default: the latest.")]


EngineOption = Annotated[
    Literal["local", "ray"] | None,
    typer.Option("--engine", help="Where the work runs. Default: [engine] in curate.toml, else this machine."),
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Worker processes. Default: at most one per core.", metavar="N"),
]
WaitOption = Annotated[
    float | None,
    typer.Option(
        "--wait",
        min=0,
        help="Seconds to wait for a store that another process has open. Default: wait in curate.toml, else 0.",
        metavar="SECONDS",
    ),
]


def waiting(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that opens a store with the option --wait."""

    @wraps(command)
    def waits(*given: Any, wait: float | None = None, **options: Any) -> Any:
        from curate.store import opening

        found = settings()
        with opening(
            wait=found.wait if wait is None else wait,
            memory_limit=found.memory_limit,
            temporary_folder=found.temporary_folder,
        ):
            return command(*given, **options)

    signature = inspect.signature(command, eval_str=True)  # typer evaluates only those of functions
    option = inspect.Parameter("wait", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=WaitOption)
    waits.__signature__ = signature.replace(parameters=[*signature.parameters.values(), option])  # type: ignore[attr-defined]
    waits.__annotations__ = {**command.__annotations__, "wait": WaitOption}
    return waits


def settings() -> Settings:
    """The project's settings, from curate.toml or [tool.curate] here."""
    from pipelines.settings import load_settings

    return load_settings()


def engine_config(kind: EngineKind | None, workers: int | None) -> EngineConfig | None:
    """The settings of the engine, changed by the options --engine and --workers; None where nothing is set."""
    from schemas.engine import EngineConfig

    given = {name: value for name, value in (("kind", kind), ("workers", workers)) if value is not None}
    set_before = settings().engine
    return (set_before or EngineConfig()).model_copy(update=given) if given or set_before else None


def store_path(given: Path | None) -> Path:
    """The given store, or the one of the settings."""
    return given or settings().store


def criterion_of(given: str | None, run: str) -> str:
    """The given criterion, or that of the settings unless a run is given, which has one."""
    return given or ("" if run else settings().denoise.criterion)


RENAMED_OPTIONS: dict[str, dict[str, str]] = {
    "denoise": {"--prompts": "--prompt"},
    "plan": {"--prompts": "--prompt"},
    "report": {"--prompts": "--prompt", "--validation": "--validation-report"},
    "plot": {"--validation": "--validation-report"},
    "campaign create": {"--prompts": "--prompt", "--videos": "--media"},
    "campaign": {"--by": "--as"},
    "campaign add": {"--videos": "--media"},
    "campaign pay": {"--csv": "--out"},
    "run": {"--votes": "--vote-file", "--videos": "--media"},
    "validate": {"--by": "--hold-out"},
    "export": {"--responses": "--responses-per-item"},
    "evaluate": {"--config": "--subset", "--map": "--rename"},
    "train": {"--precision": "--dtype"},
    "doctor": {"--precision": "--dtype"},
    "simulate": {
        "--prompts": "--prompt-count",
        "--tails": "--strength-distribution",
        "--lessons": "--pretraining-videos",  # renamed
    },
}
"""Command or group -> its deprecated options -> their current names: an option means the same in all commands."""


RENAMED_CHOICES = {("--tails", "heavy"): "heavy-tailed"}
"""Deprecated option and its deprecated value -> the current value."""


def current_names(arguments: list[str]) -> list[str]:
    """Return the arguments with the current names of options, with a warning for each deprecated one."""
    from schemas.errors import warn_renamed

    groups = (" ".join(arguments[:1]), " ".join(arguments[:2]))
    renamed = {old: new for group in groups for old, new in RENAMED_OPTIONS.get(group, {}).items()}
    found = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        name, equals, value = RENAMED_CHOICES.get((before, argument), argument).partition("=")
        value = RENAMED_CHOICES.get((name, value), value)
        if name in renamed:
            warn_renamed(name, renamed[name])
        found.append(f"{renamed.get(name, name)}{equals}{value}")
    return found


def pairs(options: list[str] | None, name: str) -> dict[str, str]:
    """{"a": "b"} of ["a=b"]. Raises UsageError for an option without "="."""
    found = {}
    for option in options or []:
        key, equals, value = option.partition("=")
        if not equals or not key:
            raise UsageError(f"{name} {option}: expected KEY=VALUE", hint=f"for example: {name} {EXAMPLES[name]}")
        found[key.strip()] = value.strip()
    return found


def mapping_changes(mapping: Mapping, columns: list[str] | None, outcomes: list[str] | None) -> dict[str, Any]:
    """Return the changes that --map and --outcome make to a mapping.

    ``prompts.FIELD`` and ``responses.FIELD`` are fields of the files of prompts and of responses.
    """
    changed: dict[str, dict[str, Any]] = {
        "columns": dict(mapping.columns),
        "prompt_columns": dict(mapping.prompt_columns),
        "response_columns": dict(mapping.response_columns),
        "outcomes": {**mapping.outcomes, **pairs(outcomes, "--outcome")},
    }
    for name, source in pairs(columns, "--map").items():
        table, dot, of_table = name.partition(".")
        key = {"prompts": "prompt_columns", "responses": "response_columns"}.get(table) if dot else None
        changed[key or "columns"][of_table if key else name] = source
    return changed


EXAMPLES = {
    "--rename": "answer=response",
    "--map": "annotator_id=user",
    "--outcome": "1=left",
    "--weight": "pagerank=0.5",
}


def names(option: str | None) -> tuple[str, ...]:
    """("a", "b") of "a,b"; empty without the option."""
    return tuple(name.strip() for name in (option or "").split(",") if name.strip())


def numbers(options: list[str] | None, name: str) -> dict[str, float] | None:
    """{"a": 0.5} of ["a=0.5"]; None if empty. Raises UsageError if a value is not a number."""
    found: dict[str, Any] = {}
    for key, value in pairs(options, name).items():
        try:
            found[key] = float(value)
        except ValueError as error:
            raise UsageError(
                f"{name} {key}={value}: not a number", hint=f"for example: {name} {EXAMPLES[name]}"
            ) from error
    return found or None
