"""After warming up, training finds everything compiled."""

import numpy as np

from fastnn.kernels import special
from fastnn.kernels.compiling import NOTICE
from fastnn.kernels.descent import descend_address
from fastnn.kernels.epoch import steps_address
from fastnn.kernels.products import multiply_address
from fastnn.kernels.team import team_addresses
from fastnn.kernels.zeros import nonzero_columns_address
from fastnn.warmup import compile_all, warmup


def test_every_form_of_steps_and_products_is_ready(monkeypatch):
    monkeypatch.setattr(special, "when", "never")  # or a kernel of its own would stand in for the generic one
    caches = (steps_address, descend_address, multiply_address, nonzero_columns_address, team_addresses)
    for cache in caches:
        cache.cache_clear()
    list(warmup("float64"))
    before = [cache.cache_info().misses for cache in caches]
    dtype = np.dtype(np.float64)
    assert steps_address(dtype, True)
    assert steps_address(dtype, False)
    assert descend_address(dtype, False)
    assert descend_address(dtype, True)
    assert nonzero_columns_address(dtype)
    assert multiply_address(dtype)
    assert multiply_address(dtype, listed=True)
    assert team_addresses()
    assert [cache.cache_info().misses for cache in caches] == before


def test_there_are_no_more_processes_than_cores_and_one_of_them_talks(monkeypatch):
    asked = []

    class Pool:
        def __init__(self, processes, context, initializer):
            asked.append(processes)
            assert NOTICE.said is False
            monkeypatch.setattr(NOTICE, "said", False)  # taken back after the test
            initializer()
            assert NOTICE.said

        __enter__, __exit__ = (lambda self: self), (lambda self, *error: None)
        map = staticmethod(map)

    monkeypatch.setattr("fastnn.warmup.ProcessPoolExecutor", Pool)
    monkeypatch.setattr("fastnn.warmup.usable_cores", lambda: 3)
    monkeypatch.setattr("fastnn.warmup.warmup", lambda dtype, part: iter([dtype]))
    assert [found[:2] for found in compile_all(["float64"], 1000)] == [("float64", 3)]
    assert asked == [3]
