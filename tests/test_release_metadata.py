"""What a release states about its tables: the columns in the card, the front matter, and the Croissant metadata."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from pydantic import ValidationError

from curate.release.tables import read_table, tables_of
from curate.release.verify import verify
from curate.shards.atomic import files_of
from pipelines.releasing import build
from schemas.release import MediaAs, ReleaseConfig
from tests.releases import CONFIG, folder_of, make_world, released

pytestmark = pytest.mark.slow

PACKAGINGS: tuple[MediaAs, ...] = ("files", "webdataset", "embedded", "none")


def tables(folder: Path) -> dict[str, str]:
    """Return config -> its first Parquet file."""
    names = [name for name in files_of(folder) if name.endswith(".parquet")]
    return {re.sub(r"(-\d+-of-\d+)?\.parquet$", "", name): name for name in reversed(names)}


def front_matter(folder: Path) -> dict[str, Any]:
    found = yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("media_as", PACKAGINGS)
def test_the_card_documents_exactly_the_columns_of_every_table(media_as: MediaAs) -> None:
    folder = released(media_as)
    section = (folder / "README.md").read_text(encoding="utf-8").split("\n## Columns\n")[1].split("\n## ")[0]
    documented: dict[str, list[str]] = {}
    for names, rows in re.findall(r"^Of ([^\n]*):\n\n(.*?)\n\n", section + "\n\n", re.DOTALL | re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            documented["metadata" if name == "media" else name] = re.findall(
                r"^\| `(\w+)` \| [^|]+ \| ..", rows, re.MULTILINE
            )
    assert documented == {name: pq.read_schema(folder / path).names for name, path in tables(folder).items()}


@pytest.mark.parametrize("media_as", PACKAGINGS)
def test_mlcroissant_reads_every_column_of_every_table(media_as: MediaAs) -> None:
    """It returns texts as bytes, paths of videos as texts, and names that begin with that of the record set."""
    import mlcroissant

    folder = released(media_as)
    dataset = mlcroissant.Dataset(jsonld=folder / "croissant.json")
    assert {found.id for found in dataset.metadata.record_sets} == set(tables(folder))
    for name in tables(folder):
        table = [read_table(folder / path) for path in tables_of(name, files_of(folder))]
        expected = [_as_record(row, name, media_as) for part in table for row in part.to_pylist()]
        assert list(dataset.records(name)) == expected, name


def _as_record(value: Any, name: str, media_as: MediaAs) -> Any:
    """Return a row of a table, or a value, as mlcroissant returns it. name: of the record set, or of the field."""
    if isinstance(value, dict):
        if set(value) == {"bytes", "path"}:
            return value["bytes"]
        return {f"{name}/{key}": _as_record(part, f"{name}/{key}", media_as) for key, part in value.items()}
    if isinstance(value, list):
        return [_as_record(part, name, media_as) for part in value]
    if name.endswith("/video") and media_as in ("files", "webdataset"):
        return value
    return value.encode() if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("media_as", "kind"), [("files", "VideoObject"), ("embedded", "VideoObject"), ("none", "Text")]
)
def test_videos_are_video_objects_if_the_release_has_them(media_as: MediaAs, kind: str) -> None:
    document = json.loads((released(media_as) / "croissant.json").read_text(encoding="utf-8"))
    (items,) = (found for found in document["recordSet"] if found["name"] == "benchmark")
    (video,) = (field for field in items["field"] if field["name"] == "video")
    assert video["dataType"] == f"sc:{kind}"
    objects = {entry["contentUrl"] for entry in document["distribution"] if entry["@type"] == "cr:FileObject"}
    if media_as == "files":
        assert objects >= set(read_column(released(media_as), "benchmark", "video"))


def read_column(folder: Path, config: str, column: str) -> list[str]:
    return [
        value
        for path in tables_of(config, files_of(folder))
        for value in pq.read_table(folder / path)[column].to_pylist()
        if value
    ]


def test_the_front_matter_has_what_the_hub_searches(tmp_path: Path) -> None:
    store, media = make_world(tmp_path)
    for licence, stated in (
        ("CC-BY-4.0", {"license": "cc-by-4.0"}),
        ("Lab licence 2", {"license": "other", "license_name": "lab-licence-2"}),
        ("", {}),
    ):
        config = CONFIG.model_copy(update={"licence": licence, "language": ("en", "yue") if licence else ()})
        folder = folder_of(build(store, out=tmp_path / f"out {licence}", config=config, media=media))
        found = front_matter(folder)
        assert {key: value for key, value in found.items() if key.startswith("license")} == stated
        assert found.get("language") == (["en", "yue"] if licence else None)
        assert found["task_categories"] == ["video-text-to-text"]
        assert found["size_categories"] == ["n<1K"]
        assert "video" in found["tags"]
        if importlib.util.find_spec("huggingface_hub"):
            from huggingface_hub import DatasetCard

            assert DatasetCard.load(folder / "README.md").data.to_dict() == found
        assert verify(folder).findings == ()


def test_the_card_does_not_guess_a_language() -> None:
    assert "| language of the texts | not stated |" in (released("files") / "README.md").read_text(encoding="utf-8")
    with pytest.raises(ValidationError):
        ReleaseConfig(language=("English",))
