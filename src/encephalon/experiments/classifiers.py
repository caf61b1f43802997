# SPDX-License-Identifier: Apache-2.0
"""What the cross-validation of classifiers knows besides: classes, covariates, and images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import TableError, did_you_mean
from encephalon.experiments.cross_validation import CrossValidation, Dataset, FittedNetwork
from encephalon.experiments.folds import Rows, Splits, make_splits
from encephalon.explanation.location import box_of
from encephalon.recipes.schema import Classification, Recipe, class_names
from encephalon.tables.encoding import encode_classes
from encephalon.tables.schema import Table
from encephalon.tables.splits import SplitOptions

if TYPE_CHECKING:
    from torch import Tensor

    from encephalon.evaluation.operating_point import DecisionRule
    from encephalon.transforms.resize import View

__all__ = ["ClassDataset", "ClassNetwork", "ClassValidation", "class_splits"]


class ClassDataset(Dataset, Protocol):
    """Images with classes, and covariates.

    truth  (N,) index of the class, -1 where there is none that is learnt
    views  (N) where what the network sees of an image lies in the raw one
    facts  (N) what was measured on each raw image
    """

    @property
    def truth(self) -> NDArray[np.int64]: ...
    @property
    def views(self) -> Sequence[View]: ...
    @property
    def facts(self) -> Sequence[Mapping[str, float]]: ...

    def cells(self) -> list[dict[str, Any]]:
        """The cells of every row, by the name of their column."""
        ...

    def encoded(self, rows: Rows) -> NDArray[np.float32]:
        """The covariates (N, W) of the whole table, numbers standardised by these rows."""
        ...

    def raw(self, row: int) -> NDArray[Any]:
        """The image (rows, columns) of a row, as it lies on disk."""
        ...

    def with_truth(self, truth: NDArray[np.int64]) -> Self:
        """The same images with other classes (N,)."""
        ...


class ClassNetwork(FittedNetwork, Protocol):
    """A classifier, which answers with the logits of its classes.

    scaling  mean and standard deviation of each number among the covariates
    layer    that maps are taken from; None for a network that has no map to give
    """

    @property
    def scaling(self) -> Mapping[str, tuple[float, float]]: ...
    @property
    def layer(self) -> str | None: ...

    def inputs(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Images and covariates of these rows, where the network computes."""
        ...


@dataclass(frozen=True, eq=False)
class ClassValidation(CrossValidation[ClassDataset, ClassNetwork]):
    """The cross-validation of classifiers.

    settings            what their study says of classifiers
    rule                what is decided of an image beside its most likely class
    classical_features  (F) what a classical baseline is given of a row; None for no such baseline
    about               further facts of the run, for its page: name and value
    """

    settings: Classification
    rule: DecisionRule | None = None
    classical_features: Callable[[int], NDArray[np.float64]] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the logits."""
        return class_names(self.recipe)


def class_splits(
    recipe: Recipe, settings: Classification, table: Table, hold_out: SplitOptions | None = None
) -> Splits:
    """Folds stratified by class, or the split of the table; see `make_splits`.

    Raises TableError, besides, for a column or a box that the report would miss.
    """
    target = str(table.columns.target)
    _check_columns(table, settings)
    encode_classes(table)  # which tells a label that is no class
    return make_splits(
        table,
        settings,
        {target: class_names(recipe)},
        stratify=(target,),
        seed=recipe.training.seed,
        hold_out=hold_out,
    )


def _check_columns(table: Table, settings: Classification) -> None:
    """Raise TableError where the report would miss a column, or a box, after hours of training."""
    named = {"levels": settings.levels, "strata": settings.strata, "box": settings.box or ()}
    for key, columns in named.items():
        for column in columns:
            if not table.has(column):
                have = list(map(str, table.frame.columns))
                meant = did_you_mean(column, have, "it has")
                raise TableError(
                    f"{table.source} has no column {column!r}, named in study.{key}: {meant}"
                )
    named_box = settings.box or ()
    for place, cells in enumerate(zip(*map(table.texts, named_box), strict=True)):
        row = dict(zip(named_box, cells, strict=True))
        x, y, width, height = box_of(row, settings.box) or (-1, -1, -1, -1)
        inside = 0 <= x <= 1 and 0 <= y <= 1 and 0 < width <= 1 and 0 < height <= 1
        # Of a box in pixels, say, every figure about maps would be wrong.
        if any(cells) and not inside:
            raise TableError(
                f"{table.source}, row {table.row(place)}: {', '.join(named_box)} are "
                f"{', '.join(cells)}, which is no box in the image: give centre, width and "
                "height as shares from 0 to 1, or leave them empty."
            )
