"""scikit-learn's multi-layer perceptrons, trained by fastnn: change the import, and nothing else.

::

    from fastnn.sklearn import MLPClassifier, MLPRegressor

``docs/from-scikit-learn.md`` says what is the same and what is more. This room needs scikit-learn
(``pip install "fastnn[sklearn]"``), and nothing else of fastnn imports it.
"""

from .classifier import MLPClassifier
from .regressor import MLPRegressor
from .search import BankSearchCV

__all__ = ["BankSearchCV", "MLPClassifier", "MLPRegressor"]
