"""The items beside this file as data sets of VLMEvalKit.

As a program it is VLMEvalKit's ``run.py`` with these data sets: ``python run.py --data NAME_8frame --model …``.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from vlmeval.dataset.video_base import VideoBaseDataset
from vlmeval.smp import LMUDataRoot, dump, get_intermediate_file_path, load

sys.path.insert(0, str(Path(__file__).resolve().parent))
from judging import HERE, judge_question, letter_of

FILES: dict[str, str] = json.loads((HERE / "datasets.json").read_text(encoding="utf-8"))
"""Name of a data set -> its file."""


class CurateRelease(VideoBaseDataset):  # type: ignore[misc]
    """The items of one config, and a judge's accuracy: how often it names the response that people prefer."""

    TYPE = "Video-MCQ"

    def __init__(self, dataset: str, pack: bool = False, nframe: int = 0, fps: float = -1) -> None:
        if pack or (nframe > 0) == (fps > 0):
            raise ValueError("set either nframe or fps, and not pack")
        # Not by the base class: it reads a TSV, where the text "NA" is no text.
        self.dataset_name, self.pack, self.nframe, self.fps, self.split_frame = dataset, pack, nframe, fps, True
        self.data_root, self.data_file = str(HERE), str(HERE / FILES[dataset])
        self.data = pd.DataFrame(json.loads(Path(self.data_file).read_text(encoding="utf-8")), dtype=object)
        self.videos = sorted({medium for medium in self.data["medium"] if medium})
        self.frame_root = str(Path(LMUDataRoot(), "images", dataset))

    @classmethod
    def supported_datasets(cls) -> list[str]:
        return list(FILES)

    def prepare_dataset(self, dataset: str) -> dict[str, str]:
        return {"root": self.data_root, "data_file": self.data_file}

    def build_prompt(self, line: Any, video_llm: bool = False) -> list[dict[str, str]]:
        """Return the medium, a video as frames unless the model takes videos, and the question to a judge."""
        row = self.data.iloc[line] if isinstance(line, int) else line
        message = []
        if row["kind"] == "video" and not video_llm:
            message = [{"type": "image", "value": path} for path in self.save_video_frames(row["medium"])]
        elif row["medium"]:
            message = [{"type": row["kind"], "value": str(HERE / row["medium"])}]
        return [*message, {"type": "text", "value": judge_question(row)}]

    def save_video_frames(self, video: str) -> list[str]:
        """Return the paths of frames, each from the middle of an equal slice of the video."""
        import decord
        from PIL import Image

        reader = decord.VideoReader(str(HERE / video))
        count = self.nframe if self.nframe > 0 else max(1, round(len(reader) / reader.get_avg_fps() * self.fps))
        folder = Path(self.frame_root, Path(video).name, f"{count}-frames")
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{i}.png" for i in range(count)]
        for i, path in enumerate(paths):
            if not path.exists():
                unfinished = folder / f".{os.getpid()}-{path.name}"
                Image.fromarray(reader[int((i + 0.5) * len(reader) / count)].asnumpy()).save(unfinished)
                unfinished.replace(path)
        return [str(path) for path in paths]

    def evaluate(self, eval_file: str, **judge_kwargs: Any) -> dict[str, float]:
        """Return the accuracy, also by difficulty, and the number of answers without a letter, which are wrong."""
        answers = dict(load(eval_file)[["index", "prediction"]].itertuples(index=False))
        sizes = self.data["responses"].map(len)
        chosen = [letter_of(answers[index], size) for index, size in zip(self.data["index"], sizes, strict=True)]
        hits = self.data["answer"] == pd.Series(chosen, index=self.data.index)
        result = {
            "accuracy": float(hits.mean()),
            **{f"accuracy_{level}": float(part.mean()) for level, part in hits.groupby(self.data["difficulty"])},
            "without_letter": chosen.count(None),
            "items": len(self.data),
            "perfect_judge": float(self.data["confidence"].astype(float).mean()),
            "guessing": float((1 / sizes.astype(int)).mean()),
        }
        dump(result, get_intermediate_file_path(eval_file, "_score", "json"))
        return result


def register() -> None:
    """Add the data sets to those of VLMEvalKit: NAME_8frame, …, NAME_64frame and NAME_1fps."""
    import vlmeval.dataset
    from vlmeval.dataset.video_dataset_config import supported_video_datasets

    def maker(name: str, **frames: Any) -> Callable[..., CurateRelease]:
        return lambda **_: CurateRelease(name, **frames)  # run.py gives all its options

    vlmeval.dataset.CurateRelease = CurateRelease
    for name in FILES:
        for count in (8, 16, 32, 64):
            supported_video_datasets[f"{name}_{count}frame"] = maker(name, nframe=count)
        supported_video_datasets[f"{name}_1fps"] = maker(name, fps=1.0)


if __name__ == "__main__":
    register()
    from vlmeval import run

    run.main()
