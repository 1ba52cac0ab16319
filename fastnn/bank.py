"""A bank of networks: many of them, trained side by side in threads."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, overload

import numpy as np

from .checks import Array, flag, optional, shown, text
from .data.form import Form
from .data.sources import check_in_memory
from .engine.crew import share_out, thread_count
from .formulas.losses import LossFunction
from .html_table import html_table, shown_rows
from .layers.dense import Layer
from .network import NeuralNetwork
from .training.epochs import weighed_samples
from .training.history import History
from .training.many import Callbacks, Outcome, fit_many
from .training.monitors import check_direction
from .training.network_data import bootstrap_rows
from .training.settings import Metrics, Settings, measures_of

T = TypeVar("T")

WORTH_THREADS = 10**7  # multiplications; below, threads cost more than they bring


class NetworkBank(Sequence[NeuralNetwork]):
    """Networks that are trained at once, in threads and vectors: ensembles, seed studies, searches for settings.

    Every network ends with the same bits as if it had been fitted alone, whatever the number of
    threads. Data that all share are checked and converted once.

    Parameters
    ----------
    networks : list of NeuralNetwork
        With the same numbers of inputs and outputs, the same dtype and the same class of loss, all with a
        `StandardizeTargets` or none; all else may differ: seeds, hidden layers, activations, optimisers,
        learning rates. They share no layer.
    settings : list of dict, optional
        What sets each network apart; it comes back in `results`.

    Attributes
    ----------
    settings : list of dict
    histories : list of History
        One for each network, from the last `fit`.

    Raises
    ------
    ValueError, TypeError
        If the networks do not fit together; the message names the two.

    Examples
    --------
    An ensemble: the mean of the predictions, and their spread, which grows where there are no data.

    >>> import numpy as np
    >>> from fastnn import Adam, Identity, Layer, MSELoss, NetworkBank, NeuralNetwork, Tanh
    >>> def make(seed, lr=0.01):
    ...     rng = np.random.default_rng(seed)
    ...     layers = [Layer(1, 16, Tanh(), seed=rng), Layer(16, 1, Identity(), seed=rng)]
    ...     return NeuralNetwork(layers, MSELoss(), lr, Adam())
    >>> bank = NetworkBank([make(seed) for seed in range(8)])
    >>> X = np.random.default_rng(0).uniform(-2, 2, size=(300, 1))
    >>> histories = bank.fit(X, np.sin(2 * X), epochs=50, seed=0, bootstrap=True)
    >>> mean, spread = bank.predict_mean([[0.5], [6.0]], return_std=True)
    >>> mean.shape, bool(spread[1, 0] > 3 * spread[0, 0])
    ((2, 1), True)

    A search: all combinations of some settings, and the best on validation data.

    >>> bank = NetworkBank.grid(make, seed=range(2), lr=[1e-4, 1e-2])
    >>> histories = bank.fit(X, np.sin(2 * X), epochs=50, validation_split=0.2, seed=0)
    >>> bank.settings[bank.ranking()[0]]["lr"]
    0.01
    """

    def __init__(self, networks: Iterable[NeuralNetwork], settings: Sequence[Mapping[str, Any]] | None = None) -> None:
        try:
            self._networks = list(networks)
        except TypeError:
            raise TypeError(f"networks is {shown(networks)}; expected a list of NeuralNetwork") from None
        self.settings: list[dict[str, Any]] = [{} for _ in self._networks]
        if settings is not None:
            try:
                self.settings = [dict(some) for some in settings]
            except (TypeError, ValueError):
                raise TypeError(
                    f"settings is {shown(settings)}; expected a list with a dict for each network"
                ) from None
            if len(self.settings) != len(self._networks):
                raise ValueError(
                    f"settings holds {len(self.settings)} dicts; expected {len(self._networks)}, one for each network"
                )
        self._outcomes: list[Outcome] = []
        self._check()

    @classmethod
    def from_settings(cls, make: Callable[..., NeuralNetwork], settings: Iterable[Mapping[str, Any]]) -> NetworkBank:
        """The bank of the networks that ``make(**some)`` returns for each of `settings`, such as random ones."""
        if not callable(make):
            raise TypeError(f"make is {make!r}; expected a function that returns a NeuralNetwork")
        described = [dict(some) for some in settings]
        return cls([make(**some) for some in described], described)

    @classmethod
    def grid(cls, make: Callable[..., NeuralNetwork], **settings: Any) -> NetworkBank:
        """The bank of the networks that ``make`` returns for every combination of settings.

        Parameters
        ----------
        make : function
            Called as ``make(**some)`` with one value of each setting; returns a new `NeuralNetwork`.
        **settings
            A list, range or one-dimensional array of values; anything else is one value. The last
            setting varies fastest.
        """
        choices = [_values(name, value) for name, value in settings.items()]
        return cls.from_settings(make, (dict(zip(settings, some)) for some in itertools.product(*choices)))

    def fit(
        self,
        X: Any,
        y: Any = None,
        epochs: int = 1,
        batch_size: int = 32,
        *,
        validation_data: tuple[Any, ...] | None = None,
        validation_split: float = 0.0,
        validation_shuffle: bool = True,
        shuffle: bool = True,
        sample_weight: Any = None,
        class_weight: Mapping[Any, float] | Sequence[float] | str | None = None,
        bootstrap: bool = False,
        metrics: Metrics = (),
        train_metrics: bool | None = None,
        callbacks: Callbacks = (),
        verbose: int = 1,
        seed: int | Sequence[int] | None = None,
        threads: int | None = None,
    ) -> list[History]:
        """Train all networks; what is not said here is as in `NeuralNetwork.fit`.

        Parameters
        ----------
        X, y, sample_weight
            Rows for all networks, or lists of K arrays, one for each network (X may also be one
            array of three dimensions). They are in memory.
        validation_data : (X, y), optional
            The same.
        validation_split, validation_shuffle
            All networks hold out the same samples, drawn by the seed of the first one; with data of their own, each
            draws by its own seed.
        bootstrap : bool, default False
            Whether each network learns from a sample of its own: as many rows as there are, drawn with
            replacement. Those of network k are ``bank.bootstrap_rows(n, seed_k)``; they are copied
            while it is trained.
        callbacks : list of Callback, or function
            Each network gets copies of those in a list. A function is called with the number of each
            network and returns its list. They run in the threads.
        verbose : {0, 1, 2}, default 1
            As in `NeuralNetwork.fit`, with networks in the place of epochs.
        seed : int or list of int, optional
            An integer s is s + k for network k: ``seed=[s] * K`` gives all the same order of samples.
        threads : int, optional
            By default one for each core that this process may use.

        Returns
        -------
        list of History

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit; all networks are unchanged then.

        Warns
        -----
        UserWarning
            If `validation_split` leaves no sample of a class for training, or none for validation.
        RuntimeWarning
            If a network diverged. It has the weights from before that epoch, as in
            `NeuralNetwork.fit`, but there is no error: its history says so, and it ranks nowhere.

        Notes
        -----
        Network k ends with the same bits as after ``bank[k].fit(X, y, ..., seed=seed_k)``, or with
        `bootstrap`, ``i = bank.bootstrap_rows(n, seed_k)`` and ``bank[k].fit(X[i], y[i], ..., seed=seed_k)``; with
        a `validation_split` of shared data that is drawn, if what is held out there is the same.

        **Under joblib.** Within ``joblib.parallel_config("loky")``, or ``"dask"``, ``"ray"``, ``"threading"``, each of
        its workers trains a block of the networks, in `threads` threads (by default its share of those here). The
        bits are the same. What a callback keeps in its attributes comes home from another process; one that cannot go
        there, such as a `LambdaCallback`, is a TypeError before anything is trained. After Ctrl-C networks that were
        in other processes are as they were before the fit.

        Ctrl-C stops all threads within about a tenth of a second. The steps taken so far stay, and
        each ``history.stopped`` says how many. An error in a callback or a metric stops all
        networks in the same way, and is raised.
        """
        self._check()
        check_in_memory(X, "a bank")
        bootstrap = flag(bootstrap, "bootstrap")
        settings = Settings(
            epochs=epochs,
            batch_size=batch_size,
            validation_data=validation_data,
            validation_split=validation_split,
            validation_shuffle=validation_shuffle,
            shuffle=shuffle,
            sample_weight=sample_weight,
            class_weight=class_weight,
            metrics=metrics,
            train_metrics=train_metrics,
            verbose=verbose,
        )
        self._outcomes = fit_many(
            self._networks, X, y, settings, callbacks=callbacks, bootstrap=bootstrap, seed=seed, threads=threads
        )
        diverged = [k for k, outcome in enumerate(self._outcomes) if outcome.diverged]
        if diverged:
            warnings.warn(
                f"{len(diverged)} of {len(self)} networks diverged: networks {', '.join(map(str, diverged))}. They "
                "have the weights from before that epoch; smaller learning rates or clip_norm=1.0 may help.",
                RuntimeWarning,
                stacklevel=2,
            )
        return self.histories

    @staticmethod
    def bootstrap_rows(n: int, seed: int) -> Array:
        """The rows that ``fit(..., bootstrap=True)`` gives a network with this seed, of n: ints (n,)."""
        return bootstrap_rows(n, seed)

    # --- predictions -------------------------------------------------------------------------

    def predict(self, X: Any, *, threads: int | None = None) -> Array:
        """The predictions of every network (K, n_samples, n_outputs) for rows X, as `NeuralNetwork.predict` says."""
        outputs, predictors = self.outputs(X, threads=threads), [net.engine.form.predictor for net in self]
        if not any(predictors):
            return outputs
        return np.stack(
            [some if predictor is None else predictor(some) for some, predictor in zip(outputs, predictors)]
        )

    def outputs(self, X: Any, *, threads: int | None = None) -> Array:
        """The outputs of every network (K, n_samples, n_outputs) for rows X, as `NeuralNetwork.outputs` says."""
        threads = thread_count(threads)
        self._check()
        shares = self._through_doors(lambda form: form.rows(X))
        form, count = self._networks[0].engine.form, shares[0].shape[0]
        out = np.empty((len(self), count, form.outs), form.dtype)

        def work(k: int) -> None:
            self._networks[k].engine.outputs(shares[k], out[k])

        weights = sum(layer.memory.size for layer in self._networks[0].layers)
        if len(self) * count * weights < WORTH_THREADS:
            threads = 0
        share_out(work, len(self), threads)
        return out

    def predict_mean(self, X: Any, return_std: bool = False, *, threads: int | None = None) -> Any:
        """The mean of the networks' predictions (n_samples, n_outputs), and on request their spread.

        Parameters
        ----------
        X : array_like (n_samples, n_features)
        return_std : bool, default False
            Whether to return also the standard deviation over the networks, of the same shape.

        Returns
        -------
        ndarray, or (ndarray, ndarray)
        """
        return_std = flag(return_std, "return_std")
        found = self.predict(X, threads=threads)
        return (found.mean(axis=0), found.std(axis=0)) if return_std else found.mean(axis=0)

    def predict_proba(self, X: Any, *, threads: int | None = None) -> Array:
        """The mean of the networks' probabilities of each class, (n_samples, n_classes).

        Raises
        ------
        TypeError
            If the loss is none of classes.
        """
        outputs = self.outputs(X, threads=threads)
        with np.errstate(under="ignore"):  # a probability too small for a number is 0
            found = [net.loss_function.probabilities(some) for net, some in zip(self, outputs)]
        return np.asarray(np.mean(found, axis=0))

    def predict_classes(self, X: Any, *, threads: int | None = None) -> Array:
        """The class with the largest mean probability for each row, ints (n_samples,).

        Of many labels it is 0 or 1 for each, ints (n_samples, n_labels): 1 where the mean probability is above a half.
        Where the loss gives no probabilities, it is the class that the mean of the outputs stands for.
        """
        loss = self._networks[0].loss_function
        if type(loss).probabilities is LossFunction.probabilities:
            return np.asarray(loss.classes(self.outputs(X, threads=threads).mean(axis=0)))
        p = self.predict_proba(X, threads=threads)
        many_labels = np.ndim(loss.classes(np.zeros((1, self._networks[0].engine.outs)))) == 2
        return np.asarray((p > 0.5).astype(int) if many_labels else np.argmax(p, axis=1))

    def evaluate(
        self, X: Any, y: Any, metrics: Metrics = (), sample_weight: Any = None, *, threads: int | None = None
    ) -> dict[str, Array]:
        """The mean loss and the metrics of every network on rows X: by name, arrays (K,). Weights act as there."""
        threads = thread_count(threads)
        self._check()
        measures = measures_of(metrics)
        samples = self._through_doors(lambda form: weighed_samples(form, (X, y, sample_weight)), targets=True)
        scores: list[dict[str, float]] = [{} for _ in self]

        def work(k: int) -> None:
            scores[k] = self._networks[k].engine.scores(samples[k], measures)

        share_out(work, len(self), threads)
        return {name: np.array([some[name] for some in scores]) for name in scores[0]}

    def _through_doors(self, make: Callable[[Form], T], targets: bool = False) -> list[T]:
        """What `make` makes for each network's form, once where doors do the same; of `targets` too."""
        made: dict[Hashable, T] = {}
        results = []
        for net in self._networks:
            form = net.engine.form
            same = form.doors if targets else form.door
            if same not in made:
                made[same] = make(form)
            results.append(made[same])
        return results

    # --- which is best -----------------------------------------------------------------------

    @property
    def histories(self) -> list[History]:
        """The history of each network, from the last `fit`."""
        return [outcome.history for outcome in self._outcomes]

    @property
    def results(self) -> list[dict[str, Any]]:
        """A row for each network after a `fit`, ready for ``pandas.DataFrame(bank.results)``.

        It has ``network``, its number; its settings; the last loss and metrics; ``epochs``, how many
        it took; and ``stopped``, as in its history.
        """
        rows = []
        for k, (some, outcome) in enumerate(zip(self.settings, self._outcomes)):
            ending = {"epochs": len(outcome.history.epoch), "stopped": outcome.history.stopped}
            rows.append({"network": k, **some, **outcome.scores, **ending})
        return rows

    def ranking(self, X: Any = None, y: Any = None, monitor: str | None = None, mode: str = "auto") -> list[int]:
        """The numbers of the networks, best first; those that diverged, or have no finite number, are left out.

        Parameters
        ----------
        X, y : optional
            Samples to judge by; by default it is by the last numbers of the fit.
        monitor : str, optional
            The quantity to judge by, such as ``"accuracy"``; by default ``"val_loss"`` where the fit
            had validation, else ``"loss"``. Networks that standardise targets each by samples of their own, as
            with `bootstrap`, have losses in units of their own: judge them by ``"val_mse"`` or the like.
        mode : {"auto", "min", "max"}, default "auto"
            Whether small or large is good; "auto" knows it as in `EarlyStopping`.

        Raises
        ------
        ValueError
            If there has been no fit and no X, no network has the quantity `monitor`, or it is not known whether
            small or large is good.

        Warns
        -----
        RuntimeWarning
            If the quantity is NaN for a network that did not diverge.
        """
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode is {mode!r}; expected 'auto', 'min' or 'max'")
        monitor = optional(text)(monitor, "monitor")
        diverged = [outcome.diverged for outcome in self._outcomes] or [False] * len(self)
        if X is not None:
            name = monitor or "loss"
            values = self.evaluate(X, y, [] if name == "loss" else [name])[name].tolist()
        elif not self._outcomes:
            raise ValueError("X is None and there has been no fit; expected samples X and y to judge the networks by")
        else:
            known = [outcome.scores for outcome in self._outcomes]
            name = monitor or ("val_loss" if any("val_loss" in scores for scores in known) else "loss")
            values = [scores.get(name, np.nan) for scores in known]
            if all(name not in scores for scores in known):
                names = ", ".join(dict.fromkeys(name for scores in known for name in scores)) or "none: all diverged"
                raise ValueError(f"monitor is {name!r}; expected a quantity of the last fit ({names})")
        measures = self._outcomes[0].measures if self._outcomes else {}
        high = check_direction(name, measures) if mode == "auto" else mode == "max"
        sign = -1.0 if high else 1.0
        if unknown := [k for k, value in enumerate(values) if np.isnan(value) and not diverged[k]]:
            warnings.warn(
                f"{name} is NaN for networks {', '.join(map(str, unknown))}, which rank nowhere",
                RuntimeWarning,
                stacklevel=2,
            )
        judged = [k for k, value in enumerate(values) if np.isfinite(value) and not diverged[k]]
        return sorted(judged, key=lambda k: sign * values[k])

    def best(self, X: Any = None, y: Any = None, monitor: str | None = None, mode: str = "auto") -> NeuralNetwork:
        """The best network, by the same arguments as `ranking`."""
        ranking = self.ranking(X, y, monitor, mode)
        if not ranking:
            raise ValueError("no network of the bank is fit to be the best: all diverged")
        return self._networks[ranking[0]]

    # --- a sequence of networks --------------------------------------------------------------

    def to_networks(self) -> list[NeuralNetwork]:
        """The networks themselves, as a list."""
        return list(self._networks)

    def __len__(self) -> int:
        return len(self._networks)

    @overload
    def __getitem__(self, index: int) -> NeuralNetwork: ...
    @overload
    def __getitem__(self, index: slice) -> NetworkBank: ...
    def __getitem__(self, index: int | slice) -> NeuralNetwork | NetworkBank:
        """Network number `index`; a slice is a bank of some of the networks, with their histories."""
        if not isinstance(index, slice):
            return self._networks[index]
        other = NetworkBank(self._networks[index], self.settings[index])
        other._outcomes = self._outcomes[index]
        return other

    def __iter__(self) -> Iterator[NeuralNetwork]:
        return iter(self._networks)

    def __repr__(self) -> str:
        return f"NetworkBank of {len(self)} networks, the first of them {self._networks[0]!r}"

    def _repr_html_(self) -> str:
        rows = self.results or [{"network": k, **some} for k, some in enumerate(self.settings)]
        head = list(dict.fromkeys(name for row in rows for name in row))
        body = [
            ["..."] * len(head) if k is None else [_cell(rows[k].get(name, "")) for name in head]
            for k in shown_rows(len(rows))
        ]
        layers = " - ".join(str(size) for size in _sizes(self._networks[0]))
        return html_table(head, body, f"NetworkBank of {len(self)} networks, the first of them {layers}")

    def _check(self) -> None:
        """See that the networks fit together, and that no two train the same layer."""
        if not self._networks:
            raise ValueError("networks is empty; expected at least one NeuralNetwork")
        owners: dict[int, tuple[int, int]] = {}
        for k, net in enumerate(self._networks):
            if not isinstance(net, NeuralNetwork):
                raise TypeError(f"networks[{k}] is {shown(net)}; expected a NeuralNetwork")
            for index, layer in enumerate(net.layers):
                other, place = owners.setdefault(id(layer), (k, index))
                if other != k:
                    raise ValueError(
                        f"networks[{k}] and networks[{other}] share a layer: layers[{index}] of the one is "
                        f"layers[{place}] of the other. Make new layers for each, or take copy.deepcopy(network)"
                    )
            net.engine.current()  # which sees that its layers fit each other
            have, want = _description(net), _description(self._networks[0])
            for name, value in have.items():
                if value != want[name]:
                    raise ValueError(
                        f"{name} of networks[{k}] is {value} but of networks[0] {want[name]}; expected the same"
                    )


def _description(net: NeuralNetwork) -> dict[str, Any]:
    """What must be the same for all networks of a bank."""
    return {
        "the number of inputs": net.layers[0].ins,
        "the number of outputs": net.layers[-1].outs,
        "dtype": net.dtype.name,
        "the loss": type(net.loss_function).__name__,
        "the standardising of targets": net.engine.form.scale is not None,
    }


def _sizes(net: NeuralNetwork) -> list[int]:
    """The widths from input to output; stages that keep it are passed over."""
    return [net.layers[0].ins, *(layer.outs for layer in net.layers if isinstance(layer, Layer))]


def _cell(value: Any) -> str:
    """A setting or a score in a table."""
    return value if isinstance(value, str) else f"{value:.6g}" if isinstance(value, float) else shown(value)


def _values(name: str, value: Any) -> list[Any]:
    """The values that a setting of a grid takes."""
    if isinstance(value, np.ndarray):
        if value.ndim != 1:
            raise ValueError(f"{name} is an array of shape {value.shape}; expected a list of values")
        value = value.tolist()
    values = list(value) if isinstance(value, (list, range)) else [value]
    if not values:
        raise ValueError(f"{name} is empty; expected at least one value")
    return values
