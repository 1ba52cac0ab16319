"""Learning curves."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import an_object_of, one_of, optional, text
from ..formulas.metrics import METRICS
from ..training.history import History
from ..training.monitors import check_direction
from .canvas import DARK, axes_for


def learning_curves(
    history: History, *names: str, monitor: str | None = None, mode: str = "auto", ax: Any = None
) -> Any:
    """Quantities of a fit over its epochs, with the best epoch marked.

    Parameters
    ----------
    history : History
        What `NeuralNetwork.fit` returns.
    *names : str
        Which quantities; by default the losses alone, ``"loss"`` and ``"val_loss"``, which share a unit.
    monitor : str, optional
        What the best epoch is judged by; by default ``"val_loss"`` where there was validation, else ``"loss"``.
    mode : {"auto", "min", "max"}, default "auto"
        Whether small or large is good; "auto" knows it of losses and of fastnn's metrics.
    ax : matplotlib Axes, optional
        See `fastnn.plot`.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    TypeError
        If `history` is no `History`.
    KeyError
        If a name is not in the history.
    ValueError
        If the history is empty or the monitored quantity is never finite; if nobody knows whether it should be small.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastnn import History, plot
    >>> history = History()
    >>> for epoch, loss in enumerate([0.9, 0.4, 0.6], start=1):
    ...     history.add(epoch, {"loss": loss / 2, "val_loss": loss})
    >>> ax = plot.learning_curves(history, ax=Figure().subplots())
    >>> ax.get_legend_handles_labels()[1]
    ['loss', 'val_loss', 'best: epoch 2, val_loss 0.4']
    """
    an_object_of(History, "net.fit(X, y)")(history, "history")
    if not history.epoch:
        raise ValueError("history is empty; expected that of a fit with at least one epoch")
    optional(text)(monitor, "monitor")
    one_of("auto", "min", "max")(mode, "mode")
    chosen = names or tuple(name for name in ("loss", "val_loss") if name in history) or tuple(history)
    judge = monitor or ("val_loss" if "val_loss" in history else "loss")
    judged = np.array(history[judge])
    for name in chosen:
        history[name]
    if not np.isfinite(judged).any():
        raise ValueError(f"history[{judge!r}] has no finite number; expected one in some epoch. Is a rate too large?")
    largest = mode == "max" or (mode == "auto" and check_direction(judge, METRICS))
    order = np.where(np.isfinite(judged), -judged if largest else judged, np.inf)
    best = int(np.argmin(order))
    epoch = history.epoch[best]

    ax = history.plot(*chosen, ax=axes_for(ax, "learning_curves"))
    label = f"best: epoch {epoch}, {judge} {judged[best]:.4g}"
    ax.axvline(epoch, color=DARK, linewidth=0.8, linestyle=":")
    height = judged[best] if judge in chosen else history[chosen[0]][best]
    ax.plot([epoch], [height], "o", color=DARK, markersize=6, label=label)
    if set(chosen) <= {"loss", "val_loss"}:
        ax.set_ylabel("mean loss")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(alpha=0.25)
    ax.legend()
    return ax
