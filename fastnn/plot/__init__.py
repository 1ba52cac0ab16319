"""Pictures of networks, of their training and of what they predict (needs matplotlib).

::

    from fastnn import plot

    ax = plot.learning_curves(history)

Each function draws into the ``ax`` that it is given and returns it; without one it takes pyplot's current axes if
they are empty, else those of a new figure. None shows or saves a picture, changes a setting of matplotlib, or leaves a
figure behind when it raises an error. Colours can be told apart by the colour-blind. ``docs/pictures.md`` shows all.
"""

from .curves import learning_curves
from .diagram import network_diagram
from .movie import RegionMovie
from .regions import decision_regions
from .scores import calibration_curve, confusion_matrix, predicted_against_true
from .search import search_heatmap
from .weights import weight_images

__all__ = [
    "RegionMovie",
    "calibration_curve",
    "confusion_matrix",
    "decision_regions",
    "learning_curves",
    "network_diagram",
    "predicted_against_true",
    "search_heatmap",
    "weight_images",
]
