"""`fastnn.mlp`."""

import itertools
import math

import numpy as np
import pytest
from strategies import built_in

import fastnn
from fastnn import Adam, Dropout, Identity, Layer, LeakyReLU, MSELoss, NeuralNetwork, OneCycle, ReLU, Tanh, mlp

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4))
VALUES = X[:, 0] * X[:, 1]
CLASSES = (VALUES > 0).astype(int) + (X[:, 2] > 1)


def shape(net):
    return [(layer.ins, layer.outs) for layer in net.layers]


# --- what it makes ---------------------------------------------------------------------------


def test_it_makes_what_the_layers_by_hand_make():
    net = mlp([4, 8, 6, 3], ["tanh", LeakyReLU(0.2)], loss="cross_entropy", lr=0.05, l2=0.01, dtype="float64", seed=7)
    rng = np.random.default_rng(7)
    layers = [
        Layer(4, 8, Tanh(), l2=0.01, seed=rng),
        Layer(8, 6, LeakyReLU(0.2), l2=0.01, seed=rng),
        Layer(6, 3, Identity(), l2=0.01, seed=rng),
    ]
    twin = NeuralNetwork(layers, fastnn.CrossEntropyLoss(), 0.05, Adam())
    for one in (net, twin):
        one.fit(X, CLASSES, epochs=2, seed=1, verbose=0)
    assert repr(net) == repr(twin)
    assert net.allclose(twin, 0, 0)
    assert [layer.l2 for layer in net.layers] == [0.01] * 3


def test_what_it_makes_by_default():
    net = mlp([4, 8, 1])
    assert type(net) is NeuralNetwork
    assert [repr(layer) for layer in net.layers] == ["Layer(4, 8, ReLU())", "Layer(8, 1, Identity())"]
    assert (type(net.loss_function), type(net.optimizer), net.lr, net.dtype) == (MSELoss, Adam, 0.001, np.float32)
    assert not mlp([4, 8, 1], seed=0).allclose(mlp([4, 8, 1], seed=1))


@pytest.mark.parametrize(
    "sizes",
    [
        (4, 8, 3), np.array([4, 8, 3]), np.array([4, 8, 3], np.uint8), [np.int64(4), 8, np.int8(3)],
        (n for n in (4, 8, 3)), map(int, "483"), {4: 0, 8: 0, 3: 0}.keys() - {}, range(4, 13, 4),
    ],
    ids=lambda sizes: type(sizes).__name__,
)  # fmt: skip
def test_sizes_in_other_forms(sizes):
    if isinstance(sizes, set):
        with pytest.raises(TypeError, match="sizes is"):
            mlp(sizes)
        return
    net = mlp(sizes)
    assert shape(net) in ([(4, 8), (8, 3)], [(4, 8), (8, 12)])
    assert all(type(number) is int for pair in shape(net) for number in pair)


def test_no_hidden_layer():
    net = mlp([4, 3], ["tanh"][:0], loss="cross_entropy")
    assert [repr(layer) for layer in net.layers] == ["Layer(4, 3, Identity())"]
    assert shape(mlp([4, 3])) == [(4, 3)]
    assert shape(mlp([4, 3], (), dropout=[])) == [(4, 3)]


def test_stages():
    net = mlp([4, 8, 6, 3], dropout=[0.25, 0], standardize=True)
    kinds = [type(layer).__name__ for layer in net.layers]
    assert kinds == ["Standardize", "Layer", "Dropout", "Layer", "Layer"]
    assert net.layers[2].rate == 0.25
    net = mlp([4, 8, 6, 3], dropout=0.5)
    assert [layer.rate for layer in net.layers if isinstance(layer, Dropout)] == [0.5, 0.5]
    assert type(net.layers[-1]) is Layer


def test_one_name_makes_an_object_for_each_layer_and_an_object_stays_itself():
    first, second, _ = mlp([4, 8, 6, 3], "leaky_relu").layers
    assert first.act_function is not second.act_function
    act = LeakyReLU(0.3)
    assert all(layer.act_function is act for layer in mlp([4, 8, 6, 3], act).layers[:-1])


@pytest.mark.parametrize("cls", built_in(fastnn.Optimizer), ids=lambda cls: cls.__name__)
def test_the_usual_rate_of_each_optimiser_learns(cls):
    net = mlp([4, 16, 1], "tanh", optimizer=cls(), seed=0)
    assert net.lr == cls.usual_lr
    history = net.fit(
        X, X[:, 0] - X[:, 1], epochs=200, batch_size=300 if cls is fastnn.RProp else 10, seed=0, verbose=0
    )
    assert history["loss"][-1] < 0.3 * history["loss"][0]


def test_rates():
    assert mlp([2, 1], optimizer="sgd").lr == 0.01
    assert mlp([2, 1], optimizer="sgd", lr=0).lr == 0.0
    schedule = OneCycle(0.1, 50)
    assert mlp([2, 1], lr=schedule).lr is schedule

    class Own(fastnn.SGD):
        usual_lr = 0.25

    assert mlp([2, 1], optimizer=Own()).lr == 0.25


@pytest.mark.parametrize(
    ("loss", "y", "outs"),
    [("mse", VALUES, 1), ("huber", VALUES, 1), ("mae", VALUES, 1), ("poisson", CLASSES.astype(float), 1),
     ("cross_entropy", CLASSES, 3), ("bce", (VALUES > 0).astype(int), 1),
     ("bce", np.c_[VALUES > 0, X[:, 2] > 0].astype(int), 2), (fastnn.CrossEntropyLoss(0.1), CLASSES, 3)],
)  # fmt: skip
def test_it_learns(loss, y, outs):
    net = mlp([4, 32, outs], loss=loss, lr=0.01, seed=0)
    before = net.evaluate(X, y)["loss"]
    net.fit(X, y, epochs=60, seed=0, verbose=0)
    assert net.evaluate(X, y)["loss"] < 0.7 * before


# --- one seed here and one there -------------------------------------------------------------

STEPS = {
    "plain": {}, "dropout": {"dropout": 0.3}, "standardised": {"standardize": True},
    "all": {"dropout": [0.3, 0.1], "standardize": True, "l2": 0.01, "optimizer": "nadam", "dtype": "float64"},
}  # fmt: skip


def trained(seed, fit_seed, options, **keywords):
    net = mlp([4, 16, 8, 3], "gelu", loss="cross_entropy", seed=seed, **options)
    history = net.fit(X * 5 + 2, CLASSES, epochs=4, batch_size=16, seed=fit_seed, verbose=0, **keywords)
    return net.parameters.tobytes(), history


def outcome(seed, fit_seed, options):
    bits, history = trained(seed, fit_seed, options, validation_split=0.2, metrics=["accuracy"])
    return bits, history["loss"], history["val_loss"], history["val_accuracy"]


@pytest.mark.parametrize("options", STEPS.values(), ids=STEPS)
def test_two_seeds_make_all_of_it_reproducible(options):
    first = outcome(3, 5, options)
    np.random.seed(1)  # which must play no part
    assert outcome(3, 5, options) == first
    assert outcome(np.random.default_rng(3), 5, options) == first
    assert outcome(np.int64(3), np.int64(5), options) == first
    assert outcome(4, 5, options)[0] != first[0]
    assert outcome(3, 6, options)[0] != first[0]


def test_the_seed_draws_something_else_for_each_layer():
    a, b, _ = mlp([8, 8, 8, 8], seed=0).layers
    assert not np.isclose(a.weights, b.weights).any()
    assert not np.isclose(a.biases, b.biases).any()
    wide, narrow = mlp([8, 8, 8], seed=0, dtype="float64"), mlp([8, 8, 8], seed=0)
    assert np.array_equal(wide.parameters.astype(np.float32), narrow.parameters)


def test_without_a_seed_every_network_is_another():
    assert len({mlp([2, 2]).parameters.tobytes() for _ in range(20)}) == 20


# --- what is refused -------------------------------------------------------------------------

HUGE = 10**13
BAD_SIZES = {
    "nothing": [], "one": [3], "no list": 3, "None": None, "text": "784", "bytes": b"\x04\x02", "empty text": "",
    "float": [4, 8.0, 3], "fraction": [4, 0.5], "NumPy floats": np.array([4.0, 3.0]), "nan": [4, math.nan],
    "true": [4, True], "NumPy's true": [np.True_, 3], "zero": [4, 0, 3], "zero inputs": [0, 3], "negative": [4, -1],
    "word": [4, "8", 3], "None in it": [4, None], "nested": [[4, 3]], "nested within": [4, [8], 3],
    "matrix": np.ones((2, 2), int), "scalar array": np.array(3), "set": {4, 8, 3}, "dict": {4: 1, 8: 1},
    "empty array": np.array([], int), "empty generator": (n for n in ()), "complex": [4, 3j],
    "beyond 64 bits": [4, 2**64],
    "objects": [4, object()], "layers": [Layer(2, 3, Tanh()), 3], "class": int, "masked": [4, np.ma.masked],
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD_SIZES)
def test_bad_sizes(bad):
    with pytest.raises((ValueError, TypeError), match=r"^sizes(\[\d\])? is .*expected") as caught:
        mlp(BAD_SIZES[bad])
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("sizes", [[HUGE, 2], [4, HUGE], [2**31, 2**31], [4, HUGE, 2], [2**62, 2**62], [10**5] * 10**4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sizes_that_no_memory_holds(sizes, dtype):
    with pytest.raises(MemoryError, match=r"^a network of sizes \[.* takes [\d,]+ bytes.*expected smaller sizes"):
        mlp(sizes, dtype=dtype)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "rellu"}, r"^activation is 'rellu' \(did you mean 'relu'\?\)"),
        ({"activation": ["relu", "rellu"]}, r"^activation\[1\] is 'rellu' \(did you mean 'relu'\?\)"),
        ({"activation": ["relu"]}, "^activation holds 1 values; expected 2, one for each hidden layer"),
        ({"activation": ["relu"] * 3}, "^activation holds 3 values; expected 2"),
        ({"activation": []}, "^activation holds 0 values; expected 2"),
        ({"activation": None}, "^activation is None; expected an ActivationFunction or the name of one"),
        ({"activation": ReLU}, r"^activation is .*write ReLU\(\), not ReLU"),
        ({"activation": ["relu", ReLU]}, r"^activation\[1\] is .*write ReLU\(\), not ReLU"),
        ({"activation": b"relu"}, "^activation is b'relu'"), ({"activation": 3}, "^activation is 3"),
        ({"activation": np.tanh}, "^activation is "), ({"activation": "softmax"}, "'cross_entropy' as the loss"),
        ({"loss": "mes"}, r"^loss is 'mes' \(did you mean 'mse'\?\)"), ({"loss": None}, "^loss is None"),
        ({"loss": MSELoss}, r"^loss is .*write MSELoss\(\)"), ({"loss": "adam"}, "^loss is 'adam'.*cross_entropy"),
        ({"optimizer": "adma"}, "^optimizer is 'adma'"), ({"optimizer": None}, "^optimizer is None"),
        ({"optimizer": Adam}, r"^optimizer is .*write Adam\(\)"), ({"optimizer": "lbfgs"}, r"net\.fit_lbfgs"),
        ({"lr": -1}, "^learning_rate is -1"), ({"lr": "adam"}, "^learning_rate is 'adam'"),
        ({"lr": OneCycle}, r"write OneCycle\(\.\.\.\)"), ({"lr": True}, "^learning_rate is True"),
        ({"dropout": 1.0}, "^dropout is 1.0"), ({"dropout": -0.1}, "^dropout is -0.1"),
        ({"dropout": [0.1]}, "^dropout holds 1 values; expected 2"), ({"dropout": None}, "^dropout is None"),
        ({"dropout": [0.1, "0.2"]}, r"^dropout\[1\] is '0.2'"), ({"dropout": "0.1"}, "^dropout is '0.1'"),
        ({"dropout": True}, "^dropout is True"), ({"dropout": math.nan}, "^dropout is nan"),
        ({"l2": -1}, "l2 is -1"), ({"l2": "0"}, "l2 is '0'"), ({"l2": None}, "l2 is None"),
        ({"standardize": 1}, "^standardize is 1; expected True or False"),
        ({"standardize": None}, "^standardize is None"),
        ({"standardize_targets": "yes"}, "^standardize_targets is 'yes'; expected True or False"),
        ({"standardize_targets": True, "loss": "cross_entropy"}, "StandardizeTargets"),
        ({"standardize": np.array([True, False])}, "^standardize is"),
        ({"dtype": "float16"}, "^dtype is 'float16'"), ({"dtype": int}, "^dtype is"), ({"dtype": "x"}, "^dtype is 'x'"),
        ({"seed": -1}, "^seed is -1"), ({"seed": 1.5}, "^seed is 1.5"), ({"seed": "0"}, "^seed is '0'"),
        ({"seed": True}, "^seed is True"),
    ],
    ids=repr,
)  # fmt: skip
def test_bad_options(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        mlp([4, 8, 6, 3], **options)


def test_a_wrong_activation_is_refused_where_there_is_no_hidden_layer():
    with pytest.raises(ValueError, match=r"^activation is 'rellu'"):
        mlp([4, 3], "rellu")
    with pytest.raises(ValueError, match=r"^activation holds 1 values; expected 0"):
        mlp([4, 3], ["relu"])


def test_options_are_named():
    with pytest.raises(TypeError):
        mlp([4, 3], "relu", "mse")
    with pytest.raises(TypeError):
        mlp(4, 8, 3)


@pytest.mark.parametrize(
    ("make", "y", "message"),
    [
        (lambda: mlp([3, 8, 1]), VALUES, "X has"), (lambda: mlp([4, 8, 2]), VALUES, "y has"),
        (lambda: mlp([4, 8, 2], loss="cross_entropy"), CLASSES, "y"),
        (lambda: mlp([4, 8, 1], loss="bce"), VALUES, "y"), (lambda: mlp([4, 8, 1], loss="poisson"), VALUES, "y"),
        (lambda: mlp([4, 8, 3], loss="cross_entropy"), VALUES, "y"),
    ],
)  # fmt: skip
def test_data_that_do_not_fit_get_the_usual_errors(make, y, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make().fit(X, y)


def test_all_options_together():
    acts, losses = ("relu", ["tanh", "silu"]), ("mse", "huber")
    for act, loss, dropout, standardize, dtype in itertools.product(
        acts, losses, (0, [0.1, 0.2]), (True, False), ("float32", np.float64)
    ):
        net = mlp([4, 5, 6, 1], act, loss=loss, dropout=dropout, standardize=standardize, dtype=dtype, seed=0)
        assert net.dtype == dtype
        assert np.isfinite(net.fit(X, VALUES, seed=0, verbose=0)["loss"]).all()


def test_prices_are_learnt_as_they_are():
    X = np.random.default_rng(0).normal(size=(300, 3))
    y = 2e5 + 8e4 * (X[:, 0] + X[:, 1] * X[:, 2])
    net = mlp([3, 32, 1], lr=0.01, standardize_targets=True, seed=0)
    net.fit(X, y, epochs=60, seed=0)
    assert net.evaluate(X, y, "r2")["r2"] > 0.9
    assert 1e5 < net.predict(X).mean() < 3e5
