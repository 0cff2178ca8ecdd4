"""Copies of videos: an edited copy is found under every edit, another video is not, and flat frames say nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.leakage import transformed, write
from benchmarks.near import pan
from curate.array_types import Float, Images
from curate.engine import LocalEngine
from curate.leakage.detect import Subject, find_leaks
from curate.media.copies import MAX_BITS, find_copies, frame_codes, matching_codes
from curate.media.fingerprints import BYTES, fingerprint, informative, pack, symmetries, unpack, vectors
from curate.media.probe import probe
from curate.release.leakage import limits_of
from curate.simulation.clips import RATE, draw_clip
from curate.simulation.scenes import draw_scenes
from schemas.leakage import LeakConfig

NEAR = LeakConfig().near_video
EDITS = [name for name, *_ in transformed(*np.zeros((2, 8, 16, 16, 3), dtype=np.uint8), 8)]


def scenery(number: int, frames: int = 32) -> Images:
    """(T, H, W, 3) a pan over a texture without black frames or bars."""
    return pan(3 * number + 2, frames, 108, 192)


Found = dict[str, bytes]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Name -> fingerprint of originals, and of ``EDIT~NAME`` of two of them."""
    folder = tmp_path_factory.mktemp("copies")
    scenes = draw_scenes(np.random.default_rng(0), 4)
    originals = {f"scenery{k}": scenery(k) for k in range(4)} | {f"scene{k}": draw_clip(scenes, k) for k in range(4)}
    made = {name: (frames, RATE, 18) for name, frames in originals.items()}
    for name, other in (("scenery0", "scenery1"), ("scene0", "scene1")):
        for edit, *copy in transformed(originals[name], originals[other], RATE):
            made[f"{edit}~{name}"] = (copy[0], copy[1], copy[2])
    return {name: probe(write(folder / f"{name}.mp4", *video)).fingerprint for name, video in made.items()}


def pairs(prints: dict[str, bytes], threshold: float = NEAR) -> set[tuple[str, str]]:
    names = list(prints)
    near = find_copies(list(prints.values()), threshold=threshold)
    return {(names[i], names[j]) for i, j in zip(near.left.tolist(), near.right.tolist(), strict=True)}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_copy_is_found_and_no_other_video_is(found: Found, edit: str) -> None:
    originals = {name: stored for name, stored in found.items() if "~" not in name}
    assert pairs(originals) == set()
    for name, other in (("scenery0", "scenery1"), ("scene0", "scene1")):
        near = {a for a, _ in pairs(originals | {"copy": found[f"{edit}~{name}"]})}
        assert name in near
        assert near <= {name, other} if edit in ("concatenated", "within another") else near == {name}


def test_workers_find_the_same_copies(found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.media.copies.PAIRS", 7)
    with LocalEngine(workers=2) as engine:
        one, two = (find_copies(list(found.values()), threshold=NEAR, engine=each) for each in (None, engine))
    assert len(one.left) > 20
    for column in ("left", "right", "distance"):
        assert getattr(one, column).tobytes() == getattr(two, column).tobytes()


def test_a_short_segment_of_a_long_video_is_found(tmp_path: Path) -> None:
    parts = [scenery(number) for number in range(12)]
    long = write(tmp_path / "long.mp4", np.concatenate(parts), RATE, 28)  # 48 seconds
    segment = write(tmp_path / "segment.mp4", parts[5][8:28, :, ::-1], RATE, 28)  # 2.5 seconds, mirrored
    other = write(tmp_path / "other.mp4", scenery(20), RATE, 28)
    prints = {path.stem: probe(path).fingerprint for path in (long, segment, other)}
    assert len(unpack(prints["long"])[1]) == 72
    assert pairs(prints) == {("long", "segment")}


def test_an_image_is_found_in_a_video_that_shows_it() -> None:
    film = scenery(0)
    still = pack(fingerprint((film[8][None] * 0.8).astype(np.uint8)), 0.0)
    assert find_copies([pack(fingerprint(film[::4]), 4.0), still], threshold=NEAR).left.tolist() == [0]


@pytest.mark.parametrize("image", [np.full((64, 64), 90), np.linspace(0, 250, 64 * 64).reshape(64, 64)])
def test_flat_frames_and_gradients_are_no_evidence(image: Float) -> None:
    frames = np.repeat(image.astype(np.uint8)[None, :, :, None], 8, axis=0).repeat(3, axis=3)
    stored = pack(fingerprint(frames), 4.0)
    assert not informative(vectors(unpack(stored)[1])).any()
    assert find_copies([stored, stored], threshold=NEAR).left.size == 0


def test_the_waves_of_mirrored_and_rotated_frames_follow_from_those_of_the_original() -> None:
    frame = scenery(1)[:1, :, :108]
    own = vectors(unpack(pack(fingerprint(frame), 0.0))[1])
    turned = [np.rot90(flipped, k, axes=(1, 2)) for flipped in (frame, frame[:, ::-1]) for k in range(4)]
    expected = [own[:, places] * signs for places, signs in zip(*symmetries(), strict=True)]
    matched = []
    for images in turned:
        found = vectors(unpack(pack(fingerprint(np.ascontiguousarray(images)), 0.0))[1])
        matched.append(int(np.argmin([np.abs(found - one).max() for one in expected])))
        assert np.linalg.norm(found - expected[matched[-1]]) < 0.05 * np.linalg.norm(found)
    assert sorted(matched) == list(range(8))


def test_the_waves_of_a_crop_follow_from_those_of_the_whole() -> None:
    frame = scenery(2)[:1]
    y, x = 11, 19
    cut = vectors(unpack(pack(fingerprint(frame[:, y:-y, x:-x]), 0.0))[1])
    span = ((y / 108, 1 - y / 108), (x / 192, 1 - x / 192))
    whole = unpack(pack(fingerprint(frame), 0.0))[1]
    one, other = (found / np.linalg.norm(found) for found in (cut, vectors(whole, span)))
    assert np.linalg.norm(one - other) < NEAR < np.linalg.norm(one - vectors(whole) / np.linalg.norm(vectors(whole)))


def test_the_code_of_a_frame_is_that_of_the_mirrored_rotated_inverted_and_gray_one() -> None:
    own = vectors(unpack(pack(fingerprint(scenery(3)[::8]), 4.0))[1])
    for places, signs in zip(*symmetries(), strict=True):
        assert frame_codes(-own[:, places] * signs).tolist() == frame_codes(own).tolist()


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 60))
def test_the_index_yields_the_pairs_of_the_plain_loop_once(seed: int, count: int, asked: int) -> None:
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 2**64, 5, dtype=np.uint64)
    noise = np.bitwise_and.reduce(rng.integers(0, 2**64, (4, count + asked), dtype=np.uint64))
    codes = base[rng.integers(0, 5, count + asked)] ^ noise
    left, right = codes[:count], codes[count:]
    got = Counter(pair for i, j in matching_codes(left, right) for pair in zip(i.tolist(), j.tolist(), strict=True))

    def is_candidate(a: int, b: int) -> bool:
        different = f"{a ^ b:064b}" * 2
        shared = any(different[8 * k : 8 * k + 24] == "0" * 24 for k in range(8))
        return shared and (a ^ b).bit_count() <= MAX_BITS

    expected = [(i, j) for i, a in enumerate(left.tolist()) for j, b in enumerate(right.tolist()) if is_candidate(a, b)]
    assert got == Counter(expected)
    close = [
        (i, j) for i, a in enumerate(left.tolist()) for j, b in enumerate(right.tolist()) if (a ^ b).bit_count() < 3
    ]
    assert set(close) <= set(expected)


# Leaks


def test_a_video_of_an_earlier_release_is_compared_by_its_hashes(found: Found) -> None:
    wave = (0b1111_0000_1111_0000_1111_0000_1111_0000,) * 24
    train = Subject("a", "one", "a.mp4", "aa", wave, found["scenery0"])
    other = Subject("b", "two", "b.mp4", "bb", wave, found["scenery1"])
    older = Subject("c", "two", "c.mp4", "cc", wave, release="bench-1.0.0")
    assert find_leaks([train], [other], LeakConfig()) == ()
    assert [leak.rule for leak in find_leaks([train], [older], LeakConfig())] == ["near video"]
    (note,) = limits_of([train, other, older])
    assert note.startswith("bench-1.0.0 is of an earlier version: 1 of its prompts")


def test_a_mirrored_benchmark_video_leaks_in_both_orders(found: Found) -> None:
    own = Subject("a", "one", "a.mp4", "aa", (), found["scenery0"])
    copy = Subject("b", "two", "b.mp4", "bb", (), found["mirrored~scenery0"])
    for train, benchmark in ((own, copy), (copy, own)):
        (leak,) = find_leaks([train], [benchmark], LeakConfig())
        assert (leak.rule, leak.train, leak.benchmark) == ("near video", train.prompt_id, benchmark.prompt_id)
        assert leak.distance is not None
        assert leak.distance < NEAR


@pytest.mark.parametrize("stored", [b"\0", bytes(4 + BYTES - 1), b"\0\0\xc0\x7f" + bytes(BYTES)])
def test_other_bytes_are_no_fingerprint(stored: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        unpack(stored)
