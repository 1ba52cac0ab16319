"""Columns in another order than in the first fit: an error, by name, wherever a frame comes in."""

import copy
import pickle

import numpy as np
import pytest
from networks import Killed, killed_in

import fastnn
from fastnn import (
    Checkpoint,
    CrossEntropyLoss,
    Identity,
    LambdaCallback,
    Layer,
    NetworkBank,
    NeuralNetwork,
    Standardize,
    Tanh,
    explain,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 3))
Y = (X[:, 0] > 0).astype(int)
NAMES = ("age", "height", "weight")


@pytest.fixture(params=["pandas", "polars"])
def frame(request):
    """A function that makes a frame of columns by name."""
    return pytest.importorskip(request.param).DataFrame


def table(frame, names=NAMES, X=X):
    """The frame of X with its columns in the order of `names`; names that X does not know get zeros."""
    columns = dict(zip(NAMES, X.T))
    return frame({name: columns.get(name, np.zeros(len(X))) for name in names})


def network(stage=False):
    layers = [Layer(3, 4, Tanh(), seed=0), Layer(4, 2, Identity(), seed=1)]
    return NeuralNetwork([Standardize(), *layers] if stage else layers, CrossEntropyLoss(), 0.1)


def fitted(frame):
    net = network()
    net.fit(table(frame), Y, 2, seed=0, verbose=0)
    return net


FIRST = {
    "fit": lambda net, X: net.fit(X, Y, verbose=0),
    "partial_fit": lambda net, X: net.partial_fit(X, Y),
    "fit_lbfgs": lambda net, X: net.fit_lbfgs(X, Y, 3),
    "split": lambda net, X: net.fit(X, Y, verbose=0, validation_split=0.2),
    "bank": lambda net, X: NetworkBank([net, network()]).fit(X, Y, verbose=0),
    "bank with a split": lambda net, X: NetworkBank([net, network()]).fit(X, Y, verbose=0, validation_split=0.2),
    "bank with lists": lambda net, X: NetworkBank([net, network()]).fit([X, X], [Y, Y], verbose=0),
    "bootstrap": lambda net, X: NetworkBank([net, network()]).fit(X, Y, verbose=0, bootstrap=True, seed=0),
    "chunks": lambda net, X: net.fit(iter([(X, Y), (X, Y)]), verbose=0),
    "chunks again": lambda net, X: net.fit(lambda: [(X, Y), (X, Y)], epochs=2, verbose=0),
}
LATER = {
    **FIRST,
    "predict": lambda net, X: net.predict(X),
    "one": lambda net, X: net.predict(X[:1]),
    "predict_proba": lambda net, X: net.predict_proba(X),
    "predict_classes": lambda net, X: net.predict_classes(X),
    "evaluate": lambda net, X: net.evaluate(X, Y),
    "validation": lambda net, X: net.fit(np.zeros((4, 3)), [0, 1, 0, 1], validation_data=(X, Y), verbose=0),
    "find_lr": lambda net, X: net.find_lr(X, Y),
    "gradient": lambda net, X: net.loss_and_gradient(X, Y),
    "bank.predict": lambda net, X: NetworkBank([network(), net]).predict(X),
    "bank.evaluate": lambda net, X: NetworkBank([network(), net]).evaluate(X, Y),
}


@pytest.mark.parametrize("stage", [False, True])
@pytest.mark.parametrize("call", FIRST)
def test_the_first_frame_in_training_gives_the_names(call, stage, frame):
    net = network(stage)
    net.train(X.T, Y)
    assert net.feature_names is None
    FIRST[call](net, table(frame))
    assert net.feature_names == NAMES
    FIRST[call](net, table(frame))
    FIRST[call](net, X)
    assert net.feature_names == NAMES


def test_what_does_not_train_takes_no_names(frame):
    net = network()
    for call in ("predict", "evaluate", "validation", "gradient", "find_lr", "bank.predict"):
        LATER[call](net, table(frame))
        assert net.feature_names is None
    with pytest.raises(ValueError, match="y has 5 rows"):
        net.fit(table(frame), Y[:5])
    assert net.feature_names is None


@pytest.mark.parametrize("call", LATER)
def test_another_order_is_an_error_wherever_it_comes(call, frame):
    net = fitted(frame)
    before = [array.copy() for pair in net.get_weights() for array in pair]
    with pytest.raises(ValueError, match=r"'height', 'age', 'weight' in another order.*list\(net.feature_names\)"):
        LATER[call](net, table(frame, ("height", "age", "weight")))
    for was, array in zip(before, (array for pair in net.get_weights() for array in pair)):
        np.testing.assert_array_equal(was, array)
    LATER[call](net, table(frame))  # the same names
    LATER[call](net, X)  # no names


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("age", "height", "size"), r"X lacks 'weight' and has 'size' besides; expected the columns 'age', 'height'"),
        (("age", "height"), r"X lacks 'weight'; expected"),
        ((*NAMES, "size"), r"X has 'size' besides.*take X\[list\(net.feature_names\)\]"),
        (("Age", "height", "weight"), r"X lacks 'age' and has 'Age' besides"),
    ],
)
def test_the_columns_that_are_wrong_are_named(names, words, frame):
    net = fitted(frame)
    for call in (net.predict, lambda X: net.evaluate(X, Y), lambda X: net.fit(X, Y)):
        with pytest.raises(ValueError, match=words):
            call(table(frame, names))


def test_the_fix_that_the_error_names_works(frame):
    net = fitted(frame)
    wrong = table(frame, ("height", "size", "weight", "age"))
    np.testing.assert_array_equal(net.predict(wrong[list(net.feature_names)]), net.predict(X))


def test_the_first_fit_holds_its_validation_and_its_chunks_to_the_names(frame):
    other = table(frame, NAMES[::-1])
    for call in (
        lambda net: net.fit(table(frame), Y, validation_data=(other, Y), verbose=0),
        lambda net: NetworkBank([net]).fit(table(frame), Y, validation_data=(other, Y), verbose=0),
    ):
        net = network()
        with pytest.raises(ValueError, match=r"X of validation_data.*another order"):
            call(net)
        assert net.feature_names is None
    with pytest.raises(ValueError, match=r"X of chunk 1 .*another order"):
        network().fit(iter([(table(frame), Y), (other, Y)]), verbose=0)


def test_frames_without_names_pass():
    pandas = pytest.importorskip("pandas")
    net = network()
    net.fit(pandas.DataFrame(X), Y, verbose=0)
    assert net.feature_names is None
    net.fit(table(pandas.DataFrame), Y, verbose=0)
    np.testing.assert_array_equal(net.predict(pandas.DataFrame(X)), net.predict(X))


def test_columns_of_the_article_have_their_names_in_the_index():
    pandas = pytest.importorskip("pandas")
    columns = table(pandas.DataFrame).T
    net = network()
    net.train(columns, Y)
    assert net.feature_names == NAMES
    wrong = columns.loc[["weight", "age", "height"]]
    for call in (
        lambda x: net.train(x, Y),
        lambda x: net.forward_pass(x),
        lambda x: net.gradients(x, Y),
        lambda x: explain(net, x.iloc[:, [0]], 1),
    ):
        call(columns)
        with pytest.raises(ValueError, match=r"x has the rows 'weight', .*another order.*take x.loc"):
            call(wrong)


def test_names_are_kept_wherever_a_network_is(tmp_path, frame):
    net = fitted(frame)
    net.save(tmp_path / "net")
    for other in (
        fastnn.load(tmp_path / "net"), pickle.loads(pickle.dumps(net)), copy.deepcopy(net), copy.copy(net)
    ):  # fmt: skip
        assert other.feature_names == NAMES
        with pytest.raises(ValueError, match="another order"):
            other.predict(table(frame, NAMES[::-1]))


def test_a_fit_goes_on_with_its_names(tmp_path, frame):
    def callbacks(other=None):
        return [Checkpoint(tmp_path / "fit"), other or LambdaCallback()]

    with pytest.raises(Killed):
        network().fit(table(frame), Y, 4, seed=0, verbose=0, callbacks=callbacks(killed_in(3)))
    renamed = frame(dict(zip("abc", X.T)))
    with pytest.raises(ValueError, match=r"holds another fit: feature_names\[0\] is 'a' but was 'age'"):
        network().fit(renamed, Y, 4, seed=0, verbose=0, callbacks=callbacks())
    net = network()
    net.fit(X, Y, 4, seed=0, verbose=0, callbacks=callbacks())
    assert net.feature_names == NAMES


def test_names_are_set_and_forgotten(frame):
    net = fitted(frame)
    net.feature_names = None
    net.predict(table(frame, NAMES[::-1]))
    net.feature_names = list("abc")
    assert net.feature_names == ("a", "b", "c")
    with pytest.raises(ValueError, match="lacks 'a', 'b', 'c'"):
        net.predict(table(frame))
    for wrong in ("abc", 3, ["a", "b", 1], [b"a", "b", "c"]):
        with pytest.raises(TypeError, match="feature_names"):
            net.feature_names = wrong
    for wrong in ([], ["a"], list("abcd")):
        with pytest.raises(ValueError, match=r"feature_names holds \d names; expected 3"):
            net.feature_names = wrong
    assert net.feature_names == ("a", "b", "c")


@pytest.mark.parametrize("names", [["a", "b"], [1, 2, 3], 5, ["a", "b", None]])
def test_a_file_with_names_that_are_none_is_refused(tmp_path, names, monkeypatch):
    net = network()
    net.engine.feature_names = names if isinstance(names, list) else [names]
    net.save(tmp_path / "net")
    with pytest.raises(ValueError, match="cannot be loaded: feature_names"):
        fastnn.load(tmp_path / "net")


def test_check_gradients_goes_by_the_names(frame):
    net = NeuralNetwork([Layer(3, 2, Tanh(), seed=0)], CrossEntropyLoss(), 0.1)
    net.feature_names = NAMES
    assert fastnn.check_gradients(net, table(frame), Y).ok
    with pytest.raises(ValueError, match="another order"):
        fastnn.check_gradients(net, table(frame, NAMES[::-1]), Y)
