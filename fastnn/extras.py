"""Optional packages: imported when first used, with an error that says how to get them."""

from __future__ import annotations

import importlib
from typing import Any


def needs(module: str, purpose: str, package: str) -> Any:
    """The imported `module`, or an ImportError that names what it is for and how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{purpose} needs {package}: pip install {package}") from error
