# SPDX-License-Identifier: Apache-2.0
"""The images of a table, prepared once and kept in one file from which batches are read.

Memory holds what is asked for, and so does not grow with the number of images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from errno import EDQUOT, ENOSPC
from hashlib import sha256 as sha256_of
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import EncephalonError, TableError
from encephalon.io.atomic import sha256
from encephalon.io.cache import cached_file
from encephalon.io.micrograph import picture_stem
from encephalon.io.pixel_size import sidecar_size
from encephalon.studies.micrographs.preprocessing import Picture, Preprocessing
from encephalon.tables.checks import fault_message
from encephalon.tables.encoding import encode_classes, encode_covariates, fit_scaling
from encephalon.tables.samples import table_samples
from encephalon.tables.schema import Fault, Table
from encephalon.transforms.resize import View

__all__ = ["Cohort", "Pictures", "Rows", "Scaling", "picture_content", "prepare_cohort"]

Result = TypeVar("Result")
Rows = NDArray[np.int64]
"""Positions of rows in the table, from 0."""
Scaling = Mapping[str, tuple[float, float]]
"""Mean and standard deviation of each covariate that is a number."""


@dataclass(frozen=True, eq=False)
class Pictures(Sequence[Picture]):
    """Pictures in a file, some or all of them: each is read when it is asked for, and not kept.

    path    the pictures, float32, one after another
    shape   channels, rows and columns of each
    views   where each picture of the file lies in its raw image
    facts   what was measured on each raw image
    rows    (N) the pictures that are meant
    """

    path: Path
    shape: tuple[int, int, int]
    views: Sequence[View] = field(repr=False)
    facts: Sequence[dict[str, float]] = field(repr=False)
    rows: Rows = field(repr=False)

    def __len__(self) -> int:
        """Number of pictures that are meant."""
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Picture: ...
    @overload
    def __getitem__(self, place: slice) -> list[Picture]: ...
    def __getitem__(self, place: int | slice) -> Picture | list[Picture]:
        """One picture, or several."""
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        row = int(self.rows[place])
        return Picture(self.read(np.array([row]))[0], self.views[row], self.facts[row])

    def select(self, rows: Rows) -> Pictures:
        """Those of these rows of the table."""
        return replace(self, rows=rows)

    def read(self, rows: Rows) -> NDArray[np.float32]:
        """The pictures (B, channels, rows, columns) of these rows of the table.

        The file is mapped for this call alone: pages that stay mapped count as memory.
        """
        shape = (len(self.views), *self.shape)
        return np.array(np.memmap(self.path, np.float32, "r", shape=shape)[rows])


@dataclass(frozen=True, eq=False)
class Cohort:
    """A table of images with all that a network learns from.

    table     its rows
    truth     (N,) index of the class, -1 where there is none that is learnt
    pictures  what the network sees of the images
    """

    table: Table
    truth: NDArray[np.int64]
    pictures: Pictures

    def scaling(self, rows: Rows) -> dict[str, tuple[float, float]]:
        """Mean and standard deviation of each number among the covariates of these rows."""
        return fit_scaling(self.table.select([int(row) for row in rows]))

    def covariates(self, scaling: Scaling) -> NDArray[np.float32]:
        """The encoded covariates (N, W) of the whole table."""
        return encode_covariates(self.cells(), self.table.columns, scaling)

    def cells(self) -> list[dict[str, Any]]:
        """The cells of every row, by the name of their column."""
        return [sample.row for sample in table_samples(self.table)]

    def with_truth(self, truth: NDArray[np.int64]) -> Cohort:
        """The same images with other classes (N,)."""
        return replace(self, truth=truth)


def prepare_cohort(
    table: Table, preprocessing: Preprocessing, cache: Path, workers: int = 2
) -> Cohort:
    """Preprocess every image of `table`, in `workers` threads, into one file in `cache`.

    The file is named by the contents of the images and the preprocessing, so it is made again only
    when one of these changes. Raises TableError, which names every image that cannot be used.
    """
    column = next(iter(table.columns.inputs.values()))
    paths = [table.path(cell) for cell in table.texts(column)]
    contents = _of_each(table, column, paths, lambda _, path: picture_content(path), workers)
    key = sha256_of("\n".join([preprocessing.key, *contents]).encode()).hexdigest()[:20]
    file = cache / f"pictures-{key}.bin"

    def make(temporary: Path) -> list[dict[str, Any]]:
        return _of_each(table, column, paths, _Keep(preprocessing, temporary), workers)

    notes = cached_file(file, make)
    views = [_view(note["view"]) for note in notes]
    facts, rows = [_facts(note) for note in notes], np.arange(len(notes))
    pictures = Pictures(file, tuple(notes[0]["shape"]), views, facts, rows)
    return Cohort(table, encode_classes(table), pictures)


class _Keep:
    """Preprocesses an image, puts the picture in its place of the file, and returns the notes."""

    def __init__(self, preprocessing: Preprocessing, file: Path) -> None:
        self.preprocessing, self.file, self.lock = preprocessing, file, Lock()
        file.touch()

    def __call__(self, place: int, path: Path) -> dict[str, Any]:
        picture = self.preprocessing.read(path)
        image = np.ascontiguousarray(picture.image, np.float32)
        with self.lock, self.file.open("r+b") as stream:
            stream.seek(place * image.nbytes)
            stream.write(image.data)
        return {"shape": image.shape, "view": asdict(picture.view), "facts": dict(picture.facts)}


def _of_each(
    table: Table,
    column: str,
    paths: Sequence[Path],
    function: Callable[[int, Path], Result],
    workers: int,
) -> list[Result]:
    """`function` of the place and path of each image; one TableError for all that fail."""

    def attempt(place: int, path: Path) -> Result | Fault:
        try:
            return function(place, path)
        except (EncephalonError, OSError) as error:
            if isinstance(error, OSError) and error.errno in {ENOSPC, EDQUOT}:
                raise  # the disk of the cache is full, which is no fault of the image
            return Fault(table.row(place), column, str(error))

    with ThreadPoolExecutor(workers) as pool:
        results = list(pool.map(attempt, range(len(paths)), paths))
    faults = [result for result in results if isinstance(result, Fault)]
    if faults:
        raise TableError(fault_message(table, faults))
    return [result for result in results if not isinstance(result, Fault)]


def picture_content(path: Path) -> str:
    """What a picture depends on: the bytes of the file, and the pixel size beside it."""
    return f"{sha256(path)} {sidecar_size(path, picture_stem(path))}"


def _view(note: Mapping[str, Any]) -> View:
    # JSON knows no tuples.
    said: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in note.items()}
    return View(**said)


def _facts(note: Mapping[str, Any]) -> dict[str, float]:
    # JSON has no NaN, which says here that a pixel size is unknown.
    return {k: float("nan") if v is None else float(v) for k, v in note["facts"].items()}
