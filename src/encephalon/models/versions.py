# SPDX-License-Identifier: Apache-2.0
"""Versions that a model is described with: its own first one, and those of what made it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

__all__ = ["FIRST_VERSION", "package_versions"]

FIRST_VERSION = "0.1.0"
"""The version of a model fresh from training."""


def package_versions(names: Sequence[str]) -> dict[str, str]:
    """The version of each installed package, "unknown" for one that is not installed."""
    return {name: _version(name) for name in names}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
