"""``curate simulate`` and ``curate compare``: votes with known true strengths, and how close a ranking is to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import CriterionOption, JsonOption, RunOption, StoreOption, criterion_of, settings, store_path
from cli.output import plural, put_json, put_table, say
from schemas.choices import Dependence, Design, Link, PerceptionUnit, StrengthDistribution

if TYPE_CHECKING:
    from schemas.reports import ComparisonReport, SimulateReport

ModelsOption = Annotated[
    int | None, typer.Option("--models", help="Number of models; each answers all prompts.", metavar="N")
]
VotesPerPairOption = Annotated[
    float | None, typer.Option("--votes-per-pair", help="Mean number of votes on each pair.", metavar="X")
]
DesignOption = Annotated[
    Design | None,
    typer.Option("--design", help="Equally many votes on all pairs, or more on responses that seem strong."),
]
SittingsPerPromptOption = Annotated[
    int | None,
    typer.Option("--sittings-per-prompt", help="Votes in sittings: number of annotators per prompt.", metavar="N"),
]
ResponsesPerSittingOption = Annotated[
    int | None,
    typer.Option("--responses-per-sitting", help="Responses of a sitting; all pairs are asked.", metavar="N"),
]
PerceptionErrorOption = Annotated[
    float | None,
    typer.Option("--perception-error", help="Deviation of perceived from true strengths, logits.", metavar="X"),
]
PerceptionUnitOption = Annotated[
    PerceptionUnit | None,
    typer.Option("--perception-unit", help="Votes of a sitting share errors, or each vote has its own."),
]
DependenceOption = Annotated[
    Dependence | None, typer.Option("--dependence", help="How votes depend on more than strengths and annotators.")
]
StrengthDistributionOption = Annotated[
    StrengthDistribution | None, typer.Option("--strength-distribution", help="Distribution of strengths.")
]
LinkOption = Annotated[
    Link | None, typer.Option("--link", help="Votes depend on the difference in strength, or only on its sign.")
]
ErrorOption = Annotated[
    float | None,
    typer.Option("--error", help="With --link fixed-error: share of votes for the worse response.", metavar="P"),
]
SpammersOption = Annotated[
    float | None, typer.Option("--spammers", help="Share of annotators who vote at random.", metavar="P")
]
TiesOption = Annotated[
    float | None, typer.Option("--ties", help="Share of ties between equally strong responses.", metavar="P")
]
PromptsPerVideoOption = Annotated[
    int | None, typer.Option("--prompts-per-video", help="Number of prompts that share a video.", metavar="N")
]
VideoOption = Annotated[
    bool | None, typer.Option("--video/--no-video", help="Write videos, and questions and responses about them.")
]
ShapesOption = Annotated[
    int | None,
    typer.Option("--shapes", help="Number of shapes in a video; fewer are easier to recognise.", metavar="N"),
]
PretrainingVideosOption = Annotated[
    int | None,
    typer.Option("--pretraining-videos", help="Number of videos with known answers for pretraining.", metavar="N"),
]


def simulate(
    out: Annotated[Path, typer.Option("--out", help="The folder to make.", metavar="DIR")],
    prompts: Annotated[int | None, typer.Option("--prompt-count", help="Number of prompts.", metavar="N")] = None,
    models: ModelsOption = None,
    annotators: Annotated[int | None, typer.Option("--annotators", help="Number of annotators.", metavar="N")] = None,
    votes_per_pair: VotesPerPairOption = None,
    design: DesignOption = None,
    sittings_per_prompt: SittingsPerPromptOption = None,
    responses_per_sitting: ResponsesPerSittingOption = None,
    perception_error: PerceptionErrorOption = None,
    perception_unit: PerceptionUnitOption = None,
    dependence: DependenceOption = None,
    strength_distribution: StrengthDistributionOption = None,
    link: LinkOption = None,
    error: ErrorOption = None,
    spammers: SpammersOption = None,
    ties: TiesOption = None,
    left_bias: Annotated[float | None, typer.Option("--left-bias", help="Mean side bias, logits.", metavar="X")] = None,
    prompts_per_video: PromptsPerVideoOption = None,
    video: VideoOption = None,
    shapes: ShapesOption = None,
    pretraining_videos: PretrainingVideosOption = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Random seed.", metavar="N")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a simulated world: votes to try things on, and the true strengths to compare rankings with.

    \b
    Example:
      curate simulate --out world --prompt-count 100 --votes-per-pair 2 --spammers 0.3
      curate simulate --out cinema --prompt-count 400 --prompts-per-video 2 --models 8 --video
    """
    from pipelines import simulate as job
    from pipelines.settings import updated

    changes = {
        "prompts": prompts,
        "models": models,
        "annotators": annotators,
        "votes_per_pair": votes_per_pair,
        "design": design,
        "sittings_per_prompt": sittings_per_prompt,
        "responses_per_sitting": responses_per_sitting,
        "perception_error": perception_error,
        "perception_unit": perception_unit,
        "dependence": dependence,
        "link": link,
        "error": error,
        "spammers": spammers,
        "ties": ties,
        "left_bias": left_bias,
        "prompts_per_video": prompts_per_video,
        "video": video,
        "shapes": shapes,
        "seed": seed,
        "strength_distribution": strength_distribution,
        "pretraining_videos": pretraining_videos,
    }
    report = job(out, config=updated(settings().simulate, changes, where="curate simulate"))
    put_json(report) if as_json else print_simulate(report)


def print_simulate(report: SimulateReport) -> None:
    """Print the counts."""
    say(f"{report.out}: {', '.join(report.files)}")
    who = f"{plural(report.annotators, 'annotator')} ({plural(report.spammers, 'spammer')})"
    say(f"  {plural(report.votes, 'vote')} ({report.ties:.1%} ties) of {who}")
    say(f"  on {plural(report.responses, 'response')} to {plural(report.prompts, 'prompt')}")


def example(
    out: Annotated[Path, typer.Argument(help="The folder to make.", metavar="DIR")] = Path("campaign"),
    as_json: JsonOption = False,
) -> None:
    """Write the files of the tutorial: 3,000 votes as messy as real ones, 60 questions on 20 videos.

    \b
    Example:
      curate example campaign
    """
    from pipelines import example as job

    report = job(out)
    if as_json:
        put_json(report)
    else:
        say(f"{report.out}: {', '.join(report.files)}; {report.votes:,} rows of votes on {report.prompts} prompts")


def compare(
    truth: Annotated[Path, typer.Argument(help="CSV with prompt_id, response_id, strength.", metavar="TRUTH")],
    store: StoreOption = None,
    run: RunOption = "",
    criterion: CriterionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the rankings of a run with the true strengths: Kendall tau, top-1, best-of-4.

    \b
    Example:
      curate compare world/truth.csv
    """
    from pipelines import compare as job

    report = job(store_path(store), truth, run=run, criterion=criterion_of(criterion, run))
    put_json(report) if as_json else print_compare(report)


def print_compare(report: ComparisonReport) -> None:
    """Print the comparison as a table."""
    names = sorted(report.kendall_tau, key=lambda name: (name != "final", -report.kendall_tau[name]))
    rows = [(name, report.kendall_tau[name], report.top1[name], report.best_of_4[name]) for name in names]
    put_table(("ranker", "Kendall tau", "top-1", "best-of-4"), rows)
    missing = f"; {plural(report.missing, 'prompt')} of the truth not ranked in full" if report.missing else ""
    say(f"means over {plural(report.prompts, 'prompt')}, against the truth{missing}")
