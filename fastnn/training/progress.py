"""What a fit shows while it runs."""

from __future__ import annotations

import contextlib
import sys
import warnings
from typing import TYPE_CHECKING, Any

from ..audience import is_watched
from .callbacks import Callback, Logs

if TYPE_CHECKING:
    from collections.abc import Mapping

DELAY = 1.0  # seconds before a bar appears: short runs show none


def progress(verbose: int, count: int, unit: str = "epoch") -> Callback | None:
    """The callback for `verbose`: 0 nothing, 1 a bar where someone watches, 2 one line an epoch.

    An epoch, or whatever else the `unit` is that is counted.
    """
    if verbose == 0 or (verbose == 1 and not is_watched(sys.stderr)):
        return None
    if verbose == 2:
        return Lines(count, unit)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a notebook without ipywidgets, where the bar is of text
            from tqdm.auto import tqdm  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return None
    return Bar(tqdm, count, unit)


class Lines(Callback):
    """One line an epoch, on standard output."""

    def __init__(self, count: int, unit: str) -> None:
        self.count, self.unit = count, unit

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or no stream: the fit goes on
            print(f"{self.unit} {epoch}/{self.count}  {summary(logs)}", flush=True)


class Bar(Callback):
    """tqdm's bar over the epochs, with loss, metrics and the time that is left."""

    def __init__(self, tqdm: Any, count: int, unit: str) -> None:
        self._tqdm, self._count, self._unit = tqdm, count, unit

    def on_train_begin(self) -> None:
        self._bar = self._tqdm(total=self._count, unit=self._unit, delay=DELAY, leave=False)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self._bar.set_postfix_str(summary(logs), refresh=False)
        self._bar.update()

    def on_train_end(self) -> None:
        self._bar.close()


def summary(logs: Mapping[str, float]) -> str:
    """The numbers of an epoch in one line."""
    return "  ".join(f"{name} {value:.4g}" for name, value in logs.items())
