"""find_lr: the curve is that of a run with growing rates, and the network stays as it was."""

import copy
import pickle

import numpy as np
import pytest

from fastnn import (
    SGD,
    Adam,
    BatchNorm,
    CosineDecay,
    CrossEntropyLoss,
    DivergedError,
    Dropout,
    Identity,
    Layer,
    LRCurve,
    MSELoss,
    NeuralNetwork,
    PoissonNLLLoss,
    Standardize,
    Tanh,
)


def regression(optimizer=None, loss=None, lr=0.01, dtype="float64"):
    rng = np.random.default_rng(0)
    layers = [Layer(5, 20, Tanh(), seed=rng), Layer(20, 1, Identity(), seed=rng)]
    net = NeuralNetwork(layers, loss or MSELoss(), lr, optimizer, dtype=dtype)
    X = rng.normal(size=(500, 5))
    return net, X, np.tanh(X[:, 0] - X[:, 1]) + 0.1 * rng.normal(size=500)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_network_and_its_optimizer_stay_as_they_were(dtype):
    net, X, y = regression(Adam(), dtype=dtype)
    net.fit(X, y, epochs=2, seed=0)
    before, twin = pickle.dumps(net), copy.deepcopy(net)
    net.find_lr(X, y, seed=1)
    assert pickle.dumps(net) == before
    for one in (net, twin):
        one.fit(X, y, seed=2)
    for mine, other in zip(net.get_weights(), twin.get_weights()):
        np.testing.assert_array_equal(mine[0], other[0])


def test_the_losses_are_those_of_steps_at_the_rates():
    net, X, y = regression(SGD(momentum=0.9))
    curve = net.find_lr(X, y, 1e-3, 0.1, steps=12, batch_size=500, seed=0)
    twin, losses = copy.deepcopy(net), []
    for rate in np.geomspace(1e-3, 0.1, 12):
        twin.lr = float(rate)
        losses.append(twin.train(X.T, y[None], batch_size=500))
    np.testing.assert_allclose(curve.losses, losses, rtol=1e-9)
    np.testing.assert_allclose(curve.lrs, np.geomspace(1e-3, 0.1, 12))


def test_few_samples_come_again_and_each_loss_is_of_one_batch():
    net, X, y = regression()
    X, y = X[:10], y[:10]
    curve = net.find_lr(X, y, 1e-18, 1e-17, steps=11, batch_size=4, seed=0)  # rates at which nothing moves
    mean = net.evaluate(X, y)["loss"]
    for epoch in (curve.losses[:3], curve.losses[3:6], curve.losses[6:9]):
        assert np.average(epoch, weights=[4, 3, 3]) == pytest.approx(mean, rel=1e-9)
    assert len(curve.losses) == 11
    alone = np.array([net.evaluate(X[i : i + 1], y[i : i + 1])["loss"] for i in range(10)])
    single = net.find_lr(X, y, 1e-18, 1e-17, steps=10, batch_size=1, seed=0)
    np.testing.assert_allclose(np.sort(single.losses), np.sort(alone), rtol=1e-9)


def test_the_average_is_weighted_by_age():
    net, X, y = regression()
    curve = net.find_lr(X, y, steps=50, seed=0)
    assert curve.window == 5
    for i, smoothed in enumerate(curve.smoothed):
        expected = np.average(curve.losses[: i + 1], weights=0.8 ** np.arange(i, -1, -1))
        assert smoothed == pytest.approx(expected, rel=1e-12)


def test_it_stops_where_the_loss_runs_away():
    net, X, y = regression()
    curve = net.find_lr(X, y, highest=1e6, steps=200, seed=0)
    assert 50 < len(curve.lrs) == len(curve.losses) == len(curve.smoothed) < 190
    assert np.all(np.isfinite(curve.losses))
    assert curve.smoothed[-1] > 4 * curve.smoothed.min()
    assert not np.any(curve.smoothed[20:-1] > 4 * curve.smoothed.min())


def test_a_step_into_infinity_ends_the_curve_before_it():
    net, X, y = regression(loss=PoissonNLLLoss())
    curve = net.find_lr(X, np.exp(y), 1e-3, 1e300, steps=10, seed=0)
    assert np.all(np.isfinite(curve.losses))
    assert len(curve.losses) < 10


def test_losses_below_zero_are_no_reason_to_stop():
    net, X, y = regression(Adam(), PoissonNLLLoss())
    curve = net.find_lr(X, 5 * np.exp(y), highest=0.1, seed=0)
    assert curve.smoothed.min() < 0 < curve.smoothed[0]
    assert len(curve.lrs) == 100
    assert curve.suggestion > 1e-4


@pytest.mark.parametrize("optimizer", [SGD(), SGD(momentum=0.9), Adam()], ids=["SGD", "momentum", "Adam"])
def test_the_suggestion_trains_well(optimizer):
    net, X, y = regression(optimizer)
    suggestions = [net.find_lr(X, y, seed=seed).suggestion for seed in range(3)]
    assert max(suggestions) < 10 * min(suggestions)

    def loss_at(rate):
        twin = copy.deepcopy(net)
        twin.lr = rate
        try:
            return twin.fit(X, y, epochs=5, seed=0)["loss"][-1]
        except DivergedError:
            return np.inf

    here = loss_at(suggestions[0])
    assert here < 0.5 * net.evaluate(X, y)["loss"]
    assert here < loss_at(suggestions[0] / 100)
    assert here < loss_at(suggestions[0] * 1000)


def test_a_schedule_and_classes():
    net, X, y = regression(lr=CosineDecay(0.1, 10))
    assert net.find_lr(X, y, seed=0).suggestion == regression()[0].find_lr(X, y, seed=0).suggestion
    assert isinstance(net.lr, CosineDecay)
    classifier = NeuralNetwork([Layer(5, 3, Identity(), seed=0)], CrossEntropyLoss(), 0.1)
    curves = [classifier.find_lr(X, np.argmax(X[:, :3], axis=1), seed=seed) for seed in (0, 0, 1)]
    assert curves[0].losses.tolist() == curves[1].losses.tolist() != curves[2].losses.tolist()


def test_repr_and_plot():
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    net, X, y = regression()
    curve = net.find_lr(X, y, seed=0)
    assert f"suggestion {curve.suggestion:.3g}" in repr(curve)
    axes = curve.plot(Figure().subplots())
    assert axes.get_xscale() == "log"
    assert len(axes.lines) == 3


def test_a_curve_that_never_falls_has_no_suggestion():
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    for losses in ([1.0], [1.0, 2.0, 3.0]):
        curve = LRCurve(0.1 ** np.arange(len(losses)), losses, losses)
        assert "no suggestion" in repr(curve)
        assert len(curve.plot(Figure().subplots()).lines) == 2
        with pytest.raises(ValueError, match="the loss never falls between the rates 1 and"):
            _ = curve.suggestion


def test_layers_without_a_matrix():
    _, X, y = regression()
    layers = [Standardize(), Layer(5, 20, Tanh(), seed=0), BatchNorm(), Dropout(0.1), Layer(20, 1, Identity(), seed=1)]
    net = NeuralNetwork(layers, MSELoss(), 0.1, Adam())
    before = pickle.dumps(net)
    curve = net.find_lr(100 * X + 7, y, seed=0)
    assert pickle.dumps(net) == before
    assert not net.layers[0].fitted
    assert 1e-4 < curve.suggestion < 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lowest": 0}, "lowest is 0"),
        ({"highest": "1"}, "highest is '1'"),
        ({"lowest": 1.0, "highest": 0.1}, "lowest is 1.0 and highest 0.1"),
        ({"steps": 9}, "steps is 9; expected at least 10"),
        ({"steps": 10.0}, "steps is 10.0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"X": np.ones((500, 4))}, "X has 4 columns"),
        ({"y": np.ones(3)}, "y has 3 rows"),
    ],
)
def test_bad_input(wrong, message):
    net, X, y = regression()
    with pytest.raises((ValueError, TypeError), match=message):
        net.find_lr(**{"X": X, "y": y, **wrong})


def test_a_network_whose_loss_is_not_finite():
    net, X, y = regression(loss=PoissonNLLLoss())
    net.layers[1].biases[...] = 1e6
    with pytest.raises(DivergedError, match="first batch is not finite"):
        net.find_lr(X, np.exp(y))
