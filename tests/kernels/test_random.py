"""Random numbers without a state: the values that every version gives, from NumPy and from kernels."""

import numba
import numpy as np
import pytest

from fastnn import reference
from fastnn.kernels.order import shuffle
from fastnn.kernels.random import mixed, uniform
from fastnn.layers.noise import noise_key

UNIFORMS = {
    12345: ["0x1.108c12c54e88ap-3", "0x1.a376e72fb89fep-3", "0x1.e9a57bc80e674p-4", "0x1.68b073f2e1fa2p-3"],
    2**64 - 3: ["0x1.eebe09976b434p-1", "0x1.d8ef386d27f10p-1", "0x1.fdb3dd6926dbcp-1"],
}
ORDERS = {(3, 0): [8, 10, 5, 6, 9, 7, 1, 11, 4, 2, 3, 0], (2**62 + 5, 7): [6, 3, 11, 9, 7, 5, 2, 0, 1, 4, 10, 8]}


def test_the_first_numbers_of_splitmix64():
    # those of seed 1234567 that other implementations are tested with
    seed = np.full(3, 1234567, np.uint64) + np.arange(1, 4, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert mixed(seed).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("key", UNIFORMS)
def test_uniform_numbers_are_the_same_in_numpy_in_kernels_and_for_ever(key):
    expected = [float.fromhex(value) for value in UNIFORMS[key]]
    assert uniform(key, np.arange(len(expected))).tolist() == expected

    @numba.njit
    def compiled(key, position):
        return uniform(key, position)

    signed = key if key < 2**63 else key - 2**64  # as it comes to a kernel
    assert [compiled(signed, i) for i in range(len(expected))] == expected


@pytest.mark.parametrize(("seed", "epoch"), ORDERS)
def test_orders_are_the_same_in_the_reference_in_kernels_and_for_ever(seed, epoch):
    assert reference.shuffled(12, seed, epoch).tolist() == ORDERS[seed, epoch]
    order = np.empty(12, np.int64)
    shuffle(order.ctypes.data, 12, seed, epoch)
    assert order.tolist() == ORDERS[seed, epoch]


def test_keys_of_noise_stay_what_they_are():
    assert noise_key(5, 3, 2) == (5 + 3 * 0xD1342543DE82EF95 + 2 * 0xA0761D6478BD642F) % 2**64
