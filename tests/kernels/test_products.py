"""The tiled product, its plain twin and NumPy agree for every size, stride and dtype."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from fastnn.kernels import products, tile
from fastnn.kernels.compiling import kernel
from fastnn.kernels.cpu import lanes, padded, whole_vectors
from fastnn.kernels.memory import call, pointer_to


@kernel
def run(address, A, a_row, a_k, B, C, D, d_row, i_list, k_list, alpha, beta):
    call(
        address, pointer_to(A), a_row, a_k, pointer_to(B), B.shape[1], pointer_to(C), C.shape[1],
        pointer_to(D), d_row, pointer_to(i_list), i_list.size, C.shape[1], pointer_to(k_list), k_list.size, alpha, beta,
    )  # fmt: skip


def product(address, A, B, D, alpha, beta, transposed, rows, d_row, i_list=None, k_list=None):
    a_row, a_k = (1, A.shape[1]) if transposed else (A.shape[1], 1)
    C = np.full((rows, B.shape[1]), np.nan, B.dtype)
    i_list = np.arange(rows) if i_list is None else i_list
    k_list = np.arange(B.shape[0]) if k_list is None else k_list
    run(address, A, a_row, a_k, B, C, D, d_row, i_list, k_list, alpha, beta)
    return C


@pytest.mark.parametrize("tiled", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 40), vectors=st.integers(1, 6), depth=st.sampled_from([0, 1, 2, 7, 255, 256, 257, 600]),
    transposed=st.booleans(), beta=st.sampled_from([0.0, 1.0, -0.5]), bias=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_product(dtype, tiled, rows, vectors, depth, transposed, beta, bias, seed):
    rng = np.random.default_rng(seed)
    columns = vectors * lanes(dtype)
    A = rng.normal(size=(depth, rows) if transposed else (rows, depth)).astype(dtype)
    B = rng.normal(size=(depth, columns)).astype(dtype)
    D = rng.normal(size=(1 if bias else rows, columns)).astype(dtype)
    if beta == 0.0:
        D[...] = np.nan  # must not be read
    C = product(
        products.multiply_address(np.dtype(dtype), tiled), A, B, D, -0.3, beta, transposed, rows, 0 if bias else columns
    )
    left = A.T if transposed else A
    expected = -0.3 * (left.astype(float) @ B) + (beta * D if beta else 0.0)
    scale = np.abs(left).astype(float) @ np.abs(B) + 1
    assert np.all(np.abs(C - expected) <= 4 * np.finfo(dtype).eps * scale * np.sqrt(depth + 1))


@pytest.mark.parametrize("tiled", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 30), depth=st.sampled_from([0, 1, 7, 256, 300, 700]), keeps=st.floats(0, 1),
    transposed=st.booleans(), factors=st.sampled_from([(0.7, 0.0), (0.7, 1.0), (1.0, 1.0)]), seed=st.integers(0, 99),
    least=st.sampled_from([0, products.DEPTH]),
)  # fmt: skip
def test_rows_and_terms_that_are_not_listed_are_left_out(
    dtype, tiled, rows, depth, keeps, transposed, factors, seed, least
):
    rng = np.random.default_rng(seed)
    i_list, k_list = (np.flatnonzero(rng.random(count) < keeps) for count in (rows, depth))
    k_list = k_list[k_list >= least]  # perhaps none of the first piece
    A = rng.normal(size=(rows, depth)).astype(dtype)
    A[:, np.setdiff1d(np.arange(depth), k_list)] = 0  # so that both forms have the same sums, in the same pieces
    A = np.ascontiguousarray(A.T) if transposed else A
    B = rng.normal(size=(depth, 3 * lanes(dtype))).astype(dtype)
    D = rng.normal(size=(rows, B.shape[1])).astype(dtype)
    arguments = A, B, D, *factors, transposed, rows, B.shape[1]
    listed = product(products.multiply_address(np.dtype(dtype), tiled, True), *arguments, i_list, k_list)
    whole = product(products.multiply_address(np.dtype(dtype), tiled), *arguments)
    np.testing.assert_array_equal(listed[i_list], whole[i_list])
    assert np.all(np.isnan(np.delete(listed, i_list, axis=0)))


def test_update_in_place():
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(9, 13)), rng.normal(size=(9, 2 * lanes(float)))
    C = rng.normal(size=(13, B.shape[1]))
    expected = C - 0.1 * A.T @ B
    run(
        products.multiply_address(np.dtype(float)),
        A,
        1,
        13,
        B,
        C,
        C,
        C.shape[1],
        np.arange(13),
        np.arange(9),
        -0.1,
        1.0,
    )
    np.testing.assert_allclose(C, expected, rtol=1e-13)


def test_a_row_gives_the_same_bits_in_any_company():
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(37, 700)), rng.normal(size=(700, 3 * lanes(float)))
    D = rng.normal(size=(1, B.shape[1]))
    address = products.multiply_address(np.dtype(float))
    together = product(address, A, B, D, 1.0, 1.0, False, 37, 0)
    for i in range(37):
        alone = product(address, np.ascontiguousarray(A[i : i + 1]), B, D, 1.0, 1.0, False, 1, 0)
        np.testing.assert_array_equal(together[i], alone[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_vector_instructions(dtype):
    @kernel
    def add_and_sum(a, b):
        p, q = pointer_to(a), pointer_to(b)
        tile.store(tile.multiply_add(tile.splat(p, 2.0), tile.load(p, 0), tile.load(q, 0)), q, 0)
        return tile.total(tile.load(p, 0) + tile.load(q, 0)), tile.width_of(p)

    a = np.arange(lanes(dtype), dtype=dtype)
    b = np.ones_like(a)
    assert add_and_sum(a, b) == ((3 * a + 1).sum(), lanes(dtype))
    np.testing.assert_array_equal(b, 2 * a + 1)


def test_padding_is_to_whole_vectors_and_spares_the_cache():
    for dtype in ("float32", "float64"):
        for count in range(1, 600):
            length = padded(count, dtype)
            assert 0 <= whole_vectors(count, dtype) - count < lanes(dtype)
            assert length % lanes(dtype) == 0
            assert length - whole_vectors(count, dtype) in (0, 64 // np.dtype(dtype).itemsize)
            assert length * np.dtype(dtype).itemsize % 512 != 0
