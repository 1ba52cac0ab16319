"""Settings of all tests."""

import itertools
import signal

import numpy as np
import pytest
from hypothesis import settings

from fastnn.engine import pace, threads

# The same examples in every run: what fails on one machine fails on all.
settings.register_profile("fastnn", derandomize=True, deadline=None)
settings.load_profile("fastnn")

# Tests send themselves Ctrl-C, which a run in a shell's background, as under nohup, would not hear.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def same_numbers_in_every_run(monkeypatch):
    """What a test leaves to chance: an estimator's numbers without a random_state, a network's without a seed."""
    generator, seeds = np.random.default_rng, itertools.count()
    monkeypatch.setattr(np.random, "default_rng", lambda seed=None: generator(next(seeds) if seed is None else seed))
    np.random.seed(0)


@pytest.fixture
def always_teams(monkeypatch):
    """Teams of as many threads as are allowed, however small the work is, and however slow the machine makes them."""
    monkeypatch.setattr(threads, "MIN_WORK", 1)
    monkeypatch.setattr(threads, "WORTH_STARTING", 0)
    monkeypatch.setattr(pace.Pace, "turn", lambda self: pace.Turn(True, patience=0.5))
    monkeypatch.setattr(pace.Pace, "note", lambda self, turn, samples, seconds: None)
