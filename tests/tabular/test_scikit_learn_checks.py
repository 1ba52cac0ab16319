"""scikit-learn's own checks, all of them."""

import pytest

pytest.importorskip("sklearn.base")

from sklearn.utils.estimator_checks import parametrize_with_checks

from fastnn.tabular import Preprocessor, TabularClassifier, TabularRegressor

pytestmark = pytest.mark.filterwarnings("ignore")


@parametrize_with_checks(
    [
        TabularClassifier(epochs=60, hidden_layer_sizes=(64, 64)),
        TabularRegressor(epochs=60, hidden_layer_sizes=(64, 64)),
        Preprocessor(),
    ]
)
def test_all_checks_pass(estimator, check):
    check(estimator)
