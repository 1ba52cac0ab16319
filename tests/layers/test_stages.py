"""Dropout, noise and normalisation: against the reference, finite differences, PyTorch and statistics."""

import copy
import json
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from networks import bits
from strategies import ACTIVATIONS, built_in

import fastnn
from fastnn import (
    SGD,
    Adam,
    BatchNorm,
    Checkpoint,
    CrossEntropyLoss,
    Dropout,
    GaussianNoise,
    Identity,
    Layer,
    LayerNorm,
    MSELoss,
    NeuralNetwork,
    ReLU,
    Standardize,
    Tanh,
    reference,
)
from fastnn.layers.stage import Stage

GOLDEN = json.loads((pathlib.Path(__file__).parent.parent / "golden" / "torch_golden.json").read_text())["stages"]
STAGES = {cls.__name__: cls.example for cls in built_in(Stage) if cls.stands == "anywhere"}
STAGES["Dropout"] = lambda: Dropout(0.3)


@st.composite
def networks(draw, dtype="float64"):
    """A network with stages in any places, and data: (net, x, t)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = draw(st.lists(st.integers(1, 12), min_size=2, max_size=4))
    layers = [Standardize()] if draw(st.booleans()) else []
    for ins, outs in zip(sizes, sizes[1:]):
        if draw(st.booleans()):
            layers.append(STAGES[draw(st.sampled_from(sorted(STAGES)))]())
        layers.append(Layer(ins, outs, draw(st.sampled_from(ACTIVATIONS)).example(), seed=rng))
    if draw(st.booleans()):
        layers.append(STAGES[draw(st.sampled_from(sorted(STAGES)))]())
    optimizer = draw(st.sampled_from([SGD, Adam]))()
    clip_norm = draw(st.sampled_from([None, 0.5]))
    net = NeuralNetwork(layers, MSELoss(), 0.01, optimizer, clip_norm=clip_norm, dtype=dtype)
    n = draw(st.integers(2, 30))
    return net, rng.normal(2, 3, size=(sizes[0], n)), rng.normal(size=(sizes[-1], n))


@settings(max_examples=120, deadline=None)
@given(networks(), st.integers(2, 30), st.booleans())
def test_training_equals_the_reference(problem, batch_size, shuffle):
    net, x, t = problem
    net.engine.adapt(np.ascontiguousarray(x.T))
    slow = reference.copy_of(net)
    arguments = {"epochs": 3, "batch_size": batch_size, "shuffle": shuffle, "seed": 5}
    if x.shape[1] % min(batch_size, x.shape[1]) == 1:
        return  # a last batch of one sample: batch normalisation makes noise of its rounding errors
    assert net.train(x, t, **arguments) == pytest.approx(slow.train(x, t, **arguments), rel=1e-7)
    for layer, expected in zip(net.layers, slow._layers):
        ours = layer.arrays()
        theirs = expected.arrays() if isinstance(expected, Stage) else {"W": expected._W, "b": expected._b}
        for name in ours:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-6, atol=1e-8)


@settings(max_examples=80, deadline=None)
@given(networks(), st.booleans())
def test_gradients_equal_the_reference_and_finite_differences(problem, training):
    net, x, t = problem
    before = bits(net)
    ours = net.gradients(x, t, training=training, seed=3)
    theirs = reference.copy_of(net).gradients(x, t, training, 3)
    for our_list, their_list in zip(ours[:3], theirs[:3]):
        for a, b in zip(our_list, their_list):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)
    assert bits(net) == before  # running averages too
    if training:
        return
    h = 1e-6
    for layer, dW in zip(net.layers, ours.dWs):
        if dW.size == 0:
            continue
        place = next(iter(layer.arrays().values()))
        at = np.unravel_index(np.argmax(np.abs(dW)), dW.shape)
        kept, losses = place[at], []
        for value in (kept - h, kept, kept + h):
            place[at] = value
            losses.append(net.loss(net.forward_pass(x), t))
        place[at] = kept
        slopes = sorted([(losses[1] - losses[0]) / h, (losses[2] - losses[1]) / h])
        margin = 1e-4 * (1 + abs(dW[at]))
        assert slopes[0] - margin <= dW[at] <= slopes[1] + margin


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_gradient_in_training_against_finite_differences(stage):
    rng = np.random.default_rng(0)
    layers = [Layer(3, 6, Tanh(), seed=rng), stage(), Layer(6, 2, Tanh(), seed=rng)]
    net = NeuralNetwork(layers, MSELoss(), 0.1)
    x, t = rng.normal(size=(3, 7)), rng.normal(size=(2, 7))
    gradients = net.gradients(x, t, training=True, seed=9)
    places = [(net.layers[0].weights, gradients.dWs[0]), (net.layers[2].biases, gradients.dbs[2])]
    rows, trained = np.concatenate([gradients.dWs[1], gradients.dbs[1]], axis=1), net.layers[1].trained
    columns = [rows[:, rows.shape[1] - trained + k, None] for k in range(trained)]
    places += list(zip(net.layers[1].arrays().values(), columns))
    for place, gradient in places:
        for at in np.ndindex(place.shape):
            kept = place[at]
            place[at] = kept + 1e-6
            above = net.gradients(x, t, training=True, seed=9).loss
            place[at] = kept - 1e-6
            below = net.gradients(x, t, training=True, seed=9).loss
            place[at] = kept
            assert gradient[at] == pytest.approx((above - below) / 2e-6, rel=1e-4, abs=1e-7)
    for at in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[at] = 1e-6
        above, below = (net.gradients(x + s, t, training=True, seed=9).loss for s in (step, -step))
        assert gradients.dxs[0][at] == pytest.approx((above - below) / 2e-6, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("name", GOLDEN)
def test_fifty_steps_equal_pytorchs(name):
    rng = np.random.default_rng(7)
    W1, b1, W2, b2 = (rng.normal(size=shape) * 0.5 for shape in ((5, 3), (5,), (2, 5), (2,)))
    x, t = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))

    class TanhStage(fastnn.ActivationFunction):  # PyTorch's network has tanh behind the normalisation
        def f(self, x):
            return np.tanh(x)

        def df(self, x):
            return 1 - np.tanh(x) ** 2

    eye = Layer(5, 5, TanhStage(), init=lambda *_: np.eye(5), bias_init="zeros", trainable=False)
    layers = [Layer(3, 5, Identity()), getattr(fastnn, name)(), eye, Layer(5, 2, Identity())]
    net = NeuralNetwork(layers, MSELoss(), 0.02, Adam())
    layers[0]._W, layers[0]._b, layers[3]._W, layers[3]._b = W1, b1[:, None], W2, b2[:, None]
    net.fit(x, t, epochs=25, batch_size=10, shuffle=False)
    state = GOLDEN[name]["state"]
    trained = [layers[1].row(row) for row in layers[1].rows[: layers[1].trained]]  # PyTorch's weight, and then bias
    rows = dict(zip(("1.weight", "1.bias"), trained))
    both = {"0.weight": layers[0].weights, "0.bias": layers[0].biases, **rows, "3.weight": layers[3].weights}
    for key, ours in both.items():
        # a bias in front of batch normalisation has no gradient but rounding errors, which Adam blows up
        if not (name == "BatchNorm" and key == "0.bias"):
            np.testing.assert_allclose(ours, np.reshape(state[key], ours.shape), rtol=1e-6, atol=1e-8)
    if name == "BatchNorm":
        np.testing.assert_allclose(layers[1].row("running_var").ravel(), state["1.running_var"], rtol=1e-6)
    np.testing.assert_allclose(net.predict(x), GOLDEN[name]["outputs"], rtol=1e-6, atol=1e-8)


def probe(stage, n=400, width=50, steps=1, seed=0):
    """What comes out of a stage in training, from ones: the gradient of sum(out) w.r.t. its input is the mask."""
    net = NeuralNetwork(
        [stage, Layer(width, 1, Identity(), init=lambda *_: np.ones((1, width)), bias_init="zeros")], MSELoss(), 0.0
    )
    x = np.ones((width, n))
    dx = net.gradients(x, np.zeros((1, n)), training=True, seed=seed).dxs
    return dx[0] / dx[1]


def test_dropout_keeps_the_right_part_and_scales_it():
    mask = probe(Dropout(0.3))
    assert set(np.unique(mask.round(9))) == {0.0, round(1 / 0.7, 9)}
    kept = np.mean(mask > 0)
    assert abs(kept - 0.7) < 4 * np.sqrt(0.3 * 0.7 / mask.size)
    # neighbours are independent, in both directions
    for a, b in ((mask[1:], mask[:-1]), (mask[:, 1:], mask[:, :-1])):
        assert abs(np.corrcoef(a.ravel() > 0, b.ravel() > 0)[0, 1]) < 0.03
    assert np.mean((mask > 0) == (probe(Dropout(0.3), seed=1) > 0)) < 0.7
    np.testing.assert_array_equal(mask, probe(Dropout(0.3)))
    np.testing.assert_array_equal(probe(Dropout(0.0)), 1)


def test_dropout_is_off_in_inference():
    rng = np.random.default_rng(0)
    layers = [Layer(4, 20, ReLU(), seed=rng), Dropout(0.5), Layer(20, 2, Identity(), seed=rng)]
    net = NeuralNetwork(layers, MSELoss(), 0.1)
    plain = NeuralNetwork([layers[0], layers[2]], MSELoss(), 0.1)
    X = rng.normal(size=(300, 4))
    np.testing.assert_array_equal(net.predict(X), plain.predict(X))
    np.testing.assert_array_equal(net.forward_pass(X[:1].T), plain.forward_pass(X[:1].T))


def test_noise_has_the_right_distribution():
    from scipy import stats

    stage = GaussianNoise(0.5)
    NeuralNetwork([stage, Layer(50, 1, Identity())], MSELoss(), 0.1)
    noise = (stage.forward(np.ones((50, 400)), True, 12345)[0] - 1) / 0.5
    assert stats.kstest(noise.ravel(), "norm").pvalue > 1e-3


def test_one_seed_gives_the_same_bits_and_another_does_not():
    def run(seed):
        rng = np.random.default_rng(0)
        layers = [GaussianNoise(0.1), Layer(4, 20, ReLU(), seed=rng), Dropout(0.5), Layer(20, 3, Identity(), seed=rng)]
        net = NeuralNetwork(layers, CrossEntropyLoss(), 0.01, Adam(), dtype="float32")
        net.fit(rng.normal(size=(100, 4)), rng.integers(0, 3, 100), epochs=5, shuffle=False, seed=seed)
        return bits(net)

    assert run(1) == run(1) != run(2)


def test_standardize_is_fitted_once_and_makes_scale_irrelevant():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    X[:, 2] = 7.0  # never varies
    y = X[:, :1]

    def fitted(X, how):
        net = NeuralNetwork([Standardize(), Layer(3, 1, Identity(), init="zeros")], MSELoss(), 0.05)
        how(net, X)
        return net

    by_fit = fitted(X, lambda net, X: net.fit(X, y, epochs=3, seed=0))
    scaled = fitted(X * 1000 - 5, lambda net, X: net.fit(X, y, epochs=3, seed=0))
    by_train = fitted(X, lambda net, X: net.train(X.T, y.T, epochs=3, batch_size=30, shuffle=True, seed=0))
    np.testing.assert_allclose(by_fit.predict(X), scaled.predict(X * 1000 - 5), rtol=1e-9)
    assert bits(by_fit) == bits(by_train)
    np.testing.assert_allclose(by_fit.layers[0].row("mean").ravel(), X.mean(axis=0))
    np.testing.assert_allclose(1 / by_fit.layers[0].row("scale").ravel()[:2], X.std(axis=0)[:2])
    before = by_fit.layers[0].row("mean").copy()
    by_fit.fit(X + 100, y)
    np.testing.assert_array_equal(by_fit.layers[0].row("mean"), before)


def test_files_copies_and_checkpoints(tmp_path):
    def start():
        rng = np.random.default_rng(0)
        layers = [
            Standardize(), Layer(4, 9, ReLU(), seed=rng), BatchNorm(0.2), Dropout(0.25),
            Layer(9, 9, ReLU(), seed=rng), LayerNorm(1e-4), Layer(9, 3, Identity(), seed=rng), GaussianNoise(0.01),
        ]  # fmt: skip
        net = NeuralNetwork(layers, CrossEntropyLoss(), 0.01, Adam(), dtype="float32")
        return net, rng.normal(3, 2, size=(90, 4)), rng.integers(0, 3, 90)

    net, X, y = start()
    net.fit(X, y, epochs=3, seed=0)
    net.save(tmp_path / "net")
    twin = fastnn.load(tmp_path / "net")
    assert repr(twin) == repr(net)
    for other in (twin, copy.deepcopy(net)):
        assert bits(other) == bits(net)
        np.testing.assert_array_equal(other.predict(X), net.predict(X))
        mine = copy.deepcopy(net)
        for each in (other, mine):
            each.fit(X, y, epochs=2, seed=1)
        assert bits(other) == bits(mine)

    whole, _, _ = start()
    whole.fit(X, y, epochs=6, seed=3)
    for epochs in (2, 6):
        part, _, _ = start()
        part.fit(X, y, epochs=epochs, seed=3, callbacks=[Checkpoint(tmp_path / "run")])
    assert bits(part) == bits(whole)
    assert "BatchNorm(momentum=0.2" in net.summary()


def test_frozen_normalisation_keeps_gamma_and_beta():
    net, X = NeuralNetwork([BatchNorm(), Layer(2, 1, Identity())], MSELoss(), 0.1, Adam()), np.random.rand(50, 2)
    net.layers[0].trainable = False
    net.fit(X, X[:, 0], epochs=2)
    np.testing.assert_array_equal(net.layers[0].row("gamma"), 1)
    assert np.any(net.layers[0].row("running_mean") != 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dropout(1.0), "rate is 1.0"),
        (lambda: GaussianNoise(-1.0), "std is -1.0"),
        (lambda: BatchNorm(momentum=2.0), "momentum is 2.0"),
        (lambda: LayerNorm(eps=0.0), "eps is 0.0"),
        (lambda: NeuralNetwork([Dropout(0.5)], MSELoss(), 0.1), "holds no Layer"),
        (lambda: NeuralNetwork([Layer(2, 2, Tanh()), Standardize()], MSELoss(), 0.1), r"layers\[1\] is Standardize"),
        (lambda: NeuralNetwork([Dropout, Layer(2, 2, Tanh())], MSELoss(), 0.1), r"write Dropout\(\.\.\.\)"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_a_stage_cannot_serve_two_widths():
    stage = Dropout(0.5)
    NeuralNetwork([Layer(2, 3, Tanh()), stage, Layer(3, 1, Tanh())], MSELoss(), 0.1)
    with pytest.raises(ValueError, match="compatible shapes"):
        NeuralNetwork([Layer(2, 4, Tanh()), stage, Layer(4, 1, Tanh())], MSELoss(), 0.1)


@pytest.mark.parametrize("stage", [LayerNorm, lambda size: BatchNorm(eps=size)])
def test_a_number_of_features_is_no_eps(stage):
    with pytest.raises(ValueError, match=r"Norm.eps is 64; expected a number between 0 and 1"):
        stage(64)
