"""What a training run leaves behind: one number a quantity and epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..extras import needs
from ..html_table import html_table, shown_rows


class History(Mapping[str, list[float]]):
    """The course of a training run, by name: ``history["loss"]`` is a list, one number an epoch.

    Attributes
    ----------
    epoch : list of int
        The numbers of the epochs, from 1.
    stopped : str
        Why training ended before its last epoch; empty if it did not.

    Examples
    --------
    >>> from fastnn.training.history import History
    >>> history = History()
    >>> history.add(1, {"loss": 0.5, "val_loss": 0.75})
    >>> history.add(2, {"loss": 0.25, "val_loss": 0.5})
    >>> history["loss"]
    [0.5, 0.25]
    >>> history
    epoch        loss    val_loss
        1         0.5        0.75
        2        0.25         0.5
    """

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.stopped = ""
        self._columns: dict[str, list[float]] = {}

    def add(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Add the numbers of one epoch; a quantity that is new has NaN for the epochs before."""
        for name in logs:
            self._columns.setdefault(name, [float("nan")] * len(self.epoch))
        self.epoch.append(epoch)
        for name, column in self._columns.items():
            column.append(float(logs.get(name, float("nan"))))

    def __getitem__(self, name: str) -> list[float]:
        if name in self._columns:
            return self._columns[name]
        hint = "; with validation data, fit measures metrics on the training samples with train_metrics=True alone"
        raise KeyError(
            f"{name!r} is not in the history, which has {', '.join(self._columns) or 'nothing yet'}"
            f"{hint if f'val_{name}' in self._columns else ''}"
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def to_pandas(self) -> Any:
        """A DataFrame with one row an epoch (needs pandas)."""
        pandas = needs("pandas", "History.to_pandas", "pandas")
        return pandas.DataFrame(self._columns, index=pandas.Index(self.epoch, name="epoch"))

    def plot(self, *names: str, ax: Any = None) -> Any:
        """Draw the named quantities (all by default) over the epochs; returns the axes (needs matplotlib)."""
        pyplot = needs("matplotlib.pyplot", "History.plot", "matplotlib")
        ax = pyplot.gca() if ax is None else ax
        for name in names or self._columns:
            ax.plot(self.epoch, self._columns[name], label=name, linestyle="--" if name.startswith("val_") else "-")
        ax.set_xlabel("epoch")
        ax.legend()
        return ax

    def __repr__(self) -> str:
        widths = {name: max(12, len(name) + 2) for name in self._columns}
        head = "epoch" + "".join(f"{name:>{width}}" for name, width in widths.items())
        lines = [
            "  ..."
            if i is None
            else f"{self.epoch[i]:5}" + "".join(f"{self[name][i]:{width}.6g}" for name, width in widths.items())
            for i in shown_rows(len(self.epoch))
        ]
        return "\n".join([head, *lines, *([f"stopped: {self.stopped}"] if self.stopped else [])])

    def _repr_html_(self) -> str:
        rows = [
            ["..."] * (1 + len(self))
            if i is None
            else [str(self.epoch[i]), *(f"{column[i]:.6g}" for column in self._columns.values())]
            for i in shown_rows(len(self.epoch))
        ]
        return html_table(["epoch", *self._columns], rows, f"stopped: {self.stopped}" if self.stopped else "")
