# SPDX-License-Identifier: Apache-2.0
"""People for the published training: their published split, and what the network is given of them.

A source that is not used is left to the network (`networks/published_legibility.py`). A person
without one that is used has no place in the published study: only complete cases are taken.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encephalon.experiments.folds import Rows
from encephalon.studies.legibility.data import People, block_names, load_image
from encephalon.studies.legibility.published.preprocessing import metadata_codes, rescaled
from encephalon.studies.legibility.published.settings import IMAGES, PublishedSettings
from encephalon.tables.schema import Table

__all__ = ["PublishedInputs", "split_as_published"]

#: Share of the people that trains where there is no split (Ruffle et al. 2024).
TRAINED = 0.8
#: The published seed. Who trains was fixed in folders, so that the draw by it is ours.
SEED = 1337

Flags = NDArray[np.bool_]


def split_as_published(table: Table) -> Table:
    """The table with the published split, unless it has one with a part that validates.

    Whoever is not in the part that trains comes, in the order of the ids, by turns into that which
    tests and that which validates. Of a table without any split four fifths are drawn to train.
    """
    column = table.columns.split or "split"
    cells = table.texts(column) if table.has(column) else [""] * len(table)
    if "validation" in cells:
        return table
    ids = table.ids
    order = sorted(range(len(ids)), key=lambda row: ids[row])
    if any(cells):
        rest = [row for row in order if cells[row] == "test"]
    else:
        drawn = np.random.default_rng(SEED).permutation(len(table))
        rest = [row for row in order if drawn[row] >= round(TRAINED * len(table))]
        cells = ["train"] * len(table)
    for place, row in enumerate(rest):
        cells[row] = "validation" if place % 2 else "test"
    columns = replace(table.columns, split=column)
    return replace(table.with_column(column, cells), columns=columns)


class PublishedInputs:
    """What the network is given of people: images, connectivity and metadata, in its order.

    people    whose cohort is what is used
    settings  of the study
    """

    def __init__(self, people: People, settings: PublishedSettings) -> None:
        self.people, self.settings = people, settings
        self.images = [word for word in IMAGES if word in settings.inputs]
        self.connectivity = next(iter(people.connectivity.values()), None)
        blocks = [np.zeros((len(people), 0)), *(people.values[n] for n in people.cohort.blocks)]
        # One column that is unknown makes them all so.
        values = np.concatenate(blocks, axis=1).astype(np.float32)
        self.metadata = values @ metadata_codes(people.cohort, settings.columns or 1)
        self._held: dict[int, list[Tensor]] = {}

    @property
    def complete(self) -> Flags:
        """Whether each person (N,) has all that is used, every column of the metadata too."""
        known = np.isfinite(self.metadata).all(axis=1)
        return np.asarray(self.people.present.all(axis=1) & known)

    @property
    def scarcest(self) -> str:
        """What of all that must be known of a person the most people lack; "" if nobody does."""
        people, cohort = self.people, self.people.cohort
        known = {name: people.present[:, cohort.inputs.index(name)] for name in cohort.sources}
        for name, block in cohort.blocks.items():
            numbers = zip(block_names(block), people.values[name].T, strict=True)
            known |= {word.partition("=")[0]: np.isfinite(some) for word, some in numbers}
        known[self.settings.target] = np.isfinite(people.truth[self.settings.target])
        count, name = min((int(has.sum()), name) for name, has in known.items())
        said = f" The least is known of {name!r}, which {count} of {len(people)} have."
        return said if count < len(people) else ""

    def __call__(self, rows: Rows, keep: bool = False) -> tuple[Tensor, ...]:
        """Of each input what it is of these rows; with `keep` images stay in memory.

        Images (B, 1, side, side, side), connectivity (B, pairs), metadata (B, columns).
        """
        people = [self._read(int(row), keep) for row in rows]
        given = [rescaled(torch.stack(each)) for each in zip(*people, strict=True)]
        if self.connectivity is not None:
            given.append(torch.from_numpy(self.connectivity[rows]))
        if "metadata" in self.settings.inputs:
            given.append(torch.from_numpy(self.metadata[rows]))
        return tuple(given)

    def sources(self, rows: Rows) -> tuple[Tensor, ...]:
        """Each source and block of these rows, in the order of the cohort, as it is prepared.

        Zeros stand for an image that a person has not.
        """
        people, side = self.people, self.settings.side
        found: dict[str, NDArray[Any]] = {
            name: np.stack([_image(some[row], side)[None] for row in rows])
            for name, some in people.images.items()
        }
        found |= {name: some[rows] for name, some in people.connectivity.items()}
        found |= {name: some[rows].astype(np.float32) for name, some in people.values.items()}
        return tuple(torch.from_numpy(found[name]) for name in people.cohort.inputs)

    def _read(self, row: int, keep: bool) -> list[Tensor]:
        """Each image (1, side, side, side) of a row."""
        if row in self._held:
            return self._held[row]
        paths = [self.people.images[word][row] for word in self.images]
        images = [torch.from_numpy(_image(path, self.settings.side))[None] for path in paths]
        if keep:
            self._held[row] = images
        return images


def _image(path: Path | None, side: int) -> NDArray[np.float32]:
    return np.zeros([side] * 3, np.float32) if path is None else load_image(path, side)
