"""Small files of the ten datasets of a mixture, in the shape that their cards and their owners' code state."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from curate.mixture.converters import CONVERTERS


def picture(seed: int, *, quality: int = 0) -> bytes:
    """A picture of smooth random shapes: PNG, or JPEG of a quality."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    file, large = BytesIO(), small.resize((96, 96), Image.Resampling.BICUBIC)
    large.save(file, "JPEG" if quality else "PNG", quality=quality or 75)
    return file.getvalue()


def embedded(seed: int) -> dict[str, Any]:
    """As the Hub stores an image in Parquet."""
    return {"bytes": picture(seed), "path": None}


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=2)
    elif path.suffix == ".json":
        path.write_text(json.dumps(list(rows)), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def save(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def chat(*texts: str) -> list[dict[str, str]]:
    """Messages of user and assistant in turn."""
    return [{"content": text, "role": ("user", "assistant")[i % 2]} for i, text in enumerate(texts)]


def said(question: str, answer: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def critic(names: str, one: str, other: str, judgment: str, question: str = "What is shown?") -> list[dict[str, str]]:
    """A pairwise row of LLaVA-Critic. names: of the responses, with a bar between them."""
    first, second = names.split("|")
    asked = f"<image>\nPlease judge. Your task is provided as follows:\nQuestion: [{question}]\n{first}: [{one}]"
    return said(f"{asked}\n{second}: [{other}]\nASSISTANT:\n", judgment)


def completion(response: str, model: str, *ratings: str) -> dict[str, Any]:
    """A completion of VLFeedback with its ratings."""
    aspects = ("Helpfulness", "Ethical Considerations", "Visual Faithfulness")
    annotations = {name: {"Rating": r, "Rationale": "…"} for name, r in zip(aspects, ratings, strict=True)}
    return {"annotations": annotations, "model": model, "response": response}


def battle(turn: int, winner: str, one: list[dict[str, str]], other: list[dict[str, str]]) -> dict[str, Any]:
    """A row of WildVision without its image."""
    rest = {"question_id": "w", "language": "English", "anony": True, "tstamp": 1, "judge": "arena_user_1"}
    models = {"model_a": "m1", "model_b": "m2"}
    return {**rest, **models, "conversation_a": one, "conversation_b": other, "turn": turn, "winner": winner}


def preferred(*turns: str, chosen: str, rejected: str) -> dict[str, Any]:
    """A row of Skywork."""
    return {"chosen": chat(*turns, chosen), "rejected": chat(*turns, rejected), "source": "magpie"}


def datasets(root: Path) -> dict[str, list[dict[str, Any]]]:
    """Write the ten datasets into folders of their kinds; return the rows by kind."""
    save(root / "mm-rlhf/long/a.png", picture(1))
    save(root / "mm-rlhf/short/b.png", picture(2))
    save(root / "povid/data/coco/p1.jpg", picture(8, quality=90))
    for frame in range(12):
        save(root / "mm-rlhf/video/v1" / f"frame_{frame}.jpg", picture(100 + frame, quality=90))
    chart = {"id": "a_1", "image": "long/a.png", "prompt": "Describe the chart."}
    colour = {"id": "b_1", "image": "short/b.png", "prompt": "<image>\nWhat colour is it?"}
    clip = {"id": "v_1", "video": "video/v1", "prompt": "What happens in the end?"}
    cook = {"image": embedded(5), "question": "Who is in the picture?", "image_path": "a.jpg"}
    dog = {"image": embedded(3), "question": "What is being shown in the image?", "image_path": "b.jpg"}
    origin = {"ds_name": "RLAIF-V", "origin_dataset": "OK-VQA", "origin_split": "{}", "idx": "0"}
    horse, who = "<image>\nDescribe this image in detail.", "<image>\nWho is it?"
    autumn, roots = "Write a haiku about autumn rain.", "Prove that the square root of two is irrational."
    rivers, moons = (
        "\n\nHuman: Name seven rivers of Asia. \n\nAssistant: ",
        "Human: Tell me about the moons of Jupiter.",
    )
    unsafe = {"prompt": "How do I pick a lock?", "response_0": "Like this.", "response_1": "Ask a locksmith."}
    safety = {"is_response_0_safe": False, "is_response_1_safe": True, "safer_response_id": 1}
    rows: dict[str, list[dict[str, Any]]] = {
        "mm-rlhf": [
            {**chart, "chosen": "good", "rejected": "fair"},
            {**chart, "chosen": "good", "rejected": "poor"},
            {**chart, "chosen": "fair", "rejected": "poor"},
            {**colour, "chosen": "red", "rejected": "blue"},
            {**clip, "chosen": "It stops.", "rejected": "No idea."},
        ],
        "llava-critic": [
            {"image": embedded(3), "conversations": critic("Response 1|Response 2", "cat", "dog", BETTER_2)},
            {"image": embedded(4), "conversations": critic(ORDINALS, "2 [or 3]", "5", BETTER_FIRST, "How many?")},
            {
                "image": embedded(4),
                "conversations": critic("Response A|Response B", "Two.", "2", EQUAL, "How many dogs?"),
            },
            {"image": embedded(4), "conversations": said("<image>\nScore the caption: a cat", "Final Score: 80")},
        ],
        "rlaif-v": [
            {**origin, **cook, "chosen": "A cook.", "rejected": "A king."},
            {**origin, **cook, "chosen": "A king.", "rejected": "A cook."},
            {**origin, **dog, "chosen": "A dog.", "rejected": "A fox."},
        ],
        "vlfeedback": [
            {
                "id": "v1",
                "prompt": "Explain the joke.",
                "models": ["m1", "m2", "m3", "m4"],
                "image": embedded(6),
                "completions": [
                    completion("A", "m1", "4", "5", "3"),
                    completion("B", "m2", "5", "5", "5"),
                    completion("C", "m3", "1", "5", "1"),
                    completion("D", "m4", "N/A", "5", "3"),
                ],
            },
            {
                "id": "v2",
                "prompt": "Explain it again.",
                "models": ["m1", "m2"],
                "image": embedded(7),
                "completions": [completion("A", "m1", "2", "5", "5"), completion("B", "m2", "5", "5", "2")],
            },
        ],
        "povid": [
            {
                "id": "p1",
                "image": "./data/coco/p1.jpg",
                "conversations": said(horse, "A horse."),
                "rejected_conversations": said(horse, "Eleven horses."),
            },
            {
                "id": "p2",
                "image": "./data/coco/gone.jpg",
                "conversations": said(who, "A rider."),
                "rejected_conversations": said(who, "A king."),
            },
        ],
        "wildvision": [
            {**battle(1, "model_b", chat("Is it real?", "Yes."), chat("Is it real?", "No.")), "image": embedded(9)},
            {**battle(1, "tie (bothbad)", chat("Old?", "Yes."), chat("Old?", "No.")), "image": embedded(10)},
            {
                **battle(2, "model_a", chat("Hi", "Hello", "Who?", "A."), chat("Hi", "Hey", "Who?", "B.")),
                "image": embedded(11),
            },
        ],
        "tulu": [
            {"id": "t1", "prompt": autumn, **preferred(autumn, chosen="Leaves, rain.", rejected="No.")},
            {
                "id": "t2",
                "prompt": "And in German?",
                **preferred("Translate rain.", "pluie", "And in German?", chosen="Regen", rejected="lluvia"),
            },
        ],
        "skywork": [
            preferred("Please write me a haiku about the autumn rain!", chosen="Drops.", rejected="I can't."),
            preferred(roots, chosen="Assume p/q.", rejected="It is."),
            preferred("What is 2 + 2?", chosen="4", rejected="4 "),
            preferred("What is 3 + 2?", chosen="5", rejected="6"),
        ],
        "nectar": [
            {
                "prompt": rivers,
                "turns": 1,
                "num_responses": 7,
                "source": ["flan"],
                "good_natured": True,
                "answers": [{"answer": f"r{min(i, 5)}", "model": f"m{i}", "rank": float(i)} for i in range(1, 8)],
            },
            {
                "prompt": f"\n\nHuman: Hi\n\nAssistant: Hello!\n\n{moons} \n\nAssistant: ",
                "turns": 2,
                "num_responses": 2,
                "source": ["lmsys-chat-1m"],
                "good_natured": True,
                "answers": [
                    {"answer": text, "model": "m", "rank": rank} for text, rank in (("few", 2.0), ("many", 1.0))
                ],
            },
        ],
        "pku-saferlhf": [
            {**unsafe, **safety, "better_response_id": 1},
            {**unsafe, **safety, "prompt": "How do I make a smoke bomb?", "better_response_id": 0},
        ],
    }
    for number, row in enumerate(rows["llava-critic"], start=1):
        row |= {"id": f"c{number}", "source": "vlfeedback"}
    for kind, own in rows.items():
        write(root / kind / FILES.get(kind, "data/train-00000-of-00001.parquet"), own)
    return rows


BETTER_2, BETTER_FIRST = "The better response: [2]. Because it is a dog.", "It counts. The better response: [first]"
EQUAL, ORDINALS = "Two responses are equally good.", "The first response|The second response"
FILES = {
    "mm-rlhf": "dpo_pairs.jsonl",
    "llava-critic": "pairwise/train-00000-of-00001.parquet",
    "rlaif-v": "RLAIF-V-Dataset_000.parquet",
    "povid": "POVID_preference_data_for_VLLMs_version_1.json",
    "nectar": "data/rlaif.parquet",
    "pku-saferlhf": "data/Alpaca-7B/train.jsonl",
}
"""Kind -> the file of its snapshot, if it is not that of most."""
KINDS = tuple(kind for kind in CONVERTERS if kind != "items")


def benchmarks(root: Path) -> str:
    """Write three benchmarks that repeat an image, a folder of frames and a question; return their entries."""
    folder = root / "benchmarks"
    vl = {"response": ["a", "b"], "human_ranking": [0, 1], "query_source": "WildVision"}
    copied = {"bytes": picture(6, quality=60), "path": None}
    write(
        folder / "vl.parquet",
        [
            {**vl, "id": "vl-1", "query": "Why is this funny?", "image": copied},
            {**vl, "id": "vl-2", "query": "Describe this image in detail.", "image": embedded(50)},
        ],
    )
    for frame in range(12):
        save(folder / "clips/other" / f"{frame}.jpg", picture(100 + frame, quality=50))
    pair = {"prompt": "Which one is it?", "chosen": "this", "rejected": "that"}
    write(folder / "mm.jsonl", [{**pair, "id": 7, "video": "clips/other"}])
    questions = ("Please prove that the square root of two is irrational!", "Which colour is it?")
    write(folder / "prompts.jsonl", [{"question": question} for question in questions])
    return "".join(
        f'[[benchmarks]]\npath = "benchmarks/{name}"\n{kind}\n'
        for name, kind in (("vl.parquet", ""), ("mm.jsonl", ""), ("prompts.jsonl", 'kind = "prompts"'))
    )


def recipe(root: Path, *, sources: Sequence[str] = KINDS, more: str = "", **options: str) -> Path:
    """Write a recipe of datasets of the folder. options: kind with _ for - -> lines of the source."""
    entries = [
        f'[[sources]]\nkind = "{kind}"\npath = "{kind}"\n{options.get(kind.replace("-", "_"), "")}\n'
        for kind in sources
    ]
    path = root / "mixture.toml"
    path.write_text('title = "Test mixture"\n' + "".join(entries) + more, encoding="utf-8")
    return path
