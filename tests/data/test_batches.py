"""The batches of an epoch: every sample once, sizes that differ by one, and a chunk's are those of the whole."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from fastnn import BatchNorm, Identity, Layer
from fastnn.data.batches import Batches
from fastnn.layers.fitting import check_batches

COUNTS, SIZES = st.integers(1, 3000), st.integers(1, 300)


def starts(batches):
    return [batches.start(k) for k in range(batches.steps + 1)]


@given(COUNTS, SIZES)
def test_equal_batches_are_those_of_array_split(count, size):
    batches = Batches.equal(count, size)
    parts = np.array_split(np.arange(count), -(-count // size))
    assert starts(batches) == [*(int(part[0]) for part in parts), count]
    assert batches.largest == len(parts[0]) <= size
    assert batches.smallest == len(parts[-1]) >= batches.largest - 1


@given(COUNTS, SIZES)
def test_full_batches_leave_the_rest_to_a_last_one(count, size):
    batches = Batches.full(count, size)
    assert starts(batches) == [*range(0, count, size), count]
    assert (batches.largest, batches.smallest) == (min(size, count), (count - 1) % min(size, count) + 1)
    assert batches == Batches.of(count, size, False)


@given(COUNTS, SIZES, st.data())
def test_batches_that_follow_one_another_are_those_of_their_samples(count, size, data):
    whole = Batches.equal(count, size)
    first = data.draw(st.integers(0, whole.steps - 1))
    last = data.draw(st.integers(first + 1, whole.steps))
    chunk = Batches.equal(whole.start(last) - whole.start(first), size)
    assert [whole.start(first) + start for start in starts(chunk)] == starts(whole)[first : last + 1]


@pytest.mark.parametrize(("count", "size", "fits"), [(65, 64, True), (3, 2, False), (1, 64, False), (64, 1, False)])
def test_a_batch_of_one_is_left_only_where_it_must_be(count, size, fits):
    layers = [BatchNorm(), Layer(3, 1, Identity())]
    batches = Batches.equal(count, size)
    if fits:
        check_batches(layers, batches, size)
    else:
        with pytest.raises(ValueError, match=f"batch_size is {size} of {count} samples, which leaves a batch of 1, "):
            check_batches(layers, batches, size)
