"""The section of a release's card on loading: code that runs as written, beside the release's folder."""

from __future__ import annotations

import json
from collections.abc import Sequence

from curate.release.tables import BENCHMARK, SPLITS, loader_of_release, side_of
from schemas.release import Release

READERS = {
    "video": ("import decord  # pip install decord2", 'len(decord.VideoReader({0})), "frames"'),
    "image": ("import PIL.Image", "PIL.Image.open({0}).size"),
}
"""kind of media -> import; what to print of a path or an open file."""


def loading(release: Release, configs: Sequence[str], repository: str) -> list[str]:
    """Return the lines of the section.

    configs: that have items. repository: on the Hub; if empty, the examples load the folder.
    """
    kind = media_kind(release)
    config = BENCHMARK if BENCHMARK in configs else configs[0]
    split = SPLITS[side_of(config)]
    place = "its repository on the Hub; or this folder" if repository else "this folder, or its repository on the Hub"
    code = [
        "from datasets import load_dataset",
        "",
        f"source = {json.dumps(repository or release.label)}  # {place}",
        f'rows = load_dataset(source, "{config}", split="{split}")',
        f'row = next(row for row in rows if row["{kind}"])  # a prompt may have none' if kind else "row = rows[0]",
        'print(row["prompt"], row["responses"], row["best"])',
    ]
    names = ", ".join(f"`{name}`" for name in configs)
    lines = ["## Loading", "", f"Configs: {names}, each with one split, `train` or `test`.", ""]
    if not kind:
        named = ["Videos are named, and not part of this release.", ""] if release.counts["videos"] else []
        return [*lines, *_block(code), *named]
    if release.media_as == "webdataset":
        return [*lines, *_block(code), *_shards(kind, side_of(config), split, hub=bool(repository))]
    if release.media_as == "files" and loader_of_release(release) == "parquet":
        path = "f\"{source}/{row['" + kind + "']}\""
        note = f"`{kind}` is a path relative to this folder: to use it, download the whole folder."
        return [*lines, *_block([READERS[kind][0], *code, _shown(kind, path)]), note, ""]
    return [*lines, *_folder(code, release, config, kind)]


def media_kind(release: Release) -> str:
    """Return the kind of the media that the release holds: video (also with images), image, or empty: none."""
    if release.media_as == "none" or not release.counts["videos"]:
        return ""
    return "image" if release.counts.get("media_kinds", {}).get("video") == 0 else "video"


def _folder(code: list[str], release: Release, config: str, kind: str) -> list[str]:
    """Return the code for media that datasets returns with each row, as paths or bytes; and for streaming."""
    embedded = release.media_as == "embedded"
    opened = f'io.BytesIO(row["{kind}"]["bytes"])' if embedded else f'row["{kind}"]["path"]'
    used = (
        [_shown(kind, opened)] if embedded else [f"with fsspec.open({opened}) as file:", f"    {_shown(kind, 'file')}"]
    )
    how = "by torchcodec, if it works" if kind == "video" else "it"
    return [
        *_block([*(["import io", ""] if embedded else []), READERS[kind][0], *code, _shown(kind, opened)]),
        f"`{kind}` is not decoded: it has the {'bytes' if embedded else 'path'} of the file. "
        f'`rows.cast_column("{kind}", datasets.{kind.capitalize()}())` decodes {how}. A stream fetches what is used:',
        "",
        *_block(
            [
                *([] if embedded else ["import fsspec", ""]),
                f'rows = load_dataset(source, "{config}", split="{SPLITS[side_of(config)]}", streaming=True)',
                f'row = next(row for row in rows if row["{kind}"])',
                *used,
            ]
        ),
    ]


def _shards(kind: str, side: str, split: str, *, hub: bool) -> list[str]:
    """Return the code for media in tar shards."""
    files = ("hf://datasets/" if hub else "") + "{source}/media/" + side + "-*.tar"
    return [
        "The videos are in tar shards, one sample per video: its file, and a JSON file with all its items. To stream:",
        "",
        *_block(
            [
                "import io",
                "",
                READERS[kind][0],
                f'shards = {{"{split}": f"{files}"}}' + ("" if hub else "  # on the Hub: hf://datasets/ before it"),
                f'samples = load_dataset("webdataset", data_files=shards, split="{split}", streaming=True)',
                "sample = next(iter(samples.decode(False)))",
                'medium = next(sample[key] for key in sample if key != "json" and not key.startswith("__"))',
                'print(sample["json"]["items"][0]["prompt"])',
                _shown(kind, 'io.BytesIO(medium["bytes"])'),
            ]
        ),
        "Or unpack them in `media`, so that the paths in the rows are valid: "
        "`for f in media/*.tar; do tar -xf $f -C media; done`",
        "",
    ]


def _shown(kind: str, medium: str) -> str:
    return f"print({READERS[kind][1].format(medium)})"


def _block(code: Sequence[str]) -> list[str]:
    return ["```python", *code, "```", ""]
