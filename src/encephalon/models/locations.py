# SPDX-License-Identifier: Apache-2.0
"""Where models lie: inside the package, and in `$ENCEPHALON_HOME` or the platform's cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from encephalon.errors import ModelError
from encephalon.io.files import expanded

__all__ = ["HOME_VARIABLE", "encephalon_home", "installed_folder", "model_roots", "packaged_folder"]

HOME_VARIABLE = "ENCEPHALON_HOME"


def encephalon_home() -> Path:
    """Return `$ENCEPHALON_HOME`, or the platform's cache folder for Encephalon.

    Raises ModelError where neither is known: no HOME, and a user without an entry of its own, as in
    some containers. What only looks for something should find nothing then.
    """
    given = os.environ.get(HOME_VARIABLE, "").strip()
    if given:
        return expanded(given).absolute()
    from platformdirs import user_cache_path

    try:
        return user_cache_path("encephalon", appauthor=False)
    except (RuntimeError, LookupError) as error:
        raise ModelError(
            f"There is no home folder to keep models in: set {HOME_VARIABLE} to a folder of yours."
        ) from error


def installed_folder() -> Path:
    """Return the folder that holds downloaded and imported models, one folder each."""
    return encephalon_home() / "models"


def model_roots() -> Iterator[tuple[str, Path]]:
    """Yield the folders of models on this machine, the better one first, with a word for each."""
    yield "packaged", packaged_folder()
    with suppress(ModelError):
        yield "installed", installed_folder()


def packaged_folder() -> Path:
    """Return the folder of the models that ship with the package."""
    return Path(__file__).parent / "packaged"
