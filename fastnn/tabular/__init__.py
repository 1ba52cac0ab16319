"""Networks for tables: a data frame goes in as it is.

::

    from fastnn.tabular import TabularClassifier

    model = TabularClassifier(random_state=0).fit(frame, frame.pop("label"))
    model.predict_proba(other_frame)
    model.save("model.safetensors")
"""

from .preprocessor import Preprocessor

__all__ = ["Preprocessor"]
