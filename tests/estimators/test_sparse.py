"""Sparse rows: the same predictions as of dense ones, without products of zeros."""

import numpy as np
import pytest

pytest.importorskip("sklearn.base")

from scipy import sparse
from sklearn import neural_network

import fastnn.sklearn
from fastnn.sklearn import MLPClassifier, MLPRegressor
from fastnn.sklearn.sparse import SparseBank, answering

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X = sparse.random(300, 400, 0.02, format="csr", random_state=0)
SUMS = np.asarray(X[:, :50].sum(axis=1)).ravel()
TARGETS = {"values": SUMS, "two": (SUMS > 0.4).astype(int), "three": np.digitize(SUMS, [0.2, 0.6]), "columns": None}
TARGETS["columns"] = np.c_[SUMS, -SUMS]
TARGETS["labels"] = (np.c_[SUMS, 1 - SUMS] > 0.5).astype(int)


@pytest.mark.parametrize("y", TARGETS)
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"n_networks": 3},
        {"hidden_layer_sizes": (7, 5), "dropout": 0.2, "activation": ["tanh", fastnn.LeakyReLU(0.2)]},
        {"hidden_layer_sizes": ()},
        {"dtype": "float32"},
    ],
)
def test_predictions_are_those_of_dense_rows(y, more):
    kind = MLPRegressor if y in ("values", "columns") else MLPClassifier
    model = kind(**{"hidden_layer_sizes": (9,), "max_iter": 3, "random_state": 0, **more}).fit(X, TARGETS[y])
    assert isinstance(answering(model.networks_, X), SparseBank)
    close = {"rtol": 1e-4, "atol": 1e-5} if "dtype" in more else {"rtol": 1e-9, "atol": 1e-12}
    calls = ("predict",) if kind is MLPRegressor else ("predict", "predict_proba")
    for rows in (X, X.tocsc(), X.tocoo(), sparse.csr_array(X), X.astype(np.float32), (X > 0.5).astype(int), X[:1]):
        for call in calls:
            one, other = getattr(model, call)(rows), getattr(model, call)(rows.toarray())
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
            np.testing.assert_allclose(one, other, **close)
    if kind is MLPRegressor and "n_networks" in more:
        np.testing.assert_allclose(model.predict(X, return_std=True), model.predict(X.toarray(), return_std=True))


def test_scores_of_held_out_sparse_rows_are_those_of_dense_ones():
    for kind, y in ((MLPRegressor, SUMS), (MLPClassifier, TARGETS["three"])):
        one, other = (kind(early_stopping=True, max_iter=8, random_state=0).fit(rows, y) for rows in (X, X.toarray()))
        np.testing.assert_allclose(one.validation_scores_, other.validation_scores_)


def test_many_numbers_and_other_networks_are_for_the_kernels():
    net = MLPRegressor(max_iter=2).fit(X, SUMS).network_
    assert answering([net], sparse.random(9, 400, 0.5, format="csr")) is net
    other = fastnn.NeuralNetwork([fastnn.Standardize(), fastnn.Layer(400, 1, "identity")], "mse", 0.1)
    assert answering([other], X) is other


def test_numbers_too_large_for_float32_are_refused():
    model = MLPRegressor(dtype="float32", max_iter=2).fit(X, SUMS)
    with pytest.raises(ValueError, match="X"), np.errstate(over="ignore"):
        model.predict(X * 1e300)


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, sparse.coo_array])
def test_labels_that_were_sparse_are_predicted_sparse(form):
    y = TARGETS["labels"]
    settings = {"max_iter": 3, "random_state": 0, "early_stopping": True}
    for module in (neural_network, fastnn.sklearn):
        model = module.MLPClassifier(**settings).fit(X, form(y))
        assert sparse.issparse(model.predict(X))
        assert model.predict(X).dtype == int
    one, other = model, MLPClassifier(**settings).fit(X, y)
    np.testing.assert_array_equal(one.predict(X).toarray(), other.predict(X))
    assert one.score(X, form(y)) == other.score(X, y)
    assert sparse.issparse(MLPClassifier().partial_fit(X, form(y), classes=[0, 1]).predict(X))


def test_columns_of_labels_where_one_label_was_expected_are_refused():
    model = MLPClassifier()
    with pytest.raises(ValueError, match="expected one label for each sample"):
        model.partial_fit(X, TARGETS["labels"].astype(object), classes=[0, 1])
