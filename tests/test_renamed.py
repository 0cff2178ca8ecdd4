"""Renamed fields and values keep working for one version."""

from __future__ import annotations

import json
import warnings
from typing import ClassVar

import pytest
from pydantic import ValidationError

from schemas.base import Document


class Inner(Document):
    renamed: ClassVar[dict[str, str]] = {"chance": "probability"}
    probability: float


class Outer(Document):
    renamed: ClassVar[dict[str, str]] = {"mended": "recovered"}
    renamed_values: ClassVar[dict[str, dict[str, str]]] = {"ranker": {"joint": "hierarchical"}}
    recovered: int = 0
    ranker: str = "auto"
    bins: tuple[Inner, ...] = ()
    by_name: dict[str, Inner | None] = {}


def test_old_key_is_accepted_with_a_warning() -> None:
    with pytest.warns(FutureWarning, match="'recovered'"):
        assert Outer.model_validate({"mended": 3}).recovered == 3


def test_old_value_is_accepted_with_a_warning() -> None:
    with pytest.warns(FutureWarning, match="'hierarchical'"):
        assert Outer.model_validate({"ranker": "joint"}).ranker == "hierarchical"


def test_old_attribute_is_accepted_with_a_warning() -> None:
    with pytest.warns(FutureWarning, match="'recovered'"):
        assert Outer(recovered=3).mended == 3


def test_stored_documents_do_not_warn() -> None:
    stored = {"mended": 3, "ranker": "joint", "bins": [{"chance": 0.5}]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Outer.from_stored(stored) == Outer.from_stored(json.dumps(stored))


def test_unknown_names_are_errors() -> None:
    with pytest.raises(ValidationError):
        Outer.model_validate({"mend": 3})
    with pytest.raises(AttributeError):
        _ = Outer().mend


def test_printed_json_has_old_keys_at_every_depth() -> None:
    found = Outer(recovered=2, bins=(Inner(probability=0.5),), by_name={"a": Inner(probability=0.25), "b": None})
    assert found.with_old_names() == {
        "recovered": 2,
        "mended": 2,
        "ranker": "auto",
        "bins": [{"probability": 0.5, "chance": 0.5}],
        "by_name": {"a": {"probability": 0.25, "chance": 0.25}, "b": None},
    }
    assert "mended" not in found.model_dump()
