"""Settings of all tests."""

import signal

import pytest
from hypothesis import settings

from fastnn.engine import pace, threads

# The same examples in every run: what fails on one machine fails on all.
settings.register_profile("fastnn", derandomize=True, deadline=None)
settings.load_profile("fastnn")

# Tests send themselves Ctrl-C, which a run in a shell's background, as under nohup, would not hear.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def always_teams(monkeypatch):
    """Teams of as many threads as are allowed, however small the work is, and however slow the machine makes them."""
    monkeypatch.setattr(threads, "MIN_WORK", 1)
    monkeypatch.setattr(threads, "WORTH_STARTING", 0)
    monkeypatch.setattr(pace.Pace, "turn", lambda self: pace.Turn(True, patience=0.5))
    monkeypatch.setattr(pace.Pace, "note", lambda self, turn, samples, seconds: None)
