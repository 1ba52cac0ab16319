"""scikit-learn's rules of when a fit stops, and of how its learning rate changes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..checks import Array
from ..training.callbacks import Logs, StopTraining, Trainee, same_names
from ..training.sprint import Watch

SMALLEST_RATE = 1e-6  # an adaptive rate that has come down to it is not made smaller
NUMBERS = ("best_loss", "best_score", "without_progress", "epochs", "samples", "learning_rate")  # of a `Course`


@dataclass
class Course:
    """How the training of one network has gone so far; with ``warm_start`` and ``partial_fit`` it goes on.

    Attributes
    ----------
    losses, scores : list of float
        Of each epoch; scores on held-out samples, where there are any.
    best_loss, best_score : float
    without_progress : int
        How many epochs there were since one that was better by more than ``tol``.
    epochs : int
        Of the last fit.
    samples : int
        Seen so far, in all epochs.
    learning_rate : float
        That of the next epoch; of a schedule, the one that it starts from.
    """

    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    best_loss: float = math.inf
    best_score: float = -math.inf
    without_progress: int = 0
    epochs: int = 0
    samples: int = 0
    learning_rate: float = 0.0

    def bookmark(self) -> Callable[[], None]:
        """What takes the course back to where it is now."""
        numbers = {name: getattr(self, name) for name in NUMBERS}
        epochs, scored = len(self.losses), len(self.scores)

        def back() -> None:
            vars(self).update(numbers)
            del self.losses[epochs:], self.scores[scored:]

        return back

    def judge_anew(self) -> None:
        """Forget what was best: it was measured otherwise."""
        self.best_loss, self.best_score, self.without_progress = math.inf, -math.inf, 0


@dataclass(frozen=True)
class Rules:
    """What a `StoppingRule` goes by: parameters of the estimators, under their names."""

    tol: float
    n_iter_no_change: float
    early_stopping: bool
    learning_rate: str
    learning_rate_init: float
    power_t: float
    verbose: bool


class StoppingRule(Watch):
    """Watch one network's fit, keep its `Course`, and stop it where scikit-learn would.

    Parameters
    ----------
    course : Course
    rules : Rules
    samples : int
        How many an epoch has.
    score : function of a network, optional
        Its score on held-out samples.
    """

    def __init__(
        self, course: Course, rules: Rules, samples: int, score: Callable[[Trainee], float] | None = None
    ) -> None:
        self.course, self.rules, self.samples, self.score = course, rules, samples, score
        self._best: list[tuple[Array, ...]] | None = None

    def on_train_begin(self) -> None:
        self._best = self.net.get_weights() if self.rules.early_stopping else None

    def get_state(self) -> dict[str, Any]:
        """The course so far, and the best weights, for a `Checkpoint`."""
        course = self.course
        numbers = [float(getattr(course, name)) for name in NUMBERS]
        best = {f"{i}.{j}": array for i, arrays in enumerate(self._best or []) for j, array in enumerate(arrays)}
        return {
            "numbers": np.array(numbers), "losses": np.array(course.losses, float),
            "scores": np.array(course.scores, float), **best,
        }  # fmt: skip

    def set_state(self, state: dict[str, Any]) -> None:
        """Take them back, all or none."""
        mine = self.get_state()
        same_names(self, state, mine)
        for name, array in mine.items():
            found = np.asarray(state[name])
            if found.ndim != array.ndim or (name not in ("losses", "scores") and found.shape != array.shape):
                raise ValueError(f"{name} of the state has shape {found.shape}; expected {array.shape}")
        for name, number in zip(NUMBERS, np.asarray(state["numbers"]).tolist()):
            setattr(self.course, name, type(getattr(Course(), name))(number))
        self.course.losses[:], self.course.scores[:] = (np.asarray(state[key]).tolist() for key in ("losses", "scores"))
        if self._best is not None:
            self._best = [
                tuple(np.array(state[f"{i}.{j}"]) for j in range(len(arrays))) for i, arrays in enumerate(self._best)
            ]

    def epochs_ahead(self) -> int:
        """How many epochs it need not see before they are over: none of them but the last can be one to stop at."""
        if self.score is not None or self.rules.learning_rate == "invscaling":
            return 1
        return int(min(max(1, self.rules.n_iter_no_change + 1 - self.course.without_progress), 2**31))

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        course, rules = self.course, self.rules
        course.epochs = epoch
        course.samples += self.samples
        course.losses.append(logs["loss"])
        if rules.verbose:
            print(f"Iteration {epoch}, loss = {logs['loss']:.8f}")
        progress = self._progress_of_loss(logs["loss"])
        if self.score is not None:
            of_score = self._progress_of_score(self.score(self.net))
            progress = of_score if rules.early_stopping else progress
        course.without_progress = 0 if progress else course.without_progress + 1
        if rules.learning_rate == "invscaling":
            self._set_rate(rules.learning_rate_init / (course.samples + 1) ** rules.power_t)
        if course.without_progress > rules.n_iter_no_change:
            self._lose_patience()

    def note_divergence(self) -> None:
        """Note that an epoch came to no finite weights; the network has those from before it."""
        self.course.losses.append(math.nan)
        if self.score is not None:
            self.course.scores.append(math.nan)

    def end(self) -> None:
        """Give the network the weights of the best score.

        Warns
        -----
        UserWarning
            If no score was a number: then it keeps those that it has.
        """
        if self._best is None:
            return
        if self.course.scores and np.isnan(self.course.scores).all():
            warnings.warn(
                "no validation score was a number, so early_stopping had nothing to go by; the weights are those of "
                "the last epoch. Look at the held-out samples, and at scoring",
                UserWarning,
                stacklevel=6,
            )
        else:
            self.net.set_weights(self._best)

    def _progress_of_loss(self, loss: float) -> bool:
        course = self.course
        progress = not loss > course.best_loss - self.rules.tol
        course.best_loss = min(course.best_loss, loss)
        return progress

    def _progress_of_score(self, score: float) -> bool:
        course = self.course
        course.scores.append(score)
        if self.rules.verbose:
            print(f"Validation score: {score:f}")
        progress = not score < course.best_score + self.rules.tol
        if score > course.best_score:
            course.best_score = score
            if self._best is not None:
                self._best = self.net.get_weights()
        return progress

    def _lose_patience(self) -> None:
        """Stop, or go on with a smaller rate, if that is adaptive and not yet too small."""
        rules, course = self.rules, self.course
        what = "Validation score" if rules.early_stopping else "Training loss"
        message = f"{what} did not improve more than tol={rules.tol:f} for {rules.n_iter_no_change} consecutive epochs."
        if rules.learning_rate != "adaptive":
            ending = " Stopping."
        elif course.learning_rate <= SMALLEST_RATE:
            ending = " Learning rate too small. Stopping."
        else:
            self._set_rate(course.learning_rate / 5)
            ending = f" Setting learning rate to {course.learning_rate:f}"
        if rules.verbose:
            print(message + ending)
        if ending.endswith("Stopping."):
            raise StopTraining(message)
        course.without_progress = 0

    def _set_rate(self, rate: float) -> None:
        self.course.learning_rate = self.net.lr = rate
