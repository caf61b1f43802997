# SPDX-License-Identifier: Apache-2.0
"""Studies by name: modules that are imported when they are first needed, and not before.

A study is a module (or any object) with the functions of `Study`. A third party adds one by an
entry point in the group `encephalon.studies` whose name is the study's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from encephalon.errors import RecipeError, did_you_mean

if TYPE_CHECKING:
    from encephalon.inference.predictor import Predictor
    from encephalon.models.folder import ModelFolder
    from encephalon.models.published import PublishedFile

__all__ = ["ENTRY_POINTS", "Study", "list_studies", "load_study"]

ENTRY_POINTS = "encephalon.studies"

_BUILT_IN: Mapping[str, str] = {
    "extraction": "encephalon.studies.extraction.study",
    "isotropic": "encephalon.studies.isotropic.study",
    "micrographs": "encephalon.studies.micrographs.study",
}


class Study(Protocol):
    """What the module of a study offers. Only `make_predictor` must be there.

    train(recipe, table, folder, *, resume, device, devices, workers, threads, report) -> Path
    evaluate(model, table, output, overwrite, progress) -> result
    check_recipe(recipe) -> None            the settings of the recipe's [study], checked
    check_samples(table) -> table           where it checks tables otherwise than `tables.checked`
    total_steps(recipe) -> int              where a run trains more than one network
    explain(model, samples, output, ...)    see `api.explain`
    make_report(description) -> page        with draw(row, pictures, folder) -> markup to keep,
                                            add(row, what reads it), write(path, failures)
    KIND                                    "volume" (the default) or "picture"
    """

    def make_predictor(
        self, model: ModelFolder | PublishedFile, options: Mapping[str, Any]
    ) -> Predictor:
        """Return the predictor of a model of this study, loaded.

        `options` holds `device`, `threads` and what the user asked of this study; an option that
        the study does not know is a UsageError.
        """
        ...


def list_studies() -> tuple[str, ...]:
    """Return the sorted names of all studies: built in, and from entry points."""
    return tuple(sorted({*_BUILT_IN, *_entry_points()}))


def load_study(name: str) -> ModuleType:
    """Import and return the module of the study `name`; raises RecipeError for an unknown one."""
    if name in _BUILT_IN:
        return import_module(_BUILT_IN[name])
    points = _entry_points()
    if name in points:
        study: ModuleType = points[name].load()
        return study
    meant = did_you_mean(name, list_studies(), "known studies:")
    raise RecipeError(f"Unknown study {name!r}; {meant}")


def _entry_points() -> dict[str, Any]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}
