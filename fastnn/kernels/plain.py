"""The product in plain loops: for processors without a fused multiply-add, and for tests.

It has the arguments of the tiled product in ``products`` and computes the same sums in the same
order, so what it lacks is speed alone.
"""

from __future__ import annotations

from typing import Any


def multiply(
    a: Any, a_row: int, a_k: int, b: Any, b_k: int, c: Any, c_row: int, d: Any, d_row: int,
    rows: int, columns: int, depth: int, alpha: float, beta: float,
) -> None:  # fmt: skip
    """C[i, j] = alpha sum_k A[i, k] B[k, j] + beta D[i, j]; D is not read where beta is 0."""
    for i in range(rows):
        for j in range(columns):
            total = 0.0
            for k in range(depth):
                total += a[i * a_row + k * a_k] * b[k * b_k + j]
            if beta == 0:
                c[i * c_row + j] = alpha * total
            else:
                c[i * c_row + j] = alpha * total + beta * d[i * d_row + j]
