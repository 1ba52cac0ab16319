"""The scores of a search for settings, as a heat map."""

from __future__ import annotations

import numbers as kinds
from typing import Any

import numpy as np

from ..checks import Array, shown
from ..extras import needs
from .canvas import ORANGE, SEQUENTIAL, axes_for, colour_bar, colour_map, on_cell

MOST = 12  # values of a setting, above which numbers share bins
BINS = 8
WRITTEN = 120  # cells, above which they are too small for their scores


def search_heatmap(search: Any, x: str | None = None, y: str | None = None, *, ax: Any = None) -> Any:
    """The scores that a search found over two of its settings; a cell shows the best of those that fall into it.

    Parameters
    ----------
    search : fitted GridSearchCV, RandomizedSearchCV, BankSearchCV, or any object with their ``cv_results_``
        The results themselves, a dict, will do, too.
    x, y : str, optional
        The settings to the right and upwards; by default those with the most values. With one setting there is one
        row.
    ax : matplotlib Axes, optional
        See `fastnn.plot`.

    Returns
    -------
    matplotlib Axes
        The best cell has a frame; grey ones were not tried, or failed.

    Raises
    ------
    TypeError
        If `search` has no results: it is not fitted, or no search.
    ValueError
        If no setting varies, a name is none of them, or no score is finite.

    Notes
    -----
    Numbers of more than twelve values, as random searches draw them, are sorted into eight bins, which are equal on a
    logarithmic scale if the values span more than a hundredfold.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastnn import plot
    >>> tried = [{"alpha": a, "hidden": h} for a in (0.1, 1.0) for h in (4, 8, 16)]
    >>> results = {"params": tried, "mean_test_score": [0.1, 0.2, 0.3, 0.4, 0.6, 0.5]}
    >>> ax = plot.search_heatmap(results, ax=Figure().subplots())
    >>> ax.get_xlabel(), ax.get_ylabel(), ax.images[0].get_array().data.tolist()
    ('hidden', 'alpha', [[0.1, 0.2, 0.3], [0.4, 0.6, 0.5]])
    """
    results = search if isinstance(search, dict) else getattr(search, "cv_results_", None)
    if not isinstance(results, dict) or "params" not in results:
        raise TypeError(f"search is {shown(search)}; expected a fitted search, which has cv_results_")
    if "mean_test_score" not in results:
        scorers = sorted(name.removeprefix("mean_test_") for name in results if name.startswith("mean_test_"))
        raise ValueError(
            f"the search has several scores, {', '.join(scorers) or 'none'}; expected one: pass "
            '{"params": search.cv_results_["params"], "mean_test_score": search.cv_results_["mean_test_..."]}'
        )
    params, scores = list(results["params"]), np.asarray(results["mean_test_score"], float)
    if not params or not np.isfinite(scores).any():
        raise ValueError("the search has no finite score; expected at least one combination that did not fail")
    values = {name: [some.get(name) for some in params] for name in sorted({name for some in params for name in some})}
    varied = sorted((name for name in values if _distinct(values[name]) > 1), key=lambda name: -_distinct(values[name]))
    for name, argument in ((x, "x"), (y, "y")):
        if name is not None and name not in values:
            raise ValueError(f"{argument} is {name!r}; expected one of the settings, {', '.join(values)}")
    if x is None and not [name for name in varied if name != y]:
        raise ValueError("no setting of the search varies; expected at least one with two values")
    x = x or next(name for name in varied if name != y)
    y = y or next((name for name in varied if name != x), None)
    columns, across = _bins(values[x])
    rows, up = _bins(values[y]) if y is not None else (np.zeros(len(params), int), [""])
    cells = np.full((len(up), len(across)), np.nan)
    for row, column, score in zip(rows, columns, scores):
        if np.isfinite(score):
            cells[row, column] = np.fmax(cells[row, column], score)

    ax = axes_for(ax, "search_heatmap")
    drawn = ax.imshow(cells, cmap=colour_map(SEQUENTIAL), origin="lower", aspect="auto")
    best = np.unravel_index(int(np.nanargmax(cells)), cells.shape)
    corner = (float(best[1]) - 0.47, float(best[0]) - 0.47)
    patches = needs("matplotlib.patches", "fastnn.plot.search_heatmap", "matplotlib")
    ax.add_patch(patches.Rectangle(corner, 0.94, 0.94, fill=False, edgecolor=ORANGE, linewidth=2.5))
    least, most = np.nanmin(cells), np.nanmax(cells)
    if cells.size <= WRITTEN:
        for (i, j), score in np.ndenumerate(cells):
            if np.isfinite(score):
                share = (score - least) / ((most - least) or 1.0)
                ax.text(j, i, f"{score:.3g}", ha="center", va="center", fontsize=8, color=on_cell(share))
    long = max(map(len, across)) * len(across) > 45
    ax.set_xticks(range(len(across)), across, rotation=45 if long else 0, ha="right" if long else "center")
    ax.set_yticks(range(len(up)), up)
    others = [name for name in varied if name not in (x, y)]
    ax.set(xlabel=x, ylabel=y or "", title=f"best over {', '.join(others)}" if others else "")
    colour_bar(ax, drawn, "mean score in validation")
    return ax


def _distinct(values: list[Any]) -> int:
    return len({shown(value) for value in values})


def _bins(values: list[Any]) -> tuple[Array, list[str]]:
    """The place of each value among the ticks of an axis, and their names: a tick for each value, or for a bin."""
    real = all(isinstance(one, kinds.Real) and not isinstance(one, bool) and np.isfinite(float(one)) for one in values)
    if real and len(set(values)) > MOST:
        some = np.array(values, float)
        ratio = some.min() > 0 and some.max() > 100 * some.min()
        space = np.geomspace if ratio else np.linspace
        edges = space(some.min(), some.max(), BINS + 1)
        names = [f"{low:.2g} to {high:.2g}" for low, high in zip(edges, edges[1:])]
        return np.clip(np.searchsorted(edges, some, side="right") - 1, 0, BINS - 1), names
    if real:
        order = sorted(set(values))
        return np.array([order.index(one) for one in values]), [f"{one:g}" for one in order]
    words = [one if isinstance(one, str) else shown(one) for one in values]
    ticks = list(dict.fromkeys(words))
    return np.array([ticks.index(word) for word in words]), ticks
