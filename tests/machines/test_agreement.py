"""What all that train together must agree on."""

import sys

import numpy as np
import pytest

from fastnn import Adam, BatchNorm, CosineDecay, Dropout, Identity, Layer, MSELoss, NeuralNetwork, Tanh
from fastnn.distributed import mpi
from fastnn.distributed.agreement import check_agreement, described

X, Y = np.ones((5, 2)), np.ones(5)


def network(width=4, rate=0.1, optimizer=None, stage=None, l2=0.0, **settings):
    layers = [Layer(2, width, Tanh(), l2=l2), stage or BatchNorm(), Layer(width, 1, Identity())]
    return NeuralNetwork(layers, MSELoss(), rate, optimizer or Adam(), **settings).engine


def test_parts_that_are_alike_agree_whatever_their_weights_and_rows_hold():
    check_agreement([described(network(), X, Y, seed=3), described(network(), np.zeros((9, 2)), np.zeros(9), seed=3)])


@pytest.mark.parametrize(
    ("other", "key"),
    [
        (lambda: described(network(5), X, Y, seed=3), "layers[0].outs is 4 on ranks 0, 2 but 5 on rank 1"),
        (lambda: described(network(l2=0.5), X, Y, seed=3), "layers[0].l2 is 0.0"),
        (lambda: described(network(stage=Dropout(0.5)), X, Y, seed=3), "layers[1] is 'BatchNorm'"),
        (lambda: described(network(stage=BatchNorm(momentum=0.5)), X, Y, seed=3), "layers[1].momentum is 0.1"),
        (lambda: described(network(dtype="float32"), X, Y, seed=3), "dtype is 'float64'"),
        (lambda: described(network(optimizer=Adam(beta1=0.5)), X, Y, seed=3), "optimizer.beta1 is 0.9"),
        (lambda: described(network(rate=0.2), X, Y, seed=3), "lr is 0.1"),
        (lambda: described(network(rate=CosineDecay(0.1, 9)), X, Y, seed=3), "lr is 0.1"),
        (lambda: described(network(clip_norm=1.0), X, Y, seed=3), "clip_norm is None"),
        (lambda: described(network(), X, Y, seed=4), "seed is 3 on ranks 0, 2 but 4 on rank 1"),
        (lambda: described(network(), X, Y), "seed is 3 on ranks 0, 2 but None on rank 1"),
        (lambda: described(network(), X[:, :1], Y, seed=3), "columns of X is 2 on ranks 0, 2 but 1 on rank 1"),
        (lambda: described(network(), X, np.ones((5, 3)), seed=3), "columns of y is 1 on ranks 0, 2 but 3 on rank 1"),
        (lambda: described(network(), X, Y.astype(int), seed=3), "kind of y is 'values'"),
        (lambda: described(network(), X[:0], Y[:0], seed=3), "X has no rows on rank 1"),
    ],
)
def test_what_differs_is_named_with_who_has_it(other, key):
    one = described(network(), X, Y, seed=3)
    with pytest.raises(ValueError, match=r"expected") as error:
        check_agreement([one, other(), one])
    assert key in str(error.value)


def test_others_than_ranks_have_names_of_their_own():
    one, other = (described(None, X, Y, batch_size=size) for size in (1, 2))
    with pytest.raises(ValueError, match="workers disagree: batch_size is 1 on worker a but 2 on worker b"):
        check_agreement([one, other], "worker", ["a", "b"])


def test_many_are_not_all_listed():
    parts = [described(None, X, Y, seed=int(k == 0)) for k in range(40)]
    with pytest.raises(ValueError, match=r"ranks 1, 2, 3, 4, 5, 6, 7, 8 and 31 more"):
        check_agreement(parts)


def test_a_network_that_no_file_could_keep_is_described_all_the_same():
    class Own(Tanh):
        def __init__(self):
            self.width = np.float64(2.0)

    a, b = (NeuralNetwork([Layer(2, n, Own())], MSELoss(), 0.1).engine for n in (1, 3))
    with pytest.raises(ValueError, match=r"layers\[0\]"):
        check_agreement([described(a, X, Y), described(b, X, Y)])


def test_what_is_missing_for_mpi_is_said(monkeypatch):
    net = NeuralNetwork([Layer(2, 1, Identity())], MSELoss(), 0.1)
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", None)
    with pytest.raises(ImportError, match=r"fastnn\.distributed\.mpi needs mpi4py mpich: pip install mpi4py mpich"):
        mpi.fit(net, X, Y)

    def found_none(*names):
        raise RuntimeError("cannot load MPI library")

    monkeypatch.setattr(mpi, "needs", found_none)
    with pytest.raises(ImportError, match=r"cannot load MPI library.*pip install mpich"):
        mpi.fit(net, X, Y)


def test_threads_are_shared_on_a_machine_unless_ranks_are_bound_or_the_user_says(monkeypatch):
    monkeypatch.setattr(mpi, "threads_are_set", lambda: False)
    monkeypatch.setattr(mpi, "get_num_threads", lambda: 8)
    all_cores = tuple(range(8))
    places = [("a", all_cores), ("a", all_cores), ("a", all_cores), ("b", all_cores)]
    assert [mpi.threads_beside(places, rank) for rank in range(4)] == [2, 2, 2, 8]
    assert mpi.threads_beside([("a", (0,))] * 20, 3) == 1
    assert mpi.threads_beside([("a", (0, 1)), ("a", (2, 3))], 0) is None
    monkeypatch.setattr(mpi, "threads_are_set", lambda: True)
    assert mpi.threads_beside(places, 0) is None
