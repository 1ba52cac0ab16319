"""Training on many machines, on engines that exist; nothing in here is loaded until it is asked for by name.

``fastnn.distributed.mpi.fit`` trains over MPI (extra ``mpi``), ``fastnn.distributed.dask.fit`` on Dask (extra
``dask``). ``agreement`` holds what both ask of the parts of the data before the first step.
"""
