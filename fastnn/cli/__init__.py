"""The command line: ``fastnn train``, ``predict``, ``evaluate``, ``info``, ``export``, ``plot``, ``bench``, ``warmup``.

``app`` is the program, and one file each has a command: it reads its options and calls what the library has.
``report`` is what all of them say and how they fail, ``tables`` reads and writes files of tables, ``models`` those of
models. It needs the packages of ``pip install "fastnn[cli]"``; `fastnn.__main__` imports it when they are there.
"""
