"""The client of a fit on Dask: how its tasks are named, started and awaited, and the chunks that the user gives."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..checks import shown
from ..extras import needs


class Cluster:
    """A client, and how tasks of a fit are named.

    Parameters
    ----------
    client : distributed.Client, optional

    Raises
    ------
    ImportError, ValueError, TypeError
        If there is none that works.
    """

    def __init__(self, client: Any = None) -> None:
        distributed = needs("distributed", "fastnn.distributed.dask.fit", "fastnn[dask]")
        if client is None:
            try:
                client = distributed.get_client()
            except ValueError:
                raise ValueError(
                    "client is None and there is no current one; expected a distributed.Client: make one before, "
                    "client = distributed.Client() for this machine, or Client(address) for a cluster"
                ) from None
        if not isinstance(client, distributed.Client):
            raise TypeError(f"client is {shown(client)}; expected a distributed.Client")
        if client.asynchronous:
            raise ValueError("client is asynchronous, and fit waits; expected one made with asynchronous=False")
        if client.status != "running":
            raise ValueError(f"client is {client.status}; expected one that runs: make a new distributed.Client")
        self.client, self._name, self._count = client, secrets.token_hex(4), 0
        self._lost = (
            distributed.scheduler.KilledWorker, distributed.client.FutureCancelledError,
            distributed.client.FuturesCancelledError, distributed.TimeoutError,
        )  # fmt: skip

    def key(self, kind: str) -> str:
        """A name for a task, which the dashboard groups by its kind."""
        self._count += 1
        return f"fastnn-{kind}-{self._name}-{self._count}"

    def submit(self, kind: str, task: Callable[..., Any], *arguments: Any) -> Any:
        """The Future of ``task(*arguments)``."""
        return self.client.submit(task, *arguments, key=self.key(kind), pure=False)

    def start(self, graph: dict[str, Any], key: str) -> Any:
        """The Future of that key of a graph."""
        return self.client.get(graph, key, sync=False)

    def results(self, futures: Sequence[Any]) -> list[Any]:
        """What they are, when all are; an error on a worker is raised here."""
        try:
            with self._telling_losses():
                return list(self.client.gather(list(futures)))
        finally:
            for future in futures:
                if not future.done():
                    future.cancel()

    @contextlib.contextmanager
    def _telling_losses(self) -> Iterator[None]:
        try:
            yield
        except self._lost as error:
            raise RuntimeError(
                f"workers were lost, and with them what Dask cannot make again ({type(error).__name__}: {error}). "
                "Chunks that were scattered from the client are such, and tasks that kill each worker that takes them, "
                "as by too little memory: make chunks by tasks (dask.array, dask.dataframe, delayed), or smaller ones"
            ) from error

    def threads(self) -> dict[str, int]:
        """How many threads each worker has, by its address."""
        return dict(self.client.nthreads())

    def workers_of(self, futures: Sequence[Any]) -> list[str]:
        """A worker that has it, for each future; "" where none has."""
        with self._telling_losses():
            has = self.client.who_has(futures)
        return [min(has.get(future.key) or ("",)) for future in futures]


def large_graphs() -> Any:
    """Within it Dask does not warn of large graphs: weights are in them, and nothing of the data."""
    return needs("dask", "fastnn.distributed.dask.fit", "fastnn[dask]").config.set(
        {"distributed.admin.large-graph-warning-threshold": "1 TiB"}
    )


def is_on_workers(data: Any) -> bool:
    """Whether it is a collection of Dask's, or a list of its chunks."""
    if isinstance(data, (list, tuple)):
        return len(data) > 0 and all(_is_chunk(one) for one in data)
    kind = type(data)  # a Delayed has whatever attribute is asked for
    return hasattr(kind, "to_delayed") and hasattr(kind, "__dask_graph__")


def _is_chunk(one: Any) -> bool:
    """Whether it is a Delayed or a Future."""
    return hasattr(one, "key") and (hasattr(one, "__dask_graph__") or (hasattr(one, "cancel") and hasattr(one, "done")))


def chunks_of(cluster: Cluster, X: Any, y: Any, weight: Any, where: str = "") -> list[tuple[Any, ...]]:
    """The chunks of X, y and weights side by side, as Futures; None where there is none."""
    named = {f"X{where}": X, f"y{where}": y, f"sample_weight{where}": weight}
    cut = {name: None if data is None else _aligned(name, data, X) for name, data in named.items()}
    if y is None and not isinstance(X, (list, tuple)):
        raise ValueError(f"y{where} is None; expected targets: only of a list X holds chunks (X, y)")
    count = len(cut[f"X{where}"] or ())
    for name, some in cut.items():
        if some is not None and len(some) != count:
            raise ValueError(
                f"{name} has {len(some)} chunks but X{where} has {count}; expected the same: rechunk arrays, or "
                "repartition frames, alike; columns of one frame as they are, not as arrays"
            )
    futures = iter(_futures(cluster, [one for some in cut.values() for one in some or ()]))
    return list(zip(*([None if some is None else next(futures) for _ in range(count)] for some in cut.values())))


def _futures(cluster: Cluster, some: list[Any]) -> list[Any]:
    """Chunks as Futures, which are being computed; what several of them are made of is made once."""
    delayed = [one for one in some if hasattr(one, "__dask_graph__")]
    computed = iter(cluster.client.compute(delayed))
    return [next(computed) if hasattr(one, "__dask_graph__") else one for one in some]


def _aligned(name: str, data: Any, X: Any) -> list[Any]:
    """The chunks of a collection, cut as X is where both are arrays of known lengths; whole rows in each.

    They are those that the user sees: Dask would optimise each collection by itself, and may read X and y, columns of
    one frame, in other partitions.
    """
    if not is_on_workers(data):
        hint = "net.fit takes arrays in memory"
        if _is_chunk(data):
            hint = "a list of it alone is one chunk"
        if isinstance(data, np.ndarray):
            hint = (
                f"dask.array.from_array({name.partition(' ')[0]}, chunks=...) makes one, or net.fit takes it as it is"
            )
        raise TypeError(
            f"{name} is {shown(data)}; expected a dask Array or DataFrame, or a list of Delayed or Future: {hint}"
        )
    if isinstance(data, (list, tuple)):
        return list(data)
    if hasattr(data, "rechunk"):
        data = data.rechunk(dict.fromkeys(range(1, data.ndim), -1)) if data.ndim > 1 else data
        if data is not X and hasattr(X, "rechunk") and not np.isnan([*data.shape[:1], *X.shape[:1]]).any():
            if data.shape[0] != X.shape[0]:
                raise ValueError(f"{name} has {data.shape[0]} rows but X has {X.shape[0]}; expected as many")
            data = data.rechunk({0: X.chunks[0]})
        return list(data.to_delayed(optimize_graph=False).ravel())
    return list(data.to_delayed(optimize_graph=False))
