# SPDX-License-Identifier: Apache-2.0
"""Studies by name: imported when they are first needed, and not before.

A third party adds one by an entry point in the group `encephalon.studies`, whose name is that of
the study and whose object is its `Study`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from encephalon.errors import RecipeError, did_you_mean

if TYPE_CHECKING:
    from encephalon.inference.predictor import Predictor
    from encephalon.studies.base import Study

__all__ = ["ENTRY_POINTS", "list_studies", "load_study", "open_predictor"]

ENTRY_POINTS = "encephalon.studies"

_BUILT_IN: Mapping[str, str] = {
    "extraction": "encephalon.studies.extraction.study:STUDY",
    "isotropic": "encephalon.studies.isotropic.study:STUDY",
    "legibility": "encephalon.studies.legibility.study:STUDY",
    "micrographs": "encephalon.studies.micrographs.study:STUDY",
    "microtomography": "encephalon.studies.microtomography.study:STUDY",
}


def list_studies() -> tuple[str, ...]:
    """Return the sorted names of all studies: built in, and from entry points."""
    return tuple(sorted({*_BUILT_IN, *_entry_points()}))


def load_study(name: str) -> Study:
    """Import and return the study `name`; raises RecipeError for an unknown one."""
    if name not in _BUILT_IN and name not in _entry_points():
        meant = did_you_mean(name, list_studies(), "known studies:")
        raise RecipeError(f"Unknown study {name!r}; {meant}")
    built_in = name in _BUILT_IN
    study: Study = resolve_name(_BUILT_IN[name]) if built_in else _entry_points()[name].load()
    return study


def open_predictor(name: str, threads: int | None = None, **options: Any) -> Predictor:
    """The predictor of a model on this machine: how one study uses what another has made.

    Raises ModelError for a model that is not there.
    """
    from encephalon.models.catalogue import find_model
    from encephalon.studies.base import OpenModel

    files = find_model(name)
    return load_study(files.study).load(OpenModel(files, options, "cpu", threads))


def _entry_points() -> dict[str, Any]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}
