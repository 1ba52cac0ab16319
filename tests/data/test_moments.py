"""Moments of parts, as many processes have them, against those of the whole."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from fastnn.data.moments import moments, standard

FLOAT64 = np.dtype(np.float64)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10**6), st.lists(st.integers(1, 20), min_size=1, max_size=5), st.sampled_from([1.0, 1e-150, 1e150])
)
def test_merged_moments_are_those_of_all_rows(seed, sizes, scale):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(sum(sizes), 3)) * scale * rng.uniform(0.01, 100, size=3) + scale * rng.normal(size=3)
    parts = np.split(rows, np.cumsum(sizes)[:-1])
    merged = moments([parts[0]], 3)
    for part in parts[1:]:
        merged = merged.and_of(moments([part], 3))
    made, wanted = merged.standard(FLOAT64), standard([rows], 3, FLOAT64)
    assert merged.size == len(rows)
    if len(rows) > 1:
        np.testing.assert_allclose(made.scale, wanted.scale, rtol=1e-6)
    np.testing.assert_allclose(made.mean, wanted.mean, rtol=1e-9, atol=1e-12 * scale)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e9, -3e-300])
def test_what_is_constant_in_all_parts_is_only_shifted(constant):
    parts = [moments([np.full((n, 1), constant)], 1) for n in (3, 1, 7)]
    made = parts[0].and_of(parts[1]).and_of(parts[2]).standard(FLOAT64)
    assert made.mean == constant
    assert made.scale == 1.0


def test_what_is_constant_in_each_part_varies_over_all():
    made = moments([np.zeros((4, 1))], 1).and_of(moments([np.full((4, 1), 6.0)], 1)).standard(FLOAT64)
    assert (made.mean, made.scale) == (3.0, 1 / 3)
