"""The registry of rankers: a ranker by its name, its declared capabilities, and the rankers that a config needs.

Names come from ``schemas.rankers``: built-in rankers and those that installed packages declare under the entry point
group ``curate.rankers``. A ranker's module is imported only when the ranker is needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from curate.rankers.base import Ranker, RankerSpec
from schemas.config import DenoiseConfig
from schemas.errors import CurateError
from schemas.rankers import BUILT_IN, entry_point, ranker_names, third_party

POSTERIOR = "hierarchical"
"""The ranker whose posterior of the strengths every run stores; the choice where no vote can be held out."""
MODEL_MEANS = "model-means"
"""The hierarchical ranker without differences between prompts, the simplest of all where models are known."""
REFERENCE = "bradley-terry"
"""The ranker that pools neither prompts nor annotators: the yardstick of split-half reliability."""


def spec_of(name: str) -> RankerSpec:
    """Return the declaration of a ranker.

    Raises CurateError for an unknown name, and where an installed package's ranker cannot be imported.
    """
    point = entry_point(name)
    if point is None:
        raise CurateError(f"unknown ranker {name!r}", hint=f"known rankers: {', '.join(ranker_names())}")
    try:
        found = point.load()
    except Exception as error:  # anything may be raised by an import of foreign code
        if name in BUILT_IN:
            raise
        hint = f"repair or uninstall {_distribution(name)}"
        raise CurateError(f"ranker {name!r} ({point.value}) cannot be imported: {error}", hint=hint) from error
    if not isinstance(found, RankerSpec) or found.name != name:
        raise CurateError(
            f"ranker {name!r}: {point.value} is not a RankerSpec of that name",
            hint=f"report it to the authors of {_distribution(name)}",
        )
    return found


def build(name: str, config: DenoiseConfig) -> Ranker:
    """Return the ranker of that name with the hyperparameters of the config.

    Raises CurateError where a third-party ranker rejects its options.
    """
    spec = spec_of(name)
    try:
        return spec.build(config)
    except (TypeError, ValueError) as error:
        if name in BUILT_IN:
            raise
        options = config.options.get(name, {})
        raise CurateError(
            f"ranker {name!r} rejects its options {options}: {error}", hint=f"they are [denoise.options.{name}]"
        ) from error


def single_rankers() -> tuple[RankerSpec, ...]:
    """Return all rankers but those that combine others."""
    specs = (spec_of(name) for name in ranker_names())
    return tuple(spec for spec in specs if not spec.combines)


def named_rankers(config: DenoiseConfig) -> set[str]:
    """Return the rankers that the config names: its ranker, and the members of its ensemble."""
    return {config.ranker, *config.members}


def compared_rankers(
    config: DenoiseConfig,
    *,
    annotators: bool,
    models: bool = True,
    held_out: bool = False,
    votes: float = 0,
    max_cost: float = inf,
    by_bucket: bool = False,
) -> list[str]:
    """Return the single rankers to compare, in a fixed order: those that qualify, and those that the config names.

    annotators, models: whether any is known; without, rankers that equal another one do not qualify. held_out: only
    rankers with ``held_out`` qualify, for so many votes. max_cost: only rankers up to this ``relative_cost`` qualify.
    by_bucket: only rankers that can rank the prompts of a bucket without the others qualify, named or not.
    """
    named = named_rankers(config)
    return [
        spec.name
        for spec in single_rankers()
        if (ranks_by_bucket(spec.name) or not by_bucket)
        and (
            spec.name in named
            or (
                (annotators or not spec.needs_annotators)
                and (models or not spec.needs_models)
                and (not held_out or (spec.held_out and votes <= spec.max_held_out))
                and spec.relative_cost <= max_cost
            )
        )
    ]


def ranks_by_bucket(name: str) -> bool:
    """Return whether a ranker needs only the votes on a prompt to rank it, or is the hierarchical one."""
    spec = spec_of(name)
    return name == POSTERIOR or not (spec.pools_prompts or spec.needs_annotators)


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the package and version of each third-party ranker among the names: part of a run's identity."""
    points = third_party()
    return {name: _distribution(name) for name in sorted(names) if name in points}


def _distribution(name: str) -> str:
    point = third_party().get(name)
    found = point.dist if point else None
    return f"{found.name} {found.version}" if found else "its package"
