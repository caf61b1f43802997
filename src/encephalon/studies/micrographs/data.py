# SPDX-License-Identifier: Apache-2.0
"""The images of a table, prepared once and kept in one file from which batches are read.

Memory holds what is asked for, and so does not grow with the number of images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from errno import EDQUOT, ENOSPC
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import EncephalonError, TableError, require_extra
from encephalon.experiments.folds import Rows
from encephalon.io.cache import cached_file
from encephalon.io.micrograph import read_micrograph
from encephalon.studies.micrographs.preprocessing import Preprocessing, picture_content
from encephalon.tables.checks import fault_message
from encephalon.tables.encoding import encode_classes, encode_covariates, fit_scaling
from encephalon.tables.samples import table_samples
from encephalon.tables.schema import Fault, Table
from encephalon.tables.splits import SplitOptions
from encephalon.training.dataset import in_threads
from encephalon.transforms.resize import View

__all__ = ["ImageDataset", "prepare_dataset", "texture_features"]

Result = TypeVar("Result")

#: The published hold-out: a tenth of the rows, by class alone, seed 44 (3BTRON).
#: Its validation part was not published: a tenth of the rest.
PUBLISHED_SPLIT = SplitOptions(test=0.1, validation=0.09, grouped=False, seed=44)
#: Radii of the local binary patterns, each with 8 neighbours a pixel of radius (Ojala et al. 2002).
RADII = (1, 2, 3)
#: Distances, in pixels, and angles of the grey-level co-occurrence matrices (Haralick et al. 1973).
DISTANCES = (1, 2, 4)
ANGLES = (0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
PROPERTIES = ("contrast", "homogeneity", "energy", "correlation")
#: Grey levels of the co-occurrence matrices and bins of the histogram: our choice.
LEVELS, BINS = 32, 16
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """A table of images with all that a network learns from.

    table    its rows
    truth    (N,) index of the class, -1 where there is none that is learnt
    path     what the network sees of the images, float32, one picture after another
    shape    channels, rows and columns of each
    views    (N) where each picture lies in its raw image
    facts    (N) what was measured on each raw image
    reading  how the pictures were made of the images
    """

    table: Table
    truth: NDArray[np.int64] = field(repr=False)
    path: Path
    shape: tuple[int, int, int]
    views: Sequence[View] = field(repr=False)
    facts: Sequence[dict[str, float]] = field(repr=False)
    reading: Preprocessing

    def pictures(self, rows: Rows) -> NDArray[np.float32]:
        """The pictures (B, channels, rows, columns) of these rows, read anew and not kept.

        The file is mapped for this call alone: pages that stay mapped count as memory.
        """
        shape = (len(self.views), *self.shape)
        return np.array(np.memmap(self.path, np.float32, "r", shape=shape)[rows])

    def raw(self, row: int) -> NDArray[np.generic]:
        """The image (rows, columns) of a row, as it lies on disk."""
        column, settings = next(iter(self.table.columns.inputs.values())), self.reading.settings
        path = self.table.path(self.table.texts(column)[row])
        return read_micrograph(path, page=settings.page, colour=settings.colour).data

    def texture(self, row: int) -> NDArray[np.float64]:
        """The classical features of a row, see `texture_features`."""
        return texture_features(self.pictures(np.array([row]))[0, 0])

    def scaling(self, rows: Rows) -> dict[str, tuple[float, float]]:
        """Mean and standard deviation of each number among the covariates of these rows."""
        return fit_scaling(self.table.select(rows.tolist()))

    def encoded(self, rows: Rows) -> NDArray[np.float32]:
        """The encoded covariates (N, W) of the whole table, standardised by these rows."""
        return encode_covariates(self.cells(), self.table.columns, self.scaling(rows))

    def cells(self) -> list[dict[str, Any]]:
        """The cells of every row, by the name of their column."""
        return [sample.row for sample in table_samples(self.table)]

    def with_truth(self, truth: NDArray[np.int64]) -> ImageDataset:
        """The same images with other classes (N,)."""
        return replace(self, truth=truth)


def prepare_dataset(
    table: Table, preprocessing: Preprocessing, cache: Path, workers: int = 2
) -> ImageDataset:
    """Preprocess every image of `table`, in `workers` threads, into one file in `cache`.

    The file is named by the contents of the images and the preprocessing, so it is made again only
    when one of these changes. Raises TableError, which names every image that cannot be used.
    """
    contents = _of_each(table, lambda _, path: picture_content(path), workers)
    key = sha256("\n".join([preprocessing.key, *contents]).encode()).hexdigest()[:20]
    file = cache / f"pictures-{key}.bin"

    def make(temporary: Path) -> list[dict[str, Any]]:
        temporary.touch()
        lock = Lock()

        def keep(place: int, path: Path) -> dict[str, Any]:
            picture = preprocessing.read(path)
            image = np.ascontiguousarray(picture.image, np.float32)
            with lock, temporary.open("r+b") as stream:
                stream.seek(place * image.nbytes)
                stream.write(image.data)
            return {"shape": image.shape, "view": asdict(picture.view), "facts": picture.facts}

        return _of_each(table, keep, workers)

    notes = cached_file(file, make)
    views, facts = [], []
    for note in notes:
        # JSON knows no tuples, and no NaN, which says here that a pixel size is unknown.
        pairs = note["view"].items()
        view: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in pairs}
        views.append(View(**view))
        found = note["facts"].items()
        facts.append({k: float("nan") if v is None else float(v) for k, v in found})
    shape = tuple(notes[0]["shape"])
    return ImageDataset(table, encode_classes(table), file, shape, views, facts, preprocessing)


def _of_each(table: Table, function: Callable[[int, Path], Result], workers: int) -> list[Result]:
    """`function` of the place and path of each image; one TableError for all that fail."""
    column = next(iter(table.columns.inputs.values()))
    paths = [table.path(cell) for cell in table.texts(column)]

    def attempt(place: int, path: Path) -> Result | Fault:
        try:
            return function(place, path)
        except (EncephalonError, OSError) as error:
            if isinstance(error, OSError) and error.errno in {ENOSPC, EDQUOT}:
                raise  # the disk of the cache is full, which is no fault of the image
            return Fault(table.row(place), column, str(error))

    results = in_threads(lambda each: attempt(*each), enumerate(paths), workers)
    faults = [result for result in results if isinstance(result, Fault)]
    if faults:
        raise TableError(fault_message(table, faults))
    return [result for result in results if not isinstance(result, Fault)]


def texture_features(picture: NDArray[np.float32]) -> NDArray[np.float64]:
    """Local binary patterns, co-occurrence properties and grey levels of a picture (rows, columns).

    Grey levels are stretched to their own range first. No feature knows of places, so that none
    can tell where in the picture something lies. Raises MissingExtraError without scikit-image.
    """
    require_extra("skimage", "train", "The texture baseline")
    feature: Any = import_module("skimage.feature")
    low, high = float(picture.min()), float(picture.max())
    stretched = (picture - low) / max(high - low, 1e-6)
    levels = np.round(255 * stretched).astype(np.uint8)
    # Histograms of rotation-invariant uniform local binary patterns at every radius.
    patterns = []
    for radius in RADII:
        points = 8 * radius
        codes = feature.local_binary_pattern(levels, points, radius, "uniform").astype(int)
        patterns.append(np.bincount(codes.ravel(), minlength=points + 2) / codes.size)
    # Properties of the co-occurrence matrices, at every distance and angle.
    coarse = (levels.astype(np.uint16) * LEVELS // 256).astype(np.uint8)
    matrices = feature.graycomatrix(coarse, DISTANCES, ANGLES, LEVELS, symmetric=True, normed=True)
    properties = [feature.graycoprops(matrices, name).ravel() for name in PROPERTIES]
    shares = np.histogram(stretched, BINS, (0, 1))[0] / stretched.size
    return np.concatenate([*patterns, *properties, shares, np.quantile(stretched, QUANTILES)])
