"""Configs from TOML files: settings, mapping files and recipes, with errors that name file and key."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from schemas.base import Document
from schemas.config import IngestConfig, Settings
from schemas.errors import CurateError, MissingError, UsageError, most_similar
from schemas.mapping import Mapping as VoteMapping
from schemas.messages import MESSAGES, described, problem

D = TypeVar("D", bound=Document)


def load_settings(folder: str | Path = ".") -> Settings:
    """Return the settings of ``folder``, or of the nearest folder above it that has some, else the defaults.

    They are in ``curate.toml``, or in ``[tool.curate]`` of pyproject.toml. The path of the store starts from their
    folder; the one returned starts from the working directory.
    """
    folder = Path(folder)
    for parent in (folder, *folder.absolute().parents):
        found = _settings_in(parent)
        if found is not None:
            beside = parent == folder or found.store.is_absolute()
            store = found.store if beside else Path(os.path.relpath(parent / found.store))
            return found.model_copy(update={"store": store})
    return Settings()


def _settings_in(folder: Path) -> Settings | None:
    own, project = folder / "curate.toml", folder / "pyproject.toml"
    if own.is_file():
        return load_toml(own, Settings)
    table = read_toml(project).get("tool", {}).get("curate") if project.is_file() else None
    return None if table is None else validated(table, Settings, where=f"{project} [tool.curate]")


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
        place, what = problem(error)
        hint = _keys_hint(kind, place) if what == MESSAGES["extra_forbidden"] else ""
        raise CurateError(f"{where}: {described(error)}", hint=hint) from error


def _keys_hint(kind: type[Document], place: tuple[int | str, ...]) -> str:
    """Return a hint on the key at ``place``, which is no field: the most similar field, else all of its table."""
    for part in place[:-1]:
        if isinstance(part, str):
            nested = _documents(kind.model_fields[part].annotation) if part in kind.model_fields else []
            if len(nested) != 1:
                return ""
            kind = nested[0]
    meant = most_similar(str(place[-1]), kind.model_fields)
    return f"did you mean {meant!r}?" if meant else f"keys here: {', '.join(kind.model_fields)}"


def _documents(annotation: Any) -> list[type[Document]]:
    """Return the documents in the type of a field: X of ``X``, ``X | None`` and ``tuple[X, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, Document):
        return [annotation]
    return [found for part in get_args(annotation) for found in _documents(part)]


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
        return tomllib.loads(read_text(path, hint="give the path of a TOML file"))
    except tomllib.TOMLDecodeError as error:
        raise CurateError(f"{path}: not TOML: {error}", hint="see https://toml.io") from error


def read_text(path: Path, *, hint: str) -> str:
    """Return the content of a text file in UTF-8. Raises CurateError naming the file; MissingError if it is missing."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MissingError(f"{path}: no such file", hint=hint) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CurateError(f"{path}: cannot be read: {error}", hint=hint) from error
