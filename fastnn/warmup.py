"""Fill the disk cache: compile everything that comes with fastnn, once for all later processes."""

from __future__ import annotations

import itertools
import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from .checks import Array
from .engine.cores import usable_cores
from .formulas.activations import ActivationFunction, Identity
from .formulas.component import built_in
from .formulas.losses import LossFunction, MSELoss
from .formulas.optimizers import Optimizer
from .kernels.cache import KernelCache
from .kernels.compiling import NOTICE
from .kernels.descent import descend_address
from .kernels.order import shuffle
from .kernels.products import multiply_address
from .kernels.team import end_call, team_addresses
from .kernels.zeros import nonzero_columns_address
from .layers.base import BaseLayer
from .layers.dense import Layer
from .layers.stage import Stage
from .network import NeuralNetwork


def warmup(dtype: np.typing.DTypeLike = "float64", part: tuple[int, int] = (0, 1)) -> Iterator[str]:
    """Compile all kernels and formulas for `dtype`; yields the names of the classes as they are ready.

    A kernel is compiled once for every size and depth of network, so tiny networks do.

    Parameters
    ----------
    dtype : dtype, default "float64"
    part : (int, int), default (0, 1)
        ``(k, n)`` is the part number k of n, for processes that share the work.

    Examples
    --------
    >>> from fastnn.warmup import warmup
    >>> {"MSELoss", "Tanh", "Adam", "Dropout"} <= set(warmup("float64"))
    True
    """
    first, every = part
    for name, exercise in itertools.islice(_classes(dtype), first, None, every):
        exercise()
        yield name


def compile_all(dtypes: Sequence[str], jobs: int = 1) -> Iterator[tuple[str, int, float]]:
    """Warm up for each dtype, in `jobs` processes; yields it, how many classes it has, and the seconds it took.

    There are no more processes than cores: each takes 0.2 GB, and compiles on one.

    Raises
    ------
    OSError
        As soon as compiled code is not kept.
    """
    jobs = min(jobs, usable_cores())
    for dtype in dtypes:
        started = time.perf_counter()
        if jobs == 1:
            count = _warm_part(dtype)
        else:
            # What all classes share comes first, or each process would compile it
            next(_kept(dtype))
            with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _leave_the_word) as pool:
                count = sum(pool.map(_warm_part, [dtype] * jobs, [(k, jobs) for k in range(jobs)]))
        yield dtype, count, time.perf_counter() - started


def _kept(dtype: str, part: tuple[int, int] = (0, 1)) -> Iterator[str]:
    """What `warmup` yields, while all of it is kept."""
    KernelCache.lost = ""
    for name in warmup(dtype, part):
        if KernelCache.lost:
            raise OSError(KernelCache.lost)
        yield name


def _warm_part(dtype: str, part: tuple[int, int] = (0, 1)) -> int:
    return len(list(_kept(dtype, part)))


def _leave_the_word() -> None:
    """The process that this one works for says what there is to say."""
    NOTICE.said = True
    warnings.simplefilter("ignore")


def _classes(dtype: np.typing.DTypeLike) -> Iterator[tuple[str, Callable[[], object]]]:
    """Of each class its name, and what compiles it."""
    dense, mse = Layer(1, 1, Identity()), MSELoss()

    def network(layers: list[BaseLayer], loss: LossFunction = mse, optimizer: Optimizer | None = None) -> NeuralNetwork:
        return NeuralNetwork(layers, loss, 0.1, optimizer, dtype=dtype)

    def train(layers: list[BaseLayer], optimizer: Optimizer | None = None) -> None:
        network(layers, optimizer=optimizer).train(np.zeros((1, 2)), np.zeros((1, 2)), batch_size=2)

    def compute(loss: LossFunction) -> None:
        values = np.full((1, 2), 0.0 if loss.domain is None else loss.domain.example)
        _exercise(network([dense], loss), np.zeros(2, int) if loss.target == "class" else values)

    for name, activation in built_in(ActivationFunction).items():
        yield name, partial(_exercise, network([Layer(1, 1, activation.example())]), np.zeros((1, 2)))
    for name, loss in built_in(LossFunction).items():
        yield name, partial(compute, loss.example())
    for name, optimizer in built_in(Optimizer).items():
        yield name, partial(train, [dense], optimizer.example())
    for name, stage in built_in(Stage).items():
        yield name, partial(train, [dense, stage.example()] if stage.stands == "last" else [stage.example(), dense])


def _exercise(net: NeuralNetwork, targets: Array) -> None:
    """Call every kernel there is."""
    x = np.zeros((1, 2))
    net.train(x, targets)
    net.train(x, targets, batch_size=2)
    nonzero_columns_address(net.dtype)  # of batches with many zeros
    multiply_address(net.dtype, listed=True)
    descend_address(net.dtype, True)  # of penalties and limits
    net.train(x[:, :1], targets[..., :1])
    net.loss(net.forward_pass(x), targets)
    net.forward_pass(np.zeros((1, 1), net.dtype))
    net.gradients(x, targets)
    end_call(net.engine.plan().address)  # of teams, which nothing as small as this gets
    team_addresses()
    order = np.zeros(2, np.int64)
    shuffle(order.ctypes.data, order.size, 0, 0)  # of the chunks of data larger than memory
