"""What a first fit does not need is not compiled for it."""

import gc

import numpy as np
import pytest

from fastnn import Identity, Layer, MSELoss, NeuralNetwork, ReLU
from fastnn.engine.threads import team_size
from fastnn.kernels.compiling import undisturbed
from fastnn.kernels.descent import descend_address
from fastnn.kernels.team import team_addresses
from fastnn.kernels.zeros import nonzero_columns_address

SELDOM = (team_addresses, nonzero_columns_address)


@pytest.fixture
def forgotten():
    for addresses in (*SELDOM, descend_address):
        addresses.cache_clear()


def fit(samples=64, **settings):
    layers = [Layer(6, 4, ReLU(), seed=0, **settings), Layer(4, 1, Identity(), seed=1)]
    net = NeuralNetwork(layers, MSELoss(), 0.01, optimizer="adam")
    x = np.random.default_rng(0).normal(size=(samples, 6))
    net.fit(x, x[:, :1], epochs=2, batch_size=16, verbose=0)


def adjusting():
    """Whether the step with penalties and limits is there: asking compiles it, so whoever asks does so last."""
    before = descend_address.cache_info().misses
    descend_address(np.dtype(np.float64), True)
    return descend_address.cache_info().misses == before


def test_a_small_fit_needs_nothing_for_teams_zeros_and_limits(forgotten):
    fit()
    assert [addresses.cache_info().currsize for addresses in SELDOM] == [0, 0]
    assert not adjusting()


@pytest.mark.parametrize("settings", [{"l1": 0.1}, {"l2": 0.1}, {"max_norm": 1.0}])
def test_penalties_and_limits_are_there_when_they_are_needed(forgotten, settings):
    fit(**settings)
    assert adjusting()


def test_a_team_is_there_when_it_is_needed(forgotten, always_teams, monkeypatch):
    monkeypatch.setattr("fastnn.engine.threads._limit", 2)
    fit()
    assert team_addresses.cache_info().currsize == 1


def test_what_a_team_needs_is_there_before_its_time_is_taken(forgotten, always_teams, monkeypatch):
    monkeypatch.setattr("fastnn.engine.threads._limit", 2)
    assert team_size(1000, 1, 1) == 1
    assert team_addresses.cache_info().currsize == 0
    assert team_size(1000, 1, 2) == 2
    assert team_addresses.cache_info().currsize == 1


@pytest.mark.parametrize("enabled", [True, False])
def test_no_cycles_are_looked_for_while_code_is_compiled(enabled):
    (gc.enable if enabled else gc.disable)()
    try:
        assert undisturbed(gc.isenabled)() is False
        with pytest.raises(ValueError, match="invalid literal"):
            undisturbed(int)("code")
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
