"""What differs between scikit-learn 1.4 and the newest."""

from __future__ import annotations

from typing import Any

import sklearn.utils.validation


def validate_data(estimator: Any, **settings: Any) -> Any:
    """Check X, or X and y, and note or compare the features: a function since 1.6, a method before."""
    function = getattr(sklearn.utils.validation, "validate_data", None)
    if function is None:
        return getattr(estimator, "_validate_data")(**settings)  # noqa: B009
    return function(estimator, **settings)
