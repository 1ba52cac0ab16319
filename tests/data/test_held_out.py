"""Which samples validation_split holds out."""

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

from fastnn.data.held_out import held_out_rows, missing, shares
from fastnn.data.tables import READ_NUMBERS, SomeRows, SparseRows

PARTS = st.floats(0.01, 0.99)


def parted(count, part, seed, classes=None):
    """The two parts, which are checked for what holds of all of them; None where one would be empty."""
    if not 0 < round(count * part) < count:
        with pytest.raises(ValueError, match="leaves one side empty"):
            held_out_rows(count, part, seed, classes)
        return None
    kept, held = held_out_rows(count, part, seed, classes)
    assert np.array_equal(np.sort(np.concatenate([kept, held])), np.arange(count))
    assert all(np.all(np.diff(rows) > 0) for rows in (kept, held))
    assert held.size == round(count * part)
    return kept, held


@given(st.integers(1, 400), PARTS, st.integers(0, 2**63 - 1))
def test_every_sample_is_in_one_part_and_a_seed_repeats(count, part, seed):
    found = parted(count, part, seed)
    if found is not None:
        again = held_out_rows(count, part, seed)
        assert all(np.array_equal(a, b) for a, b in zip(found, again))


@given(st.integers(2, 400), PARTS)
def test_without_a_seed_it_is_the_end(count, part):
    found = parted(count, part, None, np.zeros(count, int))
    if found is not None:
        assert found[1].tolist() == list(range(count - round(count * part), count))


@settings(max_examples=300)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), PARTS, st.integers(0, 2**62))
@example([2] * 5, 0.9, 0)
@example([1] * 10, 0.5, 0)
@example([1] * 100 + [1000], 0.3, 1)
def test_each_class_gives_its_part(counts, part, seed):
    counts = np.array(counts)
    classes = np.random.default_rng(seed).permutation(np.repeat(np.arange(counts.size) * 3, counts))
    found = parted(classes.size, part, seed, classes)
    if found is None:
        return
    held = found[1]
    given_, wanted = np.array([(classes[held] == 3 * c).sum() for c in range(counts.size)]), held.size
    if np.sum(counts - 1) >= wanted:  # a class of one stays, and of all others some do
        assert np.all(given_ <= counts - 1)
        if np.sum(counts > 1) <= wanted:
            assert np.all(given_[counts > 1] >= 1)
            assert missing(classes, found, seed).count("for training") == 0
    big = counts * part >= 1
    if np.all(big) and np.all(counts * (1 - part) >= 1):
        assert np.all(np.abs(given_ - counts * wanted / classes.size) <= 1 + 1e-9)


def test_the_shares_of_many_rare_classes_are_found_at_once():
    counts = np.concatenate([np.ones(50_000, int), np.full(2000, 2), [100_000]])
    taken = shares(counts, 30_000, np.arange(counts.size))
    assert taken.sum() == 30_000
    assert np.all(taken[:50_000] == 0)
    assert np.all(taken[50_000:52_000] == 1)
    assert shares(np.full(1000, 2), 100, np.arange(1000)).sum() == 100  # not one for each


def test_every_sample_is_as_likely_as_any_other():
    classes = np.repeat([0, 1], [10, 20])
    times = np.zeros(30)
    for seed in range(1500):
        times[held_out_rows(30, 0.2, seed, classes)[1]] += 1
    expected = 1500 * 0.2
    assert sum((times - expected) ** 2 / expected) < 60  # chi squared, with some 28 degrees of freedom
    other = np.zeros(30)
    for seed in range(1500):
        other[held_out_rows(30, 0.2, seed)[1]] += 1
    assert sum((other - expected) ** 2 / expected) < 60


def test_odd_samples_go_to_no_class_more_than_to_another():
    classes = np.arange(100) % 10  # ten of each, of which a fifth of a sample more is due than there is
    most = [np.bincount(classes[held_out_rows(100, 0.25, seed, classes)[1]]) for seed in range(400)]
    assert set(np.unique(most)) == {2, 3}
    assert np.all(np.abs(np.mean(most, axis=0) - 2.5) < 0.15)


def test_the_draw_is_that_of_other_machines_and_versions():
    assert held_out_rows(20, 0.3, 7)[1].tolist() == [7, 9, 12, 13, 17, 18]
    assert held_out_rows(20, 0.3, 7, np.arange(20) // 10)[1].tolist() == [3, 7, 9, 12, 13, 17]


def test_missing_classes_are_named():
    classes = np.array([0, 0, 0, 4, 5, 5])
    sides = np.array([0, 1, 3]), np.array([2, 4, 5])
    sentence = missing(classes, sides, 0)
    assert "no sample of class 5 for training and no sample of class 4 for validation" in sentence
    assert missing(classes, (np.arange(6), np.arange(6)), 0) == ""
    assert missing(None, sides, 0) == ""
    assert "0, 1, 2, 3, 4, 5, 6, 7 and 12 more for validation" in missing(np.arange(20), (np.arange(20), []), 0)


class Sliceable:
    """Rows that only come by slices, as those of HDF5 files."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.most = array, array.shape, array.dtype, 0

    def __getitem__(self, which):
        assert isinstance(which, slice)
        found = self.array[which]
        self.most = max(self.most, found.size)
        return found


@pytest.mark.parametrize("width", [None, 1, 3, READ_NUMBERS // 7, READ_NUMBERS + 1])
def test_some_rows_of_what_gives_slices(width):
    shape = (20,) if width is None else (20, width)
    array = np.arange(20 * (width or 1), dtype=np.float32).reshape(shape)
    rows = np.array([0, 1, 5, 6, 7, 13, 19])
    lazy = Sliceable(array)
    some = SomeRows(lazy, rows)
    assert some.shape == (7, *shape[1:])
    np.testing.assert_array_equal(some[:], array[rows])
    np.testing.assert_array_equal(some[2:5], array[rows[2:5]])
    assert some[7:].shape == (0, *shape[1:])
    assert lazy.most <= max(READ_NUMBERS, width or 1)
    np.testing.assert_array_equal(SomeRows(array, rows)[1:6], array[rows[1:6]])


def test_some_rows_of_a_sparse_matrix():
    sparse = pytest.importorskip("scipy.sparse")
    dense = np.random.default_rng(0).normal(size=(20, 3)) * (np.arange(60).reshape(20, 3) % 3 == 0)
    rows = np.array([2, 3, 11, 19])
    for kind in (sparse.csr_matrix, sparse.csc_array, sparse.coo_matrix):
        np.testing.assert_array_equal(SomeRows(SparseRows(kind(dense), "X"), rows)[1:], dense[rows[1:]])
