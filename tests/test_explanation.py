"""`fastnn.explain`: one step, number by number, is what the kernels do."""

from __future__ import annotations

import copy
import html.parser

import numpy as np
import pytest
from networks import bits

import fastnn
from fastnn import (
    SGD,
    Adam,
    BatchNorm,
    CosineDecay,
    CrossEntropyLoss,
    Dropout,
    Explanation,
    GaussianNoise,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    MSELoss,
    NeuralNetwork,
    ReLU,
    Sigmoid,
    Standardize,
    Tanh,
    explain,
    nn,
)

X = np.array([[0.5], [-1.0]])
T = np.array([[1.0], [0.0], [-0.5]])


def network(loss=None, dtype="float64", **options):
    layers = [
        Layer(2, 4, LeakyReLU(), bias_init="he_normal", seed=0),
        Layer(4, 3, Sigmoid(), bias_init="he_normal", seed=1),
    ]
    return NeuralNetwork(layers, loss or MSELoss(), 0.1, dtype=dtype, **options)


def with_all_stages(**options):
    layers = [
        GaussianNoise(0.1), Layer(2, 5, Tanh(), seed=0), Dropout(0.5), Layer(5, 4, ReLU(), seed=1), LayerNorm(),
        BatchNorm(), Layer(4, 3, Identity(), seed=2),
    ]  # fmt: skip
    return NeuralNetwork(layers, MSELoss(), 0.1, **options)


def in_numpy(net, x, t):
    """The article's step in words of its own: all that an explanation holds, by backpropagation in NumPy."""
    xs, ys = [x], []
    for layer in net.layers:
        ys.append(layer.weights @ xs[-1] + layer.biases)
        xs.append(layer.act_function.f(ys[-1]))
    dxs, dWs, dbs = [net.loss_function.dloss(xs[-1], t)], [], []
    for layer, below, y in list(zip(net.layers, xs, ys))[::-1]:
        db = layer.act_function.df(y) * dxs[0]
        dbs.insert(0, db)
        dWs.insert(0, db @ below.T)
        dxs.insert(0, layer.weights.T @ db)
    after = [(a.weights - net.lr * dW, a.biases - net.lr * db) for a, dW, db in zip(net.layers, dWs, dbs)]
    return xs, ys, dxs, dWs, dbs, after


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize(("loss", "t"), [(MSELoss(), T), (CrossEntropyLoss(), 2)])
def test_every_number_is_the_articles(dtype, rtol, loss, t):
    net = network(loss, dtype)
    xs, ys, dxs, dWs, dbs, after = in_numpy(network(loss), X, t)
    step = explain(net, X, t)
    for found, expected in ((step.xs, xs), (step.ys, ys), (step.dxs, dxs), (step.dWs, dWs), (step.dbs, dbs)):
        assert [array.dtype for array in found] == [dtype] * len(expected)
        for a, b in zip(found, expected):
            np.testing.assert_allclose(a, b, rtol, rtol)
    for found, expected in zip(step.weights_after, after):
        for a, b in zip(found, expected):
            np.testing.assert_allclose(a, b, rtol, rtol)
    assert step.loss == pytest.approx(loss.loss(xs[-1], t), rel=rtol)
    assert step.loss_after < step.loss
    assert isinstance(step.t, int) if loss.target == "class" else np.array_equal(step.t, T.astype(dtype))
    assert step.lr == 0.1


@pytest.mark.parametrize("make", [network, with_all_stages])
@pytest.mark.parametrize(
    "options",
    [{}, {"optimizer": Adam()}, {"optimizer": SGD(momentum=0.9)}, {"clip_norm": 0.01}, {"clip_value": 0.001}],
    ids=str,
)
def test_the_step_is_the_networks_next_one(make, options):
    net = make(**options)
    net.train(np.hstack([X, -X, 2 * X]), np.hstack([T, T, T]), batch_size=3, seed=0)  # the optimiser remembers
    before = bits(net)
    step = explain(net, X, T, seed=7)
    assert bits(net) == before
    assert [a.tobytes() for arrays in step.weights_before for a in arrays] == before
    assert repr(step) == repr(explain(net, X, T, seed=7))
    for layer in net.layers:
        vars(layer)["smallest_batch"] = 1  # batch normalisation would refuse a sample alone
    net.train(X, T, seed=7)
    assert [a.tobytes() for arrays in step.weights_after for a in arrays] == bits(net)


def test_a_schedule_gives_the_rate_of_the_next_step():
    net = NeuralNetwork(network().layers, MSELoss(), CosineDecay(0.5, steps=4))
    net.train(np.hstack([X, X]), np.hstack([T, T]))
    step = explain(net, X, T)
    np.testing.assert_allclose(step.weights_after[0][1], step.weights_before[0][1] - 0.25 * step.dbs[0], 1e-12)
    assert "lr = CosineDecay" in repr(step)


def test_stages_are_those_of_a_training_step():
    net = with_all_stages()
    step = explain(net, X, T, seed=3)
    assert step.ys[0] is None
    assert not np.array_equal(step.xs[1], X)  # the noise
    ratio = step.xs[3] / step.xs[2]
    assert set(ratio.ravel().round(12)) == {0.0, 2.0}
    np.testing.assert_allclose(step.dxs[2], step.dxs[3] * ratio, 1e-12)  # the same numbers are dropped
    np.testing.assert_allclose(step.xs[6], 0.0, atol=1e-12)  # the mean of one sample is the sample
    for i in (1, 3, 4, 5, 6):
        for new, old, d in zip(step.weights_after[i], step.weights_before[i], (step.dWs[i], step.dbs[i])):
            np.testing.assert_allclose(new, old - 0.1 * d, 1e-12, 1e-15)
    text = repr(step)
    for words in (
        "Dropout(rate=0.5)",
        "random numbers of this seed",
        "this sample alone",
        "dgamma",
        "nothing to train",
    ):
        assert words in text


def test_a_frozen_layer_says_so():
    net = network()
    net.layers[0].trainable = False
    step = explain(net, X, T)
    below = repr(step).split("layers[0]: ")[1]
    assert "Frozen" in below
    assert "dW" not in below
    assert np.array_equal(step.weights_after[0][0], step.weights_before[0][0])
    assert not np.array_equal(step.weights_after[1][0], step.weights_before[1][0])
    net.layers[0].trainable = True
    np.testing.assert_allclose(step.dxs[0], explain(net, X, T).dxs[0], 1e-12)


def test_what_a_step_has_besides_the_articles_is_said():
    text = repr(explain(network(), X, T))
    assert "W - lr * dW" in text
    assert "after the step\n" not in text
    layers = [Layer(2, 3, Tanh(), seed=0, l1=0.25, l2=0.125, max_norm=1.0)]
    text = repr(explain(NeuralNetwork(layers, MSELoss(), 0.1, Adam(), clip_norm=0.5, clip_value=0.75), X, T))
    assert "W - lr * dW" not in text
    for words in ("0.25 * np.sign(W) + 0.125 * W", "norm above 1", "norm of at most 0.5", "at most 0.75", "Adam(beta1"):
        assert words in text
    shared = Layer(2, 2, Tanh(), seed=0)
    step = explain(NeuralNetwork([shared, shared], MSELoss(), 0.1), X, X)
    assert "more than once" in repr(step)
    assert np.array_equal(step.weights_after[0][0], step.weights_after[1][0])


def test_the_table_has_the_order_of_the_articles_code():
    text = repr(explain(network(), X, T))
    marks = [
        "Forward pass", "layers[0] = Layer(2, 4, ", "layers[1] = Layer(4, 3, ", "\nLoss", "dx = dloss(xs[2], t)",
        "Backward", "layers[1]: x = xs[1], dx = dxs[2]", "layers[0]: x = xs[0], dx = dxs[1]",
    ]  # fmt: skip
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)
    one = text[places[-1] :]
    formulas = ["y = np.dot(W, x) + b", "df(y)", "db = df(y) * dx", "dx = np.dot(W.T, db)", "dW = np.dot(db, x.T)"]
    places = [one.index(formula) for formula in [*formulas, "W - lr * dW", "b - lr * db"]]
    assert places == sorted(places)


def test_a_small_network_is_shown_in_full_and_a_large_one_on_two_screens():
    assert "..." not in repr(explain(network(), X, T))
    rng = np.random.default_rng(0)
    layers = [Layer(a, b, LeakyReLU(), seed=rng) for a, b in ((784, 16), (16, 16), (16, 10))]
    text = str(explain(NeuralNetwork(layers, CrossEntropyLoss(), 0.1, dtype="float32"), rng.random((784, 1)), 3))
    assert "network 784-16-16-10" in text
    assert "(16, 784), " in text
    assert text.count("\n") < 100
    assert max(map(len, text.splitlines())) <= 125
    assert text == "\n".join(line.rstrip() for line in text.splitlines())


class Tags(html.parser.HTMLParser):
    """The tags that are open, and the text."""

    def __init__(self):
        super().__init__()
        self.open, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("net", [network(), with_all_stages(optimizer=Adam()), network(CrossEntropyLoss())], ids=str)
def test_the_html_is_whole_and_holds_the_same(net):
    step = explain(net, X, T if net.loss_function.target != "class" else 1)
    page = Tags()
    page.feed(step._repr_html_())
    assert not page.open
    words = set(page.text.replace("(", " ").split())
    for word in ("Forward", "Backward,", f"{step.loss:.4g}", f"{step.dxs[0][1, 0]:.4g}"):
        assert any(word in other for other in words), word


def test_classes_come_in_every_form():
    net = network(CrossEntropyLoss())
    texts = {repr(explain(net, X, t)) for t in (1, np.int64(1), [1], np.array([1], np.uint8), [[1]])}
    assert len(texts) == 1
    assert "t (class)" in texts.pop()


def test_the_articles_names_and_a_subclass_with_a_train_of_its_own():
    class Own(nn.NeuralNetwork):
        def train(self, x, t):
            raise AssertionError

    layers = [nn.Layer(2, 3, nn.LeakyReLU(), seed=0)]
    step = explain(Own(layers, nn.MSELoss(), 0.1), X.tolist(), T.tolist())
    np.testing.assert_allclose(step.weights_after[0][0], step.weights_before[0][0] - 0.1 * step.dWs[0], 1e-12)
    assert isinstance(step, Explanation)
    assert fastnn.explain is explain


def test_wrong_arguments_say_how_it_is_done():
    net, many = network(), np.ones((2, 5))
    with pytest.raises(ValueError, match=r"x has shape \(2, 5\); expected one column, shape \(2, 1\): x\[:, i:i\+1\]"):
        explain(net, many, T)
    with pytest.raises(ValueError, match=r"t has shape \(3, 5\); expected one column, shape \(3, 1\): t\[:, i:i\+1\]"):
        explain(net, X, np.ones((3, 5)))
    with pytest.raises(ValueError, match=r"t has 5 class indices; expected that of one sample: t\[i\]"):
        explain(network(CrossEntropyLoss()), X, [0, 1, 2, 1, 0])
    with pytest.raises(ValueError, match=r"x has shape \(2,\); .* x\.reshape\(-1, 1\)"):
        explain(net, X.ravel(), T)
    with pytest.raises(ValueError, match="x holds nan"):
        explain(net, X * np.nan, T)
    with pytest.raises(TypeError, match=r"net is a ndarray; expected a NeuralNetwork \(x and t come after it\)"):
        explain(X, T, net)
    with pytest.raises(ValueError, match=r"layers\[0\] is Standardize\(\), not fitted"):
        explain(NeuralNetwork([Standardize(), Layer(2, 3, Tanh())], MSELoss(), 0.1), X, T)


def test_a_fitted_standardize_is_a_layer_like_others():
    net = NeuralNetwork([Standardize(), Layer(2, 3, Tanh(), seed=0)], MSELoss(), 0.1)
    samples = np.random.default_rng(0).normal(3, 2, (2, 50))
    net.train(samples, np.zeros((3, 50)))
    step, twin = explain(net, X, T), copy.deepcopy(net)
    twin.train(X, T)
    assert [a.tobytes() for arrays in step.weights_after for a in arrays] == bits(twin)
    np.testing.assert_allclose(step.xs[1], net.layers[0].forward_pass(X), 1e-12)
