"""Rows are dealt out from all parts in turn."""

import numpy as np
from hypothesis import given, strategies as st

from fastnn.distributed.proportion import dealt


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(any))
def test_every_row_is_dealt_once_and_none_is_taken_back(sizes):
    sizes = np.array(sizes)
    before = np.zeros(sizes.size, int)
    for count in range(sizes.sum() + 1):
        now = dealt(sizes, count)
        assert now.sum() == count
        assert (now >= before).all()
        before = now
    assert (before == sizes).all()


@given(st.integers(1, 9), st.integers(1, 30))
def test_parts_of_equal_size_give_a_row_each_in_turn(parts, size):
    sizes = np.full(parts, size)
    for count in range(parts * size + 1):
        assert (dealt(sizes, count) == [count // parts + (k < count % parts) for k in range(parts)]).all()


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=50), st.floats(0, 1))
def test_parts_give_in_proportion_to_their_sizes_whatever_these_are(sizes, part):
    sizes = np.array(sizes)
    count = int(part * sizes.sum())
    found = dealt(sizes, count)
    assert found.sum() == count
    assert (np.abs(found - sizes * count / sizes.sum()) <= sizes.size).all()
