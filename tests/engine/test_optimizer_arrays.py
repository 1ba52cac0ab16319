"""What an optimiser keeps lies in memory of its own, aligned and writable, whatever way it came in."""

import copy
import pickle
import tempfile

import numpy as np
import pytest
from networks import bits, classifier

from fastnn import Adam
from fastnn.kernels.cpu import VECTOR_BYTES


def trained():
    net, X, y = classifier(optimizer=Adam(), lr=0.01)
    net.fit(X, y, epochs=2, seed=0, verbose=0)
    return net, X, y


def out_of_band(net):
    buffers = []
    data = pickle.dumps(net, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(data, buffers=[bytes(buffer.raw()) for buffer in buffers])


def mapped(net):
    joblib = pytest.importorskip("joblib")
    with tempfile.TemporaryDirectory() as folder:
        joblib.dump(net, f"{folder}/net")
        return joblib.load(f"{folder}/net", mmap_mode="r")


def other_padding(net):
    """As it comes from a processor with other vectors."""
    state = net.engine.state
    values = {**vars(state), "_numbers": tuple(np.pad(a, ((0, 0), (0, 0), (0, 24))) for a in state.numbers)}
    twin = copy.deepcopy(net)
    twin.engine.state.__setstate__({**values, "optimizer": twin.optimizer, "layers": list(twin.layers)})
    return twin


@pytest.mark.parametrize("way", [copy.deepcopy, out_of_band, mapped, other_padding])
def test_whatever_way_it_came_in(way):
    net, X, y = trained()
    twin = way(net)
    state = twin.engine.state
    assert len(state.numbers) == 2
    for array in state.numbers:
        assert array.flags.writeable
        assert array.flags.c_contiguous
        assert array.ctypes.data % VECTOR_BYTES == 0
    for one in (net, twin):
        one.fit(X, y, epochs=3, seed=1, verbose=0)
    assert bits(twin) == bits(net)


def test_what_is_assigned_is_copied():
    net, X, y = trained()
    state = net.engine.state
    places, steps = state.numbers, state.steps
    given = [np.full(array.shape, 0.5) for array in places]
    for array in given:
        array.flags.writeable = False
    state.numbers = given
    state.steps = 7
    assert state.numbers is places
    assert state.steps is steps
    assert steps[0] == 7
    net.fit(X, y, epochs=2, seed=0, verbose=0)
    assert all(np.all(array == 0.5) for array in given)
    with pytest.raises(ValueError, match="numbers holds 1 arrays; expected 2"):
        state.numbers = given[:1]
    with pytest.raises(TypeError):
        state.numbers[0] = given[0]
    with pytest.raises(ValueError, match="broadcast"):
        state.numbers = [given[0][:, :1], given[1][:, :2]]
