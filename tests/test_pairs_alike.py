"""The banded search against comparing every pair, and what it does with crowds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whichland.curate import pairs
from whichland.curate.pairs import connected_components, near_duplicate_pairs, similar_batches


def crowd(seed: int, centres: int, count: int, flips: int) -> np.ndarray:
    """Hashes scattered around a few centres."""
    random = np.random.default_rng(seed)
    hashes = random.integers(0, 2**64, centres, dtype=np.uint64)[random.integers(0, centres, count)]
    for _ in range(flips):
        flipped = random.integers(0, 2, count, dtype=np.uint64)
        hashes ^= flipped << random.integers(0, 64, count, dtype=np.uint64)
    return hashes


def every_pair(hashes: np.ndarray, distance: int, tones: np.ndarray, tone: float) -> set[tuple[int, int]]:
    near = np.bitwise_count(hashes[:, None] ^ hashes[None]) <= distance
    near &= np.all(np.abs(tones[:, None] - tones[None]) <= tone, axis=2)
    return {(int(a), int(b)) for a, b in np.argwhere(near) if a < b}


@pytest.mark.parametrize("distance", [0, 1, 5, 12])
def test_finds_every_pair_even_where_buckets_are_cut_again(distance: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "BLOCK", 8)
    hashes = np.unique(crowd(distance, 6, 500, 1 + distance // 2))
    found = near_duplicate_pairs(hashes, distance)
    assert set(map(tuple, found.tolist())) == every_pair(hashes, distance, np.zeros((hashes.size, 1)), 1)
    if distance:
        assert len(found) > 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.01, 0.05, 0.3]))
def test_tones_narrow_the_search_without_losing_a_pair(seed: int, tone: float) -> None:
    hashes = np.unique(crowd(seed, 4, 120, 5))
    tones = np.random.default_rng(seed).uniform(0, 1, (hashes.size, 2)).round(2)
    found = near_duplicate_pairs(hashes, 8, tones, tone)
    assert set(map(tuple, found.tolist())) == every_pair(hashes, 8, tones, tone)


def test_equal_rows_are_linked_to_the_first() -> None:
    hashes = np.array([7, 0, 7, 7, 6], dtype=np.uint64)
    assert near_duplicate_pairs(hashes, 0).tolist() == [[0, 2], [0, 3]]
    assert near_duplicate_pairs(hashes, 1).tolist() == [[0, 2], [0, 3], [0, 4]]
    assert near_duplicate_pairs(hashes[:0], 4).shape == (0, 2)


def test_a_hundred_thousand_blank_images_are_linked_to_the_first() -> None:
    assert len(near_duplicate_pairs(np.zeros(100_000, dtype=np.uint64), 12)) == 99_999


def test_a_dense_crowd_of_different_hashes() -> None:
    hashes = np.unique(crowd(0, 3, 4000, 6))
    assert len(near_duplicate_pairs(hashes, 12)) > 1_000_000


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 4), st.sampled_from([0.01, 0.3]))
def test_closer_hashes_of_other_tones_are_found_to_the_last_pair(seed: int, bits: int, tone: float) -> None:
    hashes = np.unique(crowd(seed, 4, 120, 5))
    tones = np.random.default_rng(seed).uniform(0, 1, (hashes.size, 2)).round(2)
    closer = [(bits, 1.0), (bits + 1, 0.4), (bits + 3, 0.2)]
    found = near_duplicate_pairs(hashes, 8, tones, tone, closer)
    expected = set.union(*(every_pair(hashes, most, tones, widest) for most, widest in [(8, tone), *closer]))
    assert set(map(tuple, found.tolist())) == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize("bits", [0, 1, 4, 6, 7, 9])
def test_bands_find_every_pair_once(bits: int) -> None:
    hashes = np.unique(crowd(bits, 5, 300, 1 + bits // 2))
    found = [np.sort(part, axis=1) for part in pairs._in_bands(hashes, bits)]
    expected = every_pair(hashes, bits, np.zeros((hashes.size, 1)), 1)
    assert sorted(tuple(pair) for part in found for pair in part.tolist()) == sorted(expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_with_equal_hashes_the_components_are_those_of_all_pairs(seed: int) -> None:
    random = np.random.default_rng(seed)
    hashes = crowd(seed, 3, 40, 4)[random.integers(0, 40, 120)]
    tones = random.uniform(0, 1, (hashes.size, 2)).round(1)
    closer = [(1, 1.0), (3, 0.3), (5, 0.1)]
    expected = set.union(*(every_pair(hashes, bits, tones, tone) for bits, tone in [(8, 0.01), *closer]))
    found = near_duplicate_pairs(hashes, 8, tones, 0.01, closer)
    assert set(map(tuple, found.tolist())) <= expected
    alike = np.array(sorted(expected)).reshape(-1, 2)
    assert (connected_components(120, found) == connected_components(120, alike)).all()


def test_equal_hashes_of_other_tones_are_tied_where_any_tone_will_do() -> None:
    hashes, tones = np.array([7, 7, 0, 6, 7], dtype=np.uint64), np.array([[0.1], [0.9], [0.5], [0.3], [0.1]])
    assert near_duplicate_pairs(hashes, 12, tones, 0.01).tolist() == [[0, 4]]
    assert near_duplicate_pairs(hashes, 12, tones, 0.01, [(0, 1.0)]).tolist() == [[0, 1], [0, 4]]
    one = near_duplicate_pairs(hashes, 12, tones, 0.01, [(1, 1.0)]).tolist()
    assert one == [[0, 1], [0, 3], [0, 4], [1, 3]]


@pytest.mark.parametrize("block", [1, 7, 512])
def test_alike_features_are_those_of_all_pairs(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "FEATURES_AT_ONCE", block)
    features = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    features[7], features[30], features[31] = np.nan, 0, 3 * features[4]
    unit = features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-9)
    expected = {(a, b) for a, b in np.argwhere(unit @ unit.T >= 0.9).tolist() if a < b}
    found = np.concatenate(list(similar_batches(features, 0.9)))
    assert sorted(map(tuple, found.tolist())) == sorted(expected)
    assert (4, 31) in expected
    assert not np.isin(found, [7, 30]).any()
