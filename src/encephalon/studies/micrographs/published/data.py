# SPDX-License-Identifier: Apache-2.0
"""The arrays of the published preprocessing: read into a table of images, and written of one.

3BTRON keeps a set of images as three files of a folder: `np_images.npy` (N, H, W), the binary
images in [0, 1]; `labels.npy` (N), the classes by number; `features.npy` (N, 5), the covariates
one-hot. The last two may be missing where nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, InputError, MissingFileError, TableError
from encephalon.io.atomic import atomic_path, refuse_existing
from encephalon.io.micrograph import write_plane
from encephalon.tables.checks import checked
from encephalon.tables.encoding import encode_classes, encode_covariates
from encephalon.tables.reading import write_table
from encephalon.tables.samples import table_samples
from encephalon.tables.schema import Columns, Table

__all__ = ["arrays_of_table", "table_of_arrays"]

IMAGES, LABELS, FEATURES = "np_images.npy", "labels.npy", "features.npy"
Arrays = NDArray[Any]


def table_of_arrays(folder: Path, table: Path, columns: Columns, overwrite: bool = False) -> Path:
    """Write every binary image of `folder` as a float32 TIFF and `table`, which names them.

    The TIFFs go beside the table, into a folder of its name; nothing is rounded. Classes and
    covariates get the names that `columns` has, in its order. Raises MissingFileError without
    images, InputError for arrays of other shapes than the published ones.
    """
    import pandas as pd

    refuse_existing(table, overwrite)
    images = _load(folder / IMAGES)
    if images.ndim != 3:
        raise InputError(
            f"{folder / IMAGES}: expected (N, rows, columns), but the array has the shape "
            f"{images.shape}: give the folder that the published preprocessing wrote."
        )
    count = len(images)
    classes = _classes(folder / LABELS, count, columns)
    covariates = _covariates(folder / FEATURES, count, columns)
    column, rows = next(iter(columns.inputs.values())), []
    for number, (image, label, cells) in enumerate(zip(images, classes, covariates, strict=True)):
        name = f"image{number:04d}"
        path = table.with_suffix("") / f"{name}.tif"
        write_plane(image, path)
        known = {columns.target: label} if columns.target and label else {}
        place = path.relative_to(table.parent).as_posix()
        rows.append({columns.id: name, column: place, **known, **cells})
    return write_table(pd.DataFrame(rows), table, overwrite)


def arrays_of_table(
    table: Table,
    silhouette: Callable[[Path], NDArray[np.float32]],
    folder: Path,
    overwrite: bool = False,
) -> int:
    """Write the three arrays of `table` into `folder`: images, classes, covariates.

    They are float32, int64 and float32; `silhouette` makes the image of a file, by the published
    steps 1 to 4. Returns the number of images.

    A table of no class that is learnt has no labels, as the published one of the middle-aged.
    Raises TableError for a faulty table, or one of which some rows alone have such a class, and
    InputError for images that cannot be read or have different sizes once they are reduced.
    """
    for name in (IMAGES, LABELS, FEATURES):
        refuse_existing(folder / name, overwrite)
    labels = np.full(len(table), -1)
    if table.has(table.columns.target):
        labels = encode_classes(table)
    else:
        table = replace(table, columns=replace(table.columns, target=None))
    samples = table_samples(checked(table, audited=True))
    features = encode_covariates([one.row for one in samples], table.columns, {})
    known = labels >= 0
    if known.any() and not known.all():
        row = table.row(int(known.argmin()))
        raise TableError(
            f"{table.source}, row {row}: there is no class that is learnt, but other rows have "
            "one: make a table of each kind, whose arrays are kept apart."
        )
    images: list[NDArray[np.float32]] = []
    for sample in samples:
        path = next(iter(sample.inputs.values()))
        image = silhouette(path)
        if images and image.shape != images[0].shape:
            raise InputError(
                f"{path}: expected {images[0].shape[0]} x {images[0].shape[1]} pixels as of the "
                f"other images, but there are {image.shape[0]} x {image.shape[1]} once it is "
                "reduced: arrays hold images of one size, so crop them alike."
            )
        images.append(image)
    found = {IMAGES: np.stack(images), FEATURES: features}
    written = found | ({LABELS: labels} if known.all() else {})
    for name, array in written.items():
        with atomic_path(folder / name) as temporary, temporary.open("wb") as stream:
            np.save(stream, array, allow_pickle=False)
    if LABELS not in written:  # those of an earlier table would be taken for these images'
        (folder / LABELS).unlink(missing_ok=True)
    return len(images)


def _load(path: Path) -> Arrays:
    if not path.is_file():
        raise MissingFileError(f"{path}: there is no such file: give the folder of the arrays.")
    try:
        # Never unpickled: the published arrays hold plain numbers.
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise ContentError(
            f"{path}: expected a NumPy array of numbers ({error}): save it again."
        ) from error


def _classes(path: Path, count: int, columns: Columns) -> list[str]:
    if not path.is_file():
        return [""] * count
    labels, known = _load(path).ravel(), columns.classes
    right = len(labels) == count and np.isin(labels, range(len(known))).all()
    if not right:
        raise InputError(
            f"{path}: expected {count} classes from 0 to {len(known) - 1}, one for each image, but "
            f"got {len(labels)} from {labels.min(initial=0)} to {labels.max(initial=0)}."
        )
    return [known[int(label)] for label in labels]


def _covariates(path: Path, count: int, columns: Columns) -> list[dict[str, str]]:
    """The cells of each row, from one-hot columns in the order of the recipe's categories."""
    if not path.is_file():
        return [{} for _ in range(count)]
    features = _load(path)
    kinds = {name: tuple(kind) for name, kind in columns.covariates.items()}
    width = sum(len(kind) for kind in kinds.values())
    if features.shape != (count, width):
        raise InputError(
            f"{path}: expected ({count}, {width}), a column for each category of "
            f"{', '.join(kinds)}, but the array has the shape {features.shape}."
        )
    rows: list[dict[str, str]] = []
    for row in features.tolist():
        cells, start = {}, 0
        for name, categories in kinds.items():
            part = row[start : start + len(categories)]
            start += len(categories)
            if sorted(part) != [0] * (len(categories) - 1) + [1]:
                raise InputError(
                    f"{path}: expected one 1 and otherwise 0 for {name!r}, but got {part}: "
                    "encode its categories one-hot."
                )
            cells[name] = categories[part.index(1)]
        rows.append(cells)
    return rows
