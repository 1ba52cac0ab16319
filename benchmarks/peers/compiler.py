"""The C compiler of this machine, if there is one."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .contestant import Unable

HERE = Path(__file__).parent


def compiled(source: str, *flags: str, libraries: Sequence[str] = ()) -> ctypes.CDLL:
    """A shared library made from C source, loaded; for this processor, or for that of BENCHMARKS_MARCH.

    Raises
    ------
    Unable
        If there is no compiler, or it does not want to.
    """
    cc = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if cc is None:
        raise Unable("no C compiler")
    with tempfile.TemporaryDirectory() as folder:
        program, library = Path(folder, "program.c"), Path(folder, "program.so")
        program.write_text(source, encoding="utf-8")
        march = f"-march={os.environ.get('BENCHMARKS_MARCH', 'native')}"
        linked = [f"-l{name}" for name in (*libraries, "m")]
        command = [cc, "-O3", march, *flags, "-shared", "-fPIC", str(program), "-o", str(library), *linked]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unable(f"cc failed: {done.stderr.strip().splitlines()[0]}")
        return ctypes.CDLL(str(library))  # stays in memory when the file is gone
