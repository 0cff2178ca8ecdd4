"""A release on the Hub: datasets and huggingface_hub load rows and media, as files and as a stream."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from curate.release.manifest import releases_in
from curate.release.tables import ITEM_CONFIGS, SPLITS, read_table, side_of, tables_of
from curate.release.verify import verify
from curate.shards.atomic import files_of
from pipelines.client_export import export_for
from pipelines.releasing import build
from schemas.errors import CurateError
from schemas.release import MediaAs
from tests.hub import Hub, serve
from tests.releases import folder_of, make_world, prompts, released, set_hashes, with_media
from tests.stores import make_store

pytestmark = pytest.mark.slow

REPOSITORY = "lab/tiny"
NOISY = (2**64 - 1, 2**63, 1)
"""Perceptual hashes that do not fit a signed integer."""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with serve() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("hub")
    store, media = make_world(home)
    set_hashes(store, media, {f"videos/{i}.mp4": NOISY[i:] or NOISY for i in range(4)})
    return folder_of(build(store, out=home / "releases", config=with_media("files"), media=media))


@pytest.fixture
def published(hub: Hub, folder: Path) -> Path:
    hub.repositories[REPOSITORY] = {name: (folder / name).read_bytes() for name in files_of(folder)}
    hub.requests.clear()
    return folder


def python(code: str, folder: Path, *, endpoint: str = "http://127.0.0.1:9", **inputs: Any) -> str:
    """Return what the code prints in a new process whose Hub is this endpoint. inputs: names that the code has.

    The process ends without closing its libraries: threads of pyarrow sometimes abort it then, after all is printed.
    """
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import json, os, sys\nglobals().update(json.loads(sys.argv[1]))\n{code}\nsys.stdout.flush()\nos._exit(0)",
            json.dumps(inputs),
        ],
        env={**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(folder / ".hf"), "HF_HUB_DISABLE_TELEMETRY": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


LOAD = """
import base64, fsspec
from datasets import get_dataset_config_names, load_dataset

def plain(row):
    medium = row.pop(kind)
    if isinstance(medium, dict):
        content = medium["bytes"]
        if content is None:
            with fsspec.open(medium["path"]) as file:
                content = file.read()
        medium = base64.b64encode(content).decode()
    return {**row, kind: medium}

found = {}
for config in get_dataset_config_names(repository):
    for split, rows in load_dataset(repository, config, streaming=streaming).items():
        assert getattr(rows.features[kind], "decode", False) is False
        found[config] = {"split": split, "rows": [plain(row) for row in rows]}
print(json.dumps(found))
"""


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_loads_every_config_from_the_hub_with_the_bytes_of_its_videos(
    hub: Hub, published: Path, tmp_path: Path, streaming: bool
) -> None:
    output = python(LOAD, tmp_path, endpoint=hub.url, repository=REPOSITORY, streaming=streaming, kind="video")
    loaded = json.loads(output.splitlines()[-1])
    expected = {path.name.split("-")[0].removesuffix(".parquet") for path in published.glob("*.parquet")}
    assert set(loaded) == {"media" if name == "metadata" else name for name in expected}
    for config, found in loaded.items():
        name = "metadata" if config == "media" else config
        assert found["split"] == ("rows" if config in ("media", "prompts") else SPLITS[side_of(config)])
        assert found["rows"] == [with_bytes(row, published, "video") for row in rows_of(published, name)], config
    videos = {name for name in hub.repositories[REPOSITORY] if name.startswith("media/")}
    assert hub.served(".mp4") == videos
    assert len(videos) == 4


def rows_of(folder: Path, config: str) -> list[dict[str, Any]]:
    frames = [pl.from_arrow(read_table(folder / path)) for path in tables_of(config, files_of(folder))]
    return pl.concat([frame for frame in frames if isinstance(frame, pl.DataFrame)]).to_dicts()


def with_bytes(row: dict[str, Any], folder: Path, kind: str) -> dict[str, Any]:
    """Return the row as datasets returns it, with the bytes of its video or image in place of the path."""
    path = row.pop(f"{kind}_file_name")
    return {**row, kind: base64.b64encode((folder / path).read_bytes()).decode() if path else None}


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_loads_embedded_videos_and_files_of_images(hub: Hub, tmp_path: Path, streaming: bool) -> None:
    store = make_store(
        tmp_path / "images.duckdb", [replace(p, video=p.video and p.video.replace("mp4", "png")) for p in prompts()]
    )
    for name in range(4):
        (tmp_path / "media" / "videos").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 24 + name), (9, 9, 9 * name)).save(tmp_path / "media" / "videos" / f"{name}.png")
    images = folder_of(build(store, out=tmp_path / "images", config=with_media("files"), media=tmp_path / "media"))
    assert '\ntask_categories: ["image-text-to-text"]\n' in (images / "README.md").read_text(encoding="utf-8")
    for kind, source in (("image", images), ("video", released("embedded"))):
        repository = f"lab/{kind}"
        hub.repositories[repository] = contents(source)
        output = python(LOAD, tmp_path, endpoint=hub.url, repository=repository, streaming=streaming, kind=kind)
        loaded = json.loads(output.splitlines()[-1])
        shown = 0
        for config in ITEM_CONFIGS:
            expected = rows_of(source, config)
            for row in expected:
                if kind == "video" and row["video"]:
                    row["video"] = base64.b64encode(row["video"]["bytes"]).decode()
            if kind == "image":
                expected = [with_bytes(row, source, kind) for row in expected]
            assert loaded[config]["rows"] == expected
            shown += sum(row[kind] is not None for row in expected)
        assert shown > 20
    lines = python(code_of(images), images.parent).splitlines()
    assert sum(bool(re.fullmatch(r"\(32, 2\d\)", line)) for line in lines) == 2


def test_the_hashes_of_noisy_clips_are_in_the_media_table_as_text(folder: Path) -> None:
    rows = {row["media_name"]: row["phash"] for row in rows_of(folder, "metadata")}
    assert rows["videos/0.mp4"] == ["ffffffffffffffff", "8000000000000000", "0000000000000001"]


@pytest.mark.parametrize("media_as", ["files", "embedded", "webdataset", "none"])
def test_the_code_of_the_card_runs_beside_the_folder(tmp_path: Path, media_as: MediaAs) -> None:
    store, media = make_world(tmp_path)
    folder = folder_of(build(store, out=tmp_path / "releases", config=with_media(media_as), media=media))
    lines = python(code_of(folder), folder.parent).splitlines()
    assert [line for line in lines if line.startswith("What?")]
    assert sum(bool(re.fullmatch(r"\d frames", line)) for line in lines) == {"none": 0, "webdataset": 1}.get(
        media_as, 2
    )


def test_the_code_of_the_card_runs_with_the_repository_that_the_config_names(hub: Hub, tmp_path: Path) -> None:
    for number, media_as in enumerate(("files", "webdataset")):
        store, media = make_world(tmp_path / media_as)
        config = with_media(media_as).model_copy(update={"repository": f"{REPOSITORY}{number}"})
        folder = folder_of(build(store, out=tmp_path / media_as / "releases", config=config, media=media))
        hub.repositories[f"{REPOSITORY}{number}"] = {name: (folder / name).read_bytes() for name in files_of(folder)}
        lines = python(code_of(folder), tmp_path, endpoint=hub.url).splitlines()
        assert sum(line.endswith(" frames") for line in lines) == 2 - number


def code_of(folder: Path) -> str:
    """Return the code of the card."""
    return "\n".join(re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL))


UPLOAD = """
from huggingface_hub import HfApi, snapshot_download
api = HfApi(token="hf_test")
api.create_repo(repository, repo_type="dataset")
api.upload_folder(repo_id=repository, repo_type="dataset", folder_path=source)
snapshot_download(repository, repo_type="dataset", local_dir=download, token="hf_test")
"""


def test_an_uploaded_export_is_loaded_and_a_download_of_it_is_valid(hub: Hub, folder: Path, tmp_path: Path) -> None:
    """The Hub adds a file, and huggingface_hub a folder; verify ignores both."""
    report = export_for(folder, client="hub", out=tmp_path / "out")
    assert report.media == 4
    assert contents(tmp_path / "out") == contents(folder)
    repository = "lab/uploaded"
    hub.repositories[repository] = {".gitattributes": b"*.mp4 filter=lfs\n"}
    python(
        UPLOAD,
        tmp_path,
        endpoint=hub.url,
        repository=repository,
        source=str(tmp_path / "out"),
        download=str(tmp_path / "in"),
    )
    assert {name: hub.repositories[repository][name] for name in contents(folder)} == contents(folder)
    assert (tmp_path / "in" / ".cache" / "huggingface").is_dir()
    assert (tmp_path / "in" / ".gitattributes").is_file()
    assert verify(tmp_path / "in").findings == ()
    assert [line.state for line in releases_in(tmp_path) if line.folder == "in"] == ["complete"]
    output = python(LOAD, tmp_path, endpoint=hub.url, repository=repository, streaming=False, kind="video")
    assert len(json.loads(output.splitlines()[-1])["benchmark"]["rows"]) == len(rows_of(folder, "benchmark"))


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files_of(folder)}


def test_the_hub_is_offered_no_card_that_hides_the_media(folder: Path, tmp_path: Path) -> None:
    old = Path(shutil.copytree(folder, tmp_path / "old"))
    card = old / "README.md"
    card.write_text(re.sub(r"  decode_num_threads: 0\n", "", card.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(CurateError, match="do not list the media"):
        export_for(old, client="hub", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
