"""What the columns of a release's tables mean, for the card and the Croissant metadata."""

from __future__ import annotations

import pyarrow as pa

from curate.release.tables import MEDIA, PROMPTS, schema_in
from curate.shards.formats import derived_format
from schemas.items import ITEM_COLUMNS, ItemColumn
from schemas.release import MediaAs, Release

PLACES: dict[MediaAs, str] = {
    "files": "its path in this folder",
    "webdataset": "its path in this folder, once the tar shards are unpacked in media/",
    "embedded": "its bytes and file name",
    "none": "its name; it is not in the release",
}
"""What the columns video and image hold, by packaging."""
MEANINGS = {
    **{column.name: column.meaning for column in ITEM_COLUMNS},
    "media_sha256": "digest of the video's or image's bytes; null if they are not in the release",
    "video_file_name": "the same path as video, under the name that datasets loads it by",
    "image_file_name": "the same path as image, likewise",
    "media_name": "name of the video or image as ingested",
}
OWN_MEANINGS = {
    PROMPTS: {
        "split": "train or benchmark",
        "question": "its text; null if unknown",
        "votes": "number of its votes that the denoise run used",
        "annotators": "number of its annotators, anonymous ones counted as one",
        "responses": "number of its responses",
        "pairs_covered": "number of pairs of responses with a vote",
        "pairs_possible": "number of pairs of responses",
        "agreement": "mean Kendall tau-b between the ensemble's rankers; null for a single one",
        "expected_tau": "expected Kendall tau between its ranking and the true order; null if unknown",
    },
    MEDIA: {
        "split": "train or benchmark",
        "kind": "video or image",
        "bytes": "size of the file",
        "duration": "seconds; null for an image",
        "fps": "mean frames per second; null for an image",
        "width": "pixels",
        "height": "pixels",
        "frames": "number of frames",
        "codec": "of the video; null for an image",
        "phash": "perceptual hashes of frames, 16 hexadecimal digits each",
        "fingerprint": "waves of more frames, base64, by which edited copies are found; null in earlier versions",
    },
}


def columns_of(config: str, release: Release) -> list[ItemColumn]:
    """Return the columns of a config's table, in order."""
    derived = derived_format(config)
    own = OWN_MEANINGS.get(config, derived.meanings if derived else {})
    media_as = release.media_as
    packaging: MediaAs = "files" if media_as == "embedded" and config in OWN_MEANINGS else media_as
    place = {kind: f"the {kind} of the prompt: {PLACES[packaging]}; null if it has none" for kind in ("video", "image")}
    if packaging != media_as:
        place = {kind: f"name of the {kind} in the rows of the items; null if it has none" for kind in place}
    known = MEANINGS | place | dict(own)
    return [ItemColumn(field.name, _type(field.type), known[field.name]) for field in schema_in(release, config)]


def _type(kind: pa.DataType) -> str:
    """Return the type, as in ``schemas.items``."""
    if pa.types.is_list(kind):
        return f"list<{_type(kind.value_type)}>"
    return "float64" if pa.types.is_floating(kind) else str(kind)
