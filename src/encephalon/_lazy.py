# SPDX-License-Identifier: Apache-2.0
"""Packages whose names are imported when they are first used, so that importing one is free."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(package: str, homes: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """Return the `__getattr__` of `package`: `homes` gives, by module, the names found there."""
    home = {name: module for module, names in homes.items() for name in names}

    def resolve(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{home[name]}"), name)
        setattr(sys.modules[package], name, value)  # the next use needs no look-up
        return value

    return resolve
