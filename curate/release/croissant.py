"""croissant.json: the metadata of a release in the Croissant format of MLCommons (1.0), and their validation."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.release.columns import columns_of
from curate.release.tables import MEDIA, PROMPTS, loader_version, schema_in
from curate.shards.atomic import publish_file
from schemas.items import ItemColumn
from schemas.release import Release, ReleaseConfig

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The standard JSON-LD context of Croissant 1.0."""
FORMATS = {
    ".parquet": "application/x-parquet",
    ".jsonl": "application/jsonlines",
    ".csv": "text/csv",
    ".tar": "application/x-tar",
    ".mp4": "video/mp4",
}


def croissant(release: Release, config: ReleaseConfig, configs: Sequence[str]) -> str:
    """Return the JSON-LD document.

    The version is the digest as three numbers, since Croissant requires such a version; alternateName has name and
    digest. release: without the files that state its version.
    """
    document: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": release.name,
        "alternateName": f"{release.name}-{release.version}",
        "description": config.description or "Ranked responses to questions about videos: training data and benchmark.",
        "version": loader_version(release.version),
        **({"license": config.licence} if config.licence else {}),
        **({"url": config.url} if config.url else {}),
        **({"inLanguage": list(config.language)} if config.language else {}),
        **({"citeAs": config.citation} if config.citation else {}),
        **({"datePublished": config.date} if config.date else {}),
        **({"creator": [{"@type": "sc:Person", "name": name} for name in config.creators]} if config.creators else {}),
        "distribution": [*_files(release), *(_file_set(name) for name in configs)],
        "recordSet": _record_sets(release, configs),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def outline(document: Mapping[str, Any]) -> str:
    """Return a digest of the document without versions and the digests and sizes of files."""
    kept = {key: value for key, value in document.items() if key not in ("version", "alternateName")}
    kept["distribution"] = [
        {
            key: value
            for key, value in entry.items()
            if key != "sha256" and not (key == "contentSize" and re.fullmatch(r"\d+ B", str(value)))
        }
        for entry in document.get("distribution", [])
    ]
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()


def _files(release: Release) -> list[dict[str, Any]]:
    """Return every file with its digest."""
    return [
        {
            "@type": "cr:FileObject",
            "@id": file.path,
            "name": file.path,
            "contentUrl": file.path,
            "contentSize": f"{file.bytes} B",
            "encodingFormat": FORMATS.get("." + file.path.rpartition(".")[2].lower(), "application/octet-stream"),
            "sha256": file.sha256,
        }
        for file in release.files
    ]


def _file_set(config: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"{config}-shards",
        "name": f"{config}-shards",
        "encodingFormat": FORMATS[".parquet"],
        "includes": f"{config}-*.parquet",
    }


def _record_sets(release: Release, configs: Sequence[str]) -> list[dict[str, Any]]:
    paths = {file.path for file in release.files}
    tables = [name for name in (PROMPTS, MEDIA) if f"{name}.parquet" in paths]
    sources = {config: {"fileSet": {"@id": f"{config}-shards"}} for config in configs}
    sources |= {table: {"fileObject": {"@id": f"{table}.parquet"}} for table in tables}
    found = []
    for name, source in sources.items():
        types = {column.name: column.type for column in schema_in(release, name)}
        columns = columns_of(name, release)
        fields = [_field(name, column, types[column.name], source, release) for column in columns]
        found.append({"@type": "cr:RecordSet", "@id": name, "name": name, "field": fields})
    return found


def _field(
    record_set: str, column: ItemColumn, kind: pa.DataType, source: dict[str, Any], release: Release
) -> dict[str, Any]:
    inner = kind.value_type if pa.types.is_list(kind) else kind
    field = {
        "@type": "cr:Field",
        "@id": f"{record_set}/{column.name}",
        "name": column.name,
        "description": column.meaning,
        **({"repeated": True} if pa.types.is_list(kind) else {}),
    }
    extract = {**source, "extract": {"column": column.name}}
    if column.name in ("video", "image"):
        return field | _medium(column.name, kind, extract, release)
    if pa.types.is_struct(inner):
        parts = [
            {
                "@type": "cr:Field",
                "@id": f"{record_set}/{column.name}/{part.name}",
                "name": part.name,
                "dataType": _data_type(part.type),
                "source": {**extract, "transform": {"jsonPath": part.name}},
            }
            for part in inner
        ]
        return field | {"subField": parts}
    return field | {"dataType": _data_type(inner), "source": extract}


def _medium(name: str, kind: pa.DataType, extract: dict[str, Any], release: Release) -> dict[str, Any]:
    """Return type and source of the column video or image.

    A path of a video is that of a FileObject, or in tar shards. mlcroissant takes only bytes for an image.
    """
    if pa.types.is_struct(kind):
        data_type = "sc:VideoObject" if name == "video" else "sc:ImageObject"
        return {"dataType": data_type, "source": {**extract, "transform": {"jsonPath": "bytes"}}}
    is_file = name == "video" and release.media_as in ("files", "webdataset")
    return {"dataType": "sc:VideoObject" if is_file else "sc:Text", "source": extract}


def _data_type(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"


def validate(path: Path, document: Mapping[str, Any], notes: list[str], validated: Path | None) -> str:
    """Return the error of mlcroissant; empty if the metadata are valid or were not validated, which is noted.

    validated: a file with the outline of the last valid metadata. Metadata that differ from them only in versions,
    digests and sizes are not validated again.
    """
    if find_spec("mlcroissant") is None:
        notes.append("croissant.json was not validated: mlcroissant is not installed")
        return ""
    known = f"{outline(document)} mlcroissant {metadata.version('mlcroissant')}\n"
    if validated is not None and validated.is_file() and validated.read_text(encoding="utf-8") == known:
        return ""
    problem = _validation_error(path)
    if not problem and validated is not None:
        publish_file(validated, known.encode())
    return problem


def _validation_error(path: Path) -> str:
    """Return the error of mlcroissant; empty if the file is valid."""
    import mlcroissant

    level = logging.getLogger("absl").level
    logging.getLogger("absl").setLevel(logging.ERROR)  # recommendations are not errors
    try:
        mlcroissant.Dataset(jsonld=path)
    except (mlcroissant.ValidationError, ValueError, KeyError) as error:
        return " ".join(str(error).split())
    finally:
        logging.getLogger("absl").setLevel(level)
    return ""
