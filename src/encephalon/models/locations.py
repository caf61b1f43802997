# SPDX-License-Identifier: Apache-2.0
"""Where models lie: inside the package, and in `$ENCEPHALON_HOME` or the platform's cache."""

from __future__ import annotations

import os
from pathlib import Path

from encephalon.io.paths import expanded

__all__ = ["HOME_VARIABLE", "encephalon_home", "installed_folder", "packaged_folder"]

HOME_VARIABLE = "ENCEPHALON_HOME"


def encephalon_home() -> Path:
    """Return `$ENCEPHALON_HOME`, or the platform's cache folder for Encephalon."""
    given = os.environ.get(HOME_VARIABLE, "").strip()
    if given:
        return expanded(given).absolute()
    from platformdirs import user_cache_path

    return user_cache_path("encephalon", appauthor=False)


def installed_folder() -> Path:
    """Return the folder that holds downloaded and imported models, one folder each."""
    return encephalon_home() / "models"


def packaged_folder() -> Path:
    """Return the folder of the models that ship with the package."""
    return Path(__file__).parent / "packaged"
