"""The JSON Schemas of ``curate schema``: files that curate reads or writes, and what commands print with --json."""

from __future__ import annotations

import ast
import inspect
from textwrap import dedent
from typing import Any, Union, cast, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, create_model
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from schemas import outputs
from schemas.annotators import AnnotatorsReport
from schemas.audit import AuditReport
from schemas.base import Document
from schemas.campaign import CampaignConfig, CampaignReport, CampaignStatus, Invitation, LogCheck, Task
from schemas.config import Settings
from schemas.crowd import CrowdConfig, PaymentReport, StudyLink
from schemas.denoise import DenoiseReport
from schemas.errors import UsageError, most_similar
from schemas.items import JSONL_KEYS
from schemas.manifest import Manifest
from schemas.mapping import Mapping
from schemas.media import FramesReport, MediaReport
from schemas.mixture import MixtureConfig, MixtureReport
from schemas.plan import PlanReport
from schemas.recipe import Recipe
from schemas.refresh import RefreshReport
from schemas.release import (
    ClientReport,
    DiffReport,
    Release,
    ReleaseConfig,
    ReleaseLine,
    ReleaseReport,
    SignReport,
    VerifyReport,
)
from schemas.reports import (
    ComparisonReport,
    ExportReport,
    FileReview,
    IngestReport,
    PageReport,
    SimulateReport,
    StatusReport,
    StoreReport,
)
from schemas.reward import DoctorReport, EvaluateReport, TrainConfig, TrainReport
from schemas.validation import ValidationReport
from schemas.votes import VOTE_FIELDS

JSON_TYPES: dict[str, Any] = {
    "seconds": float,
    "weight": float,
    "rank_a": float,
    "rank_b": float,
    "score_a": float,
    "score_b": float,
    "responses": list[str],
    "rankings": list[int] | list[str],
    "scores": list[float],
}
"""Fields of a vote that are no texts."""
VoteRecord = create_model(
    "VoteRecord",
    __doc__="A vote as curate ingest reads it without a mapping: two responses and an outcome, or several and ranks.",
    **cast("dict[str, Any]", {rule.name: (JSON_TYPES.get(rule.name, str) | None, None) for rule in VOTE_FIELDS}),
)
TrainingLine = create_model(
    "TrainingLine",
    __doc__="An item as the trainer of arXiv 2604.10966 reads it; rankings: 1 = best, aligned with responses.",
    **cast("dict[str, Any]", dict(zip(JSONL_KEYS, (str, list[str], list[int], str | None, str | None), strict=True))),
)
STEPS = SimulateReport | IngestReport | DenoiseReport | ExportReport | ReleaseReport | VerifyReport
AnyStep = Union[STEPS, ComparisonReport, PageReport, TrainReport]  # noqa: UP007

FILES: dict[str, Any] = {
    "curate.toml": Settings,
    "recipe.toml": Recipe,
    "mapping.toml": Mapping,
    "campaign.toml": CampaignConfig,
    "crowd.toml": CrowdConfig,
    "release.toml": ReleaseConfig,
    "mixture.toml": MixtureConfig,
    "train.toml": TrainConfig,
    "votes.jsonl": VoteRecord,
    "tasks.jsonl": Task,
    "train.jsonl": TrainingLine,
    "release/manifest.json": Release,
    "shards/manifest.json": Manifest,
}
"""File -> its document; of a .jsonl file that of a line. A TOML file has the same keys as JSON."""

OUTPUTS: dict[str, Any] = {
    "ingest": IngestReport,
    "ingest --explain": FileReview,
    "ingest --formats": tuple[outputs.PlatformLine, ...],
    "rejects": tuple[outputs.RejectRow, ...],
    "annotators": AnnotatorsReport,
    "plan": PlanReport,
    "campaign create": CampaignReport,
    "campaign invite": tuple[Invitation, ...],
    "campaign revoke": outputs.RevokedLinks,
    **dict.fromkeys(
        [f"campaign {action}" for action in ("pause", "resume", "pardon", "extend", "edit", "retire", "add", "reset")],
        outputs.ActionDone,
    ),
    "campaign status": CampaignStatus,
    "campaign check": LogCheck,
    "campaign repair": LogCheck,
    "campaign close": outputs.ClosedCampaign,
    "campaign open": StudyLink,
    "campaign pay": PaymentReport,
    "annotate": outputs.PageAddress | outputs.PageAddresses,
    "media check": MediaReport,
    "media probe": MediaReport,
    "media frames": FramesReport,
    "denoise": DenoiseReport,
    "rankings": tuple[outputs.RankingRow, ...],
    "leaderboard": tuple[outputs.LeaderboardRow, ...],
    "leaderboard --effects": tuple[outputs.CovariateEffect, ...],
    "validate": ValidationReport,
    "audit": AuditReport,
    "report": PageReport,
    "plot": outputs.PlotReport,
    "release build": ReleaseReport,
    "release verify": VerifyReport,
    "release sign": SignReport,
    "release keygen": outputs.KeyPair,
    "release diff": DiffReport,
    "release export": ClientReport,
    "release ls": tuple[ReleaseLine, ...],
    "export": ExportReport,
    "mix": MixtureReport,
    "doctor": DoctorReport,
    "train": TrainReport,
    "merge": outputs.MergedModel,
    "evaluate": EvaluateReport,
    "score": outputs.ScoreLine,
    "score --out": outputs.WrittenScores,
    "serve": outputs.ServerAddress,
    "run": dict[str, AnyStep],
    "refresh": RefreshReport,
    "status": StatusReport,
    "store convert": StoreReport,
    "store compact": StoreReport,
    "example": SimulateReport,
    "simulate": SimulateReport,
    "compare": ComparisonReport,
    "schema": tuple[outputs.SchemaLine, ...],
    "error": outputs.Failure,
    "log": outputs.LogLine,
}
"""Command -> what it prints with --json; ``error``: what every one prints that fails; ``log``: a line of the log."""


def json_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a file or of a command's output.

    Raises UsageError for an unknown name.

    >>> json_schema("campaign pause")["required"]
    ['folder', 'done']
    """
    kind, mode = (FILES.get(name), "validation") if name in FILES else (OUTPUTS.get(name), "serialization")
    if kind is None:
        meant = most_similar(name, [*FILES, *OUTPUTS])
        hint = f"did you mean {meant!r}?" if meant else "curate schema lists the names"
        raise UsageError(f"no schema {name!r}", hint=hint)
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    found = adapter.json_schema(mode=cast("JsonSchemaMode", mode), schema_generator=_Described)
    return {"$schema": GenerateJsonSchema.schema_dialect, "title": name, "description": meaning(name), **found}


def meaning(name: str) -> str:
    """Return what a file or output is, in a sentence: the first line of its document's docstring."""
    kind: Any = FILES.get(name, OUTPUTS.get(name))
    if name == "run":
        return "The report of each step, by its name."
    many = "A list. Each row: " if get_origin(kind) is tuple else ""
    document = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else get_args(kind)[0]
    return many + (document.__doc__ or "").partition("\n")[0].replace("``", "")


class _Described(GenerateJsonSchema):
    """Fields with their docstrings as descriptions, and the deprecated names of renamed ones."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        found = super().model_schema(schema)
        document = schema["cls"]
        properties = found.get("properties", {})
        for field, text in _docstrings(document).items():
            if field in properties:
                properties[field].setdefault("description", text)
        renamed = document.renamed if issubclass(document, Document) else {}
        for old, new in renamed.items():
            properties[old] = {**properties[new], "deprecated": True, "description": f"Old name of {new}."}
        return found


def _docstrings(document: type[BaseModel]) -> dict[str, str]:
    """Field -> the docstring below it, in the class and those that it extends."""
    found: dict[str, str] = {}
    if document.__module__ == __name__:  # made from the rules of votes
        return {rule.name: rule.meaning for rule in VOTE_FIELDS} if document.__name__ == "VoteRecord" else {}
    for one in reversed(document.__mro__):
        if not (issubclass(one, Document) and one is not Document):
            continue
        [tree] = ast.parse(dedent(inspect.getsource(one))).body
        assert isinstance(tree, ast.ClassDef)
        for before, after in zip(tree.body, tree.body[1:], strict=False):
            if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and _text(after):
                found[before.target.id.removesuffix("_")] = _text(after)
    return found


def _text(node: ast.stmt) -> str:
    """The text of a docstring; empty if the statement is none."""
    value = node.value if isinstance(node, ast.Expr) else None
    text = value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""
    return " ".join(text.split())
