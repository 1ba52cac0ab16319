"""`fastnn.nn`: what a reader of the article does with its module."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from test_examples import MNIST, digit_data, needs_mnist  # noqa: F401  (digit_data is a fixture)

import fastnn
from fastnn import nn

X = np.array([[0.5], [-1.0]])
T = np.array([[1.0], [0.0], [0.0]])


class Article:
    """The article's recursion on copies of a network's weights, in NumPy: the oracle."""

    def __init__(self, net):
        self.W = [np.array(layer._W) for layer in net._layers]
        self.b = [np.array(layer._b) for layer in net._layers]
        self.acts = [layer.act_function for layer in net._layers]
        self.loss_function, self.lr = net._loss_function, net.lr

    def forward_pass(self, x):
        return self.signals(x)[-1][1]

    def signals(self, x):
        """Pairs: each layer's pre-activation and output, after the input's."""
        pairs = [(x, x)]
        for W, b, act in zip(self.W, self.b, self.acts):
            y = W @ pairs[-1][1] + b
            pairs.append((y, act.f(y)))
        return pairs

    def loss(self, values, expected):
        return self.loss_function.loss(values, expected)

    def train(self, x, t):
        pairs = self.signals(x)
        dx = self.loss_function.dloss(pairs[-1][1], t)
        for l in range(len(self.W) - 1, -1, -1):
            db = self.acts[l].df(pairs[l + 1][0]) * dx
            dx = self.W[l].T @ db
            self.W[l] = self.W[l] - self.lr * (db @ pairs[l][1].T)
            self.b[l] = self.b[l] - self.lr * db

    def differs_from(self, net):
        found = [*(layer._W for layer in net._layers), *(layer._b for layer in net._layers)]
        return max(np.abs(a - b).max() for a, b in zip(found, [*self.W, *self.b]))


def network(act=None, loss=None, lr=0.1, outs=3):
    layers = [nn.Layer(2, 4, act or nn.LeakyReLU(), seed=0), nn.Layer(4, outs, act or nn.LeakyReLU(), seed=1)]
    return nn.NeuralNetwork(layers, loss or nn.MSELoss(), lr)


# --- the classes -----------------------------------------------------------------------------


def test_first_weights_are_the_articles():
    layer = nn.Layer(40, 50, nn.Sigmoid())
    assert layer._W.std() == pytest.approx(1 / 2000, rel=0.1)
    assert layer._b.std() == pytest.approx(1 / 50, rel=0.4)
    same = fastnn.Layer(40, 50, nn.Sigmoid(), init="article", seed=3)
    assert np.array_equal(nn.Layer(40, 50, nn.Sigmoid(), seed=3)._W, same._W)
    assert np.array_equal(nn.Layer(40, 50, nn.Sigmoid(), seed=3)._b, same._b)
    assert fastnn.Layer(40, 50, nn.Sigmoid())._W.std() > 0.1  # fastnn's own default is another
    assert nn.create_weight_matrix(40, 50).std() == pytest.approx(1 / 2000, rel=0.1)
    assert nn.create_bias_vector(50).shape == (50, 1)


@pytest.mark.parametrize(
    "options", [{"init": "he_normal"}, {"init": None}, {"init": "orthogonal", "bias_init": "article"}]
)
def test_options_of_a_layer_are_fastnns(options):
    more = {"seed": 4, "dtype": "float32", "l1": 0.1, "l2": 0.2, "max_norm": 3.0, "trainable": False}
    mine, theirs = (cls(5, 4, nn.LeakyReLU(), **options, **more) for cls in (nn.Layer, fastnn.Layer))
    assert np.array_equal(mine._W, theirs._W)
    assert np.array_equal(mine._b, theirs._b)
    names = ("ins", "outs", "dtype", "l1", "l2", "max_norm", "trainable")
    assert [getattr(mine, name) for name in names] == [getattr(theirs, name) for name in names]


def test_the_classes_are_fastnns():
    net = network()
    assert isinstance(net, fastnn.NeuralNetwork)
    assert all(isinstance(layer, fastnn.Layer) for layer in net._layers)
    for name in set(nn.__all__) - {"Layer", "NeuralNetwork", "np"}:
        assert getattr(nn, name) is getattr(fastnn, name)
    assert repr(net) == repr(fastnn.NeuralNetwork(net.layers, nn.MSELoss(), 0.1))
    assert repr(net._layers[0]) == "Layer(2, 4, LeakyReLU(leaky_param=0.1))"
    names = {}
    exec("from fastnn.nn import *", names)
    assert names["np"] is np
    assert names["Layer"] is nn.Layer


def test_copies_pickles_and_files(tmp_path):
    net = network()
    net.train(X, T)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert type(twin) is nn.NeuralNetwork
        assert type(twin._layers[0]) is nn.Layer
        assert twin.allclose(net, 0, 0)
        twin.train(X, T)
        assert not twin.allclose(net, 0, 0)
    net.save(tmp_path / "net.safetensors")
    loaded = fastnn.load(tmp_path / "net.safetensors")
    assert loaded.allclose(net, 0, 0)
    assert repr(loaded) == repr(net)
    assert loaded.train(X, T) == net.train(X, T)


def test_the_attributes_of_the_article():
    act, loss = nn.LeakyReLU(0.2), nn.MSELoss()
    layer = nn.Layer(ins=2, outs=3, act_function=act)
    layers = [layer]
    net = nn.NeuralNetwork(layers=layers, loss_function=loss, learning_rate=0.5)
    assert (layer.ins, layer.outs, layer.act_function) == (2, 3, act)
    assert (layer._W.shape, layer._b.shape) == ((3, 2), (3, 1))
    assert (net._layers, net._loss_function, net.lr) == (layers, loss, 0.5)
    with pytest.raises(ValueError, match="Layers should have compatible shapes"):
        nn.NeuralNetwork([layer, layer], loss, 0.5)


# --- alpha -----------------------------------------------------------------------------------


def test_alpha_is_leaky_param():
    act = nn.LeakyReLU(0.2)
    act.alpha *= 2
    assert act.leaky_param == act.alpha == 0.4
    act.leaky_param = 0.3
    assert act.alpha == 0.3
    assert vars(act) == {"leaky_param": 0.3}
    assert repr(act) == "LeakyReLU(leaky_param=0.3)"
    assert pickle.loads(pickle.dumps(act)).alpha == 0.3


def test_a_changed_alpha_reaches_the_kernels():
    act = nn.LeakyReLU()
    net = network(act)
    net.train(X, T)
    act.alpha = 0.7
    slow = Article(net)
    net.train(X, T)
    slow.train(X, T)
    assert slow.differs_from(net) < 1e-15


def test_a_subclass_may_set_alpha():
    class Steep(nn.LeakyReLU):
        def __init__(self):
            self.alpha = 0.9

    net = network(Steep())
    slow = Article(net)
    net.train(X, T)
    slow.train(X, T)
    assert slow.differs_from(net) < 1e-15


# --- loss ------------------------------------------------------------------------------------


def test_loss_takes_what_numpy_broadcasts():
    net = network()
    v = net.forward_pass(X)
    whole = np.mean((v - T) ** 2)
    for values, expected in ((v, T), (v.ravel(), T.ravel()), (v.T, T.T), (v.tolist(), T.tolist())):
        assert net.loss(values, expected) == pytest.approx(whole, rel=1e-14)
    assert net.loss(v[-1], T) == np.mean((v[-1] - T) ** 2)  # (1,) against (3, 1): the article's demo
    assert net.loss(v, 0) == np.mean(v**2)
    assert net.loss(3.0, 1.0) == 4
    assert net.loss(v.astype(int), T.astype(int)) == np.mean((v.astype(int) - T) ** 2)
    assert np.isnan(net.loss(v * np.nan, T))
    assert net.loss(np.hstack([v, T]), np.hstack([T, T])) == pytest.approx(whole / 2, rel=1e-14)
    with pytest.raises(ValueError, match="broadcast"):
        net.loss(v, np.zeros((2, 1)))


def test_loss_of_classes():
    net = network(loss=nn.CrossEntropyLoss())
    v = net.forward_pass(X)
    expected = np.log(np.exp(v).sum()) - v[2, 0]
    for t in (2, np.int64(2), np.array([2]), [2]):
        assert net.loss(v, t) == pytest.approx(expected, rel=1e-14)
    assert net.loss(np.hstack([v, v]), [2, 2]) == pytest.approx(expected, rel=1e-14)


# --- training --------------------------------------------------------------------------------


def test_the_articles_demo_falls_at_least_a_hundredfold():
    rng = np.random.default_rng(0)
    net = nn.NeuralNetwork(
        [
            nn.Layer(2, 4, nn.LeakyReLU(), seed=rng),
            nn.Layer(4, 4, nn.LeakyReLU(), seed=rng),
            nn.Layer(4, 3, nn.LeakyReLU(), seed=rng),
        ],
        nn.MSELoss(),
        0.001,
    )
    slow, t = Article(net), np.zeros(shape=(3, 1))
    tests = rng.normal(size=(100, 2, 1))

    def summed(one):
        return sum(one.loss(one.forward_pass(x)[-1], t) for x in tests)

    before = summed(net)
    assert before == pytest.approx(summed(slow), rel=1e-12)
    for x in rng.normal(size=(10_000, 2, 1)):
        net.train(x, t)
        slow.train(x, t)
    assert summed(net) < before / 100
    assert summed(net) == pytest.approx(summed(slow), rel=1e-9)
    assert slow.differs_from(net) < 1e-12


def test_changes_between_the_steps():
    net = network()
    slow = Article(net)
    for i in range(10):
        net.lr = slow.lr = 0.1 / (i + 1)
        net._layers[0]._W[i % 4] *= 0.5
        slow.W[0][i % 4] *= 0.5
        net._layers[1]._b += 0.125
        slow.b[1] += 0.125
        net.train(X * i, T)
        slow.train(X * i, T)
    assert slow.differs_from(net) < 1e-14


@pytest.mark.parametrize("make", [int, bool, np.uint8, "list", "rows of a table"], ids=str)
def test_columns_of_every_kind(make):
    net, x, t = network(), np.array([[1], [0]]), np.array([[0], [1], [1]])
    slow = Article(net)
    slow.train(x.astype(float), t.astype(float))
    if make == "list":
        net.train(x.tolist(), t.tolist())
    elif make == "rows of a table":
        table = np.array([[7, 1, 0], [0, 0, 0]])
        net.train(table[0, 1:].reshape((2, 1)), t)
    else:
        net.train(x.astype(make), t.astype(make))
    assert slow.differs_from(net) < 1e-15


class OwnCrossEntropy(nn.LossFunction):
    def loss(self, values, target_class):
        return np.log(np.exp(values).sum()) - values[target_class, 0]

    def dloss(self, values, target_class):
        p = np.exp(values) / np.exp(values).sum()
        p[target_class, 0] -= 1
        return p


class OwnSigmoid(nn.ActivationFunction):
    def f(self, x):
        return 1 / (1 + np.exp(-x))

    def df(self, x):
        return self.f(x) * (1 - self.f(x))


class OwnLeaky(nn.ActivationFunction):
    def __init__(self, slope=0.2):
        self.alpha = slope

    def f(self, x):
        return np.maximum(x, self.alpha * x)

    def df(self, x):
        return np.maximum(x > 0, self.alpha)


@pytest.mark.parametrize("act", [OwnSigmoid(), OwnLeaky(), nn.Sigmoid(), nn.LeakyReLU()], ids=str)
@pytest.mark.parametrize("loss", [OwnCrossEntropy(), nn.CrossEntropyLoss(), nn.MSELoss()], ids=str)
def test_formulas_written_as_in_the_article(act, loss):
    net = network(act, loss)
    slow = Article(net)
    for t in (0, 2, 1):
        target = t if not isinstance(loss, nn.MSELoss) else T * t
        net.train(X, target)
        slow.train(X, target)
        assert net.loss(net.forward_pass(X), target) == pytest.approx(
            slow.loss(slow.forward_pass(X), target), rel=1e-12
        )
    assert slow.differs_from(net) < 1e-14


def test_a_network_with_a_training_loop_of_its_own():
    class Own(nn.NeuralNetwork):
        def train(self, x, t):
            xs = [x]
            for layer in self._layers:
                xs.append(layer.forward_pass(xs[-1]))
            dx = self._loss_function.dloss(xs[-1], t)
            for layer, below in reversed(list(zip(self._layers, xs))):
                db = layer.act_function.df(np.dot(layer._W, below) + layer._b) * dx
                dx = np.dot(layer._W.T, db)
                layer._W -= self.lr * np.dot(db, below.T)
                layer._b -= self.lr * db

    net = network()
    own = Own(copy.deepcopy(net._layers), nn.MSELoss(), 0.1)
    for i in range(5):
        assert own.train(X * i, T) is None
        net.train(X * i, T)
        np.testing.assert_allclose(own.forward_pass(X), net.forward_pass(X), 1e-12)
    assert own.allclose(net, 1e-12, 1e-15)


def test_a_layer_with_first_weights_of_its_own():
    class He(nn.Layer):
        def __init__(self, ins, outs, act_function):
            super().__init__(ins, outs, act_function)
            self._W = np.random.default_rng(0).normal(0, np.sqrt(2 / ins), (outs, ins))

    net = nn.NeuralNetwork([He(2, 3, nn.LeakyReLU())], nn.MSELoss(), 0.1)
    slow = Article(net)
    net.train(X, T)
    slow.train(X, T)
    assert slow.differs_from(net) < 1e-15


def test_what_cannot_be_is_said():
    net = network()
    with pytest.raises(ValueError, match=r"one sample is x\.reshape\(-1, 1\)"):
        net.train(X.ravel(), T)
    with pytest.raises(ValueError, match=r"learning_rate is -0\.1"):
        network(lr=-0.1)
    with pytest.raises(AttributeError, match="ins"):
        net._layers[0].ins = 3

    class Plain:
        def f(self, x):
            return x

        def df(self, x):
            return 1

    with pytest.raises(TypeError, match="expected an ActivationFunction"):
        nn.Layer(2, 3, Plain())
    half = type("Half", (nn.ActivationFunction,), {"f": Plain.f})
    with pytest.raises(TypeError, match="df"):
        half()


# --- MNIST -----------------------------------------------------------------------------------


@needs_mnist
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_digits_of_raw_pixels(digit_data, seed):  # noqa: F811
    """The article's MNIST experiment: pixels 0 to 255, 784-16-16-10, mean squared error, rate 0.001, one pass."""
    digits, rng = digit_data.mnist(MNIST), np.random.default_rng(seed)
    layers = [nn.Layer(a, b, nn.LeakyReLU(), seed=rng) for a, b in ((784, 16), (16, 16), (16, 10))]
    net = nn.NeuralNetwork(layers, nn.MSELoss(), 0.001)
    slow = Article(net)
    x, x_test = (np.round(255 * pixels) for pixels in (digits.x, digits.x_test))
    t = np.eye(10)[:, digits.t]
    net.train(x, t)
    assert np.mean(net.forward_pass(x_test).argmax(axis=0) == digits.t_test) > 0.55
    if seed == 0:
        for i in range(x.shape[1]):
            slow.train(x[:, i : i + 1].astype(float), t[:, i : i + 1])
        assert slow.differs_from(net) < 1e-9
