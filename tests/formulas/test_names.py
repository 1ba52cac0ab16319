"""Names in the place of activations, losses and optimisers."""

import enum
import inspect
import pickle

import numpy as np
import pytest

import fastnn
import fastnn.sklearn  # whose own losses and optimisers must not be found by name
from fastnn import (
    ActivationFunction,
    Adam,
    ElementwiseLoss,
    Identity,
    Layer,
    LossFunction,
    MSELoss,
    NeuralNetwork,
    Optimizer,
    ReLU,
    Schedule,
    Tanh,
    nn,
    reference,
)
from fastnn.formulas import activations, losses
from fastnn.formulas.names import named, names_of

BASES = [ActivationFunction, LossFunction, Optimizer]


def public(base):
    return {
        thing for name in fastnn.__all__ if isinstance(thing := getattr(fastnn, name), type) and issubclass(thing, base)
        and not inspect.isabstract(thing)
    }  # fmt: skip


@pytest.mark.parametrize("base", [*BASES, Schedule])
def test_every_public_class_has_a_name_and_no_two_have_the_same(base):
    names = names_of(base)
    assert set(names.values()) == public(base)
    keys = {}
    for name, cls in names.items():
        assert keys.setdefault(name.replace("_", ""), cls) is cls, name
        assert name == name.lower()


@pytest.mark.parametrize(
    ("base", "names"),
    [
        (ActivationFunction, {
            "relu": "ReLU", "leaky_relu": "LeakyReLU", "leakyrelu": "LeakyReLU", "tanh": "Tanh", "sigmoid": "Sigmoid",
            "logistic": "Sigmoid", "identity": "Identity", "linear": "Identity", "elu": "ELU", "selu": "SELU",
            "gelu": "GELU", "silu": "SiLU", "swish": "SiLU", "softplus": "Softplus", "relu6": "ReLU6",
            "hard_tanh": "HardTanh", "hardtanh": "HardTanh", "ReLU": "ReLU", "LeakyReLU": "LeakyReLU", "TANH": "Tanh",
            "leaky-relu": "LeakyReLU", "Hard_Tanh": "HardTanh",
        }),
        (LossFunction, {
            "mse": "MSELoss", "squared_error": "MSELoss", "mean_squared_error": "MSELoss", "MSELoss": "MSELoss",
            "mae": "MAELoss", "absolute_error": "MAELoss", "mean_absolute_error": "MAELoss", "l1": "MAELoss",
            "huber": "HuberLoss", "smooth_l1": "HuberLoss", "poisson": "PoissonNLLLoss",
            "cross_entropy": "CrossEntropyLoss", "crossentropy": "CrossEntropyLoss",
            "categorical_crossentropy": "CrossEntropyLoss", "sparse_categorical_crossentropy": "CrossEntropyLoss",
            "CrossEntropyLoss": "CrossEntropyLoss", "soft_cross_entropy": "SoftCrossEntropyLoss",
            "bce": "BCEWithLogitsLoss", "binary_crossentropy": "BCEWithLogitsLoss",
            "binary_cross_entropy": "BCEWithLogitsLoss", "bce_with_logits": "BCEWithLogitsLoss",
            "BCEWithLogitsLoss": "BCEWithLogitsLoss",
        }),
        (Optimizer, {
            "adam": "Adam", "Adam": "Adam", "sgd": "SGD", "SGD": "SGD", "adamw": "AdamW", "rmsprop": "RMSprop",
            "adagrad": "Adagrad", "adadelta": "Adadelta", "nadam": "NAdam", "radam": "RAdam", "amsgrad": "AMSGrad",
            "lion": "Lion", "rprop": "RProp",
        }),
    ],
)  # fmt: skip
def test_names_that_users_of_other_libraries_know(base, names):
    for name, cls in names.items():
        assert type(named(base, name, "it")) is getattr(fastnn, cls), name
        assert type(named(base, np.str_(name), "it")) is getattr(fastnn, cls)


def network(act="tanh", loss="mse", optimizer="adam", cls=NeuralNetwork, layer=Layer):
    return cls([layer(2, 3, act, seed=0), layer(3, 1, "identity", seed=1)], loss, 0.01, optimizer)


@pytest.mark.parametrize("door", [fastnn, nn, reference])
def test_a_name_is_what_it_stands_for(door):
    x, t = np.random.default_rng(0).normal(size=(2, 20)), np.ones((1, 20))
    nets = [
        network(cls=door.NeuralNetwork, layer=door.Layer),
        network(Tanh(), MSELoss(), Adam(), door.NeuralNetwork, door.Layer),
    ]
    assert len({net.train(x, t, epochs=3, batch_size=4) for net in nets}) == 1
    assert [type(layer.act_function) for layer in nets[0]._layers] == [Tanh, Identity]
    assert type(nets[0]._loss_function) is MSELoss
    assert type(nets[0].optimizer) is Adam


def test_names_may_be_set_later():
    net, x = network(), np.ones((2, 5))
    net.layers[0].act_function = "relu"
    net.optimizer = "sgd"
    net._loss_function = "mae"
    assert (repr(net.layers[0].act_function), repr(net.loss_function)) == ("ReLU()", "MAELoss()")
    assert net.optimizer.is_plain_descent
    assert np.isfinite(net.train(x, x[:1]))
    np.testing.assert_allclose(net.forward_pass(x), reference.copy_of(net).forward_pass(x))


def test_each_use_of_a_name_is_an_object_of_its_own():
    one, other = Layer(2, 3, "leaky_relu"), Layer(3, 2, "leaky_relu")
    one.act_function.leaky_param = 0.5
    assert other.act_function.leaky_param == 0.1


def test_networks_made_by_name_are_saved_and_pickled(tmp_path):
    net = network("leaky_relu", "huber", "adamw")
    net.save(tmp_path / "net.safetensors")
    for twin in (fastnn.load(tmp_path / "net.safetensors"), pickle.loads(pickle.dumps(net))):
        assert twin.allclose(net, 0, 0)
        assert repr(twin) == repr(net)


WRONG = {
    "misspelt": "rellu", "none": "", "blank": " ", "padded": " relu ", "many": "relu tanh",
    "a list of words": "relu,tanh",
    "unicode": "ｒｅｌｕ", "Greek": "σ", "emoji": "🙂", "zero": "relu\0", "line": "relu\n", "long": "r" * 10**6,
    "surrogate": "\ud800", "dunder": "__class__", "path": "fastnn.ReLU", "call": "ReLU()", "dashes": "---",
    "a base": "ActivationFunction", "a door's": "Velocity", "another door's": "HalfSquaredLoss",
}  # fmt: skip
NO_NAMES = {
    "None": None, "bytes": b"relu", "bytearray": bytearray(b"relu"), "number": 3, "float": 0.5, "true": True,
    "list": ["relu"], "tuple": ("relu",), "dict": {"relu": 1}, "array": np.array(["relu"]),
    "array of no dimension": np.array("relu"), "function": np.tanh, "a class of no kind": int, "base": object,
}  # fmt: skip
PLACES = {
    "act_function": (lambda value: Layer(2, 3, value), "relu"),
    "loss_function": (lambda value: network(loss=value), "mse"),
    "optimizer": (lambda value: network(optimizer=value), "adam"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_names(place, wrong):
    make, good = PLACES[place]
    with pytest.raises(
        ValueError, match=rf"^{place} is .*expected an? \w+, or one of the names .*\b{good}\b"
    ) as caught:
        make(WRONG[wrong])
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("wrong", NO_NAMES)
def test_what_is_no_name(place, wrong):
    if place == "optimizer" and wrong == "None":
        assert type(network(optimizer=None).optimizer) is fastnn.SGD
        return
    with pytest.raises(TypeError, match=rf"^{place} is .*; expected an? \w+ or the name of one"):
        PLACES[place][0](NO_NAMES[wrong])


@pytest.mark.parametrize(
    ("place", "name", "message"),
    [
        ("act_function", "rellu", "did you mean 'relu'"), ("act_function", "leaky_rleu", "did you mean 'leaky_relu'"),
        ("act_function", "sigmod", "did you mean 'sigmoid'"), ("act_function", "logistik", "did you mean 'logistic'"),
        ("act_function", "softmax", "'identity' here, and 'cross_entropy' as the loss"),
        ("act_function", "Soft_Max", "CrossEntropyLoss has it inside"),
        ("loss_function", "mes", "did you mean 'mse'"),
        ("loss_function", "cross_entropie", "did you mean 'cross_entropy'"),
        ("loss_function", "log_loss", "'cross_entropy' .* 'bce'"),
        ("optimizer", "adma", "did you mean 'adam'"), ("optimizer", "L-BFGS", r"call net\.fit_lbfgs\(X, y\)"),
        ("act_function", ReLU, r"write ReLU\(\), not ReLU"),
        ("loss_function", MSELoss, r"write MSELoss\(\), not MSELoss"),
        ("optimizer", Adam, r"write Adam\(\), not Adam"), ("optimizer", "relu", "or one of the names"),
    ],
)  # fmt: skip
def test_the_error_says_what_was_meant(place, name, message):
    with pytest.raises((TypeError, ValueError), match=f"^{place} is .*{message}"):
        PLACES[place][0](name)


@pytest.mark.parametrize("place", ["act_function", "optimizer", "_loss_function"])
def test_a_wrong_name_set_later_changes_nothing(place):
    net = network()
    thing = net.layers[0] if place == "act_function" else net
    before = getattr(thing, place)
    for wrong in ("nope", b"relu", None, int):
        with pytest.raises((ValueError, TypeError), match=place.removeprefix("_")):
            setattr(thing, place, wrong)
        assert getattr(thing, place) is before


class Word(str, enum.Enum):
    RELU = "relu"


def test_strings_of_other_classes():
    assert type(Layer(2, 3, Word.RELU).act_function) is ReLU


class Mine(ActivationFunction):
    def f(self, x):
        return x * 2

    def df(self, x):
        return x * 0 + 2


class Sharp(ElementwiseLoss):
    def __init__(self, power):
        self.power = power

    def f(self, v, t):
        return np.abs(v - t) ** self.power

    def df(self, v, t):
        return self.power * np.abs(v - t) ** (self.power - 1) * np.sign(v - t)


def test_classes_of_users_are_values_and_have_no_names():
    assert type(Layer(2, 3, Mine()).act_function) is Mine
    assert network(loss=Sharp(1.5)).loss_function.power == 1.5
    with pytest.raises(ValueError, match="one of the names elu"):
        Layer(2, 3, "mine")
    with pytest.raises(TypeError, match=r"write Mine\(\.\.\.\), not Mine"):
        Layer(2, 3, Mine)


def test_a_new_class_in_its_file_has_a_name_at_once(monkeypatch):
    class Mish(activations.Tanh):
        """As if it stood in the file of activations."""

    Mish.__module__ = activations.__name__
    monkeypatch.setattr(activations, "Mish", Mish, raising=False)
    assert type(Layer(2, 3, "mish").act_function) is Mish


def test_a_class_that_needs_arguments_says_so(monkeypatch):
    Sharp.required = {"power": 1.5}
    monkeypatch.setattr(Sharp, "__module__", losses.__name__)
    monkeypatch.setattr(losses, "Sharp", Sharp, raising=False)
    with pytest.raises(
        ValueError, match=r"loss_function is 'sharp', but Sharp needs arguments; write Sharp\(power=1\.5\)"
    ):
        network(loss="sharp")
    with pytest.raises(TypeError, match=r"write Sharp\(\.\.\.\), not Sharp"):
        network(loss=Sharp)


def test_names_belong_to_the_class():
    with pytest.raises(TypeError, match="called cannot be set on one object"):
        Tanh().called = ("mine",)
