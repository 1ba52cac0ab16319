"""The product in plain loops: what `products` does on tiles, to read and to test it against.

It has the same arguments and no explicit vectors, so it is also the fallback for a processor that
LLVM's vectors do not suit (``multiply_address(dtype, tiled=False)``).
"""

from __future__ import annotations

from typing import Any


def multiply(
    a: Any, a_row: int, a_k: int, b: Any, b_k: int, c: Any, c_row: int, d: Any, d_row: int,
    i_list: Any, rows: int, columns: int, k_list: Any, depth: int, alpha: float, beta: float,
) -> None:  # fmt: skip
    """C[i, j] = alpha sum_k A[i, k] B[k, j] + beta D[i, j].

    D is not read where beta is 0; where both factors are 1, the sum begins with it.
    """
    for i in range(rows):
        for j in range(columns):
            begins = alpha == 1 and beta == 1
            total = 0.0
            if begins:
                total += d[i * d_row + j]
            for k in range(depth):
                total += a[i * a_row + k * a_k] * b[k * b_k + j]
            if begins:
                c[i * c_row + j] = total
            elif beta == 0:
                c[i * c_row + j] = alpha * total
            else:
                c[i * c_row + j] = alpha * total + beta * d[i * d_row + j]


def multiply_listed(
    a: Any, a_row: int, a_k: int, b: Any, b_k: int, c: Any, c_row: int, d: Any, d_row: int,
    i_list: Any, rows: int, columns: int, k_list: Any, depth: int, alpha: float, beta: float,
) -> None:  # fmt: skip
    """The same for the `rows` i of one list, and the `depth` k of another."""
    for place in range(rows):
        i = i_list[place]
        for j in range(columns):
            begins = alpha == 1 and beta == 1
            total = 0.0
            if begins:
                total += d[i * d_row + j]
            for k_place in range(depth):
                k = k_list[k_place]
                total += a[i * a_row + k * a_k] * b[k * b_k + j]
            if begins:
                c[i * c_row + j] = total
            elif beta == 0:
                c[i * c_row + j] = alpha * total
            else:
                c[i * c_row + j] = alpha * total + beta * d[i * d_row + j]
