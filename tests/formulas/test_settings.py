"""Settings are what they are said to be, whoever sets them; and kernels do not depend on what can be set."""

import copy
import inspect
import pickle
import types

import numpy as np
import pytest
from networks import bits

import fastnn
from fastnn import (
    ELU,
    CosineDecay,
    CrossEntropyLoss,
    Dropout,
    HuberLoss,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    MSELoss,
    NeuralNetwork,
    Schedule,
    Standardize,
    Tanh,
    WarmUp,
    saving,
)
from fastnn.checks import Checked, positive_number
from fastnn.formulas.component import Component, built_in
from fastnn.layers.stage import Stage

PUBLIC = sorted(
    {thing for name in fastnn.__all__ if isinstance(thing := getattr(fastnn, name), type)}, key=lambda cls: cls.__name__
)
RESULTS = {
    fastnn.Explanation,
    fastnn.GradientCheck,
    fastnn.GradientError,
    fastnn.Gradients,
    fastnn.History,
    fastnn.LRCurve,
}  # fastnn makes them
PARTS = {fastnn.Layer, NeuralNetwork, fastnn.NetworkBank}  # their constructors see what does not fit together, too
OTHERS = {cls for cls in PUBLIC if cls in RESULTS or issubclass(cls, Exception)}
CLASSES = [cls for cls in PUBLIC if not inspect.isabstract(cls) and cls not in OTHERS]


class Unreadable:
    def __repr__(self):
        raise RuntimeError("no text for this")


NAN, INF = float("nan"), float("inf")
NONSENSE = {
    "None": None, "minus one": -1, "less than nothing": -0.5, "not a number": NAN, "infinite": INF,
    "minus infinite": -INF, "float32 not a number": np.float32("nan"), "array of nan": np.array(NAN),
    "true": True, "false": False, "NumPy's true": np.bool_(True), "digits": "5", "word": "nonsense", "no word": "",
    "end of a string": "a\0b", "bytes": b"5", "list": [], "dict": {}, "list of a number": [0.5], "tuple": (1,),
    "array": np.ones(2), "empty array": np.empty(0), "matrix": np.ones((2, 2)), "array of objects": np.array([None]),
    "masked": np.ma.masked, "structure": np.zeros(1, "i4,f4")[0], "date": np.datetime64("2020-01-01"),
    "nested": [[[{"a": [1, {}]}]]], "a component": Tanh(), "object": object(), "without a text": Unreadable(),
    "complex": 1j, "huge": 10**400, "more digits than are written": 10**5000, "minus huge": -(10**5000),
    "class": float, "class of ours": fastnn.Constant, "function": len, "generator": (x for x in ()),
    "ellipsis": ..., "set": {1}, "range": range(3),
}  # fmt: skip
TRUTHS = {"true", "false", "NumPy's true"}
WORDS = {"digits", "word"}
FINE = {  # what of it makes sense, for settings of these checks
    "flag": TRUTHS, "text": {*WORDS, "end of a string"}, "path": WORDS,
    "path_text": WORDS, "function_of": {"class", "class of ours", "function"},
    "finite_number": {"minus one", "less than nothing"},
}  # fmt: skip
FINE_FOR = {  # ... and for these
    ("Layer", "init"): {"function"}, ("Layer", "bias_init"): {"function"},  # they say what they return
    # what NumPy takes for a seed, or for the name of a dtype
    ("Layer", "seed"): {"array", "huge", "more digits than are written", "list", "empty array", "tuple", "range"},
    ("Layer", "dtype"): {"class", "None"}, ("NeuralNetwork", "dtype"): {"class"},
    ("ELU", "alpha"): {"minus one", "less than nothing"},
    ("Layer", "act_function"): {"a component"},
    ("PinballLoss", "quantiles"): {"list of a number"}, ("Embedding", "categories"): {"tuple"},
}  # fmt: skip
ONE_OF_EACH = {
    "path": "a.csv", "seconds": 1.0, "trial": types.SimpleNamespace(report=print, should_prune=print),
}  # fmt: skip  # of the parameters without a default


def arguments(cls):
    if cls is fastnn.Layer:
        return {"ins": 2, "outs": 3, "act_function": Tanh()}
    if cls is NeuralNetwork:
        return {"layers": [Layer(2, 1, Tanh())], "loss_function": MSELoss(), "learning_rate": 0.1}
    if cls is fastnn.NetworkBank:
        return {"networks": [NeuralNetwork(**arguments(NeuralNetwork))]}
    if issubclass(cls, Component):
        return dict(cls.required)
    return {name: ONE_OF_EACH[name] for name in settings(cls) if name in ONE_OF_EACH}


def settings(cls):
    return [] if cls.__init__ is object.__init__ else list(inspect.signature(cls).parameters)


def nonsense_for(cls, name):
    check = getattr(cls, "checked", {}).get(name)
    within = inspect.getclosurevars(check).nonlocals.get("check", check) if check else None  # of optional(check)
    kind = within.__qualname__.split(".")[0] if within else ""
    fine = FINE.get(kind, set()) | FINE_FOR.get((cls.__name__, name), set())
    if inspect.signature(cls).parameters[name].default is None:
        fine = fine | {"None"}
    if kind == "flag":
        assert "true" not in set(NONSENSE) - fine
    return {what: value for what, value in NONSENSE.items() if what not in fine}


EACH = [(cls, name) for cls in CLASSES for name in settings(cls)]


def test_every_public_class_declares_what_its_settings_may_be():
    for cls in PUBLIC:
        if cls not in OTHERS | PARTS and settings(cls):
            assert issubclass(cls, Checked), f"{cls.__name__} has settings; expected it to be Checked"
            missing = set(settings(cls)) - set(cls.checked)
            assert not missing, f"{cls.__name__} says nothing of {missing} in `checked`"
    own = {name for name, cls in built_in(Component).items() if not cls.__module__.startswith("fastnn.sklearn.")}
    assert {cls.__name__ for cls in CLASSES} >= {"Layer", "EarlyStopping", "Checkpoint", *own}
    assert len(EACH) >= 105
    assert len(NONSENSE) >= 40


@pytest.mark.parametrize(("cls", "name"), EACH)
def test_nonsense_is_refused_at_construction_and_later(cls, name):
    wrong = nonsense_for(cls, name)
    assert len(wrong) > 25
    with_checks = cls not in PARTS and cls is not fastnn.TensorBoard  # which opens a file of another package
    thing = cls(**arguments(cls)) if with_checks else None
    for what, value in wrong.items():
        with pytest.raises((ValueError, TypeError), match=rf"\b{name}\b") as caught:
            cls(**{**arguments(cls), name: value})
        if with_checks:
            assert f"{cls.__name__}.{name} is " in str(caught.value), what
            assert "expected" in str(caught.value)
            before = getattr(thing, name)
            with pytest.raises((ValueError, TypeError), match=rf"\b{name}\b"):
                setattr(thing, name, value)
            assert getattr(thing, name) is before or getattr(thing, name) == before


@pytest.mark.parametrize("name", ["lr", "clip_norm", "clip_value", "optimizer"])
def test_nonsense_is_refused_where_a_network_is_told_later(name):
    net = NeuralNetwork(**arguments(NeuralNetwork))
    fine = {"None"} if name.startswith("clip") else set()
    for what, value in NONSENSE.items():
        if what not in fine:
            with pytest.raises((ValueError, TypeError)):
                setattr(net, name, value)
    assert (net.lr, net.clip_norm, net.clip_value) == (0.1, None, None)


@pytest.mark.parametrize("make", [fastnn.create_weight_matrix, fastnn.create_bias_vector])
def test_sizes_of_the_articles_initialisers(make):
    names = list(inspect.signature(make).parameters)
    for name in names:
        for value in [*NONSENSE.values(), 0, 2.0]:
            with pytest.raises((ValueError, TypeError), match=rf"\b{name}\b"):
                make(**{**dict.fromkeys(names, 2), name: value})


def test_mistakes_that_are_made_say_how_to_mend_them(tmp_path):
    layer = Layer(2, 1, Tanh())
    for make, message in [
        (lambda: WarmUp(0.1, 5), r"WarmUp\.after is 0\.1; expected an object of Schedule \(such as .*Constant\(0\.1\)"),
        (lambda: WarmUp(5, fastnn.Constant(0.1)), r"expected an object of Schedule"),
        (lambda: WarmUp(fastnn.Constant, 5), r"write Constant\(\.\.\.\), not Constant"),
        (lambda: NeuralNetwork([layer], MSELoss(), CosineDecay), r"learning_rate .*write CosineDecay\(\.\.\.\)"),
        (lambda: NeuralNetwork([layer], MSELoss, 0.1), r"MSELoss\(\)"),
        (lambda: fastnn.load("nowhere", custom=Tanh), r"custom .*write custom=\[Tanh\]"),
        (lambda: fastnn.EarlyStopping(patience="5"), r"EarlyStopping\.patience is '5'; expected an integer"),
        (lambda: fastnn.EarlyStopping(min_delta=NAN), r"EarlyStopping\.min_delta is nan"),
        (lambda: fastnn.TimeLimit(NAN), r"TimeLimit\.seconds is nan"),
        (lambda: fastnn.LambdaCallback(on_epoch_end=lambda: None), r"expected one of \(epoch, logs\)"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            make()


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if issubclass(cls, Component)])
def test_settings_come_back_from_a_file(cls):
    thing = cls.example()
    assert thing.difference(saving.restore(thing.described(), {})) == ""


def test_numbers_of_other_kinds_are_taken():
    for value in (1, np.float32(1), np.int8(1), np.array(1.0)):
        for thing in (HuberLoss(value), ELU(value)):
            (number,) = vars(thing).values()
            assert type(number) is float
            assert number == 1.0
    assert CosineDecay(0.1, np.int64(5), restarts=np.bool_(True)).restarts is True


def test_edges():
    for make in (
        lambda: HuberLoss(0), lambda: fastnn.Adam(beta1=1.0), lambda: fastnn.SGD(momentum=1), lambda: LeakyReLU(1.5),
        lambda: Dropout(1), lambda: fastnn.RProp(shrink=1), lambda: fastnn.RProp(grow=1),
        lambda: CosineDecay(0.1, 0),
        lambda: CosineDecay(0.1, 5, growth=0.5), lambda: fastnn.OneCycle(0.1, 5, rise=1),
        lambda: fastnn.StepDecay(0.1, True),
        lambda: fastnn.SGD(momentum=True), lambda: fastnn.SGD(nesterov=1), lambda: fastnn.BatchNorm(eps=0),
        lambda: fastnn.ExponentialDecay(0.1, -0.9), lambda: WarmUp(0.1, 5), lambda: WarmUp(fastnn.Constant, 5),
    ):  # fmt: skip
        with pytest.raises((ValueError, TypeError), match="expected"):
            make()
    LeakyReLU(0), LeakyReLU(1), Dropout(0), fastnn.SGD(momentum=0), CosineDecay(0, 1, final=1.5)


class Scaled(fastnn.ActivationFunction):
    checked = {"scale": positive_number}

    def __init__(self, scale=1.0):
        self.scale = scale

    def f(self, x):
        return self.scale * x

    def df(self, x):
        return self.scale + x * 0


class More(Scaled, ELU):
    pass


def test_own_classes_declare_checks_of_their_own():
    with pytest.raises(ValueError, match="scale is -1; expected a finite number above 0"):
        Scaled(-1)
    assert set(More.checked) == {"scale", "alpha"}
    for twin in (copy.deepcopy(Scaled(2.0)), pickle.loads(pickle.dumps(Scaled(2.0)))):
        assert vars(twin) == {"scale": 2.0}
        with pytest.raises(TypeError, match="scale is 'x'"):
            twin.scale = "x"


# --- what sizes memory belongs to the class ------------------------------------------------------


@pytest.mark.parametrize(
    ("thing", "name", "value"),
    [
        (lambda: LayerNorm(), "trained", 10**6), (lambda: LayerNorm(), "rows", []), (lambda: LayerNorm(), "start", ()),
        (lambda: LayerNorm(), "kernels", None), (lambda: MSELoss(), "target", "class"),
        (lambda: CrossEntropyLoss(), "target", "values"), (lambda: Tanh(), "of_numbers", ()),
        (lambda: Tanh(), "checked", {}),
    ],
)  # fmt: skip
def test_what_belongs_to_the_class_cannot_be_set_on_one_object(thing, name, value):
    thing = thing()
    with pytest.raises(TypeError, match=f"{name} cannot be set on one object.*Write a subclass"):
        setattr(thing, name, value)


def trained(stage=None, loss=None, y=None, optimizer=None):
    layers = [Layer(3, 4, Tanh(), seed=0), *([stage] if stage else []), Layer(4, 2, Identity(), seed=1)]
    net = NeuralNetwork(layers, loss or MSELoss(), 0.1, optimizer or fastnn.Adam())
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 3))
    net.fit(X, rng.normal(size=(20, 2)) if y is None else y, epochs=2, batch_size=5, seed=0, verbose=0)
    return bits(net)


def test_not_even_behind_the_back_of_the_object():
    expected = trained(LayerNorm())
    stage = LayerNorm()
    vars(stage).update(trained=10**6, rows=[], start=(), kernels=None)
    assert trained(stage) == expected
    loss = MSELoss()
    vars(loss)["target"] = "class"
    with pytest.raises(fastnn.FormulaError, match="takes values as targets"):
        trained(loss=loss, y=np.zeros(20, int))


class Changing(fastnn.Optimizer):
    def __init__(self, states=1):
        self.states = states

    @property
    def state(self):
        return {f"s{k}": 0.0 for k in range(self.states)}

    def update(self, w, g, lr, step, *state):
        return (w - lr * g, *state)


def test_an_optimizer_that_keeps_more_numbers_than_before_gets_room_for_them():
    net = NeuralNetwork([Layer(3, 200, Tanh(), seed=0), Layer(200, 2, Tanh(), seed=1)], MSELoss(), 0.1, Changing())
    X, y = np.ones((20, 3)), np.zeros((20, 2))
    for states in (1, 6, 2):
        net.optimizer.states = states
        net.fit(X, y, epochs=1, batch_size=5, verbose=0)
        assert [numbers.shape[0] for numbers in net.engine.state.numbers] == [states, states]


class Odd(fastnn.ElementwiseLoss):
    target = "classes"

    def f(self, v, t):
        return v - t

    def df(self, v, t):
        return v * 0 + 1


def test_a_target_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"Odd\.target is 'classes'; expected 'values', 'class' or None"):
        trained(loss=Odd())


def test_a_stage_in_training_keeps_its_settings_in_range():
    stage = Dropout(0.5)
    trained(stage)
    with pytest.raises(ValueError, match=r"rate is 1\.0"):
        stage.rate = 1.0
    with pytest.raises(AttributeError):
        stage.settings = ()


# --- schedules within schedules ------------------------------------------------------------------


class Counting(Schedule):
    asked = 0

    def factor(self, t):
        type(self).asked += 1
        return 0.5  # one for all times


def test_a_warm_up_asks_once_however_many_lie_within_each_other():
    schedule = Counting(1.0)
    for _ in range(60):
        schedule = WarmUp(schedule, 2)
    Counting.asked = 0
    rates = schedule.rates(0, 130, 10)
    assert Counting.asked == 1
    assert rates.shape == (130,)
    np.testing.assert_array_equal(rates[120:], 0.5)
    assert 0 < rates[0] < 1e-15


def test_a_warm_up_has_the_rate_of_what_follows():
    after = CosineDecay(0.5, 10, per="epoch")
    schedule = WarmUp(after, 4)
    assert (schedule.lr, schedule.per) == (0.5, "epoch")
    np.testing.assert_allclose(schedule.rates(0, 8, 2), np.repeat([0.125, 0.25, 0.375, 0.5], 2))
    schedule.lr = 0.25
    assert after.lr == 0.25
    with pytest.raises(ValueError, match="lr is -1"):
        schedule.lr = -1


def test_standardize_may_be_told_that_it_is_fitted():
    net = NeuralNetwork([Standardize(fitted=True), Layer(3, 2, Tanh())], MSELoss(), 0.1)
    net.layers[0].row("mean")[:] = 5.0
    net.fit(np.ones((9, 3)), np.ones((9, 2)), verbose=0)
    np.testing.assert_array_equal(net.layers[0].row("mean"), 5.0)


@pytest.mark.parametrize("cls", built_in(Stage).values())
def test_stages_are_copied_with_what_made_them(cls):
    stage = cls.example()
    for twin in (copy.deepcopy(stage), pickle.loads(pickle.dumps(stage))):
        assert twin.described() == stage.described()


@pytest.mark.parametrize("make", [
    lambda: fastnn.Adam(0.01), lambda: fastnn.SGD(0.01), lambda: fastnn.AdamW(lr=0.01),
    lambda: fastnn.RMSprop(learning_rate=0.01), lambda: fastnn.Lion(0.9, 0.99), lambda: MyAdam(0.01),
])  # fmt: skip
def test_an_optimiser_takes_no_learning_rate(make):
    with pytest.raises(TypeError, match=r"by name.*net\.lr.*learning_rate_init"):
        make()


def test_an_optimiser_says_how_its_settings_are_called():
    with pytest.raises(TypeError, match=r"0\.9 came without one; expected Lion\(beta1=0\.9, beta2=0\.99\)"):
        fastnn.Lion(0.9, 0.99)


class MyAdam(fastnn.Adam):
    """With the constructor of Adam."""


def test_an_optimiser_of_your_own_takes_what_it_likes():
    class Own(fastnn.Optimizer):
        def __init__(self, lr: float) -> None:
            self.lr = lr

        def update(self, w, g, lr, step):
            return w - self.lr * g

    assert Own(0.5).lr == Own(lr=0.5).lr == 0.5
