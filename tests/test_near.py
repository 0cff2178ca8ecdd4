"""Perceptual hashes and near-duplicates: a copy is near, another video is not, and black frames say nothing."""

from __future__ import annotations

import io
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curate.array_types import Images
from curate.media.hashing import frame_hashes, split_views, view_hashes
from curate.media.near_duplicates import NEAR, hash_distance, near_duplicates, near_pairs
from curate.media.probe import probe
from curate.simulation.clips import draw_clip, write_clip
from curate.simulation.scenes import draw_scenes


def texture(seed: int, height: int = 90, width: int = 120) -> Images:
    """(1, H, W, 3) a picture of large waves of all colours."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))[None]


def hashed(images: Images) -> list[int]:
    return frame_hashes(images).tolist()


def jpeg(images: Images, quality: int) -> Images:
    memory = io.BytesIO()
    Image.fromarray(images[0]).save(memory, "JPEG", quality=quality)
    return np.asarray(Image.open(memory))[None]


# The hash


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 90)])
def test_a_flat_frame_has_no_bits(colour: tuple[int, int, int]) -> None:
    assert hashed(np.full((1, 72, 128, 3), colour, dtype=np.uint8)) == [0]


def test_no_wave_is_both_above_and_below_zero() -> None:
    for hash_ in hashed(np.concatenate([texture(seed) for seed in range(20)])):
        assert hash_ >> 32 & hash_ & 0xFFFFFFFF == 0
        assert hash_.bit_count() > 16


@pytest.mark.parametrize("seed", range(5))
def test_a_picture_encoded_scaled_or_lit_anew_stays_near(seed: int) -> None:
    images = texture(seed)
    copies = {
        "jpeg": jpeg(images, 30),
        "large": np.asarray(Image.fromarray(images[0]).resize((640, 480)))[None],
        "small": np.asarray(Image.fromarray(images[0]).resize((48, 36)))[None],
        "bright": (images * 0.8 + 40).astype(np.uint8),
        "cropped": images[:, 2:-2, 2:-2],
    }
    apart = {name: hash_distance(hashed(images), hashed(copy)) for name, copy in copies.items()}
    assert max(apart.values()) <= NEAR, apart
    assert min(hash_distance(hashed(images), hashed(texture(other))) for other in range(50, 80)) > NEAR


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("share", [0.03, 0.045, 0.06, 0.07])
def test_a_picture_whose_border_was_cut_off_is_near_to_the_whole_either_way_round(seed: int, share: float) -> None:
    images = texture(seed, 360, 480)
    y, x = round(share * 360), round(share * 480)
    both = [view_hashes(jpeg(one, 60)).tolist() for one in (images, images[:, y:-y, x:-x])]
    assert near_duplicates(both).left.tolist() == [0]
    for one, other in (both, both[::-1]):
        near = near_duplicates([one], [other])
        assert (near.left.tolist(), near.right.tolist()) == ([0], [0])
    others = [view_hashes(texture(other, 360, 480)).tolist() for other in range(50, 70)]
    assert near_duplicates(both, others).left.size == 0


def test_the_first_view_is_the_whole_frame_and_what_was_hashed_without_views_is_compared_by_it() -> None:
    films = [np.concatenate([texture(8 * film + frame) for frame in range(8)]) for film in range(3)]
    seen = [view_hashes(film).tolist() for film in films]
    old = [frame_hashes(film).tolist() for film in films]
    assert [split_views(one)[0] for one in seen] == [tuple(one) for one in old]
    assert [len(split_views(one)) for one in (*seen, *old)] == [3, 3, 3, 1, 1, 1]
    near = near_duplicates(seen, old)
    assert (near.left.tolist(), near.right.tolist(), near.distance.tolist()) == ([0, 1, 2], [0, 1, 2], [0.0] * 3)
    assert near_duplicates(seen).left.size == 0


def test_pictures_that_differ_in_colour_alone_are_apart() -> None:
    left_red, left_blue = np.full((2, 1, 64, 64, 3), 20, dtype=np.uint8)
    left_red[:, 8:56, 4:28], left_red[:, 8:56, 36:60] = (250, 0, 0), (0, 128, 0)  # equally bright, almost
    left_blue[:, 8:56, 4:28], left_blue[:, 8:56, 36:60] = (0, 128, 0), (250, 0, 0)
    assert hash_distance(hashed(left_red), hashed(left_blue)) > NEAR


def test_video_files_encoded_twice_are_near_and_others_are_not(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("clips")
    scenes = draw_scenes(np.random.default_rng(3), 6)
    phashes = []
    for video in range(6):
        frames = draw_clip(scenes, video)
        write_clip(folder / f"{video}.mp4", frames)
        dim = np.asarray([Image.fromarray(x).resize((96, 96)) for x in (frames * 0.8).astype(np.uint8)])
        write_clip(folder / f"{video}-copy.mp4", dim)
        phashes += [probe(folder / f"{video}.mp4").phash, probe(folder / f"{video}-copy.mp4").phash]
    found = near_duplicates(phashes)
    assert list(zip(found.left.tolist(), found.right.tolist(), strict=True)) == [(2 * v, 2 * v + 1) for v in range(6)]


# The pairs

BLACK = 0
PICTURES = [int(x) for x in frame_hashes(np.concatenate([texture(seed) for seed in range(8)]))]


def test_videos_that_share_only_black_frames_are_apart() -> None:
    one, other = [BLACK] * 6 + PICTURES[0:2], [BLACK] * 6 + PICTURES[2:4]
    assert near_pairs([one, other, [BLACK] * 8, [BLACK] * 8]).left.size == 0
    assert near_pairs([one, list(one)]).distance.tolist() == [0.0]


def test_a_black_frame_beside_a_picture_speaks_against() -> None:
    whole = PICTURES
    assert hash_distance(whole, [BLACK] * 4 + whole[4:]) > NEAR


def test_few_bits_are_no_evidence() -> None:
    assert near_pairs([[0b111], [0b111]]).left.size == 0
    assert near_pairs([[0b111], [0b111]], min_bits=3).left.size == 1


def test_videos_images_and_what_has_no_hashes_are_not_compared_with_each_other() -> None:
    found = near_pairs([PICTURES, PICTURES[:1], [], PICTURES, PICTURES[:1], []], min_bits=1)
    assert list(zip(found.left.tolist(), found.right.tolist(), strict=True)) == [(0, 3), (1, 4)]


def test_others_are_compared_with_all() -> None:
    found = near_pairs([PICTURES[:4], PICTURES[4:]], [PICTURES[4:], PICTURES[:4], PICTURES[4:]])
    assert list(zip(found.left.tolist(), found.right.tolist(), strict=True)) == [(0, 1), (1, 0), (1, 2)]


def test_nothing_has_no_pairs() -> None:
    assert near_pairs([]).distance.size == 0
    assert near_pairs([PICTURES], []).distance.size == 0


@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 40),
    st.sampled_from([1, 2, 8]),
    st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0]),
)
def test_the_pairs_are_those_of_the_plain_loop(seed: int, count: int, frames: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    few = rng.integers(0, 2**64, (4, frames), dtype=np.uint64, endpoint=False)  # a few videos, and noisy copies
    noise = np.bitwise_and.reduce(rng.integers(0, 2**64, (4, count, frames), dtype=np.uint64, endpoint=False))
    phashes = (few[rng.integers(0, 4, count)] ^ noise * rng.integers(0, 2, (count, 1), dtype=np.uint64)).tolist()
    slow = [
        (i, j) for i, j in combinations(range(count), 2) if hash_distance(phashes[i], phashes[j]) <= threshold + 1e-12
    ]
    found = near_pairs(phashes, threshold=threshold, min_bits=1)
    assert list(zip(found.left.tolist(), found.right.tolist(), strict=True)) == slow
    exact = [hash_distance(phashes[i], phashes[j]) for i, j in slow]
    assert found.distance == pytest.approx(exact)


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 2**64, (50, 8), dtype=np.uint64)
    phashes = np.concatenate([hashes, hashes[::-1]]).tolist()
    whole = near_pairs(phashes)
    monkeypatch.setattr("curate.media.near_duplicates.BLOCK", 7)
    parts = near_pairs(phashes)
    assert whole.left.tolist() == parts.left.tolist() == list(range(50))
    assert whole.right.tolist() == parts.right.tolist() == list(range(99, 49, -1))
