"""The ten datasets of the mixture of arXiv 2604.10966, and items of curate: files, columns, labels and licence of each.

``Converter.schema`` states where the columns and the meaning of the labels come from, and what is not verified. No
dataset itself was at hand: columns come from cards, code of the owners, and code of third parties that reads them.
Licences are those that the cards state; the images and texts in a dataset may have others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from curate.mixture.items import Item, ranked
from curate.reward.foreign.benchmark import Media, columns_of, listed
from curate.reward.rows import BadRowError, Row, read_rows
from schemas.errors import CurateError, UsageError
from schemas.mixture import MixtureSource

HEAD = 200
"""Rows by whose columns a file is recognised."""
NO_COMMON_PROMPT = "the conversations differ before the last response"


class NoPreferenceError(Exception):
    """A valid row without a preference between responses; the message is the reason, for counts."""


Parse = Callable[[Row, Media, str], Item]
"""Row, media and label -> item. Raises BadRowError or NoPreferenceError."""


@dataclass(frozen=True, kw_only=True)
class Converter:
    """How the rows of one dataset become items."""

    kind: str
    dataset: str
    """On the Hub."""
    licence: str
    """As the card states it; empty if not verified."""
    files: tuple[str, ...]
    """Patterns of its training files in a snapshot folder; the first with a match counts."""
    required: frozenset[str]
    """Columns; one that is null in every row counts as absent."""
    one_of: frozenset[str] = frozenset()
    """At least one of these is required; empty: no such rule."""
    absent: frozenset[str] = frozenset()
    """Columns that only other kinds have."""
    labels: tuple[str, ...] = ()
    """Choices of the judgment that ranks, the default first."""
    pairs: bool = True
    """Whether a row is a pair, so that rows of one prompt are merged."""
    parse: Parse
    schema: str
    """Source of the columns and labels, and what is not verified."""

    def mismatches(self, columns: set[str]) -> list[str]:
        """Why a file with these columns is not of this kind; empty if it is."""
        found = [f"no column {column}" for column in sorted(self.required - columns)]
        if self.one_of and not self.one_of & columns:
            found.append(f"no column {' or '.join(sorted(self.one_of))}")
        return found + [f"unexpected column {column}" for column in sorted(self.absent & columns)]


def converter_of(source: MixtureSource) -> Converter:
    """Return the converter of a source. Raises UsageError for an unknown kind or label."""
    found = CONVERTERS.get(source.kind)
    if found is None:
        raise UsageError(f"source {source.key}: no kind {source.kind!r}", hint=f"kinds: {', '.join(CONVERTERS)}")
    if source.label and source.label not in found.labels:
        choices = ", ".join(map(repr, found.labels)) or "none"
        raise UsageError(f"source {source.key}: no label {source.label!r}", hint=f"labels of {found.kind}: {choices}")
    return found


def files_of_source(source: MixtureSource, converter: Converter) -> list[Path]:
    """Return the files to read, sorted. Raises CurateError if there is none."""
    if source.path.is_file():
        return [source.path]
    for pattern in source.files or converter.files:
        if found := sorted(path for path in source.path.glob(pattern) if path.is_file()):
            return found
    what = "no such file or folder" if not source.path.exists() else "no file matches"
    patterns = ", ".join(source.files or converter.files)
    raise CurateError(
        f"{source.path}: {what} {'' if what.startswith('no such') else patterns}".rstrip(),
        hint=f"give the snapshot of {converter.dataset}, one of its files, or patterns of them (files = [...])",
    )


def rows_of(path: Path, source: MixtureSource, converter: Converter) -> Iterator[Row | str]:
    """Yield the rows of a file, as ``read_rows``, after its columns were checked.

    Raises CurateError if they are not those of the kind, and names the kinds that fit.
    """
    rows = read_rows(path)
    head = list(islice(rows, HEAD))
    columns = columns_of([row for row in head if isinstance(row, Row)])
    if not head:
        return iter(())
    if mismatches := converter.mismatches(columns):
        fits = [kind for kind, other in CONVERTERS.items() if not other.mismatches(columns)]
        raise CurateError(
            f"{path}: not {source.kind} ({converter.dataset}): {'; '.join(mismatches)}; columns: {listed(columns)}",
            hint=f"its columns are those of kind {' or '.join(map(repr, fits))}" if fits else "no kind has its columns",
        )
    if unknown := sorted(source.where.keys() - columns):
        raise CurateError(f"{path}: where names {unknown[0]!r}", hint=f"its columns: {listed(columns)}")
    return chain(head, rows)


# Rows to items. Each raises BadRowError for a cell that the kind does not allow.


def _two(prompt: str, one: str, other: str, ranks: tuple[int, int], **more: Any) -> Item:
    return Item(prompt, (one, other), ranks, **more)


def _plain(text: str) -> str:
    """A question without the placeholder of its image or video."""
    return re.sub(r"[ \t]*<(image|video)>[ \t]*\n?", "", text).strip()


def _image(row: Row, media: Media, column: str = "image") -> Path | None:
    found = media.images(row, column)
    if len(found) > 1:
        raise BadRowError(column, row.cells[column], "one image")
    return found[0] if found else None


def _chosen_rejected(prompt: str) -> Parse:
    """Columns of texts: the prompt's, chosen, rejected; media in image or video."""

    def parse(row: Row, media: Media, _label: str) -> Item:
        return _two(
            _plain(row.text(prompt)),
            row.text("chosen"),
            row.text("rejected"),
            (1, 2),
            image=_image(row, media),
            video=media.video(row, "video"),
        )

    return parse


def _messages(row: Row, column: str, role: str = "role", content: str = "content") -> list[tuple[str, str]]:
    """[(role, text), …] of a conversation whose last message is the assistant's."""
    value = row.cells.get(column)
    expected = f"a list of messages with {role} and {content}, the last of them the assistant's"
    if not isinstance(value, list) or len(value) < 2 or not all(isinstance(message, dict) for message in value):
        raise BadRowError(column, value, expected)
    found = [(message.get(role), message.get(content)) for message in value]
    if not all(isinstance(who, str) and isinstance(text, str) for who, text in found):
        raise BadRowError(column, value, expected)
    if found[-1][0] not in ("assistant", "gpt") or not found[-1][1].strip():
        raise BadRowError(column, value[-1], expected)
    return found


def transcript(messages: Sequence[tuple[str, str]]) -> tuple[str, tuple[str, ...]]:
    """Return the prompt of messages, and the user's turns if it has more than one.

    >>> transcript([("user", "Hi"), ("assistant", "Hello."), ("user", "Bye")])
    ('User: Hi\\n\\nAssistant: Hello.\\n\\nUser: Bye', ('Hi', 'Bye'))
    """
    if len(messages) == 1:
        return _plain(messages[0][1]), ()
    names = {"human": "User", "gpt": "Assistant"}
    lines = [f"{names.get(who, who.capitalize())}: {_plain(text)}" for who, text in messages]
    return "\n\n".join(lines), tuple(_plain(text) for who, text in messages if who in ("user", "human"))


def _conversations(one: str, other: str, rank: Callable[[Row], tuple[int, int]], **keys: str) -> Parse:
    """Columns of two conversations that differ in the last message."""

    def parse(row: Row, media: Media, _label: str) -> Item:
        ranks, first, second = rank(row), _messages(row, one, **keys), _messages(row, other, **keys)
        if first[:-1] != second[:-1]:
            raise NoPreferenceError(NO_COMMON_PROMPT)
        prompt, turns = transcript(first[:-1])
        models = tuple(row.optional_text(column) or None for column in ("model_a", "model_b"))
        return _two(
            prompt,
            first[-1][1],
            second[-1][1],
            ranks,
            turns=turns,
            models=models if any(models) else (),
            image=_image(row, media),
        )

    return parse


WINNERS = {"model_a": (1, 2), "model_b": (2, 1), "tie": (1, 1), "tie (bothbad)": (1, 1)}


def _winner(row: Row) -> tuple[int, int]:
    winner = row.text("winner")
    if winner not in WINNERS:
        raise BadRowError("winner", winner, f"one of {', '.join(WINNERS)}")
    return WINNERS[winner]


PARTS = re.compile(r"(?:^|\n)[ \t]*(Question|(?:The first|The second) response|Response [12AB]): \[")
BETTER = re.compile(r"the better response: \[(first|1|a|second|2|b)\]", re.IGNORECASE)


def _llava_critic(row: Row, media: Media, _label: str) -> Item:
    messages = _messages(row, "conversations", "from", "value")
    asked, answer = messages[0][1], messages[-1][1]
    _, *parts = PARTS.split(asked)
    if parts[::2][:1] != ["Question"] or len(parts) != 6:
        raise NoPreferenceError("no comparison of two bracketed responses (the pointwise subset, or another form)")
    question, one, other = (text[: text.rfind("]")].strip() for text in parts[1::2])
    better = BETTER.search(answer)
    if better is None and "equally good" not in answer:
        raise NoPreferenceError("its judgment has no known form")
    first = better is not None and better[1].lower() in ("first", "1", "a")
    ranks = (1, 1) if better is None else (1, 2) if first else (2, 1)
    return _two(_plain(question), one, other, ranks, image=_image(row, media))


ASPECTS = ("Helpfulness", "Visual Faithfulness", "Ethical Considerations")


def _vlfeedback(row: Row, media: Media, label: str) -> Item:
    value = row.cells.get("completions")
    if isinstance(value, dict):  # datasets stores a list of structs as a struct of lists
        value = [dict(zip(value, cells, strict=False)) for cells in zip(*value.values(), strict=False)]
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise BadRowError("completions", value, "a list of completions")
    kept: list[tuple[str, float, str | None]] = []
    for completion in value:
        response, annotations = completion.get("response"), completion.get("annotations")
        try:
            ratings = [float(annotations[aspect]["Rating"]) for aspect in ([label] if label in ASPECTS else ASPECTS)]
        except (KeyError, TypeError) as error:
            raise BadRowError(
                "completions", completion, f"annotations with a Rating of {', '.join(ASPECTS)}"
            ) from error
        except ValueError:  # N/A: the owners' training code leaves out the pairs of such a response
            continue
        if not isinstance(response, str) or not response.strip():
            continue
        kept.append((response, sum(ratings) / len(ratings), completion.get("model")))
    if len(kept) < 2:
        raise NoPreferenceError("fewer than two responses with ratings")
    responses, scores, models = zip(*kept, strict=True)
    image = _image(row, media, "image" if row.cells.get("image") is not None else "img_path")
    return Item(_plain(row.text("prompt")), responses, ranked([-score for score in scores]), models, image)


def _nectar(row: Row, _media: Media, _label: str) -> Item:
    value = row.cells.get("answers")
    expected = "a list of answers with answer and rank (1 is best)"
    if not isinstance(value, list) or len(value) < 2 or not all(isinstance(one, dict) for one in value):
        raise BadRowError("answers", value, expected)
    for one in value:
        rank, text = one.get("rank"), one.get("answer")
        if not isinstance(rank, int | float) or rank < 1 or not isinstance(text, str) or not text.strip():
            raise BadRowError("answers", one, expected)
    begin, *parts = re.split(r"\n\n(Human|Assistant):", row.text("prompt"))
    if begin.strip() or len(parts) < 4 or parts[-2] != "Assistant" or parts[-1].strip():
        raise BadRowError("prompt", row.cells["prompt"], "turns that begin with Human: and end with Assistant:")
    spoken = [(who.lower(), text.strip()) for who, text in zip(parts[::2], parts[1::2], strict=True)]
    prompt, turns = transcript(spoken[:-1])
    return Item(
        prompt,
        tuple(one["answer"] for one in value),
        ranked([one["rank"] for one in value]),
        tuple(one.get("model") for one in value),
        turns=turns,
    )


BOTH = "both"


def _pku(row: Row, _media: Media, label: str) -> Item:
    chosen = {}
    for column in ("better_response_id", "safer_response_id"):
        chosen[column] = row.cells.get(column)
        if (column == label or label == BOTH) and chosen[column] not in (0, 1):
            raise BadRowError(column, chosen[column], "0 or 1")
    if label == BOTH and len(set(chosen.values())) > 1:
        raise NoPreferenceError("helpfulness and harmlessness prefer different responses")
    better = chosen["better_response_id" if label == BOTH else label]
    return _two(row.text("prompt"), row.text("response_0"), row.text("response_1"), (2, 1) if better else (1, 2))


def _items(row: Row, media: Media, _label: str) -> Item:
    responses = row.texts("responses")
    ranks = row.integers("ranks" if row.cells.get("ranks") else "rankings", len(responses))
    if min(ranks) < 1 or not all(response.strip() for response in responses):
        raise BadRowError("responses", list(responses), "texts with ranks from 1")
    models = row.cells.get("models")
    name = row.optional_text("video")
    as_image = Path(name).suffix.lower() in (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
    found = media.video(row, "video") if name else None
    return Item(
        row.text("prompt"),
        responses,
        ranked(ranks),
        tuple(models) if isinstance(models, list) and len(models) == len(responses) else (),
        image=found if as_image else _image(row, media),
        video=None if as_image else found,
    )


def _converters(*found: Converter) -> dict[str, Converter]:
    return {converter.kind: converter for converter in found}


def _columns(names: str) -> frozenset[str]:
    return frozenset(names.split())


CONVERTERS: dict[str, Converter] = _converters(
    Converter(
        kind="mm-rlhf",
        dataset="yifanzhang114/MM-RLHF",
        licence="",
        files=("dpo_pairs.jsonl", "**/dpo_pairs.jsonl"),
        required=_columns("prompt chosen rejected"),
        one_of=_columns("image video"),
        absent=_columns("conversations category"),
        parse=_chosen_rejected("prompt"),
        schema="dpo_pairs.jsonl: prompt, chosen, rejected, and image or video (a folder of frames), by "
        "scripts/convert_to_swift.py and llava/train/train_dpo.py of github.com/yfzhang114/MM-RLHF, whose README calls "
        "them pairs of different ranks. data.jsonl (models_output, final_ranking) is not read: the direction of "
        "final_ranking, and the licence, could not be verified.",
    ),
    Converter(
        kind="llava-critic",
        dataset="lmms-lab/llava-critic-113k",
        licence="apache-2.0",
        files=("pairwise/*.parquet",),
        required=_columns("conversations image"),
        absent=_columns("rejected_conversations"),
        parse=_llava_critic,
        schema="id, source, conversations (from, value), image; configs pairwise and pointwise; by the card. Question "
        "and responses in brackets, by the prompt of the card of lmms-lab/llava-critic-7b; 'The better response: [1]' "
        "and 'equally good', by third parties that parse the dataset. Not verified: how many rows have another form; "
        "they are counted as filtered.",
    ),
    Converter(
        kind="rlaif-v",
        dataset="openbmb/RLAIF-V-Dataset",
        licence="cc-by-nc-4.0",
        files=("*.parquet", "**/*.parquet"),
        required=_columns("question chosen rejected image"),
        parse=_chosen_rejected("question"),
        schema="ds_name, image, question, chosen, rejected, origin_dataset, origin_split, idx, image_path, by the card "
        "and muffin/data/datasets.py of github.com/RLHF-V/RLAIF-V, which reads image as {bytes, path}.",
    ),
    Converter(
        kind="vlfeedback",
        dataset="MMInstruction/VLFeedback",
        licence="",
        files=("data/*.parquet", "**/*.parquet", "*.jsonl"),
        required=_columns("prompt completions"),
        one_of=_columns("image img_path"),
        labels=("mean", *ASPECTS),
        pairs=False,
        parse=_vlfeedback,
        schema="id, prompt, models, completions (annotations: aspect -> Rating and Rationale; model; response), "
        "img_path, by the card; the mean of the three ratings, higher is better, and no pair for a rating that is no "
        "number, by run_dpo.py of github.com/vlf-silkie/VLFeedback. image in the Parquet files, by third parties. The "
        "card states no licence. Not verified: how vlfeedback_80k.jsonl names its images (a file without image and "
        "img_path is refused).",
    ),
    Converter(
        kind="povid",
        dataset="YiyangAiLab/POVID_preference_data_for_VLLMs",
        licence="cc-by-4.0",
        files=("*.json",),
        required=_columns("conversations rejected_conversations image"),
        parse=_conversations(
            "conversations", "rejected_conversations", lambda _row: (1, 2), role="from", content="value"
        ),
        schema="id, image, conversations (preferred) and rejected_conversations, each with from and value, by the "
        "example in README.md of github.com/YiyangZhou/POVID. Images are those of COCO 2014 train, to be downloaded.",
    ),
    Converter(
        kind="wildvision",
        dataset="WildVision/wildvision-battle",
        licence="odc-by",
        files=("**/*.parquet",),
        required=_columns("conversation_a conversation_b winner image"),
        parse=_conversations("conversation_a", "conversation_b", _winner),
        schema="question_id, model_a, model_b, conversation_a and conversation_b (role, content), language, image, "
        "turn, anony, winner, tstamp, judge, by the card of WildVision/wildvision-internal-data and scripts/ of "
        "github.com/WildVision-AI/WildVision-Arena; winner is model_a, model_b, tie or 'tie (bothbad)', by its "
        "clean_battle_data.py. Not verified: that wildvision-battle has the same columns.",
    ),
    Converter(
        kind="tulu",
        dataset="allenai/llama-3.1-tulu-3-8b-preference-mixture",
        licence="odc-by",
        files=("data/train-*.parquet", "**/*.parquet"),
        required=_columns("id prompt chosen rejected source"),
        absent=_columns("image video"),
        parse=_conversations("chosen", "rejected", lambda _row: (1, 2)),
        schema="id, prompt, chosen and rejected (lists of role and content), source, by the card, which adds that "
        "subsets have other licences. Which of the Tulu mixtures the paper used is not stated.",
    ),
    Converter(
        kind="skywork",
        dataset="Skywork/Skywork-Reward-Preference-80K-v0.2",
        licence="",
        files=("data/train-*.parquet", "**/*.parquet"),
        required=_columns("chosen rejected"),
        absent=_columns("prompt question image video id"),
        parse=_conversations("chosen", "rejected", lambda _row: (1, 2)),
        schema="chosen and rejected (lists of content and role), source, by the card of a filtered copy "
        "(natolambert/skywork-preferences-80k-v0.1-cleaned). v0.2 is the version without prompts of RewardBench. The "
        "card states no licence. Which version the paper used is not stated.",
    ),
    Converter(
        kind="nectar",
        dataset="berkeley-nest/Nectar",
        licence="apache-2.0",
        files=("data/*.parquet", "**/*.parquet"),
        required=_columns("prompt answers"),
        pairs=False,
        parse=_nectar,
        schema="prompt ('\\n\\nHuman: … \\n\\nAssistant: '), answers (answer, model, rank), turns, num_responses, "
        "source, good_natured, by the card; rank 1 is best, by third parties that train on it. One revision of the "
        "card states Apache-2.0 under the condition not to compete with OpenAI, another cc-by-nc-4.0.",
    ),
    Converter(
        kind="pku-saferlhf",
        dataset="PKU-Alignment/PKU-SafeRLHF",
        licence="cc-by-nc-4.0",
        files=("data/*/train.jsonl", "**/train*.jsonl", "**/train*.parquet"),
        required=_columns("prompt response_0 response_1 better_response_id"),
        labels=(BOTH, "better_response_id", "safer_response_id"),
        parse=_pku,
        schema="prompt, response_0, response_1, better_response_id (the more helpful one), safer_response_id and more, "
        "by the card and third parties that train on it; data/MODEL/train.jsonl, by the file list. The paper does not "
        "say which label it used: by default only rows are read on which both agree.",
    ),
    Converter(
        kind="items",
        dataset="items of curate or of the paper's trainer",
        licence="",
        files=("train-*.parquet", "*.parquet", "*.jsonl"),
        required=_columns("prompt responses"),
        one_of=_columns("ranks rankings"),
        pairs=False,
        parse=_items,
        schema="columns of curate's shards (docs/data.md), or the JSONL of github.com/yinuoyang01/multi-response-rm.",
    ),
)
"""Kind -> its converter."""
