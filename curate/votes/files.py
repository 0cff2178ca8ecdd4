"""Votes in files of plain arrays: what a worker reads instead of the store."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.votes.arrays import VoteArrays

Arrays = Mapping[str, npt.NDArray[Any]]


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays by name as a NumPy archive (.npz), which appears complete or not at all."""
    path.parent.mkdir(exist_ok=True, parents=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("wb") as file:
        np.savez(file, **dict[str, Any](arrays))
    fresh.replace(path)


def read_arrays(path: Path, names: Iterable[str] | None = None) -> dict[str, npt.NDArray[Any]]:
    """Return arrays of a NumPy archive, all by default. Nothing in it is executed."""
    with np.load(path, allow_pickle=False) as found:
        return {name: found[name] for name in (found.files if names is None else names)}


def write_votes(path: Path, votes: VoteArrays, **others: npt.NDArray[Any]) -> None:
    """Write votes, and other arrays beside them."""
    arrays = {f.name: _array(value) for f in fields(votes) if (value := getattr(votes, f.name)) is not None}
    write_arrays(path, {**arrays, **others})


def read_votes(path: Path) -> tuple[VoteArrays, dict[str, npt.NDArray[Any]]]:
    """Return the votes of a file of ``write_votes``, and the other arrays.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> votes = VoteArrays.from_columns(prompt=["p"], left=["a"], right=["b"], outcome=["left"])
    >>> with TemporaryDirectory() as folder:
    ...     write_votes(Path(folder, "votes.npz"), votes, bucket=np.array(7))
    ...     read_votes(Path(folder, "votes.npz"))
    (<VoteArrays: 1 votes, 1 prompts, 2 responses, 0 models, 0 annotators>, {'bucket': array(7)})
    """
    others = read_arrays(path)
    own = {f.name: others.pop(f.name) for f in fields(VoteArrays) if f.name in others}
    values: dict[str, Any] = {name: tuple(json.loads(a.tobytes())) if name in NAMES else a for name, a in own.items()}
    return VoteArrays(**values), others


NAMES = tuple(f.name for f in fields(VoteArrays) if f.type.startswith("tuple"))
"""The fields of ids, which are stored as JSON."""


def _array(value: Any) -> npt.NDArray[Any]:
    """An array of numbers as it is; a tuple of names as the bytes of a JSON list."""
    return value if isinstance(value, np.ndarray) else np.frombuffer(json.dumps(value).encode(), dtype=np.uint8)
