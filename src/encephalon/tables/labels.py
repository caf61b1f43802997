# SPDX-License-Identifier: Apache-2.0
"""Label images: map or binarise them, and verify those of a table against its images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from encephalon.errors import ContentError, EncephalonError, RecipeError, TableError
from encephalon.tables.schema import Fault, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

LabelRule = Literal["keep", "nonzero"] | Mapping[str, int]

_AFFINE_TOLERANCE = 1e-3
"""mm, per entry: a label image on the same grid differs only by how its header was rounded."""


def map_labels(labels: NDArray[Any], rule: LabelRule) -> NDArray[Any]:
    """The labels (I, J, K) under a rule, in the smallest unsigned integer that holds them.

    "keep" changes no value, "nonzero" gives 1 wherever there is a label, and a mapping gives
    each label, written as text, its new value and every other label 0. Raises ContentError for
    labels that are no integers >= 0, RecipeError for a mapping that is not of such integers.
    """
    import numpy as np

    whole = _whole(labels)
    if isinstance(rule, str):
        if rule == "nonzero":
            binary: NDArray[Any] = (whole != 0).astype(np.uint8)
            return binary
        if rule == "keep":
            return whole.astype(_smallest(int(whole.max(initial=0))))
        raise RecipeError(f"A label rule is 'keep', 'nonzero' or a mapping, not {rule!r}.")
    old, new = _pairs(rule)
    top = int(whole.max(initial=0))
    table = np.zeros(top + 1, dtype=_smallest(max(new, default=0)))
    for source, value in zip(old, new, strict=True):
        if source <= top:
            table[source] = value
    return np.take(table, whole)


def verify_labels(table: Table) -> list[Fault]:
    """Read every image and label image of a table; say which labels cannot be learnt from.

    A label image must be readable, hold integers >= 0, and lie on the grid (shape and affine)
    of each input image of its row. Raises TableError if the table's target is no label image.
    """
    column = table.columns.target
    if column is None or table.columns.target_kind != "labels":
        raise TableError(
            f"{table.source} has no label images to verify: name their column as target."
        )
    faults: list[Fault] = []
    for row, cell in enumerate(table.texts(column)):
        if cell:
            faults += [Fault(table.row(row), column, text) for text in _row(table, row, cell)]
        elif "target" not in table.columns.optional:
            faults.append(Fault(table.row(row), column, "names no label image; give its path."))
    return faults


def _row(table: Table, row: int, cell: str) -> Iterator[str]:
    from encephalon.io.reading import read_image, read_labels

    try:
        labels = read_labels(table.path(cell))
    except EncephalonError as error:
        yield str(error)
        return
    for role, column in table.columns.inputs.items():
        name = table.texts(column)[row] if table.has(column) else ""
        if not name:
            continue
        try:
            image = read_image(table.path(name))
        except EncephalonError as error:
            yield str(error)
            continue
        yield from _same_grid(role, labels, image)


def _same_grid(role: str, labels: Any, image: Any) -> Iterator[str]:
    import numpy as np

    if labels.shape != image.shape:
        yield (
            f"the labels have the shape {labels.shape} but {role!r} has {image.shape}; "
            "resample one to the other."
        )
        return
    apart = float(np.abs(labels.affine.matrix - image.affine.matrix).max())
    if apart > _AFFINE_TOLERANCE:
        yield (
            f"the affine of the labels differs from that of {role!r} by up to {apart:.3g} mm; "
            "resample one to the other, or copy the header if they are truly aligned."
        )


def _whole(labels: NDArray[Any]) -> NDArray[Any]:
    """The same labels as integers, refused if they are none or below 0."""
    import numpy as np

    if labels.dtype == np.bool_:
        return labels.astype(np.uint8)
    if not np.issubdtype(labels.dtype, np.integer):
        if not np.isfinite(labels).all() or (labels != np.rint(labels)).any():
            raise ContentError("Labels must be whole numbers, but these have fractions or NaN.")
        labels = labels.astype(np.int64)
    lowest = int(labels.min(initial=0))
    if lowest < 0:
        raise ContentError(f"Labels must be 0 or more, but the lowest is {lowest}.")
    return labels


def _pairs(rule: Mapping[str, int]) -> tuple[list[int], list[int]]:
    try:
        old, new = [int(key) for key in rule], [int(value) for value in rule.values()]
    except (TypeError, ValueError) as error:
        raise RecipeError(
            f"A label mapping goes from whole numbers to whole numbers: {error}."
        ) from error
    if any(value < 0 for value in (*old, *new)):
        raise RecipeError("A label mapping may not hold numbers below 0.")
    return old, new


def _smallest(top: int) -> Any:
    import numpy as np

    return np.min_scalar_type(top)
