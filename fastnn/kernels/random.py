"""Random numbers without a state: SplitMix64 (Steele, Lea and Flood 2014), its mixing used as a hash.

Any number of a sequence can be had without those before, so threads and single epochs need not
agree on anything. These are plain functions: NumPy runs them on arrays, and Numba compiles them
into kernels, for one number. Overflow is a part of the method.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / the golden ratio: from one number of a sequence to the next
STEP = np.uint64(0xD1342543DE82EF95)  # between the keys of two steps, or of two epochs
LAYER = np.uint64(0xA0761D6478BD642F)  # between those of two layers of a step


@register_jitable
def mixed(z: Any) -> Any:
    """SplitMix64's mixing of a uint64: each bit of the result depends on all bits of z."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@register_jitable
def uniform(key: Any, position: Any) -> Any:
    """A number in (0, 1) that depends on `key` and `position` alone."""
    z = mixed(np.uint64(key) + np.uint64(position + 1) * GOLDEN)
    return ((z >> np.uint64(11)) + 0.5) * 2.0**-53
