"""Networks for tables: a data frame goes in as it is.

::

    from fastnn.tabular import TabularClassifier

    model = TabularClassifier(random_state=0).fit(frame[["age", "city", "since"]], frame["churned"])
    model.predict_proba(other_frame)
    model.save("model.safetensors")

It needs scikit-learn, and for data frames narwhals: ``pip install "fastnn[tabular]"``.
"""

from .classifier import TabularClassifier
from .preprocessor import Preprocessor
from .regressor import TabularRegressor

__all__ = ["Preprocessor", "TabularClassifier", "TabularRegressor"]
