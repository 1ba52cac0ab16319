"""Results of independent libraries: SciPy's formulas and scikit-learn's training."""

import numpy as np
import pytest
from scipy import integrate, special, stats
from sklearn import metrics
from sklearn.neural_network import MLPClassifier, MLPRegressor

import fastnn
from fastnn import CrossEntropyLoss, Identity, Layer, MSELoss, NeuralNetwork, ReLU, Sigmoid, Tanh

X = np.linspace(-9, 9, 181)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (fastnn.Identity(), X),
        (fastnn.LeakyReLU(), np.where(X > 0, X, 0.1 * X)),
        (fastnn.LeakyReLU(0.3), np.where(X > 0, X, 0.3 * X)),
        (fastnn.ReLU(), np.clip(X, 0, None)),
        (fastnn.ReLU6(), np.clip(X, 0, 6)),
        (fastnn.HardTanh(), np.clip(X, -1, 1)),
        (fastnn.Sigmoid(), special.expit(X)),
        (fastnn.Tanh(), 2 * special.expit(2 * X) - 1),
        (fastnn.ELU(0.7), np.where(X > 0, X, 0.7 * special.expm1(X))),
        (fastnn.SELU(), 1.0507009873554805 * np.where(X > 0, X, 1.6732632423543772 * np.expm1(X))),
        (fastnn.SiLU(), X * special.expit(X)),
        (fastnn.Softplus(), np.logaddexp(0, X)),
        (fastnn.Mish(), X * np.tanh(np.logaddexp(0, X))),
    ],
)
def test_activation(activation, expected):
    layer = Layer(1, 1, activation, init=lambda *_: np.ones((1, 1)), bias_init="zeros")
    net = NeuralNetwork([layer], MSELoss(), 0.1)
    np.testing.assert_allclose(net.forward_pass(X[None, :])[0], expected, rtol=1e-13, atol=1e-15)


def test_gelu_is_close_to_the_exact_one():
    assert np.abs(fastnn.GELU().f(X) - X * stats.norm.cdf(X)).max() < 5e-4
    np.testing.assert_allclose(fastnn.ExactGELU().f(X), X * stats.norm.cdf(X), rtol=1e-12)
    np.testing.assert_allclose(fastnn.ExactGELU().df(X), stats.norm.cdf(X) + X * stats.norm.pdf(X), rtol=1e-12)


def test_selu_keeps_mean_0_and_variance_1():
    # the two constants are the solution of E[f(z)] = 0, E[f(z)**2] = 1 for a standard normal z
    f = fastnn.SELU().f
    mean = integrate.quad(lambda z: f(z) * stats.norm.pdf(z), -12, 12, points=[0])[0]
    square = integrate.quad(lambda z: f(z) ** 2 * stats.norm.pdf(z), -12, 12, points=[0])[0]
    assert mean == pytest.approx(0, abs=1e-9)
    assert square == pytest.approx(1, abs=1e-9)


def test_losses():
    rng = np.random.default_rng(0)
    v, t, p = rng.normal(size=(3, 1)) * 3, rng.normal(size=(3, 1)), np.array([[0.2], [0.3], [0.5]])
    counts = np.array([[0.0], [2.0], [3.0]])
    assert fastnn.HuberLoss(0.5).loss(v, t) == pytest.approx(np.mean(special.huber(0.5, v - t)))
    assert CrossEntropyLoss().loss(v, 2) == pytest.approx(-special.log_softmax(v)[2, 0])
    smooth = 0.9 * np.eye(3)[2] + 0.1 / 3
    assert CrossEntropyLoss(0.1).loss(v, 2) == pytest.approx(-smooth @ special.log_softmax(v)[:, 0])
    assert fastnn.SoftCrossEntropyLoss().loss(v, p) == pytest.approx(-np.sum(p * special.log_softmax(v)))
    expected = -np.mean(p * special.log_expit(v) + (1 - p) * special.log_expit(-v))
    assert fastnn.BCEWithLogitsLoss().loss(v, p) == pytest.approx(expected)
    poisson = -np.mean(stats.poisson.logpmf(counts, np.exp(v)) + special.gammaln(counts + 1))
    assert fastnn.PoissonNLLLoss().loss(v, counts) == pytest.approx(poisson)
    focal = -((1 - special.softmax(v)) ** 1.5 * special.log_softmax(v))[2, 0]
    assert fastnn.FocalLoss(1.5).loss(v, 2) == pytest.approx(focal)
    assert fastnn.FocalLoss(0).loss(v, 2) == pytest.approx(CrossEntropyLoss().loss(v, 2))
    levels = [0.1, 0.5, 0.8]
    pinball = np.mean([metrics.mean_pinball_loss(t[k], v[k], alpha=q) for k, q in enumerate(levels)])
    assert fastnn.PinballLoss(levels).loss(v, t) == pytest.approx(pinball)
    assert fastnn.PinballLoss(0.3).loss(v, t) == pytest.approx(metrics.mean_pinball_loss(t, v, alpha=0.3))
    means, logs, both = v, t, np.vstack([v, t])
    gaussian = -np.mean(stats.norm.logpdf(counts, means, np.sqrt(np.exp(logs) + 1e-6))) - np.log(2 * np.pi) / 2
    assert fastnn.GaussianNLLLoss().loss(both, np.vstack([counts, counts])) == pytest.approx(gaussian)


@pytest.mark.parametrize(("loss", "power"), [(fastnn.GammaLoss(), 2), (fastnn.TweedieLoss(1.3), 1.3)])
def test_deviances(loss, power):
    rng = np.random.default_rng(0)
    v, w, t = rng.normal(size=(3, 20, 1))
    t = np.exp(t)
    ours = loss.loss(v, t) - loss.loss(w, t)  # without what only t is in
    theirs = [metrics.mean_tweedie_deviance(t, np.exp(x), power=power) for x in (v, w)]
    assert ours == pytest.approx((theirs[0] - theirs[1]) / 2)


@pytest.mark.parametrize(("name", "activation"), [("relu", ReLU), ("tanh", Tanh), ("logistic", Sigmoid)])
@pytest.mark.parametrize("batch_size", [1, 7])
def test_training_equals_scikit_learns(name, activation, batch_size):
    rng = np.random.default_rng(1)
    x, classes, values = rng.normal(size=(50, 6)), rng.integers(0, 3, 50), rng.normal(size=50)
    settings = {
        "hidden_layer_sizes": (8, 5), "activation": name, "solver": "sgd", "alpha": 0.0, "momentum": 0.0,
        "nesterovs_momentum": False, "batch_size": batch_size, "learning_rate_init": 0.05, "shuffle": False,
    }  # fmt: skip
    # scikit-learn's squared error is half of ours
    for peer, loss, outs, y, lr in (
        (MLPClassifier(**settings), CrossEntropyLoss(), 3, classes, 0.05),
        (MLPRegressor(**settings), MSELoss(), 1, values, 0.025),
    ):
        sizes = [6, 8, 5]
        layers = [Layer(a, b, activation(), seed=rng) for a, b in zip(sizes, sizes[1:])]
        net = NeuralNetwork([*layers, Layer(5, outs, Identity(), seed=rng)], loss, lr)
        more = {"classes": np.arange(3)} if outs == 3 else {}
        first = peer.partial_fit(x, y, **more)
        first.coefs_ = [layer.weights.T.copy() for layer in net.layers]
        first.intercepts_ = [layer.biases.ravel().copy() for layer in net.layers]
        first._optimizer.params = first.coefs_ + first.intercepts_
        for _ in range(4):
            peer.partial_fit(x, y, **more)
        net.train(x.T, y if outs == 3 else y[None, :], epochs=4, batch_size=batch_size)
        for layer, W, b in zip(net.layers, peer.coefs_, peer.intercepts_):
            np.testing.assert_allclose(layer.weights, W.T, rtol=1e-9, atol=1e-11)
            np.testing.assert_allclose(layer.biases[:, 0], b, rtol=1e-9, atol=1e-11)


def test_a_network_with_fewer_outputs_than_quantiles_is_refused():
    with pytest.raises(fastnn.FormulaError, match="there are 3 quantiles for 1 outputs"):
        NeuralNetwork([Layer(3, 1, Identity())], fastnn.PinballLoss([0.1, 0.5, 0.9]), 0.1)
