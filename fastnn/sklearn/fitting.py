"""One fit of a search: what it takes from the others, and where it goes on from."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple, TypeVar

from ..checks import Array
from ..data.samples import Samples
from ..engine.workers import Flag
from ..network import NeuralNetwork
from ..training.epochs import fit_samples
from ..training.history import History
from ..training.settings import Settings
from .fold import Fold
from .held_out import Sample

T = TypeVar("T")
ROWS_OF_PREDICTIONS = 128  # that inference takes at once: a plan with room for them serves the fit and the score


class Past(NamedTuple):
    """Where a fit has come to, if it can go on as if it had not stopped there: its seed, and its histories."""

    seed: int
    histories: list[History]


class Fitting:
    """One fit of a search, while it is open in its thread.

    Parameters
    ----------
    fold : Fold
    interrupt : Flag
        Stops it.
    chunks : dict
        How many steps a call of the kernel may take, by what a step costs; the fits tell each other.
    past : Past, optional
        From where to go on.

    Attributes
    ----------
    past : Past or None
        After the fit: from where another may go on.
    """

    def __init__(self, fold: Fold, interrupt: Flag, chunks: dict[Hashable, int], past: Past | None = None) -> None:
        self.fold, self.interrupt, self.past = fold, interrupt, past
        self._chunks = chunks

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Within it, `current` finds this one."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def go_on(self) -> None:
        """Raise KeyboardInterrupt if the search has been stopped."""
        if self.interrupt.is_set():
            raise KeyboardInterrupt

    def share(self, net: NeuralNetwork, train: Sample, targets: Array, whole: bool) -> Samples:
        """Samples that an estimator has checked, as the kernels take them; `targets` as the network's loss does.

        Those of a `whole` fold are shared with the fits whose networks take the same.
        """
        net.engine.plan(ROWS_OF_PREDICTIONS)
        form = net.engine.form

        def make() -> Samples:
            return Samples.of_rows(form, train.X, targets)

        if not whole:
            return make()
        kind = ("network", form.door, form.outs, type(form.loss), form.loss.target, targets.dtype, targets.shape)
        return self.fold.once(kind, (train.X, train.targets, form.loss.domain), make)

    def train(self, net: NeuralNetwork, samples: Samples, settings: Settings, k: int = 0) -> History:
        """Train the network number k of an estimator.

        Raises
        ------
        KeyboardInterrupt
            If the search is stopped meanwhile.
        DivergedError
        """
        history = History() if self.past is None else self.past.histories[k]
        if history.stopped:
            return history
        cost = (settings.batch_size, *(layer.outs for layer in net.layers))
        chunk = self._chunks.get(cost, 1)
        self._chunks[cost] = fit_samples(net, samples, settings, history, self.interrupt, chunk)
        self.go_on()
        return history


_current: contextvars.ContextVar[Fitting | None] = contextvars.ContextVar("fitting", default=None)


def current() -> Fitting | None:
    """The fit of a search that is open in this thread, if there is one."""
    return _current.get()


def once(what: Hashable, of: tuple[Any, ...], make: Callable[[], T]) -> T:
    """What ``make()`` returns; in a search, fits on the same samples, the first `of` what it is made of, share it."""
    fitting = _current.get()
    if fitting is None or not fitting.fold.owns(of[0]):
        return make()
    return fitting.fold.once(what, of, make)
