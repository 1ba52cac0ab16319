"""Networks of a bank that train in the lanes of vectors: with the bits, the histories and the ends of each alone."""

import _thread
import contextlib
import copy
import threading
import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import fastnn
from fastnn import (
    SGD,
    Adam,
    AdamW,
    CosineDecay,
    CrossEntropyLoss,
    HuberLoss,
    Identity,
    Layer,
    LeakyReLU,
    MSELoss,
    NAdam,
    NetworkBank,
    NeuralNetwork,
    ReLU,
    RMSprop,
    Sigmoid,
    Softplus,
    Tanh,
)
from fastnn.engine.lanes import MOST_NUMBERS, Lanes, enough, likeness
from fastnn.kernels import special
from fastnn.kernels.cpu import lanes

LANES = {dtype: lanes(dtype) for dtype in ("float32", "float64")}
pytestmark = pytest.mark.skipif(LANES["float64"] < 4, reason="vectors are short here")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """The kernel is compiled without waiting for a fit that repays it."""
    monkeypatch.setattr(special, "when", "always")


@pytest.fixture
def calls(monkeypatch):
    """How many networks each call of the lanes' kernel had."""
    counts = []
    train = Lanes.train

    def spy(self, plans, *others):
        counts.append(len(plans))
        train(self, plans, *others)

    monkeypatch.setattr(Lanes, "train", spy)
    return counts


def make(seed, sizes=(3, 7, 2), act=Tanh, loss=MSELoss, lr=0.01, optimizer=Adam, dtype="float32", clip=None, **layer):
    ends = list(zip(sizes, sizes[1:]))
    layers = [
        Layer(a, b, act() if i < len(ends) - 1 else Identity(), seed=100 * seed + i, **layer)
        for i, (a, b) in enumerate(ends)
    ]
    return NeuralNetwork(layers, loss(), lr, optimizer(), dtype=dtype, clip_value=clip)


def data(n, ins, outs, classes=False, seed=0):
    r = np.random.default_rng(seed)
    y = r.integers(0, outs, n) if classes else r.normal(size=(n, outs))
    return r.normal(size=(n, ins)), y


def same(one, other):
    arrays = [(a, b) for la, lb in zip(one.get_weights(), other.get_weights()) for a, b in zip(la, lb)]
    for a, b, layer in zip(one.engine.state.numbers, other.engine.state.numbers, one.layers):
        arrays.append((a[..., : layer.outs], b[..., : layer.outs]))  # behind them is padding
    arrays += [(one.engine.state.steps, other.engine.state.steps), (one.engine.state.epochs, other.engine.state.epochs)]
    return all(np.array_equal(a, b) for a, b in arrays)


def check(nets, X, y, calls, expect=True, **fit):
    """A bank of these and each alone end alike; `expect` says whether in lanes."""
    twins = copy.deepcopy(nets)
    bank = NetworkBank(nets)
    bank.fit(X, y, threads=1, verbose=0, seed=5, **fit)
    assert bool(calls) is expect
    for k, twin in enumerate(twins):
        history = twin.fit(X, y, verbose=0, seed=5 + k, **fit)
        assert same(bank[k], twin), k
        assert bank.histories[k] == history or dict(bank.histories[k]) == dict(history)
        assert bank.histories[k].epoch == history.epoch


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=4), st.sampled_from(["float32", "float64"]),
    st.sampled_from([SGD, Adam, RMSprop, NAdam, AdamW, lambda: SGD(momentum=0.9)]),
    st.sampled_from([Tanh, ReLU, LeakyReLU, Sigmoid, Softplus]), st.integers(2, 40), st.integers(2, 13),
    st.booleans(), st.integers(0, 3),
)  # fmt: skip
def test_random_networks_end_with_the_bits_they_have_alone(sizes, dtype, optimizer, act, n, batch, shuffle, missing):
    count = LANES[dtype] - min(missing, LANES[dtype] // 4)
    nets = [make(k, sizes, act, HuberLoss, 0.003 * (k + 1), optimizer, dtype) for k in range(count)]
    with pytest.MonkeyPatch.context() as patch:
        seen, train = [], Lanes.train
        patch.setattr(Lanes, "train", lambda self, plans, *others: (seen.append(1), train(self, plans, *others)))
        check(nets, *data(n, sizes[0], sizes[-1]), seen, epochs=3, batch_size=batch, shuffle=shuffle)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "layer", [{"l2": 0.01}, {"l1": 0.003, "l2": 0.01}, {"parametrization": "ntk"}, {"lr_factor": 3.0}]
)
def test_penalties_and_factors(layer, dtype, calls):
    nets = [make(k, (5, 9, 3), dtype=dtype, **layer) for k in range(LANES[dtype])]
    check(nets, *data(37, 5, 3), calls, epochs=3, batch_size=8)


def test_penalties_of_each_its_own(calls):
    nets = [make(k, (5, 9, 3), l2=0.001 * k) for k in range(LANES["float32"])]
    check(nets, *data(37, 5, 3), calls, epochs=3, batch_size=8)


@pytest.mark.parametrize(
    "fit",
    [
        {"sample_weight": np.linspace(0, 2, 41)},
        {"class_weight": "balanced"},
        {"batch_size": 256},
        {"batch_size": 1, "expect": False},
        {"metrics": ["accuracy"], "expect": False},
        {"validation_split": 0.25, "expect": False},
        {"callbacks": [fastnn.EarlyStopping("loss", patience=1)], "expect": False},
    ],
    ids=lambda fit: next(iter(fit)),
)
def test_what_a_fit_is_told(fit, calls):
    nets = [make(k, (4, 6, 3), loss=CrossEntropyLoss) for k in range(LANES["float32"])]
    X, y = data(41, 4, 3, classes=True)
    expect = fit.pop("expect", True) if "expect" in fit else True
    if "validation_split" in fit or "callbacks" in fit:  # what is held out alone is drawn under another seed
        bank = NetworkBank(nets)
        bank.fit(X, y, epochs=3, threads=1, verbose=0, seed=5, **fit)
        assert not calls
        return
    check(nets, X, y, calls, expect, epochs=3, **{"batch_size": 8, **fit})


def test_schedules_of_each_its_own(calls):
    schedules = [0.01, CosineDecay(0.02, 30)] * (LANES["float32"] // 2)
    nets = [make(k, lr=schedule) for k, schedule in enumerate(schedules)]
    check(nets, *data(30, 3, 2), calls, epochs=4, batch_size=8)


def test_a_second_fit_goes_on(calls):
    nets = [make(k) for k in range(LANES["float32"])]
    X, y = data(30, 3, 2)
    NetworkBank(nets).fit(X, y, epochs=2, batch_size=8, threads=1, verbose=0, seed=1)
    check(nets, X, y, calls, epochs=2, batch_size=8)
    nets[3].fit(X, y, epochs=1, batch_size=8, verbose=0, seed=3)  # is a few steps ahead now, and goes alone
    check(nets, X, y, calls, epochs=2, batch_size=8)


@pytest.mark.parametrize(
    "alone", [{"batch_size": 1}, {"batch_size": 8, "metrics": ["mse"]}], ids=lambda fit: next(iter(fit))
)
@pytest.mark.parametrize("clip_norm", [None, 0.01])
def test_fits_alone_find_nothing_that_was_left_behind_the_numbers_of_a_row(alone, clip_norm, calls):
    nets = [make(k, optimizer=RMSprop, l2=0.1) for k in range(LANES["float32"])]
    X, y = data(30, 3, 2)
    NetworkBank(nets).fit(X, y, epochs=2, batch_size=8, threads=1, verbose=0, seed=1)
    assert calls
    calls.clear()
    NetworkBank(nets).fit(X, y, epochs=1, threads=1, verbose=0, seed=1, **alone)
    for net in nets:
        net.clip_norm = clip_norm
    check(nets, X, y, calls, False, epochs=2, **alone)


def test_bootstrap(calls):
    nets = [make(k) for k in range(LANES["float32"])]
    twins, (X, y) = copy.deepcopy(nets), data(30, 3, 2)
    bank = NetworkBank(nets)
    bank.fit(X, y, epochs=3, batch_size=8, threads=1, verbose=0, seed=7, bootstrap=True)
    assert calls
    for k, twin in enumerate(twins):
        rows = bank.bootstrap_rows(30, 7 + k)
        twin.fit(X[rows], y[rows], epochs=3, batch_size=8, verbose=0, seed=7 + k)
        assert same(bank[k], twin)


def test_what_differs_does_not_go_together(calls):
    width = LANES["float32"]
    half = width // 2
    some = [make(k, act=Tanh if k < half else ReLU) for k in range(width)]
    check(some, *data(30, 3, 2), calls, False, epochs=2, batch_size=8)
    some = [make(k, optimizer=lambda k=k: Adam(beta1=0.9 if k < half else 0.8)) for k in range(width)]
    check(some, *data(30, 3, 2), calls, False, epochs=2, batch_size=8)
    some = [make(k, sizes=(3, 7 + (k < half), 2)) for k in range(width)]
    check(some, *data(30, 3, 2), calls, False, epochs=2, batch_size=8)


def test_those_that_are_left_over_train_alone(calls):
    nets = [make(k) for k in range(LANES["float32"] + 2)]
    check(nets, *data(30, 3, 2), calls, epochs=2, batch_size=8)
    assert set(calls) == {LANES["float32"]}


def test_several_threads(calls):
    nets = [make(k) for k in range(2 * LANES["float32"])]
    twins, (X, y) = copy.deepcopy(nets), data(60, 3, 2)
    NetworkBank(nets).fit(X, y, epochs=3, batch_size=8, threads=2, verbose=0, seed=1)
    assert calls
    NetworkBank(twins).fit(X, y, epochs=3, batch_size=8, threads=3, verbose=0, seed=1)  # too many for two groups
    assert all(same(one, twin) for one, twin in zip(nets, twins))


def test_one_that_diverges_leaves_and_the_others_go_on(calls):
    width = LANES["float32"]
    nets = [make(k, optimizer=SGD, lr=1e30 if k == 2 else 0.01, act=ReLU) for k in range(width)]
    twins, (X, y) = copy.deepcopy(nets), data(30, 3, 2)
    bank = NetworkBank(nets)
    with pytest.warns(RuntimeWarning, match="1 of .* networks diverged: networks 2"):
        bank.fit(X, y, epochs=4, batch_size=8, threads=1, verbose=0, seed=5)
    assert {width, width - 1} <= set(calls)
    assert bank.histories[2].stopped == "diverged in epoch 1"
    for k, twin in enumerate(twins):
        with pytest.raises(fastnn.DivergedError) if k == 2 else contextlib.nullcontext():
            twin.fit(X, y, epochs=4, batch_size=8, verbose=0, seed=5 + k)
        assert same(bank[k], twin)


def test_an_interrupt_keeps_whole_steps(monkeypatch):
    nets = [make(k) for k in range(LANES["float32"])]
    X, y = data(30, 3, 2)
    train = Lanes.train

    def interrupted(self, plans, runs, begin, end, rates):
        train(self, plans, runs, begin, end, rates)
        if begin < 8 <= end:
            _thread.interrupt_main()
            time.sleep(0.5)  # for the main thread to hear it

    monkeypatch.setattr(Lanes, "train", interrupted)
    bank = NetworkBank(nets)
    bank.fit(X, y, epochs=50, batch_size=8, threads=1, verbose=0, seed=5)
    steps = {int(net.engine.state.steps[0]) for net in nets}
    assert len(steps) == 1
    assert 8 <= steps.pop() < 200
    assert all("interrupted" in history.stopped for history in bank.histories)


def test_networks_that_cannot_go_together_have_no_likeness():
    from fastnn.data.batches import Batches

    batches = Batches.equal(100, 10)
    assert likeness(make(0).engine, batches) is not None
    assert likeness(make(0).engine, batches) == likeness(make(1, lr=0.5).engine, batches)
    assert likeness(make(0, (40, 40, 2)).engine, batches) is None  # more than MOST_NUMBERS
    assert MOST_NUMBERS < 40 * 41
    frozen, limited, shared = make(0), make(0, max_norm=1.0), make(0, (3, 3, 3))
    frozen.layers[0].trainable = False
    shared.layers[1] = shared.layers[0]
    for net in (frozen, limited, shared):
        assert likeness(net.engine, batches) is None
    assert likeness(NeuralNetwork([Layer(3, 2, Tanh())], MSELoss(), 0.1, Adam(), clip_norm=1.0).engine, batches) is None
    assert likeness(make(0).engine, Batches.equal(1000, 500)) is None


def test_a_few_networks_are_not_worth_a_vector():
    assert enough(LANES["float32"], np.dtype("float32"))
    assert not enough(LANES["float32"] // 2, np.dtype("float32"))


def test_numbers_that_are_clipped(calls):
    nets = [make(k, clip=0.01, lr=0.1) for k in range(LANES["float32"])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(nets, *data(30, 3, 2), calls, epochs=3, batch_size=7)


@pytest.mark.parametrize("when", ["never", "auto"])
def test_a_short_fit_compiles_nothing(when, calls, monkeypatch, tmp_path):
    from fastnn.kernels import lanes as kernels

    monkeypatch.setattr(special, "when", when)
    monkeypatch.setattr(kernels, "KERNELS", special.SpecialKernels(compiling=2.5, saving=1e-6))
    monkeypatch.setattr(kernels, "compiled_address", lambda *args: 0 if args[-1] else pytest.fail("compiled"))
    check([make(k) for k in range(LANES["float32"])], *data(30, 3, 2), calls, False, epochs=2, batch_size=8)


def test_a_kernel_comes_when_the_steps_repay_it(monkeypatch):
    monkeypatch.setattr(special, "when", "auto")
    asked = []
    some = special.SpecialKernels(compiling=1.0, saving=0.001)

    def compiled(only_cached):
        asked.append(only_cached)
        return 0 if only_cached else 7

    assert [some.address("a", compiled, 400, 400) for _ in range(3)] == [0, 0, 7]
    assert asked == [True, False]
    assert some.address("b", compiled, 1, 2000) == 7
    monkeypatch.setattr(special, "when", "sometimes")
    with pytest.raises(ValueError, match="FASTNN_TINY is 'sometimes'; expected 'auto', 'always' or 'never'"):
        some.address("c", compiled, 1, 1)


def test_two_banks_of_the_same_networks_do_not_wait_for_each_other():
    nets = [make(k) for k in range(LANES["float32"])]
    X, y = data(64, 3, 2)
    ended = []

    def fit(some):
        NetworkBank(some).fit(X, y, epochs=30, batch_size=8, threads=1, verbose=0, seed=1)
        ended.append(1)

    threads = [threading.Thread(target=fit, args=(some,), daemon=True) for some in (nets, nets[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(ended) == 2
