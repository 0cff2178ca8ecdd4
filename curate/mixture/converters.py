"""The ten datasets of the mixture of arXiv 2604.10966, and items of curate: files, columns, labels and licence of each.

``Converter.schema`` states where the columns and the meaning of the labels come from, and what is not verified. No
dataset itself was at hand: columns come from cards, code of the owners, and code of third parties that reads them.
Licences are those that the cards state; the images and texts in a dataset may have others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from curate.media.frames import IMAGE_SUFFIXES
from curate.mixture.items import ranked
from curate.reward.data import Example
from curate.reward.foreign.benchmark import Media, columns_of, listed
from curate.shards.rows import BadRowError, Row, read_rows
from schemas.errors import CurateError, MissingError, UsageError
from schemas.mixture import MixtureSource

HEAD = 200
"""Rows by whose columns a file is recognised."""


class NoPreferenceError(Exception):
    """A valid row without a preference between responses; the message is the reason, for counts."""


Parse = Callable[[Row, Media, str], Example]
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
    required: set[str]
    """Columns; one that is null in every row counts as absent."""
    one_of: set[str] = field(default_factory=set)
    """At least one of these is required; empty: no such rule."""
    absent: set[str] = field(default_factory=set)
    """Columns that only other kinds have."""
    labels: tuple[str, ...] = ()
    """Choices of the judgment that ranks, the default first."""
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
    patterns = ", ".join(source.files or converter.files)
    raise MissingError(
        f"{source.path}: {f'no file matches {patterns}' if source.path.exists() else 'no such file or folder'}",
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


def _item(prompt: str, responses: Sequence[str], ranks: Sequence[int], **media: Any) -> Example:
    text = re.sub(r"[ \t]*<(image|video)>[ \t]*\n?", "", prompt).strip()
    return Example("", text, tuple(responses), tuple(ranks), **media)


def _image(row: Row, media: Media, column: str = "image") -> tuple[Path, ...]:
    found = media.images(row, column)
    if len(found) > 1:
        raise BadRowError(column, row.cells[column], "one image")
    return found


def _chosen_rejected(prompt: str) -> Parse:
    """Columns of texts: the prompt's, chosen, rejected; media in image or video."""

    def parse(row: Row, media: Media, _label: str) -> Example:
        texts = row.text("chosen"), row.text("rejected")
        found = {"images": _image(row, media), "video": media.video(row, "video")}
        return _item(row.text(prompt), texts, (1, 2), **found)

    return parse


def _messages(row: Row, column: str, role: str = "role", content: str = "content") -> list[tuple[str, str]]:
    """[(role, text), …] of a conversation whose last message is the assistant's."""
    value = row.cells.get(column)
    messages = value if isinstance(value, list) and all(isinstance(one, dict) for one in value) else []
    found = [(one.get(role), one.get(content)) for one in messages]
    texts = all(isinstance(cell, str) for message in found for cell in message)
    if len(found) < 2 or not texts or found[-1][0] not in ("assistant", "gpt") or not found[-1][1].strip():
        raise BadRowError(column, value, f"a list of messages with {role} and {content}, the last the assistant's")
    return found


def transcript(messages: Sequence[tuple[str, str]]) -> str:
    """Return the prompt of messages; of several, a transcript.

    >>> transcript([("user", "Hi"), ("assistant", "Hello."), ("user", "Bye")])
    'User: Hi\\n\\nAssistant: Hello.\\n\\nUser: Bye'
    """
    if len(messages) == 1:
        return messages[0][1]
    names = {"human": "User", "gpt": "Assistant"}
    return "\n\n".join(f"{names.get(who, who.capitalize())}: {text.strip()}" for who, text in messages)


def _conversations(one: str, other: str, rank: Callable[[Row], tuple[int, int]], *keys: str) -> Parse:
    """Columns of two conversations that differ in the last message. keys: of role and content in a message."""

    def parse(row: Row, media: Media, _label: str) -> Example:
        ranks, first, second = rank(row), _messages(row, one, *keys), _messages(row, other, *keys)
        if first[:-1] != second[:-1]:
            raise NoPreferenceError("the conversations differ before the last response")
        return _item(transcript(first[:-1]), (first[-1][1], second[-1][1]), ranks, images=_image(row, media))

    return parse


def _first(_row: Row) -> tuple[int, int]:
    return (1, 2)


WINNERS = {"model_a": (1, 2), "model_b": (2, 1), "tie": (1, 1), "tie (bothbad)": (1, 1)}


def _winner(row: Row) -> tuple[int, int]:
    winner = row.text("winner")
    if winner not in WINNERS:
        raise BadRowError("winner", winner, f"one of {', '.join(WINNERS)}")
    return WINNERS[winner]


PARTS = re.compile(r"(?:^|\n)[ \t]*(Question|(?:The first|The second) response|Response [12AB]): \[")
BETTER = re.compile(r"the better response: \[(?:(first|1|a)|second|2|b)\]", re.IGNORECASE)


def _llava_critic(row: Row, media: Media, _label: str) -> Example:
    messages = _messages(row, "conversations", "from", "value")
    _, *parts = PARTS.split(messages[0][1])
    if len(parts) != 6 or parts[0] != "Question":
        raise NoPreferenceError("no comparison of two bracketed responses (the pointwise subset, or another form)")
    question, one, other = (text[: text.rfind("]")].strip() for text in parts[1::2])
    better = BETTER.search(messages[-1][1])
    if better is None and "equally good" not in messages[-1][1]:
        raise NoPreferenceError("its judgment has no known form")
    ranks = (1, 1) if better is None else (1, 2) if better[1] else (2, 1)
    return _item(question, (one, other), ranks, images=_image(row, media))


ASPECTS = ("Helpfulness", "Visual Faithfulness", "Ethical Considerations")


def _vlfeedback(row: Row, media: Media, label: str) -> Example:
    value = row.cells.get("completions")
    if isinstance(value, dict):  # datasets stores a list of structs as a struct of lists
        value = [dict(zip(value, cells, strict=True)) for cells in zip(*value.values(), strict=True)]
    aspects = ASPECTS if label == "mean" else (label,)
    texts, scores = [], []
    for one in value if isinstance(value, list) else ():
        try:
            score = sum(float(one["annotations"][aspect]["Rating"]) for aspect in aspects)
            text = one["response"].strip()
        except ValueError:  # N/A: the owners' training code leaves out the pairs of such a response
            continue
        except (KeyError, TypeError, AttributeError) as error:
            raise BadRowError("completions", one, f"a response and Ratings of {', '.join(ASPECTS)}") from error
        texts.append(text)
        scores.append(-score)
    if len(texts) < 2:
        raise NoPreferenceError("fewer than two responses with ratings")
    column = "image" if "image" in row.cells else "img_path"
    return _item(row.text("prompt"), texts, ranked(scores), images=_image(row, media, column))


def _nectar(row: Row, _media: Media, _label: str) -> Example:
    try:
        ranks = [float(one["rank"]) for one in row.cells["answers"]]
        texts = [one["answer"].strip() for one in row.cells["answers"]]
    except (KeyError, TypeError, ValueError, AttributeError):
        ranks, texts = [], []
    if not all(texts) or min(ranks, default=0) < 1:
        raise BadRowError("answers", row.cells.get("answers"), "a list of answers with answer and rank (1 is best)")
    begin, *parts = re.split(r"\n\n(Human|Assistant):", row.text("prompt"))
    if begin.strip() or parts[-2:-1] != ["Assistant"] or parts[-1].strip() or len(parts) < 4:
        raise BadRowError("prompt", row.cells["prompt"], "turns that begin with Human: and end with Assistant:")
    turns = [(who.lower(), text.strip()) for who, text in zip(parts[::2], parts[1::2], strict=True)]
    return _item(transcript(turns[:-1]), texts, ranked(ranks))


def _pku(row: Row, _media: Media, label: str) -> Example:
    columns = ("better_response_id", "safer_response_id") if label == "both" else (label,)
    for column in columns:
        if row.cells.get(column) not in (0, 1):
            raise BadRowError(column, row.cells.get(column), "0 or 1")
    preferred = {int(row.cells[column]) for column in columns}
    if len(preferred) > 1:
        raise NoPreferenceError("helpfulness and harmlessness prefer different responses")
    texts = row.text("response_0"), row.text("response_1")
    return _item(row.text("prompt"), texts, (2, 1) if preferred == {1} else (1, 2))


def _items(row: Row, media: Media, _label: str) -> Example:
    responses, name = row.texts("responses"), row.optional_text("video")
    ranks = row.integers("ranks" if row.cells.get("ranks") else "rankings", len(responses))
    if min(ranks) < 1 or not all(response.strip() for response in responses):
        raise BadRowError("responses", list(responses), "texts with ranks from 1")
    if Path(name).suffix.lower() in IMAGE_SUFFIXES:  # shards of curate export
        return _item(row.text("prompt"), responses, ranks, images=_image(row, media, "video"))
    found = media.video(row, "video") if name else None
    return _item(row.text("prompt"), responses, ranks, images=_image(row, media), video=found)


_TABLE = (
    Converter(
        kind="mm-rlhf",
        dataset="yifanzhang114/MM-RLHF",
        licence="",
        files=("dpo_pairs.jsonl", "**/dpo_pairs.jsonl"),
        required={"prompt", "chosen", "rejected"},
        one_of={"image", "video"},
        absent={"conversations", "category"},
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
        required={"conversations", "image"},
        absent={"rejected_conversations"},
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
        required={"question", "chosen", "rejected", "image"},
        parse=_chosen_rejected("question"),
        schema="ds_name, image, question, chosen, rejected, origin_dataset, origin_split, idx, image_path, by the card "
        "and muffin/data/datasets.py of github.com/RLHF-V/RLAIF-V, which reads image as {bytes, path}.",
    ),
    Converter(
        kind="vlfeedback",
        dataset="MMInstruction/VLFeedback",
        licence="",
        files=("data/*.parquet", "**/*.parquet", "*.jsonl"),
        required={"prompt", "completions"},
        one_of={"image", "img_path"},
        labels=("mean", *ASPECTS),
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
        required={"conversations", "rejected_conversations", "image"},
        parse=_conversations("conversations", "rejected_conversations", _first, "from", "value"),
        schema="id, image, conversations (preferred) and rejected_conversations, each with from and value, by the "
        "example in README.md of github.com/YiyangZhou/POVID. Images are those of COCO 2014 train, to be downloaded.",
    ),
    Converter(
        kind="wildvision",
        dataset="WildVision/wildvision-battle",
        licence="odc-by",
        files=("**/*.parquet",),
        required={"conversation_a", "conversation_b", "winner", "image"},
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
        required={"id", "prompt", "chosen", "rejected", "source"},
        absent={"image", "video"},
        parse=_conversations("chosen", "rejected", _first),
        schema="id, prompt, chosen and rejected (lists of role and content), source, by the card, which adds that "
        "subsets have other licences. Which of the Tulu mixtures the paper used is not stated.",
    ),
    Converter(
        kind="skywork",
        dataset="Skywork/Skywork-Reward-Preference-80K-v0.2",
        licence="",
        files=("data/train-*.parquet", "**/*.parquet"),
        required={"chosen", "rejected"},
        absent={"prompt", "question", "image", "video", "id"},
        parse=_conversations("chosen", "rejected", _first),
        schema="chosen and rejected (lists of content and role), source, by the card of a filtered copy "
        "(natolambert/skywork-preferences-80k-v0.1-cleaned). v0.2 is the version without prompts of RewardBench. The "
        "card states no licence. Which version the paper used is not stated.",
    ),
    Converter(
        kind="nectar",
        dataset="berkeley-nest/Nectar",
        licence="apache-2.0",
        files=("data/*.parquet", "**/*.parquet"),
        required={"prompt", "answers"},
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
        required={"prompt", "response_0", "response_1", "better_response_id"},
        labels=("both", "better_response_id", "safer_response_id"),
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
        required={"prompt", "responses"},
        one_of={"ranks", "rankings"},
        parse=_items,
        schema="columns of curate's shards (docs/data.md), or the JSONL of github.com/yinuoyang01/multi-response-rm.",
    ),
)
CONVERTERS = {converter.kind: converter for converter in _TABLE}
"""Kind -> its converter."""
