"""What `mpiexec -n 3` runs in the tests: sums of blocks in memory that all ranks see, against NumPy's.

It prints how many were right on each rank.
"""

import numpy as np
from mpi4py import MPI

from fastnn.distributed.team import Team
from fastnn.distributed.window import Window

world = MPI.COMM_WORLD
right = 0
for dtype in ("float32", "float64"):
    for numbers in (1, 2, 15, 16, 17, 47, 48, 49, 1000, 100_003):
        window = Window(MPI, world, numbers, np.dtype(dtype))
        assert window.block.ctypes.data % 64 == 0
        assert not window.block.any()
        for turn in range(3):
            own = [np.random.default_rng([turn, rank]).normal(size=numbers).astype(dtype) for rank in range(world.size)]
            window.block[...] = own[world.rank]
            assert window.add(window.parts[world.rank])
            assert window.pass_on(window.parts)
            expected = own[0].copy()
            for other in own[1:]:
                expected += other
            np.testing.assert_array_equal(window.block, expected)
            right += 1
        window.free()

team = Team(MPI, world)
block = team.room(1000, np.dtype(float))
block[:-1] = team.rank
team.add(block)
np.testing.assert_array_equal(block[:-1], sum(range(team.size)))
team.end()
everywhere = world.gather(right)
if world.rank == 0:
    print("right:", everywhere)
