# SPDX-License-Identifier: Apache-2.0
"""Open the folder of a run for training: what every study does before its first network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from encephalon.errors import MissingFileError, ModelError
from encephalon.inference.devices import resolve_device, resolve_threads
from encephalon.io.files import expanded
from encephalon.models.registry import find_model
from encephalon.recipes import dump_recipe
from encephalon.tables.reading import table_text
from encephalon.training.record import content_of, table_contents
from encephalon.training.runs import Means, RunFolder

if TYPE_CHECKING:
    from encephalon.recipes.schema import Recipe
    from encephalon.tables.schema import Table

__all__ = ["open_run"]


@contextmanager
def open_run(
    run: RunFolder,
    recipe: Recipe,
    table: Table,
    means: Means,
    *,
    content: Callable[[Path], str] = content_of,
    models: Mapping[str, str | None] | None = None,
) -> Iterator[Means]:
    """Begin or go on with `run`, held against every other process; yields `means` with a device.

    What the run reads is recorded, or compared: the files of `table`, each as `content` sees it,
    and the models that `models` names beside that of `training.start_from`, by what asks for them.
    Raises RunError, OutputError or OutputExistsError for a folder that must be left alone.
    """
    count = resolve_threads(means.threads)
    place = resolve_device(means.device, needs_torch=True)
    torch.set_num_threads(count)
    named = {"training.start_from": recipe.training.start_from, **(models or {})}

    def contents() -> dict[str, str]:
        return {**table_contents(table, means.workers, content), **_model_contents(named)}

    with run.opened(
        dump_recipe(recipe),
        table_text(table.frame),
        resume=means.resume,
        contents=contents,
        conditions={"threads": str(count), "device": place, "torch": torch.__version__},
    ):
        yield replace(means, device=place)


def _model_contents(named: Mapping[str, str | None]) -> dict[str, str]:
    """The content of each model; one that is gone is missed by whoever still needs it."""
    found = {}
    for name, source in named.items():
        if source is None:
            continue
        path = expanded(source)
        try:
            found[name] = content_of(path if path.is_file() else find_model(source).path)
        except (MissingFileError, ModelError):
            continue
    return found
