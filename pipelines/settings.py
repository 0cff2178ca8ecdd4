"""Configs from TOML files: settings, mapping files and recipes, with errors that name file and key."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from schemas.base import Document
from schemas.config import IngestConfig, Settings
from schemas.errors import CurateError, UsageError
from schemas.mapping import Mapping as VoteMapping

D = TypeVar("D", bound=Document)


def load_settings(folder: str | Path = ".") -> Settings:
    """Return the settings in ``curate.toml``, else in ``[tool.curate]`` of pyproject.toml, else the defaults."""
    folder = Path(folder)
    own, project = folder / "curate.toml", folder / "pyproject.toml"
    if own.exists():
        return load_toml(own, Settings)
    if project.exists():
        table = read_toml(project).get("tool", {}).get("curate", {})
        return validated(table, Settings, where=f"{project} [tool.curate]")
    return Settings()


def ingest_config(mapping: IngestConfig | Mapping[str, Any] | str | Path) -> IngestConfig:
    """Return how vote files are read, from a TOML file or a dict of its keys: curate.toml, or those of a mapping alone.

    Raises CurateError naming the invalid key.
    """
    if isinstance(mapping, IngestConfig):
        return mapping
    if isinstance(mapping, str | Path):
        where, values = str(mapping), read_toml(Path(mapping))
    else:
        where, values = "mapping", dict(mapping)
    if "ingest" in values:
        return validated(values, Settings, where=where).ingest
    return IngestConfig(mapping=validated(values, VoteMapping, where=where))


def load_toml(path: str | Path, kind: type[D]) -> D:
    """Return the document of a TOML file. Raises CurateError naming the file and the invalid key."""
    return validated(read_toml(Path(path)), kind, where=str(path))


def validated(values: Mapping[str, Any], kind: type[D], *, where: str) -> D:
    """Return the document of the values. Raises CurateError naming the first invalid key."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        known = ", ".join(kind.model_fields)
        hint = f"keys here: {known}" if first["type"] == "extra_forbidden" and len(first["loc"]) == 1 else ""
        message = first["msg"].removeprefix("Value error, ")
        raise CurateError(f"{where}: {key + ': ' if key else ''}{message}", hint=hint) from error


def updated(config: D, changes: Mapping[str, Any], *, where: str) -> D:
    """Return the config with the changes that are not None; a dotted key names a nested field.

    Raises UsageError naming the invalid change.
    """
    values = config.model_dump(exclude_unset=True)  # what is unset stays so: a file's mapping overrides what it sets
    for key, value in changes.items():
        if value is None:
            continue
        *path, last = key.split(".")
        part = values
        for name in path:
            part = part.setdefault(name, {})
        part[last] = value
    try:
        return validated(values, type(config), where=where)
    except CurateError as error:
        raise UsageError(str(error), hint=f"see: {where} --help") from error


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file. Raises CurateError naming the file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CurateError(f"{path}: no such file", hint="give the path of a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CurateError(f"{path}: not TOML: {error}", hint="see https://toml.io") from error
