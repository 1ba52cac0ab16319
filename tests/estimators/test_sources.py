"""What gives its samples part by part is refused by all that learn from arrays, and the error says what to do."""

import numpy as np
import pytest

pytest.importorskip("sklearn.base")

import fastnn
from fastnn import Layer, NetworkBank, NeuralNetwork
from fastnn.sklearn import BankSearchCV, MLPClassifier, MLPRegressor
from fastnn.tabular import Preprocessor, TabularClassifier, TabularRegressor

X = np.random.default_rng(0).normal(size=(60, 2))
y = (X[:, 0] > 0).astype(int)


def chunks():
    yield X[:30], y[:30]
    yield X[30:], y[30:]


class Parts:
    def __iter__(self):
        return chunks()


def bank():
    return NetworkBank([NeuralNetwork([Layer(2, 2, "identity", seed=0)], "cross_entropy", 0.1)])


MODELS = {
    "MLPClassifier": lambda: MLPClassifier(max_iter=1),
    "MLPRegressor": lambda: MLPRegressor(max_iter=1),
    "TabularClassifier": lambda: TabularClassifier((4,), epochs=1),
    "TabularRegressor": lambda: TabularRegressor((4,), epochs=1),
    "Preprocessor": Preprocessor,
    "BankSearchCV": lambda: BankSearchCV(MLPClassifier(max_iter=1), {"alpha": [0.1, 1.0]}, cv=2),
    "NetworkBank": bank,
}


def parquet(path):
    pq, pa = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    pq.write_table(pa.table({"a": X[:, 0], "b": X[:, 1], "y": y}), path / "t.parquet")
    return fastnn.parquet(path / "t.parquet", target="y")


def loader(path):
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.as_tensor(X), torch.as_tensor(y))
    return torch.utils.data.DataLoader(data, batch_size=8)


SOURCES = {
    "parquet": (parquet, r"parquet\(.*t.parquet.*pandas.read_parquet\(.*t.parquet"),
    "loader": (loader, r"a DataLoader, .*map\(numpy.concatenate, zip\(\*X\)\)"),
    "generator": (lambda path: chunks(), r"a generator, .*map\(numpy.concatenate, zip\(\*X\)\)"),
    "iterable": (lambda path: Parts(), r"a Parts, .*map\(numpy.concatenate, zip\(\*X\)\)"),
    "function": (lambda path: chunks, r"the function chunks, .*map\(numpy.concatenate, zip\(\*X\(\)\)\)"),
    "path": (lambda path: path / "t.csv", r"t\.csv.*pandas.read_csv"),
    "name": (lambda path: "t.csv", r"t\.csv.*pandas.read_csv"),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("source", SOURCES)
def test_a_source_in_the_place_of_rows(tmp_path, source, model):
    make, message = SOURCES[source]
    given = make(tmp_path)
    for targets in ((), (y,)):
        with pytest.raises(TypeError, match=f"X is .*{message}"):
            MODELS[model]().fit(given, *targets)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("source", SOURCES)
def test_a_source_where_predictions_are_asked_for_and_for_validation(tmp_path, source):
    make, message = SOURCES[source]
    given, classifier, table = make(tmp_path), MLPClassifier(max_iter=1).fit(X, y), TabularClassifier((4,), epochs=1)
    table.fit(X, y)
    for call in (classifier.predict, classifier.predict_proba, table.predict, classifier.partial_fit):
        with pytest.raises(TypeError, match=f"X is .*{message}"):
            call(given)
    with pytest.raises(TypeError, match=f"validation_data is .*{message}"):
        classifier.fit(X, y, validation_data=given)


@pytest.mark.parametrize("model", [name for name in MODELS if name not in ("Preprocessor", "BankSearchCV")])
def test_rows_without_targets(model):
    with pytest.raises((ValueError, TypeError), match=r"y is None"):
        MODELS[model]().fit(X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_the_error_proposes_works():
    rows, targets = map(np.concatenate, zip(*chunks()))
    assert MLPClassifier(max_iter=1).fit(rows, targets).predict(rows).shape == (60,)
